/** A row that cannot be read harms only itself (fault G3): others are dispatched, listed and stopped as if it were not there. */
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { describe, expect, test } from 'vitest'
import { silentLog } from '../../hub/base/telemetry.ts'
import { createLoopWatch } from '../../hub/guard/conditions/loop-watch.ts'
import { settleDatabase } from '../../hub/home/restore.ts'
import { openStore } from '../../hub/store/database.ts'
import { holdRows } from '../../hub/work/dispatch/row-checks.ts'
import { createTaskRows } from '../../hub/work/dispatch/rows.ts'
import { holdTasks } from '../../hub/work/dispatch/shutdown.ts'
import { createHarness, type Harness, puppet, worker } from '../support/hub-harness.ts'

const agents = {
  echo: { script: worker(() => 'done') },
  one: { script: puppet, card: { stallAfter: '2h' } },
}
const create = () => createHarness({ agents })
/** As a bad disk would, behind the hub's back. */
const damage = (h: Harness, sql: string, ...values: unknown[]) => {
  const { store } = h.hub.guard
  store.prepare('pragma ignore_check_constraints = 1').run()
  store.transaction(() => void store.prepare(sql).run(...values))
}
const body = async (h: Harness, path: string) => {
  const answer = await h.operator('GET', path)
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return answer.body
}
const again = async (h: Harness) => {
  await h.kill()
  await h.start()
}
const lists = [
  '/v1/tasks?limit=100',
  '/v1/sessions?limit=100&all=true',
  '/v1/alerts?all=true',
  '/v1/approvals?all=true',
  '/v1/devices',
]

describe('fault G3: one queued task whose row cannot be read', () => {
  test.for([
    ['params that do not parse', `params = '{'`],
    ['needs of the wrong kind', `needs = '{"a":1}'`],
    ['a flipped letter in what it was asked', `params = '{"a":"c"}'`],
    ['a flipped priority', 'priority = 6'],
  ])('%s: it fails by name, the next one runs, and every list is there', async ([, change]) => {
    await using h = await create()
    const bad = await h.submit('echo', { a: 'b' }, { hold: true })
    damage(h, `update task set ${change}, held = 0 where id = ?`, bad)
    const good = await h.submit('echo')
    await h.ended(good)
    await h.until(() => h.task(bad).state === 'failed', 'it fails')
    expect(h.task(bad).error).toMatchObject({ code: 'unreadable' })
    expect(h.task(good).state).toBe('succeeded')
    expect(await h.lease()).toBe(200)
    for (const path of [...lists, '/healthz', `/v1/tasks/${bad}`]) await body(h, path)
    expect((await h.operator('POST', `/v1/tasks/${bad}/retry`)).body.code).toBe('unreadable')
    expect(h.hub.guard.modes.current()).toBe('normal')
  })

  test('while it is held it is listed as unreadable, is not let go, and can be cancelled', async () => {
    await using h = await create()
    const bad = await h.submit('echo', {}, { hold: true })
    damage(h, `update task set params = '{' where id = ?`, bad)
    const { tasks } = (await body(h, '/v1/tasks')) as { tasks: { id: string; unreadable: string; error: unknown }[] }
    expect(tasks[0]).toMatchObject({
      id: bad,
      unreadable: expect.stringContaining('params'),
      error: { code: 'unreadable' },
    })
    expect((await h.operator('POST', `/v1/tasks/${bad}/release`)).body.code).toBe('unreadable')
    expect((await h.operator('POST', `/v1/tasks/${bad}/cancel`)).status).toBe(200)
    expect(h.task(bad).state).toBe('cancelled')
  })
})

describe('fault G3: a step that moves many rows vouches for no damaged one', () => {
  const BIT = `params = replace(params, 'b', 'c')`

  test('a hold of all holds the damaged task too, which is refused when it is let go, fails at dispatch, and is not tried again', async () => {
    await using h = await create()
    const [bad, good, gone] = [
      await h.submit('echo', { a: 'b' }, { hold: true }),
      await h.submit('echo', { a: 'b' }, { hold: true }),
      await h.submit('echo', { a: 'b' }, { hold: true }),
    ]
    for (const id of [bad, gone]) damage(h, `update task set ${BIT}, held = 0 where id = ?`, id)
    const { store } = h.hub.guard
    store.transaction(() => holdRows(store, "'queued', 'running'"))
    for (const [id, unreadable] of [
      [bad, 'it is not as it was written'],
      [gone, 'it is not as it was written'],
      [good, null],
    ] as const)
      expect(h.hub.work.tasks.task(id)).toMatchObject({ held: true, unreadable })
    expect((await h.operator('POST', `/v1/tasks/${bad}/release`)).body.code).toBe('unreadable')
    expect((await h.operator('POST', `/v1/tasks/${gone}/cancel`)).status).toBe(200)
    expect(h.task(gone).state).toBe('cancelled')
    expect((await h.operator('POST', `/v1/tasks/${gone}/retry`)).body.code).toBe('unreadable')
    expect((await h.operator('POST', `/v1/tasks/${good}/release`)).status).toBe(200)
    await h.ended(good)
    expect(h.task(good).state).toBe('succeeded')
    damage(h, 'update task set held = 0 where id = ?', bad)
    await h.until(() => h.task(bad).state === 'failed', 'it fails')
    expect(h.task(bad).error).toMatchObject({ code: 'unreadable' })
  })

  test('by the hold itself: a stop of everything', async () => {
    await using h = await create()
    const bad = await h.submit('echo', { a: 'b' }, { hold: true })
    damage(h, `update task set ${BIT}, held = 0 where id = ?`, bad)
    expect(holdTasks({ gate: h.hub.guard.gate, tasks: h.hub.work.tasks, log: silentLog() })).toBe(true)
    expect(h.hub.work.tasks.task(bad)).toMatchObject({ held: true, unreadable: expect.any(String) })
  })

  test('a home that is put back, or its database', async () => {
    await using h = await create()
    const [bad, good] = [
      await h.submit('echo', { a: 'b' }, { hold: true }),
      await h.submit('echo', { a: 'b' }, { hold: true }),
    ]
    damage(h, `update task set ${BIT}, held = 0 where id = ?`, bad)
    const copy = join(h.home, 'copy.db')
    await h.hub.guard.store.copy(copy)
    const record = { action: 'hub.restored', reason: '', effect: '' }
    expect(settleDatabase(copy, h.clock, { reason: 'a test', record })).toBe(2)
    const store = openStore(copy)
    const rows = createTaskRows(store)
    expect(rows.task(bad)).toMatchObject({ held: true, unreadable: 'it is not as it was written' })
    expect(rows.task(good)).toMatchObject({ held: true, unreadable: null })
    store.close()
  })

  test('an attempt goes on with its session', async () => {
    await using h = await create()
    const provisioned = h.hub.work.tasks.provisioned
    h.hub.work.tasks.provisioned = (grant, session, container) => {
      store.prepare('update attempt set started_at_ms = started_at_ms + 1').run()
      provisioned(grant, session, container)
    }
    const { store } = h.hub.guard
    const [one] = await h.bring('one')
    const task = h.hub.work.tasks.session(one.session)?.task ?? ''
    expect(h.hub.work.tasks.attempts(task)).toMatchObject([{ unreadable: 'it is not as it was written' }])
    expect((await h.operator('POST', `/v1/tasks/${task}/cancel`)).status).toBe(200)
    expect(h.hub.work.tasks.attempts(task)).toMatchObject([{ state: 'stopped', unreadable: expect.any(String) }])
  })
})

describe('fault G3: a session whose row cannot be read', () => {
  test.for([
    ['authority that does not parse', `authority = '{'`],
    ['wider authority', `authority = replace(authority, '"secrets":[]', '"secrets":["x"]')`],
    ['an end that is no instant', `expires_boot = 'x'`],
    ['a state that is none', `state = 'workinf'`],
  ])('%s: it is ended, its task fails, its neighbour works on', async ([, change]) => {
    await using h = await create()
    const [bad, good] = await h.bring('one', 'one')
    const task = h.hub.work.tasks.session(bad.session)?.task ?? ''
    damage(h, `update session set ${change} where id = ?`, bad.session)
    await h.until(() => bad.ended.aborted, 'its container is ended')
    await h.until(() => h.hub.work.tasks.session(bad.session)?.state === 'recycled', 'it is recycled')
    expect(h.task(task)).toMatchObject({ state: 'failed' })
    expect(good.ended.aborted).toBe(false)
    for (const path of lists) await body(h, path)
    expect(h.hub.guard.modes.current()).toBe('normal')
  })

  test('an attempt whose row cannot be read is shown so, and its task ends as it would', async () => {
    await using h = await create()
    const [one] = await h.bring('one')
    const task = h.hub.work.tasks.session(one.session)?.task ?? ''
    damage(h, `update attempt set started_at_ms = started_at_ms + 1, state = 'runninh' where task = ?`, task)
    const { attempts } = await body(h, `/v1/tasks/${task}`)
    expect(attempts).toMatchObject([{ unreadable: expect.any(String) }])
    expect((await h.operator('POST', `/v1/tasks/${task}/cancel`)).status).toBe(200)
    expect(h.task(task).state).toBe('cancelled')
  })
})

test('fault G3: an ended row of the kind is listed, its result is not believed, and what was written before the check is', async () => {
  await using h = await create()
  const [bad, old] = [await h.submit('echo'), await h.submit('echo')]
  await h.ended(bad, old)
  damage(h, `update task set outcome = replace(outcome, 'done', 'dome') where id = ?`, bad)
  damage(h, 'update task set check_sum = null where id = ?', old)
  expect(h.task(bad)).toMatchObject({ state: 'succeeded', error: { code: 'unreadable' } })
  expect(h.task(old)).toMatchObject({ state: 'succeeded', error: null, unreadable: null })
})

test('fault G3: values that no row may hold, in a small database: the hub starts, each row harms only itself, and its neighbours work', async () => {
  await using h = await create()
  const [state, kind, good] = [
    await h.submit('echo', {}, { hold: true }),
    await h.submit('echo', {}, { hold: true }),
    await h.submit('echo', {}, { hold: true }),
  ]
  const [bad] = await h.bring('one')
  const task = h.hub.work.tasks.session(bad.session)?.task ?? ''
  damage(h, `update task set state = 'queuee' where id = ?`, state)
  damage(h, `update session set state = 'workinf' where id = ?`, bad.session)
  damage(h, `update attempt set state = 'runninh' where task = ?`, task)
  // As no column of this kind may be: a letter where a number is.
  await h.kill()
  const file = new Database(join(h.home, 'hub.db'))
  const { sql } = file.prepare(`select sql from sqlite_schema where name = 'task'`).get() as { sql: string }
  file.unsafeMode(true)
  file.pragma('writable_schema = 1')
  file.prepare(`update sqlite_schema set sql = ? where name = 'task'`).run(sql.replace(/\bstrict\s*$/i, ''))
  file.close()
  const loose = new Database(join(h.home, 'hub.db'))
  loose.unsafeMode(true)
  loose.prepare('update task set priority = ? where id = ?').run('high', kind)
  loose.pragma('writable_schema = 1')
  loose.prepare(`update sqlite_schema set sql = ? where name = 'task'`).run(sql)
  loose.close()
  await h.start()
  for (const path of [...lists, '/healthz']) await body(h, path)
  for (const id of [state, kind]) expect((await body(h, `/v1/tasks/${id}`)).task, id).toMatchObject({ id })
  expect((await h.operator('POST', `/v1/tasks/${kind}/release`)).body.code).toBe('unreadable')
  await h.until(() => h.hub.work.tasks.session(bad.session)?.state === 'recycled', 'its session is ended')
  expect((await h.operator('POST', `/v1/tasks/${good}/release`)).status).toBe(200)
  await h.ended(good)
  expect(h.task(good).state).toBe('succeeded')
  expect(h.hub.guard.modes.current()).toBe('normal')
})

test('a value that no row may hold in a table that does not grow still keeps the hub from starting', async () => {
  await using h = await create()
  damage(h, `update audit_month set state = 'opem'`)
  await h.kill()
  await expect(h.start()).rejects.toThrow(/CHECK constraint failed in audit_month.*hub restore/)
  const file = new Database(join(h.home, 'hub.db'))
  file.pragma('ignore_check_constraints = 1')
  file.exec(`update audit_month set state = 'open'`)
  file.close()
  await h.start()
})

test('fault G3: flipped text beside the work: a start takes it in its strictest sense', async () => {
  await using h = await create()
  const device = await h.operator('POST', '/v1/devices', { name: 'phone', kind: 'app', rights: ['view'] })
  expect(device.status).toBe(200)
  await h.operator('POST', '/v1/mode/safe', {})
  damage(h, `update credential set scope = '["view"' where name = 'phone'`)
  damage(h, `update condition set name = 'operator_requesu' where name = 'operator_request'`)
  for (const key of ['drill_last', 'rest_mark']) damage(h, 'insert or replace into meta values (?, ?)', key, '{"')
  await again(h)
  expect(h.hub.guard.modes.has('operator_request')).toBe(true)
  expect(h.hub.guard.credentials.list(['app'])).toMatchObject([{ name: 'phone', scope: [] }])
  for (const path of [...lists, '/healthz', '/v1/health']) await body(h, path)
})

test('fault G3: three failures of a loop in a row are a condition with its reason and an alert, and end with its next success [cond-10]', async () => {
  await using h = await create()
  const { modes, alerts } = h.hub.guard
  const { round } = h.hub.work.supervision.dispatcher
  h.hub.work.supervision.dispatcher.round = () => {
    throw new Error('a row nobody foresaw')
  }
  await h.until(() => modes.has('loop_failing'), 'it is seen')
  expect(modes.active()).toMatchObject([
    { name: 'loop_failing', mode: 'degraded', reason: 'dispatch: a row nobody foresaw' },
  ])
  expect(alerts.isOpen('loop_failing:dispatch')).toBe(true)
  expect(await h.lease(), 'the lease stands apart from it').toBe(200)
  h.hub.work.supervision.dispatcher.round = round
  await h.until(() => modes.current() === 'normal', 'it works again')
  expect(alerts.isOpen('loop_failing:dispatch')).toBe(false)
})

test('two loops that fail are one condition, which ends with the last of them', () => {
  const said: string[] = []
  const watch = createLoopWatch({
    modes: { raise: (name) => said.push(`raise ${name}`), clear: (name) => said.push(`clear ${name}`) },
    alerts: { raise: () => undefined, resolve: () => undefined } as never,
  })
  for (const loop of ['a', 'b']) for (const times of [1, 2, 3, 4]) watch.failed(loop, 'x', times)
  watch.well('a')
  expect(said).toEqual(['raise loop_failing', 'raise loop_failing'])
  watch.well('b')
  expect(said.at(-1)).toBe('clear loop_failing')
})
