/** A container that runs is compared with what it was made from, right after its start and again (S1-51). */
import { beforeEach, expect, it } from 'vitest'
import { DEFAULT_LIMITS } from '../../../../hub/protocol/agent.ts'
import { createAfterStart } from '../../../../hub/work/sandbox/after-start.ts'
import { buildContainer, containerNameOf } from '../../../../hub/work/sandbox/profile.ts'
import { inspectAnswer } from '../../../support/fake-engine.ts'
import { FACTS, HOST } from '../../../support/sandbox-facts.ts'

const id = 'c0ffee'.padEnd(64, '0')
const sent = buildContainer(FACTS, DEFAULT_LIMITS, HOST)
const settled = () => new Promise((resolve) => setImmediate(resolve))
let answer: () => unknown
let heard: string[]
let asked: number
const make = () =>
  createAfterStart({
    relaxOf: () => [],
    beside: { hasSwap: () => true, confinementOf: () => undefined },
    inspect: async () => {
      asked += 1
      return answer()
    },
    differs: (session, found) => void heard.push(`${session} ${found}`),
  })
const shown = (change: (host: Record<string, unknown>) => void = () => undefined) => {
  const kept = { id, name: containerNameOf(FACTS.instance, FACTS.session), body: sent, state: 'running' as const }
  const more = { exitCode: 0, oomKilled: false, createdAtMs: 0, socketPath: '', session: FACTS.session, log: '' }
  const made = inspectAnswer({ ...kept, ...more }) as { HostConfig: Record<string, unknown> }
  change(made.HostConfig)
  return made
}
beforeEach(() => {
  heard = []
  asked = 0
  answer = () => shown()
})

it('is heard of once when it differs, at its start or later, and not while it is as it was made', async () => {
  const watch = make()
  watch.began('s1', id, sent)
  await settled()
  await watch.round()
  expect([asked, heard]).toEqual([2, []])
  answer = () => shown((host) => Object.assign(host, { Memory: 1 }))
  await watch.round()
  await watch.round()
  expect(heard).toEqual([expect.stringMatching(/^s1 limits: HostConfig.Memory is 1, the profile says /)])
  watch.began('s2', id, sent)
  await settled()
  expect(heard).toHaveLength(2)
})

it('fault F21: taken over, it is compared with what it was made from, by whatever floors that was', async () => {
  const watch = make()
  // Made by a hub whose profile did not mask so much.
  const older = { ...sent, HostConfig: { ...sent.HostConfig, MaskedPaths: ['/proc/kcore'] } }
  answer = () => shown((host) => Object.assign(host, { MaskedPaths: ['/proc/kcore'] }))
  watch.tookOver('s1', id, older)
  await settled()
  expect(heard).toEqual([])
  answer = () => shown((host) => Object.assign(host, { MaskedPaths: ['/proc/kcore'], PidsLimit: 999 }))
  await watch.round()
  expect(heard).toEqual([expect.stringMatching(/^s1 limits: HostConfig.PidsLimit is 999/)])
})

it('is left alone while the engine does not answer, when it is gone, and once its session has ended', async () => {
  const watch = make()
  answer = () => {
    throw new Error('away')
  }
  watch.began('s1', id, sent)
  await settled()
  answer = () => undefined
  await watch.round()
  answer = () => shown((host) => Object.assign(host, { Privileged: true }))
  watch.ended('s1')
  await watch.round()
  expect(heard).toEqual([])
})
