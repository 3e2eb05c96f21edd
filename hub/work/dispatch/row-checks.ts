/**
 * Who writes the check of a row of work (store/reading.ts), and the one step that takes many rows at once.
 *
 * K1. A check vouches for what was read and found whole, or was just inserted. A row that is damaged keeps the check it had, so that it stays
 *     damaged for everybody who reads it later.
 */
import type { Store } from '../../store/database.ts'
import { checkOf } from '../../store/reading.ts'
import { createTaskRows } from './rows.ts'

/** Writes the check of a row that was whole before this step. */
export function sealRow(store: Store, table: 'task' | 'attempt' | 'session', id: string): void {
  const raw = store.prepare(`select * from ${table} where id = ?`).get(id) as Record<string, unknown> | undefined
  if (raw !== undefined) store.prepare(`update ${table} set check_sum = ? where id = ?`).run(checkOf(raw), id)
}

/** Holds the tasks of these states that are not held yet, or that one of them. Within a transaction. Answers which they were. */
export function holdRows(
  store: Store,
  states: "'queued'" | "'queued', 'running'",
  only: string | null = null,
): string[] {
  const rows = createTaskRows(store)
  const open = `select id from task where state in (${states}) and held = 0 and id = coalesce(?, id)`
  const ids = store.prepare(open).pluck().all(only) as string[]
  for (const id of ids) {
    const isWhole = rows.task(id)?.unreadable === null
    store.prepare('update task set held = 1 where id = ?').run(id)
    if (isWhole) sealRow(store, 'task', id)
  }
  return ids
}
