/** What is asked again and again costs what is at work now, and not all that ever was (faults B2 and B3): each question finds its rows by an index. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { taskView } from '../../../hub/edge/views.ts'
import type { SessionState } from '../../../hub/protocol/task.ts'
import { openStore, type Store } from '../../../hub/store/database.ts'
import { migrate, shippedMigrations } from '../../../hub/store/migrations.ts'
import { createTaskRows, type TaskRows } from '../../../hub/work/dispatch/rows.ts'
import { createRunRows } from '../../../hub/work/runs/run-rows.ts'

let folder: string
let store: Store
let asked: string[]
let rows: TaskRows
/** Every statement that is prepared is kept, to be explained. */
const watched = (): Store => ({
  ...store,
  prepare(sql) {
    asked.push(sql)
    return store.prepare(sql)
  },
})
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hub-plans-'))
  store = openStore(join(folder, 'hub.db'))
  migrate(store, shippedMigrations(), 1, () => undefined)
  asked = []
  rows = createTaskRows(watched())
})
afterEach(() => {
  store.close()
  rmSync(folder, { recursive: true })
})

const plan = (sql: string): string[] =>
  (
    store.prepare(`explain query plan ${sql}`).all(...Array(sql.split('?').length - 1).fill(1)) as { detail: string }[]
  ).map(({ detail }) => detail)

it.each<[string, (rows: TaskRows) => unknown]>([
  ['how many tasks wait and run', (r) => r.countByState()],
  ['how many are held', (r) => r.countHeld()],
  ['whether any waits', (r) => r.hasUnheld()],
  ['what is queued', (r) => r.queued(0)],
  ['what may have a container', (r) => r.sessionsOpen()],
  ['a page of tasks', (r) => r.tasks({ limit: 25 })],
  ['the next page', (r) => r.tasks({ limit: 25, before: '018f0000' })],
  ['tasks of a state', (r) => r.tasks({ limit: 25, state: 'timed_out' })],
  ['tasks below one', (r) => r.tasks({ limit: 25, parent: 'x' })],
  ['a page of sessions', (r) => r.sessions({ limit: 25, all: false })],
  ['a page of all sessions', (r) => r.sessions({ limit: 25, all: true })],
  ['the task of a service', (r) => r.openServiceTask('a')],
  ['the last tasks of a service', (r) => r.serviceTasks('a', 5)],
])('%s', (_, ask) => {
  asked = []
  ask(rows)
  const steps = asked.flatMap(plan)
  expect(steps.length).toBeGreaterThan(0)
  for (const step of steps) expect(step).not.toMatch(/^SCAN (task|session)(?! USING)/)
})

it('pages come out of an index in order, never sorted', () => {
  for (const ask of [
    () => rows.tasks({ limit: 25 }),
    () => rows.tasks({ limit: 25, state: 'succeeded' }),
    () => rows.sessions({ limit: 25, all: true }),
    () => rows.serviceTasks('a', 5),
  ]) {
    asked = []
    ask()
    expect(asked.flatMap(plan).join('\n'), asked.join()).not.toContain('TEMP B-TREE')
  }
})

it('what may have a container is every session but those that ended', () => {
  store.prepare('pragma foreign_keys = 0').run()
  const all: Record<SessionState, true> = {
    ...{ provisioning: true, starting: true, ready: true, working: true },
    ...{ input_required: true, recycling: true, recycled: true },
  }
  const states = Object.keys(all)
  for (const state of states)
    store
      .prepare(
        `insert into session (id, agent, task, attempt, state, container_name, image_id, authority, expires_at_ms, expires_boot, created_at_ms)
         values (?, 'a', 't', 'x', ?, 'c', 'i', '{}', 1, 'b', 1)`,
      )
      .run(state, state)
  const found = rows.sessionsOpen().map((session) => session.state)
  expect(found.sort()).toEqual(states.filter((state) => state !== 'recycled').sort())
})

it('what waits is due when its wait is over, however long that is; a clock that was set back since holds nothing up (T71, fault D11)', () => {
  const now = 1_700_000_000_000
  const minute = 60_000
  const put = store.prepare(
    `insert into task (id, state, agent, needs, params, priority, held, depth, chain, requested_by, created_at_ms, not_before_ms, waits_from_ms)
     values (?, 'queued', 'a', '[]', '{}', 5, 0, 0, '[]', 'operator', 1, ?, ?)`,
  )
  put.run('begun', now - 1, now - minute)
  put.run('long', now + 10 * minute, now - minute)
  put.run('new', 0, null)
  const due = (atMs: number) =>
    rows
      .queued(atMs)
      .map(({ id }) => id)
      .sort()
  expect(due(now)).toEqual(['begun', 'new'])
  expect(due(now + 10 * minute - 1)).toEqual(['begun', 'new'])
  expect(due(now + 10 * minute)).toEqual(['begun', 'long', 'new'])
  expect(due(now - 60 * minute)).toEqual(['begun', 'long', 'new'])
})

it('a task is shown without reading one of its children (fault D12)', () => {
  const put = store.prepare(
    `insert into task (id, state, agent, needs, params, priority, held, depth, parent, chain, requested_by, created_at_ms)
     values (?, 'queued', 'a', '[]', '{}', 5, 0, 0, ?, '[]', 'operator', 1)`,
  )
  put.run('lead', null)
  for (let nth = 0; nth < 3; nth += 1) put.run(`kid-${nth}`, 'lead')
  const unread = () => {
    throw new Error('a child was read')
  }
  const task = rows.task('lead')
  if (task === undefined) throw new Error('it is there')
  const parts = {
    tasks: { ...rows, children: unread },
    artifacts: { list: () => [] },
    transcripts: { of: () => undefined },
    journal: { progressOf: () => undefined },
    dispatcher: { whyWaits: () => '' },
  }
  expect(taskView(task, parts as never).children).toBe(3)
})

it('which runs and steps are open', () => {
  asked = []
  const runs = createRunRows(watched())
  runs.open()
  runs.stepsAtWork()
  runs.steps('x')
  const steps = asked.flatMap(plan)
  expect(steps.length).toBeGreaterThan(0)
  for (const step of steps) expect(step).not.toMatch(/^SCAN (task|run|step|step_try|plan)(?! USING)/)
})
