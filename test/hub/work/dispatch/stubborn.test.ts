import { beforeEach, describe, expect, it } from 'vitest'
import type { Remains } from '../../../../hub/base/container-processes.ts'
import { createStubborn } from '../../../../hub/work/dispatch/reaper.ts'
import { createFakeClock } from '../../../support/fake-clock.ts'

describe('S1-67: a container that does not go [alert-14]', () => {
  let said: string[]
  let clock: ReturnType<typeof createFakeClock>
  const make = () =>
    createStubborn({
      clock,
      alerts: {
        raise: (cause, severity) => void said.push(`${severity} ${cause}`),
        resolve: (cause) => void said.push(`over ${cause}`),
      },
    })
  beforeEach(() => {
    said = []
    clock = createFakeClock()
  })
  /** Tried every 15 s for so long; whether the engine answers meanwhile. */
  async function tryFor(stubborn: ReturnType<typeof make>, ms: number, isEngineAway: boolean) {
    for (let at = 0; at <= ms; at += 15_000) {
      stubborn.failed('c1', 'it will not die', { isEngineAway: isEngineAway })
      await clock.advance(15_000)
    }
  }

  it('is no alarm before a minute and three tries, critical after them, and over when it is gone', async () => {
    const stubborn = make()
    await tryFor(stubborn, 45_000, false)
    expect(said).toEqual([])
    stubborn.failed('c1', 'it will not die', { isEngineAway: false })
    expect(said).toEqual(['critical kill_unconfirmed:c1'])
    stubborn.gone('c1')
    expect(said.at(-1)).toBe('over kill_unconfirmed:c1')
    await tryFor(stubborn, 45_000, false)
    expect(said, 'the count begins anew').toHaveLength(2)
  })

  it('is a warning alone while the engine is away', async () => {
    await tryFor(make(), 120_000, true)
    expect(new Set(said)).toEqual(new Set(['warning kill_unconfirmed:c1']))
  })

  it('is tried again after 1, 2, 4, 8, then every 15 s', async () => {
    const stubborn = make()
    for (const waitMs of [1000, 2000, 4000, 8000, 15_000, 15_000]) {
      stubborn.failed('c1', 'no', { isEngineAway: true })
      await clock.advance(waitMs - 1)
      expect(stubborn.mayTry('c1'), `before ${waitMs} ms`).toBe(false)
      await clock.advance(1)
      expect(stubborn.mayTry('c1'), `at ${waitMs} ms`).toBe(true)
    }
  })
  it('fault A6: is a warning alone where nothing of it runs, and names the process where one does', async () => {
    const texts: string[] = []
    const stubborn = createStubborn({
      clock,
      alerts: { raise: (_cause, severity, text) => void texts.push(`${severity}: ${text}`), resolve: () => undefined },
    })
    const tryAll = async (remains: Remains) => {
      for (let turn = 0; turn < 6; turn += 1) {
        stubborn.failed('c1', 'did not receive an exit event', { isEngineAway: false, remains })
        await clock.advance(15_000)
      }
      return texts.splice(0).at(-1)
    }
    expect(await tryAll({ kind: 'nothing' })).toMatch(
      /^warning: .*None of its processes runs any more.*docker rm -f c1/,
    )
    expect(stubborn.list()).toMatchObject([{ container: 'c1', remains: { kind: 'nothing' } }])
    expect(await tryAll({ kind: 'processes', pids: [17, 19] })).toMatch(
      /^critical: .*Still running: process 17, 19; end it with: sudo kill -9 17 19\. The engine has lost track of it: restart/,
    )
    expect(await tryAll({ kind: 'unknown' })).toMatch(/^critical: /)
    stubborn.gone('c1')
    expect(stubborn.list()).toEqual([])
  })
})
