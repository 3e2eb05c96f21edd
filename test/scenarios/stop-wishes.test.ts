/**
 * A stop that was acknowledged while the store could not be written stays one, whatever comes next: a killed hub, a restart, a second
 * try, more stops than there is room for (I6, S1-18, fault G1).
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { WISHES_MAX } from '../../hub/guard/operator/stop-wishes.ts'
import { openStore } from '../../hub/store/database.ts'
import { migrate, shippedMigrations } from '../../hub/store/migrations.ts'
import { initTemplate, mountSmall, openFaultHome } from '../support/fault-home.ts'
import { type AgentSpec, createHarness, forever, type Harness, puppet, worker } from '../support/hub-harness.ts'

const card = { repeatable: true, may: { delegate: ['two'] }, stallAfter: '2h' }
const agents: Record<string, AgentSpec> = {
  one: { script: puppet, card },
  two: { script: puppet, card: { repeatable: true, stallAfter: '2h' } },
  echo: { script: worker(() => 'done'), card: { repeatable: true } },
}
const service: AgentSpec = {
  script: async (agent) => {
    await agent.join()
    return forever(agent)
  },
  card: { mode: 'service', stallAfter: '2h' },
  policy: { service: true, submit: false },
}
/** The disk failed: nothing is written any more by this process (database.ts S3). */
const breakStore = (h: Harness) =>
  h.hub.guard.store.heard(Object.assign(new Error('disk I/O error'), { code: 'SQLITE_IOERR_WRITE' }))
const held = (h: Harness, id: string) => h.submit(id, {}, { hold: true })
const post = (h: Harness, path: string, body: object = {}) => h.operator('POST', path, body)
const stopping = { kept: 'file', detail: expect.stringContaining('stopping, not written yet') }
const records = (h: Harness, action: string) => h.audit().filter((record) => record.action === action)
const again = async (h: Harness) => {
  await h.kill()
  await h.start()
}

describe('fault G1: with a store that takes nothing any more, and kill -9 right after the answer', () => {
  test('a queued task, a running one and the child it delegated are cancelled after the restart and never run; each stop is recorded once [audit-13]', async () => {
    await using h = await createHarness({ agents })
    const queued = await held(h, 'echo')
    const [one] = await h.bring('one')
    const parent = h.hub.work.tasks.session(one.session)?.task ?? ''
    await h.pumped(one.send({ kind: 'delegate', body: { agent: 'two' } }))
    await h.working(2)
    const [child] = h.hub.work.tasks.children(parent)
    breakStore(h)
    for (const id of [queued, parent]) {
      const { status, body } = await post(h, `/v1/tasks/${id}/cancel`)
      expect([status, body.unwritten]).toEqual([200, stopping])
    }
    await h.until(() => h.engine.containers.size === 0, 'the containers are gone')
    const startedBefore = h.started.length
    await again(h)
    for (const id of [queued, parent, child?.id ?? '']) expect(h.task(id).state).toBe('cancelled')
    await h.clock.advance(60_000)
    expect(h.started).toHaveLength(startedBefore)
    expect(records(h, 'task.cancelled').map(({ resource, outcome, reason }) => [resource, outcome, reason])).toEqual(
      [queued, parent].map((id) => [`task:${id}`, 'ok', 'stopped while the store could not be written']),
    )
    expect((await h.operator('GET', '/v1/audit/verify')).body).toMatchObject({ ok: true })
    const { mode } = (await h.operator('GET', '/v1/mode')).body
    expect(mode).toBe('normal')
    // The next restart has nothing left to carry out.
    await again(h)
    expect(records(h, 'task.cancelled')).toHaveLength(2)
  })

  test('a session that is stopped, one that is revoked and one that is quarantined: their tasks do not run again', async () => {
    await using h = await createHarness({ agents })
    const [one, two, three] = await h.bring('one', 'two', 'one')
    const tasks = [one, two, three].map(({ session }) => h.hub.work.tasks.session(session)?.task ?? '')
    breakStore(h)
    const [stop, revoke, quarantine] = [
      await post(h, `/v1/sessions/${one.session}/stop`),
      await post(h, `/v1/sessions/${two.session}/revoke`),
      await post(h, `/v1/sessions/${three.session}/quarantine`),
    ]
    for (const { status, body } of [stop, revoke, quarantine])
      expect([status, body.unwritten], JSON.stringify(body)).toEqual([200, stopping])
    await h.until(() => h.engine.containers.size === 0, 'the containers are gone')
    await again(h)
    expect(tasks.map((id) => h.task(id).state)).toEqual(['cancelled', 'failed', 'failed'])
    for (const action of ['session.stopped', 'session.revoked', 'session.quarantined'])
      expect(records(h, action).map(({ outcome }) => outcome)).toEqual(['ok'])
    await h.quiet()
  })

  test('a service that is stopped ends in the rows too, and is started again as after any stop', async () => {
    await using h = await createHarness({ agents: { service } })
    const open = () => h.hub.work.tasks.sessionsOpen().filter(({ state }) => state === 'working')
    await h.until(() => open().length === 1, 'it runs', 200)
    const [first] = open()
    breakStore(h)
    expect((await post(h, `/v1/sessions/${first?.id}/stop`)).body.unwritten).toEqual(stopping)
    await again(h)
    expect(h.task(first?.task ?? '').state).toBe('cancelled')
    await h.until(() => open().length === 1 && open()[0]?.id !== first?.id, 'another one runs', 200)
  })

  test('safe mode stays, a revoked card and a revoked device stay revoked, an emergency stop holds everything', async () => {
    await using h = await createHarness({ agents })
    const queued = await held(h, 'echo')
    await post(h, `/v1/tasks/${queued}/release`)
    const device = await post(h, '/v1/devices', { name: 'phone', kind: 'app', rights: ['view', 'stop'] })
    expect(device.status, JSON.stringify(device.body)).toBe(200)
    await h.ended(queued)
    const waiting = await held(h, 'echo')
    await post(h, `/v1/contact/card`, { name: 'Anna', operator: 'Ben' })
    expect(h.hub.guard.contact.current()).toBeDefined()
    breakStore(h)
    for (const [path, body] of [
      ['/v1/mode/safe', { reason: 'x'.repeat(400) }],
      ['/v1/devices/phone/revoke', {}],
      ['/v1/contact/revoke', {}],
    ] as const)
      expect((await post(h, path, body)).body.unwritten).toEqual(stopping)
    expect((await post(h, '/v1/shutdown', { emergency: true })).status).toBe(200)
    await again(h)
    const names = h.hub.guard.modes.active().map(({ name }) => name)
    expect(names).toEqual(expect.arrayContaining(['operator_request', 'emergency_stop']))
    expect(names).not.toContain('draining')
    expect(h.hub.guard.contact.current()).toBeUndefined()
    expect(h.hub.guard.credentials.namesInForce()).toEqual([])
    expect(h.task(waiting)).toMatchObject({ state: 'queued', held: true })
  })
})

test('fault G1: on a full disk the stop is the first thing written when there is room, and nothing of it starts in between', async () => {
  await using h = await createHarness({ agents })
  const { store } = h.hub.guard
  const pages = store.prepare('pragma page_count').pluck().get()
  const queued = await held(h, 'echo')
  store.transaction(() => store.prepare('create table filler (bytes blob)').run())
  store.prepare(`pragma max_page_count = ${pages}`).get()
  for (;;) {
    try {
      store.prepare('insert into filler values (zeroblob(3000))').run()
    } catch {
      break
    }
  }
  // Until the last free place of the last page is used up, records still fit.
  for (let refused = 0; refused < 10; ) refused = (await post(h, '/v1/agents/reload')).status === 503 ? refused + 1 : 0
  const { body } = await post(h, `/v1/tasks/${queued}/cancel`)
  expect(body.unwritten).toEqual(stopping)
  expect((await post(h, '/v1/tasks/00000000-0000-7000-8000-000000000000/cancel')).body.code).toBe('unknown_task')
  const before = h.audit().length
  store.prepare('pragma max_page_count = 1000000').get()
  // Nothing new yet, but the first call that comes has written what waited.
  expect((await post(h, `/v1/tasks/${queued}/release`)).body.code).toBe('mode_degraded')
  expect(h.task(queued).state).toBe('cancelled')
  await h.until(() => h.hub.guard.modes.current() === 'normal', 'it is well again')
  expect((await post(h, `/v1/tasks/${queued}/release`)).body.code).toBe('already_resolved')
  const [first] = h.audit().slice(before)
  expect(['task.cancelled', 'agent.reloaded']).toContain(first?.action)
  expect(records(h, 'task.cancelled').filter(({ outcome }) => outcome === 'ok')).toHaveLength(1)
  expect((await h.operator('GET', '/v1/audit/verify')).body).toMatchObject({ ok: true })
})

test('fault G1: more stops than there is room for hold everything, also after the restart, and what found no room is counted [stop-50]', async () => {
  await using h = await createHarness({ agents })
  const tasks: string[] = []
  for (let nth = 0; nth <= WISHES_MAX + 1; nth += 1) tasks.push(await held(h, 'echo'))
  const other = await h.submit('echo', {}, { hold: true })
  breakStore(h)
  const kept: unknown[] = []
  for (const id of tasks) kept.push(((await post(h, `/v1/tasks/${id}/cancel`)).body.unwritten as { kept: string }).kept)
  expect(kept).toEqual([...Array(WISHES_MAX).fill('file'), 'all_held', 'all_held'])
  expect(h.hub.guard.modes.has('operator_request')).toBe(true)
  await again(h)
  expect(h.hub.guard.modes.has('operator_request')).toBe(true)
  expect(tasks.slice(0, WISHES_MAX).every((id) => h.task(id).state === 'cancelled')).toBe(true)
  for (const id of [...tasks.slice(WISHES_MAX), other])
    expect(h.task(id)).toMatchObject({ state: 'queued', held: true })
  expect(records(h, 'hub.observed').map(({ reason }) => reason)).toContain(
    '2 more stops were accepted before the restart; their records did not survive it',
  )
})

describe('a real hub process', () => {
  let folder: string
  let template: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'wishes-'))
    template = initTemplate(join(folder, 'template'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const hub = (home: string, ...words: string[]) =>
    spawnSync(process.execPath, ['hub/client/cli.ts', '--home', home, ...words], { encoding: 'utf8' })

  function queuedIn(home: string): string {
    const id = '019a0000-0000-7000-8000-000000000001'
    const store = openStore(join(home, 'hub.db'))
    migrate(store, shippedMigrations(), 0, () => undefined)
    const row = `insert into task (id, state, agent, needs, params, priority, held, depth, chain, requested_by, created_at_ms)
      values (?, 'queued', 'echo', '[]', '{}', 5, 0, 0, '[]', 'operator', 0)`
    store.transaction(() => void store.prepare(row).run(id))
    store.close()
    return id
  }

  const ways = [
    ['a limit on the size of files', 'limit'],
    ['a file system filled to the last byte', 'full'],
  ] as const
  test.for(ways)(
    'fault G1: under %s `hub task cancel` ends with 8 and still counts after kill -9 [stop-50]',
    async ([, way], { skip }) => {
      const disk = way === 'full' ? mountSmall('size=24m') : undefined
      if (way === 'full' && disk === undefined) return skip('no small file system can be mounted')
      const home = way === 'full' ? join(disk?.folder ?? '', 'home') : mkdtempSync(join(folder, 'h-'))
      if (way === 'full') mkdirSync(home, { mode: 0o700 })
      const h = openFaultHome(home, template)
      try {
        // No engine, so nothing could be submitted: the row is what a hub before it left.
        const id = queuedIn(home)
        expect(await h.start()).toBe('up')
        const filler = join(home, 'filler')
        if (way === 'limit') {
          const size = statSync(join(home, 'hub.db-wal')).size
          execFileSync('prlimit', ['--pid', String(h.pid()), `--fsize=${Math.max(size, 200_000)}`])
        } else {
          for (const bytes of [1024 ** 2, 4096]) {
            try {
              for (;;) writeFileSync(filler, Buffer.alloc(bytes), { flag: 'a' })
            } catch {}
          }
          rmSync(join(home, 'ballast'), { force: true })
          try {
            for (;;) writeFileSync(filler, Buffer.alloc(4096), { flag: 'a' })
          } catch {}
        }
        await h.until(async () => !(await h.write()), 'the store takes nothing any more')
        const said = hub(home, 'task', 'cancel', id)
        expect([said.status, said.stdout.trim(), said.stderr.trim()]).toEqual([
          8,
          `${id} stopping, not written yet`,
          expect.stringContaining('written first, also after a restart'),
        ])
        const asJson = hub(home, '--json', 'task', 'cancel', id)
        expect([asJson.status, JSON.parse(asJson.stdout).unwritten.kept]).toEqual([8, 'file'])
        h.close()
        await h.ended()
        rmSync(filler, { force: true })
        expect(await h.start()).toBe('up')
        const shown = await h.operator('GET', `/v1/tasks/${id}`)
        expect((shown.body.task as { state: string }).state).toBe('cancelled')
        const { body: log } = await h.operator('GET', '/v1/audit?action=task.cancelled&limit=100')
        // The second word was the same wish: it is counted.
        expect(log.records).toHaveLength(1)
        const { body: counted } = await h.operator('GET', '/v1/audit?action=hub.observed&outcome=failed&limit=100')
        expect(counted.records).toMatchObject([{ reason: expect.stringMatching(/^1 more stop/) }])
        expect((await h.operator('GET', '/v1/audit/verify')).body).toMatchObject({ ok: true })
      } finally {
        h.close()
        disk?.()
      }
    },
  )
})
