/**
 * Writes the check of a task, attempt or session row (store/reading.ts), and makes the one step that moves many rows at once.
 *
 * K1. A check vouches for a row that was read whole or was just inserted. A damaged row keeps its old check, so everybody who reads it
 *     later sees the damage.
 */
import type { Store } from '../../store/database.ts'
import { checkOf } from '../../store/reading.ts'
import { createTaskRows } from './rows.ts'

/** Writes the check of a row that was whole before this step. */
export function sealRow(store: Store, table: 'task' | 'attempt' | 'session', id: string): void {
  const raw = store.prepare(`select * from ${table} where id = ?`).get(id) as Record<string, unknown> | undefined
  if (raw !== undefined) store.prepare(`update ${table} set check_sum = ? where id = ?`).run(checkOf(raw), id)
}

/** Holds a task whose row was read whole, or lets it go. In a transaction. */
export function setHeld(store: Store, task: string, held: boolean): void {
  store.prepare('update task set held = ? where id = ?').run(Number(held), task)
  sealRow(store, 'task', task)
}

/**
 * Holds the tasks in these states that are not held yet, or only the given one. Runs that are under way are held in any case: between two steps nothing
 * of them is queued, and the next step would be the work of last week. Runs within a transaction, and answers which tasks it held.
 */
export function holdRows(
  store: Store,
  states: "'queued'" | "'queued', 'running'",
  only: string | null = null,
): string[] {
  const rows = createTaskRows(store)
  const open = `select id from task where (state in (${states}) or (state = 'running' and kind = 'run')) and held = 0 and id = coalesce(?, id)`
  const ids = store.prepare(open).pluck().all(only) as string[]
  for (const id of ids) {
    const isWhole = rows.task(id)?.unreadable === null
    store.prepare('update task set held = 1 where id = ?').run(id)
    if (isWhole) sealRow(store, 'task', id)
  }
  return ids
}
