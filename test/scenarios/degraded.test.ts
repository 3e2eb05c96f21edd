/** The whole hub while something that it depends on does not work: what goes on, what waits, and how each ends (S1-16 to S1-18, T71-T76, T79, T80). */
import { describe, expect, test } from 'vitest'
import { HubError } from '../../hub/base/errors.ts'
import type { DiskFacts } from '../../hub/guard/conditions/disk.ts'
import type { ConditionName } from '../../hub/guard/modes.ts'
import { openFrameLine } from '../support/frame-line.ts'
import {
  type AgentSpec,
  createHarness,
  type Harness,
  type HarnessOptions,
  puppet,
  type TestAgent,
  worker,
} from '../support/hub-harness.ts'
import type { SigningClient } from '../support/signing-client.ts'

const may = { message: ['one', 'two'], topics: ['news'], delegate: ['echo'] }
const messages = { sends: { t: null }, receives: { t: null } }
const agents: Record<string, AgentSpec> = {
  echo: { script: worker(() => 'done') },
  one: { script: puppet, card: { may, messages, stallAfter: '2h' } },
  two: { script: puppet, card: { may, messages, stallAfter: '2h' } },
}
const harness = (options: Partial<HarnessOptions> = {}) => createHarness({ agents, ...options })
const conditions = (h: Harness): ConditionName[] => h.hub.guard.modes.active().map(({ name }) => name)
const line = (h: Harness, agent: SigningClient) => h.pumped(openFrameLine(agent))
type Line = Awaited<ReturnType<typeof line>>
const acked = (h: Harness, on: Line, upTo: number) => h.until(() => on.upTo >= upTo, `frame ${upTo} is acknowledged`)

const renewing = async (h: Harness, agent: SigningClient) =>
  (await h.pumped(agent.ask({ method: 'POST', path: '/v1/renew', body: {}, token: null }))).body.code

/** The database can take no page more, really; answers the way back. */
function fill(h: Harness): () => void {
  const { store } = h.hub.guard
  const pages = store.prepare('pragma page_count').pluck().get()
  store.transaction(() => store.prepare('create table if not exists filler (bytes blob)').run())
  store.prepare(`pragma max_page_count = ${pages}`).get()
  for (;;) {
    try {
      store.prepare('insert into filler values (zeroblob(3000))').run()
    } catch {
      break
    }
  }
  return () => void store.prepare('pragma max_page_count = 1000000').get()
}
const bodies = (on: Line) => on.deliveries.map(({ body }) => (body as { n: number }).n)

describe('a full disk (S1-18, T80)', () => {
  test('two open sessions keep talking, nothing new starts, stop works; with room again all is recorded in order [cond-4, mode-6, audit-8]', async () => {
    await using h = await harness()
    const [one, two] = await h.bring('one', 'two')
    const [a, b] = [await line(h, one), await line(h, two)]
    const makeRoom = fill(h)
    const before = h.audit().length
    let sent = 0
    const say = (from: Line, to: TestAgent) => {
      sent += 1
      return from.send({ kind: 'request', to: `session:${to.session}`, type: 't', body: { n: sent } })
    }
    // Until the last free place of the last page is used up, records still fit.
    while (!conditions(h).includes('store_failing')) {
      await acked(h, a, say(a, two))
      if (sent > 500) throw new Error('the disk does not become full')
    }
    const full = sent
    for (let more = 0; more < 20; more += 1) await acked(h, b, say(b, one))
    await acked(h, a, say(a, two))
    expect(bodies(b)).toEqual([...Array(full).keys()].map((n) => n + 1).concat(sent))
    expect(bodies(a)).toHaveLength(20)
    expect([a.refused, b.refused]).toEqual([[], []])

    const refused = await h.operator('POST', '/v1/tasks', { agent: 'echo' })
    expect([refused.status, refused.body.code]).toEqual([503, 'mode_degraded'])
    expect(await renewing(h, one)).toBe('store_unavailable')
    await expect(line(h, one)).rejects.toThrow('closed')
    const delegated = a.send({ kind: 'delegate', body: { agent: 'echo' } })
    await acked(h, a, delegated)
    expect(a.refused.map(({ problem }) => problem.code)).toEqual(['store_unavailable'])
    const result = b.send({ kind: 'result', to: 'hub', body: { outcome: 'succeeded' } })
    await acked(h, b, result)
    expect(b.refused.map(({ problem }) => problem.code)).toEqual(['store_unavailable'])
    const health = (await h.operator('GET', '/healthz')).body
    expect([health.mode, health.components]).toMatchObject(['degraded', { store: false, audit: true, clock: true }])
    expect(health.auditWaiting).toBeGreaterThan(20)
    const checks = (await h.operator('GET', '/v1/doctor')).body.checks as Record<string, unknown>[]
    expect(checks.find(({ name }) => name === 'store')).toMatchObject({
      ok: false,
      detail: expect.stringContaining('SQLITE_FULL'),
      mend: expect.stringContaining('free space'),
    })
    expect(h.hub.guard.audit.bufferState()).toEqual({
      size: expect.any(Number),
      head: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
    expect(h.audit().length - before).toBeLessThan(full + 1)

    const told = h.hub.guard.audit.bufferState()
    makeRoom()
    await h.until(() => conditions(h).length === 0, 'the store is trusted again')
    expect(h.hub.guard.audit.bufferState().size).toBe(0)
    const { size } = told
    const records = h.audit()
    expect(records.some(({ hash }) => hash === told.head)).toBe(true)
    expect(size).toBeGreaterThan(20)
    expect(records.filter(({ action, outcome }) => action === 'message.sent' && outcome === 'ok')).toHaveLength(sent)
    expect(h.hub.guard.audit.verify().fault).toBeUndefined()
    await h.ended(await h.submit('echo'))
    expect((await h.operator('POST', '/v1/shutdown', {})).body).toMatchObject({ requested: 2 })
  })

  test('when the buffer is full too, messages are refused and a stop is not [stop-50, audit-9]', async () => {
    await using h = await harness()
    const [one, two] = await h.bring('one', 'two')
    const a = await line(h, one)
    const makeRoom = fill(h)
    const { audit } = h.hub.guard
    const entry = {
      principal: 'p',
      action: 'a',
      resource: '',
      decisionId: null,
      policyRevision: null,
      payloadHash: null,
    }
    const log = () => a.send({ kind: 'log', to: 'hub', body: { level: 'info', text: 'x'.repeat(500) } })
    while (!conditions(h).includes('store_failing')) await acked(h, a, log())
    while (!audit.bufferIsFull()) audit.buffer({ ...entry, outcome: 'ok', reason: '', effect: '' }, 'effect')
    await acked(h, a, log())
    expect(a.refused.at(-1)?.problem.code).toBe('audit_unavailable')
    await h.until(() => conditions(h).includes('audit_failing'))
    const stopped = await h.operator('POST', `/v1/sessions/${two.session}/stop`, {})
    expect([stopped.status, audit.bufferState().size > 10_000]).toEqual([200, true])
    await h.until(() => two.ended.aborted, 'its container is stopped')
    makeRoom()
    await h.until(() => conditions(h).length === 0, 'all is written', 100)
    expect(audit.verify().fault).toBeUndefined()
  })

  test('a session past its time is stopped at once, and its end does not fill the buffer while it cannot be written', async () => {
    await using h = await createHarness({
      agents: { brief: { script: puppet, card: { limits: { ttl: '60s' } } } },
    })
    const [brief] = await h.bring('brief')
    h.hub.guard.store.heard(Object.assign(new Error('disk I/O error'), { code: 'SQLITE_IOERR_FSYNC' }))
    await h.until(() => brief.ended.aborted, 'its container is stopped', 2000)
    const before = h.hub.guard.audit.bufferState().size
    await h.clock.advance(120_000)
    const more = h.hub.guard.audit.bufferState().size - before
    expect([more > 0, more < 10]).toEqual([true, true])
    await h.kill()
    await h.start()
    await h.until(() => h.task(brief.joined?.task.task ?? '').state === 'timed_out', 'its end is written down', 2000)
  })

  test('an I/O error ends writing for good: the mode says so at once, talking goes on, and a stop stops [cond-4, watch-22]', async () => {
    await using h = await harness()
    const [one, two] = await h.bring('one', 'two')
    const [a, b] = [await line(h, one), await line(h, two)]
    expect(h.hub.guard.store.heard(Object.assign(new Error('disk I/O error'), { code: 'SQLITE_IOERR_FSYNC' }))).toBe(
      true,
    )
    expect(conditions(h)).toEqual(['store_failing'])
    await acked(h, a, a.send({ kind: 'request', to: `session:${two.session}`, type: 't', body: { n: 1 } }))
    expect(bodies(b)).toEqual([1])
    const size = h.audit().length
    await h.clock.advance(60_000)
    expect([conditions(h), h.audit().length]).toEqual([['store_failing'], size])
    const stopped = await h.operator('POST', `/v1/sessions/${two.session}/stop`, {})
    expect(stopped.status).toBe(200)
    await h.until(() => two.ended.aborted, 'its container is stopped')
    expect((await h.operator('GET', '/healthz')).status).toBe(200)
    await h.kill()
    await h.start()
    // Fault G1: the stop was acknowledged, so it stands after the restart too.
    expect([h.task(two.joined?.task.task ?? '').state, one.ended.aborted]).toEqual(['cancelled', false])
    expect(h.hub.guard.audit.verify().fault).toBeUndefined()
  })
})

describe('what waits goes on by itself (S1-17)', () => {
  const shaky = (): Record<string, AgentSpec> => ({
    ...agents,
    shaky: { script: puppet, card: { repeatable: true, restarts: 3, may: { delegate: ['echo'] } } },
    lead: { script: puppet, card: { stallAfter: '2h', may: { delegate: ['echo'] } } },
    two: { script: puppet, card: { stallAfter: '2h', restarts: 0, limits: { sessions: 1 } } },
  })

  test('a crash restart, a queued task and a delegation wait while degraded, and start when it is over [mode-2, mode-3]', async () => {
    let disk: DiskFacts = { blocks: 100_000, bavail: 50_000, bsize: 1024 ** 2, files: 0, ffree: 0 }
    await using h = await createHarness({ agents: shaky(), disk: () => disk })
    const [one, lead] = await h.bring('shaky', 'lead')
    const task = one.joined?.task.task ?? ''
    const parent = lead.joined?.task.task ?? ''
    const queued = await h.submit('two')
    const behind = await h.submit('two')
    const held = await h.submit('echo', {}, { hold: true })
    const first = () => h.started.find(({ joined }) => joined?.task.task === queued)
    await h.until(() => first()?.token, 'the one before it works')
    disk = { ...disk, bavail: 1000 }
    await h.until(() => conditions(h).includes('disk_low'))
    // Fault D5: taken down and waiting, where a refusal would have ended a program that did nothing wrong (S1-17).
    const id = await h.pumped(lead.delegate({ agent: 'echo' }))
    const [child] = h.hub.work.tasks.children(parent)
    expect((await h.operator('POST', `/v1/tasks/${held}/release`, {})).body.code).toBe('mode_degraded')
    one.container.exit(1)
    await h.pumped(first()?.result() ?? Promise.reject(new Error('nobody holds the one place')))
    await h.until(() => h.task(task).state === 'queued', 'it is to be tried again')
    const started = h.started.length
    await h.clock.advance(60_000)
    const waiting = () => [task, behind, child?.id ?? ''].map((each) => h.task(each).state)
    expect([waiting(), h.task(parent).state, h.started.length]).toEqual([
      ['queued', 'queued', 'queued'],
      'running',
      started,
    ])
    disk = { ...disk, bavail: 50_000 }
    await h.until(() => waiting().every((state) => state !== 'queued'), 'each of the three starts')
    expect(h.task(task).attempts).toBe(2)
    expect(await h.pumped(lead.outcome(id))).toMatchObject({ outcome: 'succeeded', value: 'done' })
    expect(h.task(held).state).toBe('queued')
  })

  test('a crash that the store could not take is found again when it can, and the task goes on once', async () => {
    await using h = await createHarness({ agents: shaky() })
    const [one] = await h.bring('shaky')
    const task = one.joined?.task.task ?? ''
    const makeRoom = fill(h)
    h.hub.guard.store.prepare('pragma query_only = 1').run()
    one.container.exit(1)
    await h.clock.advance(20_000)
    expect([conditions(h), h.task(task).state, h.started.length]).toEqual([['store_failing'], 'running', 1])
    expect((await h.operator('GET', '/healthz')).status).toBe(200)
    h.hub.guard.store.prepare('pragma query_only = 0').run()
    makeRoom()
    await h.until(() => h.started.length === 2, 'the second attempt')
    await h.clock.advance(30_000)
    expect([h.task(task).attempts, h.started.length, conditions(h)]).toEqual([2, 2, []])
    expect(h.hub.guard.audit.verify().fault).toBeUndefined()
  })
})

describe('room on the disk (T80, T84)', () => {
  test('warns at ten percent, takes no new task at five, starts nothing at two, and goes on by itself [cond-6]', async () => {
    let disk: DiskFacts = { blocks: 1000, bavail: 500, bsize: 1024 ** 2, files: 1000, ffree: 500 }
    await using h = await harness({ disk: () => disk })
    const low = async (bavail: number) => {
      disk = { ...disk, bavail }
      await h.clock.advance(6000)
    }
    const submit = async () => (await h.operator('POST', '/v1/tasks', { agent: 'echo' })).body.code
    await low(90)
    expect([h.hub.guard.alerts.isOpen('disk_low'), conditions(h), await submit()]).toEqual([true, [], undefined])
    disk = { ...disk, blocks: 100_000, bavail: 4000 }
    await low(4000)
    expect([conditions(h), await submit()]).toEqual([[], 'mode_degraded'])
    await low(1900)
    expect(conditions(h)).toEqual(['disk_low'])
    await low(50_000)
    expect([h.hub.guard.alerts.isOpen('disk_low'), conditions(h), await submit()]).toEqual([false, [], undefined])
    disk = { ...disk, ffree: 0 }
    await low(50_000)
    expect(conditions(h)).toEqual(['disk_low'])
  })
})

describe('clocks', () => {
  test('after a sleep what ended is ended, and a passed deadline is safe mode, before any message; then the lease is awaited (T73) [away-1, clock-11]', async () => {
    await using h = await harness()
    const [one, two] = await h.bring('one', 'two')
    const a = await line(h, one)
    h.clock.suspend(30 * 3_600_000)
    a.send({ kind: 'request', to: `session:${two.session}`, type: 't', body: { n: 1 } })
    await h.until(() => a.closed !== undefined, 'its line has ended')
    expect(conditions(h).sort()).toEqual(['heartbeat_missed', 'lease_pending'])
    const actions = h.audit().map(({ action }) => action)
    expect(actions.filter((each) => each === 'hub.observed')).toHaveLength(1)
    const sent = h.audit().filter(({ action }) => action === 'message.sent')
    expect(sent.map(({ outcome }) => outcome)).toEqual(['refused'])
    expect(actions.indexOf('session.reaped')).toBeLessThan(actions.indexOf('message.sent'))
    await h.quiet()
    expect(h.task(one.joined?.task.task ?? '').state).toBe('timed_out')
    await h.lease()
    expect(conditions(h)).toEqual([])
    // What stood in the queue over the long rest is held; what is submitted now is not.
    await h.clock.advance(2000)
    await h.ended(await h.submit('echo'))
  })

  test('a signed request that is the first to come after a sleep finds its session ended, though its token is young (T73) [away-1, clock-11]', async () => {
    await using h = await createHarness({
      agents: { brief: { script: puppet, card: { limits: { ttl: '60s' } } } },
    })
    const [brief] = await h.bring('brief')
    h.clock.suspend(62_000)
    const line = { kind: 'log', to: 'hub', body: { level: 'info', text: 'x' } } as const
    // Refused, or cut off because its container has been stopped by then.
    const status = await h.pumped(
      brief.send(line).then(
        (answer) => answer.status,
        () => 401,
      ),
      1,
    )
    expect([status, h.task(brief.joined?.task.task ?? '').state]).toEqual([401, 'timed_out'])
    expect(h.audit().filter(({ action, outcome }) => action === 'task.logged' && outcome === 'ok')).toEqual([])
  })

  test('a minute of sleep ends nobody and holds new work until the next lease, which is not taken for an old one (T73) [cond-14]', async () => {
    await using h = await harness()
    const [one] = await h.bring('one')
    h.clock.suspend(60_000)
    await h.clock.advance(1100)
    expect(conditions(h)).toEqual(['lease_pending'])
    h.clock.suspend(60_000)
    await h.lease()
    expect(conditions(h)).toEqual([])
    await h.pumped(one.renew())
    await h.pumped(one.result('well'))
    expect(h.task(one.joined?.task.task ?? '').state).toBe('succeeded')
  })

  test('a clock set back an hour revives no token and extends no container; new work waits until it is right (T71) [clock-12]', async () => {
    await using h = await harness()
    const [one] = await h.bring('one')
    const bornAt = h.clock.bootMs()
    const old = one.token
    await h.clock.advance(200_000)
    await h.pumped(one.renew())
    await h.clock.advance(200_000)
    h.clock.stepWall(-3_600_000)
    await h.clock.advance(2000)
    expect(conditions(h)).toEqual(['clock_fault'])
    one.token = old
    const revived = await h.pumped(one.send({ kind: 'log', to: 'hub', body: { level: 'info', text: 'x' } }))
    expect(revived.status).toBe(401)
    expect(h.audit().at(-1)?.reason).toContain('the token has expired')
    expect((await h.operator('POST', '/v1/tasks', { agent: 'echo' })).body.code).toBe('mode_degraded')
    await h.pumped(one.renew())
    expect((await h.pumped(one.send({ kind: 'log', to: 'hub', body: { level: 'info', text: 'x' } }))).status).toBe(200)
    while (!one.ended.aborted) {
      await h.pumped(one.renew().catch(() => undefined))
      await h.clock.advance(60_000)
    }
    const lived = h.clock.bootMs() - bornAt
    expect([lived > 3_540_000, lived < 3_720_000]).toEqual([true, true])
    await h.quiet()
    await h.lease()
    expect((await h.operator('POST', '/v1/mode/resume', {})).status).toBe(200)
    expect(conditions(h)).toEqual([])
  })

  test('a clock ten years ahead kills nobody and renews nothing until it returns or the operator takes it (T72) [clock-13]', async () => {
    await using h = await harness()
    const [one] = await h.bring('one')
    const years = 87_600 * 3_600_000
    h.clock.stepWall(years)
    await h.clock.advance(60_000)
    expect(conditions(h)).toEqual(['clock_fault'])
    expect(await renewing(h, one)).toBe('mode_degraded')
    expect(one.ended.aborted).toBe(false)
    h.clock.stepWall(-years)
    await h.clock.advance(2000)
    expect(conditions(h)).toEqual([])
    await h.pumped(one.renew())
    h.clock.stepWall(years)
    await h.clock.advance(2000)
    expect((await h.operator('POST', '/v1/mode/resume', {})).status).toBe(200)
    await h.pumped(one.renew())
    expect(conditions(h)).toEqual([])
  })

  test('a start with the clock below the mark takes no work until the clock passes it (T74) [cond-13, clock-9]', async () => {
    await using h = await harness()
    await h.clock.advance(6000)
    await h.stop()
    h.clock.stepWall(-86_400_000)
    await h.start()
    expect(conditions(h)).toEqual(['clock_fault'])
    expect((await h.operator('POST', '/v1/tasks', { agent: 'echo' })).body.code).toBe('mode_degraded')
    h.clock.stepWall(86_400_000)
    await h.clock.advance(1100)
    await h.ended(await h.submit('echo'))
  })
})

describe('doctor and health (S0-10, S0-26, S1-16)', () => {
  test('name each fault and what fixes it; rules that are not there, and an audit log that takes nothing, stop new work [cond-7, cond-8]', async () => {
    await using h = await harness()
    await h.clock.advance(6000)
    const row = async (name: string) => {
      const checks = (await h.operator('GET', '/v1/doctor')).body.checks as Record<string, unknown>[]
      return checks.find((check) => check.name === name)
    }
    for (const name of ['store', 'audit', 'policy', 'disk', 'ballast', 'clock', 'pace'])
      expect(await row(name), name).toMatchObject({ ok: true })

    // As after a reload of shipped rules that are damaged on disk.
    h.hub.guard.rules.unloaded(new HubError('policy_unavailable', 'a test', { facts: { broken: 'bundle' } }))
    expect(conditions(h)).toEqual(['policy_unavailable'])
    expect(await row('policy')).toMatchObject({
      ok: false,
      detail: expect.stringMatching(/nothing new starts by the earlier ones: .*a test/),
    })
    expect((await h.operator('POST', '/v1/tasks', { agent: 'echo' })).body.code).toBe('mode_degraded')
    expect((await h.operator('POST', '/v1/policy/reload', {})).status).toBe(200)
    expect(conditions(h)).toEqual([])

    const { store } = h.hub.guard
    store.prepare("create trigger broken before insert on audit_record begin select raise(abort, 'broken'); end").run()
    expect((await h.operator('POST', '/v1/tasks', { agent: 'echo' })).body.code).toBe('audit_unavailable')
    await h.until(() => conditions(h).includes('audit_failing'))
    expect(await row('audit')).toMatchObject({ ok: false, detail: expect.stringContaining('broken') })
    expect((await h.operator('GET', '/healthz')).body.components).toMatchObject({ store: true, audit: false })
    store.prepare('drop trigger broken').run()
    await h.until(() => conditions(h).length === 0)
    await h.ended(await h.submit('echo'))
    expect(h.hub.guard.audit.verify().fault).toBeUndefined()
  })
})
