import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStore, type Store } from '../../../hub/store/database.ts'
import { type Migration, migrate, shippedMigrations, splitStatements } from '../../../hub/store/migrations.ts'
import { readTree, repositoryRoot } from '../../house/source.ts'

let folder: string
let store: Store
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hub-migrations-'))
  store = openStore(join(folder, 'hub.db'))
})
afterEach(() => {
  store.close()
  rmSync(folder, { recursive: true })
})

const FIRST: Migration = { name: '0001-first.sql', sql: 'create table first (x integer) strict;\n' }
const SECOND: Migration = {
  name: '0002-second.sql',
  sql: 'create table second (x integer) strict;\n-- needs the first\ninsert into second select count(*) from first;\n',
}
const tables = () =>
  store
    .prepare("select name from sqlite_schema where type = 'table' and name <> 'migration' order by name")
    .pluck()
    .all()
const applied = () => store.prepare('select name from migration order by name').pluck().all()
/** Who may write a table beside its owner: rooms of the same house, each for one thing. */
const LENT: Readonly<Record<string, readonly string[]>> = {
  decision: ['hub/guard/audit/decision-marks.ts'],
  task: ['hub/work/dispatch/row-checks.ts', 'hub/work/retention/old-tasks.ts'],
  artifact: ['hub/work/retention/old-artifacts.ts'],
}
/** The owner named last before each table is made, or renamed. */
function ownersOf(steps: readonly Migration[]): Map<string, string> {
  const owners = new Map<string, string>()
  for (const { name, sql } of steps) {
    let owner = `nobody in ${name}`
    for (const line of sql.split('\n')) {
      owner = /^-- owner: (\S+)$/.exec(line)?.[1] ?? owner
      const made = /^create table (\w+)/.exec(line)?.[1]
      if (made !== undefined) owners.set(made, owner)
      const [, from = '', to = ''] = /^alter table (\w+) rename to (\w+)/.exec(line) ?? []
      if (to !== '') owners.set(to, owners.get(from) ?? owner)
      if (from !== '') owners.delete(from)
    }
  }
  return owners
}
const never = () => {
  throw new Error('a backup was made')
}

describe('migrations', () => {
  it('are applied once each and in order, with a copy before they touch a database that had some', () => {
    expect(migrate(store, [FIRST], 1, never)).toEqual(['0001-first.sql'])
    let copies = 0
    const copy = () => {
      copies += 1
      expect(tables()).toEqual(['first'])
    }
    expect(migrate(store, [FIRST, SECOND], 2, copy)).toEqual(['0002-second.sql'])
    expect(copies).toBe(1)
    expect(migrate(store, [FIRST, SECOND], 3, never)).toEqual([])
    expect(applied()).toEqual(['0001-first.sql', '0002-second.sql'])
    expect(store.prepare('select count(*) from second').pluck().get()).toBe(1)
  })

  it('of a newer hub are refused by name, and nothing is touched', () => {
    migrate(store, [FIRST, SECOND], 1, never)
    expect(() => migrate(store, [FIRST], 2, never)).toThrow(
      expect.objectContaining({ code: 'store_unavailable', message: expect.stringContaining('0002-second.sql') }),
    )
    expect(tables()).toEqual(['first', 'second'])
  })

  it('keep every device and token when consoles become credentials', () => {
    const all = shippedMigrations()
    const before = all.filter(({ name }) => name < '0010-console.sql')
    migrate(store, before, 1, never)
    const add = (name: string, kind: string) =>
      store
        .prepare(
          `insert into credential (name, kind, scope, secret_hash, created_at_ms, expires_at_ms, used_at_ms)
           values (?, ?, '[]', ?, 1, 2, 3)`,
        )
        .run(name, kind, `hash of ${name}`)
    add('phone', 'webhook')
    add('ci', 'token')
    const rows = () => store.prepare('select * from credential order by name').all()
    const kept = rows() as object[]
    migrate(store, all, 2, () => undefined)
    // Of before each had an id of its own, which none of a later one can be.
    expect(rows()).toEqual(kept.map((row) => ({ ...row, id: null })))
    add('console', 'console')
    expect(() => add('other', 'other')).toThrow('CHECK')
  })

  it('that break at any statement leave nothing of the step, and run whole the next time (T85)', () => {
    migrate(store, [FIRST], 1, never)
    const statements = [
      'create table a (x integer) strict',
      'create table b (x integer) strict',
      'insert into a values (1)',
    ]
    for (let broken = 0; broken <= statements.length; broken += 1) {
      const sql = [...statements.slice(0, broken), 'insert into nowhere values (1)', ...statements.slice(broken)]
      const step = { name: '0002-step.sql', sql: `${sql.join(';\n')};\n` }
      expect(() => migrate(store, [FIRST, step], 2, () => undefined)).toThrow('nowhere')
      expect(tables()).toEqual(['first'])
      expect(applied()).toEqual(['0001-first.sql'])
    }
    const whole = { name: '0002-step.sql', sql: `${statements.join(';\n')};\n` }
    expect(migrate(store, [FIRST, whole], 3, () => undefined)).toEqual(['0002-step.sql'])
    expect(tables()).toEqual(['a', 'b', 'first'])
  })

  it('that are due are one: where a later one breaks off none of them is in (fault G7)', () => {
    migrate(store, [FIRST], 1, never)
    const third = { name: '0003-third.sql', sql: 'insert into nowhere values (1);\n' }
    expect(() => migrate(store, [FIRST, SECOND, third], 2, () => undefined)).toThrow('nowhere')
    expect(tables()).toEqual(['first'])
    expect(applied()).toEqual(['0001-first.sql'])
  })

  it('stop before the first change when the copy cannot be made', () => {
    migrate(store, [FIRST], 1, never)
    expect(() => migrate(store, [FIRST, SECOND], 2, never)).toThrow('a backup was made')
    expect(tables()).toEqual(['first'])
  })

  it('as shipped make every table strict and owned by a file that stands, and each number once', async () => {
    const shipped = shippedMigrations()
    // A number may be skipped: those of work that goes on side by side are set aside beforehand.
    const numbers = shipped.map(({ name }) => name.slice(0, 4))
    expect(numbers).toEqual([...new Set(numbers)].sort())
    migrate(store, shipped, 1, never)
    const made = store.prepare("select name, strict from pragma_table_list where schema = 'main'").all() as {
      name: string
      strict: number
    }[]
    expect(made.length).toBeGreaterThan(10)
    const tables = made.filter(({ name }) => !name.startsWith('sqlite_'))
    for (const { name, strict } of tables) expect(strict, name).toBe(1)

    const owners = ownersOf(shipped)
    // Made before any step, by the file that applies them.
    owners.set('migration', 'hub/store/migrations.ts')
    expect([...owners.keys()].sort()).toEqual(tables.map(({ name }) => name).sort())
    // What stands on a database that no hub has open (undo, restore) is nobody's neighbour.
    const sources = [...readTree(['hub'], ['.ts'])].filter(([path]) => !path.startsWith('hub/home/'))
    for (const [table, owner] of owners) {
      expect(existsSync(join(repositoryRoot, owner)), `${table} is owned by ${owner}, which stands`).toBe(true)
      const writes = new RegExp(`\\b(?:insert (?:or \\w+ )?into|delete from|update) ${table}\\b`)
      const writers = sources.filter(([, text]) => writes.test(text)).map(([path]) => path)
      const expected = [owner, ...(LENT[table] ?? [])].sort()
      expect(writers.sort(), `${table} is written by its owner, and by who is lent it`).toEqual(expected)
    }
  })

  it('keep a trigger with its inner semicolons in one statement', () => {
    const trigger = 'create trigger t before update on x\nbegin\n  select 1;\n  select 2;\nend;'
    expect(splitStatements(`-- why\ncreate table x (\n  a text\n);\n\n${trigger}\nselect 1`)).toEqual([
      'create table x (\n  a text\n);',
      trigger,
      'select 1',
    ])
  })
})
