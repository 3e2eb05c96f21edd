/** The ways to stop and what each leaves behind for the next start (docs/safety.md 5). */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { type FakeWatchdog, openFakeWatchdog } from '../support/fake-watchdog.ts'
import { type AgentSpec, createHarness, type Harness, puppet, worker } from '../support/hub-harness.ts'

const REPEATABLE: AgentSpec = { script: puppet, card: { repeatable: true } }
const conditions = async (h: Harness) =>
  ((await h.operator('GET', '/v1/mode')).body.conditions as { name: string }[]).map(({ name }) => name)
const taskOf = (h: Harness, agent: { joined?: { task: { task: string } } | undefined }) =>
  h.task(agent.joined?.task.task ?? '')
/** Restarted over the same home; `lease` is what the watchdog says then. */
async function again(h: Harness, lease: Record<string, unknown> | undefined): Promise<void> {
  await h.stop()
  await h.start(false)
  if (lease !== undefined) await h.lease(lease)
}
const withWatchdog = async (h: Harness, run: (dog: FakeWatchdog) => Promise<void>) => {
  const dog = await openFakeWatchdog(h.home)
  try {
    await run(dog)
  } finally {
    await dog.close()
  }
}

describe('emergency', () => {
  test('T97: a stop by --emergency waits for no result, holds every task, repeatable or not, and stays until `hub resume` ends it at both [stop-21, stop-22]', async () => {
    await using h = await createHarness({ agents: { deaf: REPEATABLE }, config: { shutdownTimeout: '10m' } })
    await withWatchdog(h, async (dog) => {
      dog.answers['/v1/resume'] = { ended: true, stopId: 5 }
      const [agent] = await h.bring('deaf')
      const waiting = await h.submit('deaf')
      await h.working(2)
      const before = h.clock.monotonicMs()
      const { body } = await h.operator('POST', '/v1/shutdown', { emergency: true, reason: 'smoke' })
      expect(body).toMatchObject({ path: 'hub', requested: 2 })
      expect(h.clock.monotonicMs() - before).toBeLessThan(30_000)
      expect(dog.heard[0]).toEqual({
        path: '/v1/announce',
        body: { kind: 'shutdown', forMs: 300_000, by: 'emergency' },
      })
      await h.until(() => h.exits.length > 0)
      expect(h.exits).toEqual(['emergency_stop'])
      for (const task of [taskOf(h, agent).id, waiting])
        expect(h.task(task)).toMatchObject({ state: 'queued', held: true })

      // A heartbeat shows in the lease as a young age and no demand; it ends nothing here.
      await again(h, { heartbeatAgeMs: 0 })
      expect(await conditions(h)).toEqual(['emergency_stop'])
      expect((await h.operator('GET', '/v1/tasks')).status).toBe(200)
      expect((await h.operator('POST', '/v1/heartbeat', {})).status).toBe(200)
      expect(await conditions(h)).toEqual(['emergency_stop'])
      await expect(h.submit('deaf')).rejects.toThrow('mode_safe')

      expect((await h.operator('POST', '/v1/mode/resume', {})).body.mode).toBe('normal')
      expect(dog.heard.at(-1)?.path).toBe('/v1/resume')
      await h.clock.advance(10_000)
      expect(h.started).toHaveLength(2)
    })
  })

  test('with the watchdog away resume ends the hub side and says what is left to do; the lease then brings it back', async () => {
    await using h = await createHarness({ agents: { deaf: REPEATABLE } })
    await h.lease({ demand: 'safe', conditions: ['emergency_stop'], stopId: 9 })
    const { status, body } = await h.operator('POST', '/v1/mode/resume', {})
    expect([status, body.code]).toEqual([504, 'timed_out'])
    await h.lease({ demand: 'safe', conditions: ['emergency_stop'], stopId: 9 })
    expect(await conditions(h)).toEqual(['emergency_stop'])
  })

  test('an emergency speeds up a plain stop that is under way, once, with one answer for both [stop-48]', async () => {
    await using h = await createHarness({ agents: { deaf: REPEATABLE }, config: { shutdownTimeout: '20m' } })
    await h.bring('deaf')
    const before = h.clock.monotonicMs()
    const first = h.operator('POST', '/v1/shutdown', {})
    await h.until(() => h.hub.guard.modes.has('draining'))
    const second = await h.operator('POST', '/v1/shutdown', { emergency: true })
    expect((await first).body).toEqual(second.body)
    expect(h.clock.monotonicMs() - before).toBeLessThan(60_000)
    await h.until(() => h.exits.length > 0)
    expect(h.exits).toEqual(['emergency_stop'])
    expect(h.hub.guard.modes.has('emergency_stop')).toBe(true)
  })

  test('I6: a stop that comes while a restart is under way stops everything, and the restart does not happen', async () => {
    await using h = await createHarness({ agents: { deaf: REPEATABLE } })
    const [agent] = await h.bring('deaf')
    const restart = h.operator('POST', '/v1/shutdown', { exit: 'restart' })
    await h.until(() => h.hub.guard.modes.has('draining'))
    const { body } = await h.operator('POST', '/v1/shutdown', { emergency: true })
    expect(body).toMatchObject({ requested: 1, containers: [{ session: agent.session, outcome: 'gone' }] })
    expect((await restart).body).toMatchObject({ requested: 0, containers: [] })
    await h.until(() => h.exits.length > 0)
    expect(h.exits).toEqual(['emergency_stop'])
  })

  test('I6: a database whose sessions cannot be read keeps no container: what carries the label is stopped and confirmed [stop-50]', async () => {
    await using h = await createHarness({ agents: { deaf: REPEATABLE } })
    const [agent] = await h.bring('deaf')
    vi.spyOn(h.hub.work.tasks, 'sessionsOpen').mockImplementation(() => {
      throw new Error('disk I/O error')
    })
    const { status, body } = await h.operator('POST', '/v1/shutdown', { emergency: true })
    expect([status, body]).toEqual([
      200,
      {
        path: 'hub',
        requested: 1,
        containers: [{ container: expect.any(String), session: agent.session, outcome: 'gone' }],
      },
    ])
    await h.until(() => h.exits.length > 0)
    expect(h.exits).toEqual(['emergency_stop'])
  })

  test('an order left in the home while both were dead is obeyed at the start, and resume takes it back', async () => {
    await using h = await createHarness({ agents: { deaf: REPEATABLE } })
    const [agent] = await h.bring('deaf')
    const task = taskOf(h, agent).id
    await h.kill()
    for (const container of h.engine.containers.values()) container.exit(137)
    h.engine.containers.clear()
    writeFileSync(join(h.home, 'stop-order'), JSON.stringify({ by: 'emergency', reason: 'fire' }))
    await h.start(true)
    expect(h.task(task)).toMatchObject({ state: 'queued', held: true, crashes: 0 })
    expect(await conditions(h)).toEqual(['emergency_stop'])
    await withWatchdog(h, async (dog) => {
      dog.answers['/v1/resume'] = { ended: true, stopId: 1 }
      await h.operator('POST', '/v1/mode/resume', {})
    })
    expect(readFileSync(join(h.home, 'stop-order'), 'utf8').replaceAll('\0', '')).toBe('')
    await again(h, {})
    expect(await conditions(h)).toEqual([])
  })
})

describe('stopped by the watchdog while the hub was dead', () => {
  test.each([
    ['a plain stop', {}, 'normal'],
    ['the contact', { demand: 'safe', conditions: ['emergency_stop'] }, 'safe'],
    ['the ceiling', { demand: 'safe', conditions: ['unattended_stop', 'heartbeat_missed'] }, 'safe'],
  ])(
    '%s: what was at work and what waited comes back held, repeatable or not, before anything starts [stop-27]',
    async (_by, word, mode) => {
      await using h = await createHarness({ agents: { deaf: REPEATABLE } })
      const [agent] = await h.bring('deaf')
      const task = taskOf(h, agent).id
      await h.kill()
      for (const container of h.engine.containers.values()) container.exit(137)
      h.engine.containers.clear()
      await h.start(false)
      await h.clock.advance(10_000)
      expect(h.task(task)).toMatchObject({ state: 'queued', held: false })
      await h.lease({ ...word, stopId: 9 })
      await h.clock.advance(10_000)
      expect(h.task(task)).toMatchObject({ state: 'queued', held: true })
      expect((await h.operator('GET', '/v1/mode')).body.mode).toBe(mode)
      expect(h.started).toHaveLength(1)
      // Released by the operator it runs again, and the same stop holds it no second time.
      if (mode === 'normal') {
        await h.operator('POST', `/v1/tasks/${task}/release`)
        await h.working(1)
        await h.lease({ stopId: 9 })
        expect(h.task(task)).toMatchObject({ state: 'running', held: false })
      }
    },
  )

  test('with the engine away at the start, what the reconcile finds later comes back held as well', async () => {
    await using h = await createHarness({ agents: { deaf: REPEATABLE } })
    const [agent] = await h.bring('deaf')
    const task = taskOf(h, agent).id
    await h.kill()
    for (const container of h.engine.containers.values()) container.exit(137)
    h.engine.containers.clear()
    h.engine.fault('list', 'fail', 3)
    await h.start(false)
    await h.lease({ stopId: 9 })
    expect(h.task(task)).toMatchObject({ state: 'running', held: true })
    await h.until(() => h.task(task).state === 'queued')
    expect(h.task(task)).toMatchObject({ held: true, crashes: 0 })
  })
})

describe('a plain stop', () => {
  test.each(['shutdown', 'down'])(
    '(%s) holds what only waited too, tells the watchdog, and is no emergency at the next start [stop-12, stop-17]',
    async (exit) => {
      await using h = await createHarness({
        agents: { one: { script: puppet, card: { limits: { sessions: 1 } } } },
        config: { shutdownTimeout: '1s' },
      })
      await withWatchdog(h, async (dog) => {
        await h.bring('one')
        const waiting = await h.submit('one')
        await h.operator('POST', '/v1/shutdown', { exit })
        expect(dog.heard.find(({ path }) => path === '/v1/announce')?.body).toEqual({ kind: exit, forMs: 300_000 })
        expect(h.task(waiting)).toMatchObject({ state: 'queued', held: true })
        await h.until(() => h.exits.length > 0)
        expect(h.exits).toEqual([exit])
        await again(h, {})
        expect(await conditions(h)).toEqual([])
      })
    },
  )

  test('the signed head reaches the watchdog before the hub is gone, however it ends (T100) [stop-42, audit-21]', async () => {
    await using h = await createHarness({ agents: { one: { script: puppet } } })
    await withWatchdog(h, async (dog) => {
      await h.bring('one')
      await h.operator('POST', '/v1/shutdown', {})
      await h.stop()
      const last = dog.heard.filter(({ path }) => path === '/v1/witness').at(-1)?.body
      const checkpoints = last?.checkpoints as { size: number; head: string }[]
      expect(checkpoints.at(-1)).toMatchObject({ size: last?.auditSize, head: last?.auditHead })
      expect(JSON.stringify(last).length).toBeLessThan(4096)
      await h.start()
      expect(h.audit().length, 'the first record after it').toBeGreaterThan(Number(last?.auditSize))
      expect(h.audit()[Number(last?.auditSize) - 1]).toMatchObject({ hash: last?.auditHead })
      await h.submit('one')
      dog.heard.length = 0
      await h.stop()
      expect(dog.heard.map(({ path }) => path)).toContain('/v1/witness')
      await h.start()
    })
  })

  test('restart holds nothing: what waits goes on, and what runs is taken over [stop-2]', async () => {
    await using h = await createHarness({ agents: { one: { script: puppet, card: { limits: { sessions: 1 } } } } })
    await h.bring('one')
    const waiting = await h.submit('one')
    await h.operator('POST', '/v1/shutdown', { exit: 'restart' })
    expect(h.task(waiting)).toMatchObject({ state: 'queued', held: false })
  })

  test('inboxes are closed once everybody was told to finish: neighbours write no more, the hub still does [mode-6, stop-39]', async () => {
    const told: string[] = []
    await using h = await createHarness({
      agents: {
        talker: {
          script: worker(async (agent) => {
            await agent.next(({ kind }) => kind === 'finish')
            await agent
              .say({ kind: 'request', to: 'agent:deaf', type: 'x', body: {} })
              .catch((error: Error) => told.push(error.message))
            return {}
          }),
          card: { may: { message: ['deaf'] }, messages: { sends: { x: null } } },
        },
        deaf: { script: puppet, card: { messages: { receives: { x: null } } } },
      },
      config: { shutdownTimeout: '30m' },
    })
    await h.bring('deaf', 'talker')
    const stopping = h.operator('POST', '/v1/shutdown', {})
    await h.until(() => told.length > 0)
    await h.operator('POST', '/v1/shutdown', { emergency: true })
    await stopping
    expect(told).toEqual([expect.stringContaining('inbox_closed')])
  })

  test('X1: what the engine still shows of ours without a session is stopped and reported too; an engine that is silent at the end is said', async () => {
    await using h = await createHarness({ agents: { deaf: REPEATABLE } })
    h.engine.addForeign('hub-test-stray', { 'hub.instance': h.instance, 'hub.session': 'sstray' }, 'created')
    const { body } = await h.operator('POST', '/v1/shutdown', {})
    expect(body).toEqual({
      path: 'hub',
      requested: 1,
      containers: [{ container: 'hub-test-stray', session: 'sstray', outcome: 'gone' }],
    })
  })
})

test('S1-30: a hub that starts after the unattended stop answers reads, starts nothing and holds, until a lease comes without it [stop-30]', async () => {
  await using h = await createHarness({ agents: { deaf: REPEATABLE } })
  await h.lease({ demand: 'safe', conditions: ['unattended_stop'] })
  await again(h, undefined)
  // It waits for its first lease, and obeys the last one meanwhile.
  expect(await conditions(h)).toEqual(expect.arrayContaining(['unattended_stop', 'lease_pending']))
  expect((await h.operator('GET', '/v1/tasks')).status).toBe(200)
  await expect(h.submit('deaf')).rejects.toThrow('mode_')
  await h.lease({ demand: 'safe', conditions: ['unattended_stop'] })
  await h.clock.advance(60_000)
  expect([await conditions(h), h.started]).toEqual([['unattended_stop'], []])
  await h.lease({})
  expect(await conditions(h)).toEqual([])
  await h.submit('deaf')
})
