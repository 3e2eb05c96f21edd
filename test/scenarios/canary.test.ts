/**
 * The canary session over a whole hub and an engine that differs (faults A5, A9): it goes the whole way of a session before anything is
 * dispatched, names what is wrong and what fixes it, and goes that way again after a change of the engine.
 */
import { expect, test } from 'vitest'
import { playCanary } from '../support/canary-shim.ts'
import { createHarness, type Harness, worker } from '../support/hub-harness.ts'

const agents = { echo: { script: worker((agent) => agent.joined?.task.params.at ?? 0) } }
const scene = () => createHarness({ agents, canary: true, lease: false })
const stateOf = (h: Harness) => h.hub.work.runtime.view().state
const conditionOf = (h: Harness) => h.hub.guard.modes.active().find(({ name }) => name === 'engine_unfit')
const isTold = (h: Harness) => h.hub.guard.alerts.isOpen('engine_unfit')
const passes = (h: Harness) => h.until(() => stateOf(h) === 'passed', 'the canary passes')
type Row = { name: string; ok: boolean | null; detail: string; mend: string }
const doctor = async (h: Harness) => {
  const { body } = await h.operator('GET', '/v1/doctor')
  const rows = (body as { checks: Row[] }).checks
  return { rows, row: (name: string) => rows.find((each) => each.name === name) }
}
/** What dockerd does with `default-ulimits`: they are there once the container has been started. */
function addUlimits(h: Harness): { on: boolean } {
  const own = { on: true }
  h.engine.alterInspect = (answer) => {
    const { Ulimits } = answer.HostConfig as { Ulimits: unknown[] }
    if (own.on && answer.State?.Status === 'running') Ulimits.push({ Name: 'nproc', Soft: 64, Hard: 64 })
  }
  return own
}

test('it goes the whole way of a session once the first lease has come, and leaves nothing', async () => {
  await using h = await scene()
  const seen = playCanary(h)
  await h.clock.advance(5000)
  expect([seen.started.length, stateOf(h), h.hub.work.runtime.hold()]).toEqual([0, 'waiting', expect.any(String)])
  await h.lease()
  await passes(h)
  const canary = seen.started[0]
  const calls = h.engine.calls.filter((call) => call.includes(canary?.name ?? '') || call.includes(canary?.id ?? ''))
  const verbs = calls.map((call) => call.split(' ')[0])
  expect(verbs.slice(0, 7)).toEqual(['create', 'inspect', 'waitNextExit', 'start', 'inspect', 'stop', 'inspect'])
  expect(verbs.slice(7)).toContain('remove')
  expect([
    h.engine.containers.size,
    h.hub.work.containment.ledger.list(),
    h.hub.work.containment.sockets.list(),
  ]).toEqual([0, [], []])
  expect(canary?.body.HostConfig.Memory).toBe(96 * 1024 * 1024)
  expect(h.audit().map(({ action, effect }) => `${action} ${effect}`)).toEqual(
    expect.arrayContaining([expect.stringMatching(/^hub\.observed canary passed in \d+ ms$/)]),
  )
  const { row } = await doctor(h)
  expect(row('canary')).toMatchObject({ ok: true, detail: expect.stringMatching(/^passed in \d+ ms: create, compare/) })
  const id = await h.submit('echo', { at: 7 })
  await h.ended(id)
  expect(h.task(id).outcome?.value).toBe(7)
})

test('fault A5: while it fails nothing is dispatched, and condition, alert and doctor say why and what fixes it [cond-11]', async () => {
  await using h = await scene()
  playCanary(h)
  const own = addUlimits(h)
  await h.lease()
  await h.until(() => conditionOf(h), 'it is judged')
  await expect(h.submit('echo')).rejects.toThrow(/mode_degraded: .*engine_unfit/)
  expect(conditionOf(h)?.reason).toMatch(
    /adds its own default-ulimits .*\(nproc\).*take default-ulimits out of .*daemon\.json/,
  )
  expect([isTold(h), h.started, h.engine.containers.size]).toEqual([true, [], 0])
  const { row } = await doctor(h)
  expect(row('canary')?.ok).toBe(false)
  expect(row('engine default_ulimits')).toMatchObject({ ok: false, mend: expect.stringContaining('daemon.json') })
  const { body } = await h.operator('GET', '/v1/health')
  expect((body as { canary: unknown }).canary).toMatchObject({ state: 'failed', findings: ['default_ulimits'] })
  own.on = false
  await h.clock.advance(6000)
  expect((await doctor(h)).row('canary')?.ok).toBe(true)
  expect([h.hub.guard.modes.current(), isTold(h)]).toEqual(['normal', false])
  const id = await h.submit('echo', { at: 1 })
  await h.ended(id)
})

test('fault A5: a changed engine is proven before the next dispatch, and what runs is kept [cond-11]', async () => {
  await using h = await createHarness({
    agents: { ...agents, long: { script: () => new Promise(() => undefined) } },
    canary: true,
    lease: false,
  })
  const seen = playCanary(h)
  await h.lease()
  await passes(h)
  const running = await h.submit('long')
  await h.until(() => h.started.length === 1)
  h.engine.said.id = 'ANOTHER'
  seen.play.joins = false
  h.hub.work.runtime.engineChanged()
  const id = await h.submit('echo', { at: 3 })
  await h.until(() => seen.started.length === 2, 'it is tried again')
  await h.clock.advance(3000)
  expect([h.task(id).state, h.started.length, h.task(running).state]).toEqual(['queued', 1, 'running'])
  await h.until(() => conditionOf(h), 'it is judged', 500)
  expect([h.task(id).state, h.task(running).state]).toEqual(['queued', 'running'])
  seen.play.joins = true
  await h.until(() => stateOf(h) === 'passed', 'it is tried by itself', 1000)
  await h.ended(id)
  expect([h.task(running).state, isTold(h)]).toEqual(['running', false])
})

test('the same engine whose events broke a moment ago is tried again in its time, and nothing waits for it', async () => {
  await using h = await scene()
  const seen = playCanary(h)
  await h.lease()
  await passes(h)
  h.hub.work.runtime.engineChanged()
  const id = await h.submit('echo', { at: 2 })
  await h.ended(id)
  expect(seen.started).toHaveLength(1)
  await h.until(() => seen.started.length === 2, 'it is tried in its time', 1000)
})

test('a container that is made otherwise than told sends a canary before the next task', async () => {
  await using h = await scene()
  const seen = playCanary(h)
  await h.lease()
  await passes(h)
  let altered = 0
  h.engine.alterInspect = (answer) => {
    altered += 1
    if (altered === 1) Object.assign(answer.HostConfig ?? {}, { PidsLimit: 0 })
  }
  const first = await h.submit('echo')
  await h.ended(first)
  expect(h.task(first).error?.code).toBe('profile_mismatch')
  const second = await h.submit('echo', { at: 4 })
  await h.ended(second)
  expect([seen.started.length, h.task(second).state]).toEqual([2, 'succeeded'])
})

test('an engine that does not answer is no finding: what is queued waits, and the engine is tried when it answers', async () => {
  await using h = await scene()
  const seen = playCanary(h)
  h.engine.fault('ping', 'fail', 5)
  await h.lease()
  const id = await h.submit('echo', { at: 5 })
  await h.clock.advance(2000)
  expect([h.task(id).state, conditionOf(h), isTold(h)]).toEqual(['queued', undefined, false])
  await h.ended(id)
  expect(seen.started).toHaveLength(1)
})

test.each([
  [
    'the engine does not tell of a memory kill',
    { joins: true, says: 'killed', reported: false },
    'oom_unreported',
    'passed',
  ],
  ['nothing is heard of the memory', { joins: true, says: 'nothing', reported: false }, 'oom_not_seen', 'passed'],
  ['the memory limit does not hold', { joins: true, says: 'survived', reported: false }, 'memory_unbounded', 'failed'],
  ['it never joins', { joins: false, says: 'nothing', reported: false }, 'socket_folder', 'failed'],
] as const)('fault A5: %s', async (_what, play, finding, state) => {
  await using h = await scene()
  playCanary(h, { ...play })
  await h.lease()
  await h.until(() => stateOf(h) !== 'waiting', 'it is judged', 200)
  expect(h.hub.work.runtime.view()).toMatchObject({ state, findings: [finding] })
  const { row } = await doctor(h)
  expect(row(`engine ${finding}`)?.ok).toBe(state === 'passed' ? null : false)
})

test('fault A5: Podman is refused by name and no container is made on it', async () => {
  await using h = await scene()
  const { ping } = h.engine
  h.engine.ping = async () => ({ ...(await ping()), components: { 'Podman Engine': '4.3.1' } })
  await h.lease()
  await h.until(() => conditionOf(h), 'it is judged')
  expect(conditionOf(h)?.reason).toMatch(
    /^this is Podman 4\.3\.1, which is not supported.*install Docker Engine 20\.10/,
  )
  expect(h.engine.calls.filter((call) => call.startsWith('create'))).toEqual([])
})

test('in safe mode none is started, not by the doctor either', async () => {
  await using h = await scene()
  const seen = playCanary(h)
  await h.operator('POST', '/v1/mode/safe', { reason: 'a look' })
  await h.lease()
  const { row } = await doctor(h)
  expect([row('canary')?.ok, seen.started.length]).toEqual([null, 0])
})

test('T77: a hub that is killed in the middle of one takes away what was left before it tries again', async () => {
  await using h = await scene()
  playCanary(h)
  h.killAt('start', 'before')
  await h.lease()
  await h.until(() => h.killed, 'it is killed')
  await h.kill()
  expect(h.engine.containers.size).toBe(1)
  await h.start()
  await passes(h)
  expect([
    h.engine.containers.size,
    h.hub.work.containment.ledger.list(),
    h.hub.work.containment.sockets.list(),
  ]).toEqual([0, [], []])
})

/** The engine takes its time over the next create. */
function holdCreate(h: Harness) {
  const { create } = h.engine
  const held = { began: false, go: () => {} }
  const open = new Promise<void>((resolve) => {
    held.go = resolve
  })
  h.engine.create = async (...call) => {
    held.began = true
    await open
    return create(...call)
  }
  return held
}

test.each([
  ['a plain stop', false],
  ['an emergency stop', true],
])(
  'X1: %s waits for the container of a canary that is being made, which is then not started',
  async (_what, emergency) => {
    await using h = await scene()
    const seen = playCanary(h)
    const held = holdCreate(h)
    await h.lease()
    await h.until(() => held.began, 'it is being made')
    let isOver = false
    const stop = h.operator('POST', '/v1/shutdown', { reason: 'test', emergency }).finally(() => {
      isOver = true
    })
    await h.until(() => h.hub.guard.modes.has('draining'))
    await h.clock.advance(1000)
    expect(isOver).toBe(false)
    held.go()
    const { body } = await stop
    expect(body).toEqual({ path: 'hub', requested: 0, containers: [] })
    expect([h.engine.containers.size, seen.started.length]).toEqual([0, 0])
    expect([conditionOf(h), isTold(h)]).toEqual([undefined, false])
  },
)

test('X1: a stop whose engine does not answer whether it made it says so', async () => {
  await using h = await scene()
  playCanary(h)
  const held = holdCreate(h)
  await h.lease()
  await h.until(() => held.began, 'it is being made')
  const { body } = await h.operator('POST', '/v1/shutdown', { reason: 'test' })
  expect(body).toMatchObject({ requested: 0, unproven: expect.stringContaining('canary session') })
  held.go()
})

test('X1: a canary that runs is ended by a stop at once, and is no finding', async () => {
  await using h = await scene()
  const seen = playCanary(h, { joins: false, says: 'nothing', reported: true })
  await h.lease()
  await h.until(() => seen.started.length === 1)
  const startedAtMs = h.clock.monotonicMs()
  const { body } = await h.operator('POST', '/v1/shutdown', { reason: 'test' })
  expect(body).toMatchObject({ requested: 1, containers: [{ container: seen.started[0]?.name }] })
  expect(body).not.toHaveProperty('unproven')
  expect((body.containers as { outcome: string }[])[0]?.outcome).toMatch(/gone/)
  expect(h.clock.monotonicMs() - startedAtMs).toBeLessThan(5000)
  expect([h.engine.containers.size, conditionOf(h), isTold(h)]).toEqual([0, undefined, false])
})
