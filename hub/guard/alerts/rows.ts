/**
 * Rows of alerts and of their outbox. Owns the tables `alert` and `alert_delivery`; states are moved only in `alerts.ts`.
 *
 * W1. A row is written in the caller's transaction if there is one. If that is undone, or the store fails, the row is kept here and
 *     written as soon as the store works again: what was seen stays seen.
 */
import { toHubError } from '../../base/errors.ts'
import type { Store } from '../../store/database.ts'
import type { Alert, Delivery } from './kinds.ts'

const ALERT = `id, cause, severity, text, state, holds, lasts_ms as lastsMs, raised_at_ms as raisedAtMs, resolved_at_ms as resolvedAtMs`
const DELIVERY = `id, alert, channel, event, severity, text, state, tries, created_at_ms as createdAtMs,
  ended_at_ms as endedAtMs, detail`

export type AlertOrDelivery = Alert | Delivery

export interface AlertRows {
  open(): Alert[]
  /** Newest first, at most `limit`. */
  recent(limit: number): Alert[]
  /** Oldest first. */
  waiting(): Delivery[]
  /** Finds one that is only in memory too. */
  find(id: string): Alert | undefined
  /** The last end of a delivery through this channel in that state. */
  lastEnd(channel: string, state: 'sent' | 'given_up'): Delivery | undefined
  /** Writes now, or later (W1). Throws only inside a transaction whose store fails: that transaction has to be undone. */
  keep(rows: readonly AlertOrDelivery[]): void
  /** Writes now or throws; for rows that must not outlive an undone transaction. */
  write(row: Alert): void
  /** Writes what is still unwritten; does nothing while the store fails. Outside of transactions only. */
  saveAgain(): void
  /** How many rows are only in memory. */
  unsavedCount(): number
  /** How many resolved alerts before this instant have been told, at most so many. */
  countOld(beforeMs: number, most: number): number
  /** Forgets them, in the open transaction; answers how many. */
  prune(beforeMs: number, most: number): number
}

/** `onFault` hears of a row that a working database refuses: that is our bug, and the row is not tried forever. */
export function createAlertRows(store: Store, onFault: (reason: string) => void): AlertRows {
  const putAlert = store.prepare(
    `insert into alert values (?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (id) do update
     set severity = excluded.severity, text = excluded.text, state = excluded.state, holds = excluded.holds,
       lasts_ms = excluded.lasts_ms, resolved_at_ms = excluded.resolved_at_ms`,
  )
  const putDelivery = store.prepare(
    `insert into alert_delivery values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (id) do update
     set severity = excluded.severity, state = excluded.state, tries = excluded.tries,
       ended_at_ms = excluded.ended_at_ms, detail = excluded.detail`,
  )
  const old = store
    .prepare(
      `select id from alert where resolved_at_ms is not null and resolved_at_ms < ?
       and not exists (select 1 from alert_delivery where alert = alert.id and state = 'raised') limit ?`,
    )
    .pluck()
  /** By id, in the order they came. */
  const unsaved = new Map<string, AlertOrDelivery>()

  function put(row: AlertOrDelivery): void {
    if ('cause' in row) {
      const { id, cause, severity, text, state, holds, lastsMs, raisedAtMs, resolvedAtMs } = row
      putAlert.run(id, cause, severity, text, state, Number(holds), lastsMs, raisedAtMs, resolvedAtMs)
      return
    }
    const { id, alert, channel, event, severity, text, state, tries } = row
    const { createdAtMs, endedAtMs, detail } = row
    putDelivery.run(id, alert, channel, event, severity, text, state, tries, createdAtMs, endedAtMs, detail)
  }

  function later(rows: readonly AlertOrDelivery[]): void {
    for (const row of rows) unsaved.set(row.id, row)
  }

  function keep(rows: readonly AlertOrDelivery[]): void {
    // An alert before its deliveries, and what waits unwritten before both.
    const all = [...unsaved.values(), ...rows]
    unsaved.clear()
    store.onRollback(() => later(all.filter((row) => !unsaved.has(row.id))))
    const putAll = () => {
      for (const row of all) put(row)
    }
    if (store.inTransaction) {
      try {
        putAll()
      } catch (thrown) {
        later(all)
        throw thrown
      }
      return
    }
    try {
      store.transaction(putAll)
    } catch (thrown) {
      const error = toHubError(thrown)
      if (error.code === 'store_unavailable') later(all)
      else onFault(error.reason)
    }
  }

  const alertOf = (row: Alert): Alert => ({ ...row, holds: Boolean(row.holds) })

  return {
    open: () =>
      (store.prepare(`select ${ALERT} from alert where resolved_at_ms is null order by rowid`).all() as Alert[]).map(
        alertOf,
      ),
    recent: (limit) =>
      (store.prepare(`select ${ALERT} from alert order by raised_at_ms desc limit ?`).all(limit) as Alert[]).map(
        alertOf,
      ),
    waiting: () =>
      store.prepare(`select ${DELIVERY} from alert_delivery where state = 'raised' order by rowid`).all() as Delivery[],
    find(id) {
      const kept = unsaved.get(id)
      if (kept !== undefined && 'cause' in kept) return kept
      const row = store.prepare(`select ${ALERT} from alert where id = ?`).get(id) as Alert | undefined
      return row && alertOf(row)
    },
    lastEnd: (channel, state) =>
      store
        .prepare(
          `select ${DELIVERY} from alert_delivery where channel = ? and state = ? order by ended_at_ms desc limit 1`,
        )
        .get(channel, state) as Delivery | undefined,
    keep,
    write: put,
    saveAgain() {
      if (unsaved.size > 0) keep([])
    },
    unsavedCount: () => unsaved.size,
    countOld: (beforeMs, most) => old.all(beforeMs, most).length,
    prune(beforeMs, most) {
      const ids = old.all(beforeMs, most) as string[]
      const forget = store.prepare('delete from alert where id = ?')
      for (const id of ids) forget.run(id)
      return ids.length
    },
  }
}
