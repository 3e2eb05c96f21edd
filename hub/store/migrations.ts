/**
 * Applies the numbered SQL steps beside it, in order, each once, after a copy of a database that already had steps (T85). All that are due are
 * one transaction: an update that breaks off leaves the old database, never one between two versions.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { HubError } from '../base/errors.ts'
import type { Store } from './database.ts'

/** Copies of a database made before its schema changed, by their instant; the newest is kept, and `hub undo-update` goes back to it. */
export const COPY_BEFORE = /^hub\.db\.before-(\d{1,15})$/

export interface Migration {
  name: string
  sql: string
}

/** The shipped steps, by number. */
export function shippedMigrations(): Migration[] {
  const folder = new URL('./migrations/', import.meta.url)
  return readdirSync(folder)
    .filter((name) => /^\d{4}-[a-z0-9-]+\.sql$/.test(name))
    .sort()
    .map((name) => ({ name, sql: readFileSync(new URL(name, folder), 'utf8') }))
}

/**
 * Brings the schema up to the last step; answers the names of the steps applied now.
 * Throws `store_unavailable` when the database knows a step this program does not (an older program on a newer file).
 */
export function migrate(store: Store, migrations: readonly Migration[], nowMs: number, backup: () => void): string[] {
  const { due, known } = dueMigrations(store, migrations)
  if (due.length > 0 && known.length > 0) backup()
  if (due.length === 0) return []
  store.transaction(() => {
    for (const { name, sql } of due) {
      for (const statement of splitStatements(sql)) store.prepare(statement).run()
      store.prepare('insert into migration values (?, ?)').run(name, nowMs)
    }
  })
  return due.map((migration) => migration.name)
}

/** The steps this database has, and those it still needs. Throws as `migrate` for one of a newer hub. */
export function dueMigrations(
  store: Store,
  migrations: readonly Migration[],
): { due: readonly Migration[]; known: readonly string[] } {
  store.transaction(() =>
    store
      .prepare('create table if not exists migration (name text primary key, applied_at_ms integer not null) strict')
      .run(),
  )
  const known = store.prepare('select name from migration order by name').pluck().all() as string[]
  const foreign = known.filter((name) => !migrations.some((migration) => migration.name === name))
  if (foreign.length > 0)
    throw new HubError(
      'store_unavailable',
      `the database was written by a newer hub (${foreign.join(', ')}); start that version again, or go back to the copy made before the update: hub undo-update`,
    )
  return { due: migrations.filter((migration) => !known.includes(migration.name)), known }
}

/** Statements end with a semicolon at the end of a line that is not inside a trigger's `begin ... end`. */
export function splitStatements(sql: string): string[] {
  const statements: string[] = []
  let current = ''
  let inTrigger = false
  for (const line of sql.split('\n')) {
    if (current === '' && (line.trim() === '' || line.startsWith('--'))) continue
    current += `${line}\n`
    if (/^\s*begin\s*$/i.test(line)) inTrigger = true
    if (inTrigger ? /^\s*end;\s*$/i.test(line) : /;\s*$/.test(line)) {
      statements.push(current.trim())
      current = ''
      inTrigger = false
    }
  }
  if (current.trim() !== '') statements.push(current.trim())
  return statements
}
