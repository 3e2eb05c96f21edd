import { describe, expect, test, vi } from 'vitest'
import { HubError } from '../../hub/base/errors.ts'
import { FAKE_REFUSAL } from '../support/fake-engine.ts'
import { createHarness, type Harness, puppet, worker } from '../support/hub-harness.ts'

const agents = { echo: { script: worker(() => 'done') }, slow: { script: puppet } }
const isAway = (h: Harness) => h.hub.guard.modes.has('engine_unavailable')

describe('the engine is in trouble', () => {
  test.each([
    ['list', 'fail'],
    ['list', 'stall'],
  ] as const)(
    '%s that does %s makes the hub degraded until it answers again, by itself [cond-9]',
    async (verb, how) => {
      await using h = await createHarness({ agents })
      h.engine.fault(verb, how, 2)
      await h.until(() => isAway(h))
      await expect(h.submit('echo')).rejects.toThrow('mode_degraded')
      await h.until(() => !isAway(h), 'it recovers')
      const id = await h.submit('echo')
      await h.ended(id)
      expect(h.task(id)).toMatchObject({ state: 'succeeded', attempts: 1 })
    },
  )

  test.each([
    ['create', 'fail'],
    ['create', 'stall'],
    ['inspect', 'fail'],
    ['waitNextExit', 'fail'],
    ['start', 'fail'],
    ['start', 'stall'],
  ] as const)('%s that does %s puts the task back, and it is done when the engine is well', async (verb, how) => {
    await using h = await createHarness({ agents })
    const modes: string[] = []
    h.hub.guard.events.subscribe(({ type, data }) => type === 'hub.mode.changed.v1' && modes.push(String(data.mode)))
    h.engine.fault(verb, how, 1)
    const id = await h.submit('echo')
    await h.ended(id)
    expect(h.task(id)).toMatchObject({ state: 'succeeded', attempts: 2, crashes: 0 })
    // One call that fails says nothing of the whole engine, which lists its containers all the while (fault A4).
    expect(modes).toEqual([])
    expect(h.started).toHaveLength(1)
    await h.quiet()
    expect(h.hub.work.containment.ledger.list()).toEqual([])
  })

  test.each(['stop', 'remove'] as const)('%s that fails is tried again until the container is gone', async (verb) => {
    await using h = await createHarness({ agents })
    const [slow] = await h.bring('slow')
    h.engine.fault(verb, 'fail', 3)
    await h.operator('POST', `/v1/sessions/${slow.session}/stop`)
    await h.quiet()
    expect(h.hub.work.tasks.session(slow.session)?.state).toBe('recycled')
    expect(h.hub.work.containment.ledger.list()).toEqual([])
  })

  test('while it is away, what runs is served and hands in its result [mode-4]', async () => {
    await using h = await createHarness({ agents })
    const [slow] = await h.bring('slow')
    for (const verb of ['list', 'stop', 'kill', 'remove', 'inspect'] as const) h.engine.fault(verb, 'fail', 4)
    await h.until(() => isAway(h))
    await h.pumped(slow.result('anyway'))
    expect(h.task(slow.joined?.task.task ?? '')).toMatchObject({ state: 'succeeded', outcome: { value: 'anyway' } })
    await h.quiet()
    await h.until(() => !isAway(h))
  })
})

describe('fault A4: an engine that answers is not away', () => {
  /** Every mode that was entered, in order. */
  function modesOf(h: Harness): string[] {
    const modes: string[] = []
    h.hub.guard.events.subscribe(({ type, data }) => type === 'hub.mode.changed.v1' && modes.push(String(data.mode)))
    return modes
  }

  test.each(['create', 'inspect', 'start'] as const)(
    '%s that is refused again and again fails the task after three tries, in the words of the engine; the mode stays normal',
    async (verb) => {
      await using h = await createHarness({ agents })
      const modes = modesOf(h)
      const create = h.engine.create.bind(h.engine)
      // Of each container the one look before its start, not those after its removal.
      h.engine.create = (...words) => {
        if (verb === 'inspect') h.engine.fault('inspect', 'refuse', 1)
        return create(...words)
      }
      if (verb !== 'inspect') h.engine.fault(verb, 'refuse', 3)
      const id = await h.submit('echo')
      const submittedAt = h.clock.monotonicMs()
      await h.ended(id)
      expect(h.task(id)).toMatchObject({ state: 'failed', attempts: 3, crashes: 0, error: { code: 'engine_refused' } })
      expect(h.task(id).error?.detail).toBe(`${FAKE_REFUSAL} (tried 3 times)`)
      expect(h.clock.monotonicMs() - submittedAt).toBeGreaterThanOrEqual(12_000)
      expect(modes).toEqual([])
      expect(h.hub.work.catalogue.registry.find('echo')?.state).toBe('registered')
      await h.quiet()
      expect(h.hub.work.containment.ledger.list()).toEqual([])
    },
  )

  test('one that was only busy does it at the third try', async () => {
    await using h = await createHarness({ agents })
    h.engine.fault('start', 'refuse', 2)
    const id = await h.submit('echo')
    await h.ended(id)
    expect(h.task(id)).toMatchObject({ state: 'succeeded', attempts: 3 })
    await h.quiet()
  })

  test('one that lists its containers and never answers a start is given up too, after six tries', async () => {
    await using h = await createHarness({ agents })
    const modes = modesOf(h)
    h.engine.fault('start', 'fail', 100)
    const id = await h.submit('echo')
    await h.until(() => h.task(id).state === 'failed', 'it fails', 500)
    expect(h.task(id)).toMatchObject({ attempts: 6, error: { code: 'engine_refused' } })
    expect(modes).toEqual([])
    await h.quiet()
  })

  test('one that answers 500 to everything is unwell: degraded, and the task waits for it instead of failing [cond-9]', async () => {
    await using h = await createHarness({ agents })
    for (const verb of ['create', 'inspect', 'start', 'list', 'remove'] as const) h.engine.fault(verb, 'refuse', 1000)
    const id = await h.submit('echo')
    await h.until(() => isAway(h))
    await h.clock.advance(120_000)
    expect(h.task(id).state).toBe('queued')
    for (const verb of ['create', 'inspect', 'start', 'list', 'remove'] as const) h.engine.fault(verb, 'refuse', 0)
    await h.ended(id)
    expect(h.task(id)).toMatchObject({ state: 'succeeded' })
    await h.quiet()
  })
})

describe('fault A11: two bad looks raise, two good ones clear', () => {
  test('a list that fails every second time changes no mode in ten minutes [cond-9]', async () => {
    await using h = await createHarness({ agents })
    const modes: string[] = []
    h.hub.guard.events.subscribe(({ type, data }) => type === 'hub.mode.changed.v1' && modes.push(String(data.mode)))
    const list = h.engine.list.bind(h.engine)
    let looks = 0
    h.engine.list = async (...words) => {
      looks += 1
      if (looks % 2 === 0) throw new HubError('engine_unavailable', 'every second one')
      return list(...words)
    }
    await h.clock.advance(600_000)
    expect(looks).toBeGreaterThan(100)
    expect(modes).toEqual([])
  })

  test('one that freezes is noticed within 17 s, and its return within 12 s', async () => {
    await using h = await createHarness({ agents })
    const list = h.engine.list.bind(h.engine)
    h.engine.list = async (_instance, withinMs = 20_000) => {
      await h.clock.sleep(withinMs)
      throw new HubError('engine_unavailable', 'nothing in time')
    }
    const frozenAt = h.clock.monotonicMs()
    await h.until(() => isAway(h))
    expect(h.clock.monotonicMs() - frozenAt).toBeLessThanOrEqual(17_000)
    await h.clock.advance(30_000)
    h.engine.list = list
    const backAt = h.clock.monotonicMs()
    await h.until(() => !isAway(h))
    expect(h.clock.monotonicMs() - backAt).toBeLessThanOrEqual(12_000)
    await h.ended(await h.submit('echo'))
    await h.quiet()
  })
})

test('fault A3: an engine with which no API version can be agreed is a critical alert that says so, ended by the first that can [watch-6]', async () => {
  await using h = await createHarness({ agents })
  const { alerts } = h.hub.guard
  const [slow] = await h.bring('slow')
  h.engine.disagrees = 'it speaks only API 1.60 and later'
  for (const verb of ['list', 'stop', 'kill', 'remove', 'inspect'] as const) h.engine.fault(verb, 'fail', 4)
  await h.until(() => alerts.isOpen('engine_unsupported'))
  const [alert] = alerts.list().filter(({ cause }) => cause === 'engine_unsupported')
  expect(alert).toMatchObject({ severity: 'critical', holds: false })
  expect(alert?.text).toContain('only API 1.60')
  expect(alert?.text).toContain('docker rm -f $(docker ps -aq --filter label=hub.instance=test-instance)')
  expect(isAway(h)).toBe(true)
  h.engine.disagrees = undefined
  await h.until(() => !alerts.isOpen('engine_unsupported'))
  await h.until(() => !isAway(h))
  expect(h.hub.guard.modes.has('critical_alert')).toBe(false)
  await h.pumped(slow.result('anyway'))
  expect(h.task(slow.joined?.task.task ?? '')).toMatchObject({ state: 'succeeded', outcome: { value: 'anyway' } })
})

describe('fault A6: a container that the engine cannot remove', () => {
  const stuck = (h: Harness) =>
    h.hub.guard.alerts.list(true).filter(({ cause }) => cause.startsWith('kill_unconfirmed'))

  test('shown as dead: its slot is free at once, a warning tells of it, the mode stays normal, and it goes later as an orphan', async () => {
    await using h = await createHarness({ agents })
    const [slow] = await h.bring('slow')
    h.engine.setState(slow.container.id, 'dead')
    h.engine.fault('remove', 'refuse', 1000)
    await h.operator('POST', `/v1/sessions/${slow.session}/stop`)
    await h.until(() => h.hub.work.tasks.session(slow.session)?.state === 'recycled')
    const { detail, leftBehind } = h.hub.work.tasks.session(slow.session) ?? {}
    expect([detail, leftBehind]).toEqual(['its session was stopped by the operator', expect.stringMatching(/./)])
    expect(h.hub.work.containment.ledger.list()).toEqual([])
    await h.clock.advance(300_000)
    expect(stuck(h)).toMatchObject([{ severity: 'warning' }])
    expect(h.hub.guard.modes.current()).toBe('normal')
    expect(h.hub.work.supervision.reaper.stuck()).toMatchObject([
      { container: slow.container.name, remains: { kind: 'nothing' } },
    ])
    h.engine.fault('remove', 'refuse', 0)
    await h.until(() => h.engine.byName(slow.container.name) === undefined)
    await h.clock.advance(1000)
    expect(h.hub.work.supervision.reaper.stuck()).toEqual([])
  })

  test('that runs on although it was told to stop: critical, safe mode, and shown until it is gone', async () => {
    await using h = await createHarness({ agents })
    const [slow] = await h.bring('slow')
    for (const verb of ['stop', 'kill', 'remove'] as const) h.engine.fault(verb, 'refuse', 1000)
    await h.operator('POST', `/v1/sessions/${slow.session}/stop`)
    await h.clock.advance(120_000)
    expect(h.hub.work.tasks.session(slow.session)?.state).toBe('recycling')
    expect(stuck(h)).toMatchObject([{ severity: 'critical' }])
    expect(h.hub.guard.modes.has('critical_alert')).toBe(true)
    expect(h.hub.work.supervision.reaper.stuck()).toMatchObject([{ container: slow.container.name }])
    for (const verb of ['stop', 'kill', 'remove'] as const) h.engine.fault(verb, 'refuse', 0)
    await h.quiet()
    expect(h.hub.work.supervision.reaper.stuck()).toEqual([])
  })
})

test('fault A10: a stop that the host denies each time is answered within seconds, names what runs on, and no try is spared', async () => {
  await using h = await createHarness({ agents, config: { shutdownTimeout: '1s' } })
  const [slow] = await h.bring('slow')
  for (const verb of ['stop', 'kill', 'remove'] as const) h.engine.fault(verb, 'refuse', 1000)
  const kills = vi.spyOn(h.engine, 'kill')
  const before = h.clock.monotonicMs()
  const { body } = await h.operator('POST', '/v1/shutdown', {})
  expect(body).toMatchObject({ requested: 1, containers: [{ container: slow.container.name, outcome: 'failed' }] })
  expect(h.clock.monotonicMs() - before).toBeLessThan(10_000)
  expect(kills.mock.calls.length).toBeGreaterThanOrEqual(3)
  for (const verb of ['stop', 'kill', 'remove'] as const) h.engine.fault(verb, 'refuse', 0)
})

describe('a task is cancelled while its container is being made', () => {
  test.each(['create', 'inspect', 'start'] as const)('during %s: it goes, and its agent never joins', async (verb) => {
    await using h = await createHarness({ agents })
    let goOn: () => void = () => undefined
    const held = new Promise<void>((resolve) => {
      goOn = resolve
    })
    const before = h.engine[verb].bind(h.engine) as (...words: never[]) => Promise<never>
    h.engine[verb] = (async (...words: never[]) => {
      await held
      return before(...words)
    }) as never
    const id = await h.submit('slow')
    await h.until(() => h.sessionsOf(id).length === 1 && h.hub.work.containment.ledger.list().length === 1)
    await h.clock.advance(500)
    expect((await h.operator('POST', `/v1/tasks/${id}/cancel`)).status).toBe(200)
    await h.clock.advance(3000)
    goOn()
    await h.quiet()
    expect(h.task(id)).toMatchObject({ state: 'cancelled', attempts: 1 })
    expect(h.started.every(({ token }) => token === '')).toBe(true)
    expect(h.started.length).toBe(verb === 'start' ? 1 : 0)
    expect(h.hub.work.containment.ledger.list()).toEqual([])
  })
})

describe('the container is not what was asked for', () => {
  const changes: [string, (answer: Record<string, Record<string, unknown>>) => void][] = [
    ['a writable root', (answer) => Object.assign(answer.HostConfig ?? {}, { ReadonlyRootfs: false })],
    ['a network', (answer) => Object.assign(answer.HostConfig ?? {}, { NetworkMode: 'bridge' })],
    ['another user', (answer) => Object.assign(answer.Config ?? {}, { User: 'root' })],
    ['a capability', (answer) => Object.assign(answer.HostConfig ?? {}, { CapAdd: ['NET_ADMIN'] })],
    ['a field nobody knows', (answer) => Object.assign(answer.HostConfig ?? {}, { Backdoor: true })],
  ]
  test.each(changes)(
    '%s: removed unstarted, the task fails with profile_mismatch, audited (T49)',
    async (_name, change) => {
      await using h = await createHarness({ agents })
      h.engine.alterInspect = change
      const id = await h.submit('echo')
      await h.ended(id)
      expect(h.task(id)).toMatchObject({ state: 'failed', attempts: 1, error: { code: 'profile_mismatch' } })
      await h.quiet()
      expect(h.started).toEqual([])
      expect(h.engine.calls.filter((call) => call.startsWith('start '))).toEqual([])
      expect(h.hub.work.containment.ledger.list()).toEqual([])
      const [session] = h.sessionsOf(id)
      expect(session?.detail).toContain('profile_mismatch')
      const record = h.audit().findLast(({ action }) => action === 'session.observed')
      expect(record).toMatchObject({ resource: `session:${session?.id}`, outcome: 'ok' })
      expect(record?.effect).toMatch(/^failed: profile_mismatch: the engine made the container otherwise/)
    },
  )

  test('a warning of the engine counts as a difference', async () => {
    await using h = await createHarness({ agents })
    h.engine.warnings.push('Your kernel does not support cgroup rt period')
    const id = await h.submit('echo')
    await h.ended(id)
    expect(h.task(id).error?.code).toBe('profile_mismatch')
    await h.quiet()
  })
})

describe('containers that belong to nobody (T61)', () => {
  const labels = (h: Harness) => ({ 'hub.instance': h.instance, 'hub.session': 's234567234567234' })

  test.each(['running', 'exited', 'created', 'paused'] as const)(
    'a labelled one that is %s goes once it is 60 s old',
    async (state) => {
      await using h = await createHarness({ agents })
      h.engine.addForeign('hub-orphan', labels(h), state)
      await h.clock.advance(58_000)
      expect(h.engine.byName('hub-orphan')).toBeDefined()
      await h.clock.advance(8000)
      expect(h.engine.byName('hub-orphan')).toBeUndefined()
      expect(h.audit().at(-1)).toMatchObject({
        action: 'session.reaped',
        resource: 'container:hub-orphan',
        outcome: 'ok',
      })
    },
  )

  test('one without our label, or with that of another hub, is never touched', async () => {
    await using h = await createHarness({ agents })
    h.engine.addForeign('postgres', {})
    h.engine.addForeign('other-hub', { 'hub.instance': 'another', 'hub.session': 's234567234567234' })
    await h.clock.advance(300_000)
    expect([h.engine.byName('postgres'), h.engine.byName('other-hub')]).toMatchObject([
      { state: 'running' },
      { state: 'running' },
    ])
    expect(h.engine.calls.filter((call) => /postgres|other-hub/.test(call))).toEqual([])
  })

  test('a copy with the label of a living session but another name goes, the session itself stays', async () => {
    await using h = await createHarness({ agents })
    const [slow] = await h.bring('slow')
    h.engine.addForeign('hub-copy', { 'hub.instance': h.instance, 'hub.session': slow.session })
    await h.clock.advance(70_000)
    expect(h.engine.byName('hub-copy')).toBeUndefined()
    expect(slow.ended.aborted).toBe(false)
    expect(h.hub.work.tasks.session(slow.session)?.state).toBe('working')
  })

  test('a container taken away behind the back of the hub ends its session as an orphan, and the task comes back held', async () => {
    await using h = await createHarness({ agents })
    const [slow] = await h.bring('slow')
    h.engine.fault('waitNextExit', 'fail', 100)
    h.engine.containers.delete(slow.container.id)
    const id = slow.joined?.task.task ?? ''
    await h.until(() => h.task(id).state === 'queued')
    expect(h.sessionsOf(id)[0]).toMatchObject({ exitReason: 'orphan' })
    expect(h.task(id)).toMatchObject({ held: true, crashes: 0 })
  })
})
