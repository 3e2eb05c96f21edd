/** Faults B1 and B3: a task whose `inputs` cannot be read stops neither the step that makes indexes over them nor what takes old tasks away. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { mintGrant } from '../../../../hub/guard/grant.ts'
import { openStore, type Store } from '../../../../hub/store/database.ts'
import { migrate, shippedMigrations } from '../../../../hub/store/migrations.ts'
import { createOldArtifacts } from '../../../../hub/work/retention/old-artifacts.ts'
import { createOldTasks } from '../../../../hub/work/retention/old-tasks.ts'

let folder: string
let store: Store
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hub-inputs-'))
  store = openStore(join(folder, 'hub.db'))
})
afterEach(() => {
  store.close()
  rmSync(folder, { recursive: true })
})

const [MANIFEST, PACK] = ['a'.repeat(64), 'b'.repeat(64)]
const WHOLE = JSON.stringify({ manifest: MANIFEST, pack: PACK })
const task = (id: string, inputs: string | null) =>
  store
    .prepare(
      `insert into task (id, state, needs, params, inputs, priority, held, depth, chain, requested_by, created_at_ms, ended_at_ms)
       values (?, 'succeeded', '[]', '{}', ?, 0, 0, 0, '[]', 'operator', 1, 5)`,
    )
    .run(id, inputs)
const artifact = (of: string, sha256: string) =>
  store
    .prepare(`insert into artifact (task, name, sha256, size, session, created_at_ms) values (?, 'x', ?, 1, 's', 1)`)
    .run(of, sha256)
const grant = () =>
  mintGrant({
    ...{ operation: 'retention.turn', principal: { kind: 'hub', id: 'retention' }, resource: 'hub' },
    ...{ decisionId: 'd', narrow: {}, auditSeq: 1 },
  })

it('an upgraded home that holds one starts, and every row of it can be changed and deleted', () => {
  const all = shippedMigrations()
  migrate(
    store,
    all.filter(({ name }) => name < '0014'),
    1,
    () => undefined,
  )
  task('whole', WHOLE)
  task('damaged', `!${WHOLE}`)
  task('none', null)
  expect(migrate(store, all, 2, () => undefined)).toContain('0014-retention.sql')
  for (const id of ['whole', 'damaged', 'none']) {
    expect(store.prepare('update task set priority = 1 where id = ?').run(id).changes).toBe(1)
    expect(store.prepare('delete from task where id = ?').run(id).changes).toBe(1)
  }
})

it('one whose page was damaged after it was indexed goes like any other, and those after it', () => {
  migrate(store, shippedMigrations(), 1, () => undefined)
  task('1-damaged', WHOLE)
  task('2-whole', WHOLE)
  task('3-other', JSON.stringify({ manifest: 'c'.repeat(64), pack: PACK }))
  const whole = `{"manifest":"${MANIFEST}"`
  store.checkpoint()
  store.close()
  const bytes = readFileSync(join(folder, 'hub.db'))
  // The index keeps the digest it was made of: only the row is damaged.
  bytes.write('!', bytes.lastIndexOf(whole))
  writeFileSync(join(folder, 'hub.db'), bytes)
  store = openStore(join(folder, 'hub.db'))
  expect(store.prepare('select count(*) from task where not json_valid(inputs)').pluck().get()).toBe(1)
  const old = createOldTasks(store)
  const found = old.next(100, 50)
  expect(found).toEqual({ tasks: ['1-damaged', '2-whole', '3-other'], isOver: true })
  expect(store.transaction(() => old.remove(grant(), found.tasks))).toEqual({ tasks: 3, sessions: 0 })
  expect(store.prepare('select count(*) from task').pluck().get()).toBe(0)
  // Its index still holds the digest it named: no fault, and what bears that digest is kept rather than lost.
  task('4-later', null)
  artifact('4-later', MANIFEST)
  expect(old.next(100, 50).tasks).toEqual(['4-later'])
  const artifacts = createOldArtifacts({ folder }, { store, onFault: () => undefined })
  expect(artifacts.next({ beforeMs: 100, evidenceBeforeMs: 100 }, 50).artifacts).toEqual([])
})

it('what a readable task names stays beside one that cannot be read, found by an index', () => {
  migrate(store, shippedMigrations(), 1, () => undefined)
  const asked: string[] = []
  const watched: Store = {
    ...store,
    prepare(sql) {
      asked.push(sql)
      return store.prepare(sql)
    },
  }
  task('damaged', '{"manifest"')
  task('whole', WHOLE)
  for (const sha256 of [MANIFEST, PACK, 'c'.repeat(64)]) {
    task(`of ${sha256}`, null)
    artifact(`of ${sha256}`, sha256)
  }
  const artifacts = createOldArtifacts({ folder }, { store: watched, onFault: () => undefined })
  const cut = { beforeMs: 100, evidenceBeforeMs: 100 }
  expect(artifacts.next(cut, 50).artifacts.map(({ sha256 }) => sha256)).toEqual(['c'.repeat(64)])
  const tasks = createOldTasks(watched)
  task('running-damaged', '{"manifest"')
  store.prepare(`update task set state = 'running', ended_at_ms = null where id in ('whole', 'running-damaged')`).run()
  expect(tasks.next(100, 50).tasks).toEqual(['damaged', `of ${'c'.repeat(64)}`])
  const plans = asked
    .filter((sql) => sql.includes('json_extract'))
    .map((sql) =>
      store
        .prepare(`explain query plan ${sql}`)
        .all(...Array(sql.split('?').length - 1).fill(1))
        .map((step) => (step as { detail: string }).detail)
        .join('\n'),
    )
  expect(plans).toHaveLength(3)
  const text = plans.join('\n')
  expect(text.match(/USING (?:COVERING )?INDEX task_by_(?:manifest|pack)/g)).toHaveLength(2)
  expect(text).not.toMatch(/SCAN task/)
})
