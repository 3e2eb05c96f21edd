/** The runtime of sessions: recorded, and another one than runc only after a container has joined under it (docs/sandbox.md 2). */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readConfig } from '../../hub/config.ts'
import { createHarness, type Harness, worker } from '../support/hub-harness.ts'
import { createSigningClient } from '../support/signing-client.ts'

const agents = { echo: { script: worker((agent) => agent.joined?.task.params.at ?? 0) } }
const runsc = { agents, config: { engine: { runtime: 'runsc' } }, lease: false, canary: true }
const provisions = (h: Harness) => h.audit().filter(({ action }) => action === 'session.provisioned')

/** What runs as the probe joins, or does not. */
function probing(h: Harness, joins: () => boolean): { started: string[] } {
  const seen = { started: [] as string[] }
  const { onStart } = h.engine
  h.engine.onStart = (container) => {
    if (container.body.Labels['hub.agent'] !== 'runtime-probe') return onStart(container)
    seen.started.push(container.body.HostConfig.Runtime)
    const client = createSigningClient({ socketPath: container.socketPath, clock: h.clock, ended: container.ended })
    if (joins()) void client.join().catch(() => undefined)
    return undefined
  }
  return seen
}
const isFaulty = (h: Harness) => h.hub.work.runtime.fault() !== undefined

test('name and version of the runtime stand in the record of every provision', async () => {
  await using h = await createHarness({ agents })
  await h.clock.advance(2000)
  const id = await h.submit('echo')
  await h.ended(id)
  expect(provisions(h).map(({ effect }) => effect)).toEqual(['runtime:runc 1.1.5'])
})

test('runsc is enabled once a container has joined under it, leaves nothing of the probe, and then sessions run under it', async () => {
  await using h = await createHarness(runsc)
  const seen = probing(h, () => true)
  await h.clock.advance(5000)
  expect([seen.started, isFaulty(h)]).toEqual([[], true])
  await h.lease()
  await h.until(() => !isFaulty(h), 'it is proven')
  expect(seen.started).toEqual(['runsc'])
  await h.until(() => h.engine.containers.size === 0, 'the probe is gone')
  expect([h.hub.work.containment.ledger.list(), h.hub.work.containment.sockets.list()]).toEqual([[], []])
  const id = await h.submit('echo', { at: 7 })
  await h.ended(id)
  expect(h.task(id).outcome?.value).toBe(7)
  expect(h.started[0]?.container.body.HostConfig.Runtime).toBe('runsc')
  expect(provisions(h).map(({ effect }) => effect)).toEqual(['probe of runsc', 'runtime:runsc of an unknown version'])
})

test('where none joins everything is refused by name and nothing falls back to runc; it is tried again, and after each change of the engine', async () => {
  await using h = await createHarness(runsc)
  let joins = false
  const seen = probing(h, () => joins)
  await h.lease()
  await h.until(() => seen.started.length === 1)
  await h.until(() => h.hub.work.runtime.fault()?.includes('did not join'), 'it is judged', 500)
  await expect(h.submit('echo')).rejects.toThrow(
    /unsupported_mode: engine.runtime runsc is not enabled.*did not join within 30 s/,
  )
  expect(h.started).toEqual([])
  const { checks } = (await h.operator('GET', '/v1/doctor')).body as { checks: { name: string; ok: boolean | null }[] }
  expect(checks.find(({ name }) => name === 'runtime')?.ok).toBe(false)
  await h.until(() => h.engine.containers.size === 0, 'the probe is gone')
  joins = true
  await h.until(() => !isFaulty(h), 'it is tried again', 1000)
  await h.until(() => h.engine.containers.size === 0, 'the probe is gone')
  joins = false
  h.hub.work.runtime.engineChanged()
  expect(isFaulty(h)).toBe(true)
  await h.until(() => seen.started.length === 3, 'it is proven again')
})

test('an engine that knows no such runtime makes it a fault by name', async () => {
  await using h = await createHarness(runsc)
  h.engine.fault('create', 'fail', 100)
  await h.lease()
  await h.until(() => h.hub.work.runtime.fault()?.includes('did not create'), 'it is judged')
  expect(h.engine.containers.size).toBe(0)
})

test('kata is refused by name at the start', async () => {
  await using h = await createHarness({ agents })
  const path = join(h.home, 'kata.yaml')
  writeFileSync(path, 'engine: { runtime: kata }\n')
  expect(() => readConfig(path)).toThrow(expect.objectContaining({ code: 'unsupported_mode' }))
})
