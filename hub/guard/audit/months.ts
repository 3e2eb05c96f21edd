/**
 * The months of the audit log: which records are where. Owns `audit_month` and the tables of ended months.
 *
 * M1. `audit_record` holds the open month. The first record of another month renames it to `audit_record_2026_11`, whole and as it is, and
 *     makes a new one, both in that record's own transaction: no row is moved, changed or deleted, and the chain goes on.
 * M2. A month ends, is sealed in a signed file, and is dropped when retention says so (sealing.ts). One commit renames its table to
 *     `audit_dropped_2026_11`, and from then on it is no part of the log. Then it is emptied, some rows a turn, and removed. No row of a
 *     table that is part of the log is ever deleted or changed. What is left of a dropped table is found by its name.
 * M3. A wall clock that is set back by less than a day goes on in the open month. One that leaps makes the months that it names; a name
 *     that comes a second time gets a number.
 */
import { HubError } from '../../base/errors.ts'
import { GENESIS } from '../../protocol/audit-chain.ts'
import type { Store } from '../../store/database.ts'

export interface AuditMonth {
  /** `2026-11` by UTC; `2026-11-2` if it came a second time. */
  readonly name: string
  readonly state: 'open' | 'ended' | 'sealed' | 'dropped'
  readonly first: number
  /** The hash of the record before its first. */
  readonly previous: string
  /** Null while it is open. */
  readonly last: number | null
  readonly head: string | null
  readonly endedAtMs: number | null
  /** Of the sealed file: the digest of its last checkpoint, how many checkpoints it holds, its length. */
  readonly signed: string | null
  readonly checkpoints: number | null
  readonly bytes: number | null
}

export interface AuditMonths {
  /** Oldest first; the open one is the last. */
  all(): readonly AuditMonth[]
  find(name: string): AuditMonth | undefined
  /** The one this record is in, or would be. */
  holding(seq: number): AuditMonth
  /** The table of one that has one. */
  tableOf(month: AuditMonth): string
  /** Makes the month of this instant the open one, for the record `seq` that follows `previous`; needs an open transaction. */
  keepPlace(atMs: number, seq: number, previous: string): void
  /** Where each block of the sealed file begins. */
  blocksOf(month: AuditMonth): Buffer
  /** Records that the file of an ended month is whole. */
  sealed(month: AuditMonth, file: { signed: string; checkpoints: number; bytes: number; blocks: Buffer }): void
  /** Records that the file of a sealed month is not whole. Its table is, so the month can be sealed again. */
  unsealed(month: AuditMonth): void
  /** Takes the table of a sealed month out of the log, in the open transaction if there is one; `emptyDropped` removes its rows. */
  drop(month: AuditMonth): void
  /** Removes up to 500 rows of dropped tables, and a table with its last row; answers whether there are more. */
  emptyDropped(): boolean
}

const DAY_MS = 86_400_000
const NAME = /^\d{4}-\d{2}(-\d{1,6})?$/
const TABLE = 'audit_record'
/** Begins the name of a dropped table; the rest is the month. */
const DROPPED = 'audit_dropped'
/** Some 2 ms, the commit included. */
const ROWS_A_TURN = 500
const COLUMNS = `first_seq as first, name, state, previous, last_seq as last, head, ended_at_ms as endedAtMs, signed, checkpoints, bytes`

/** As `0001-core.sql` makes it: every month has the same. */
export const tableSql = (table: string): string => `create table ${table} (
  seq integer primary key,
  previous text not null,
  hash text not null,
  at_ms integer not null,
  boot_id text not null,
  principal text not null,
  action text not null,
  resource text not null,
  decision_id text,
  policy_revision text,
  payload_hash text,
  outcome text not null check (outcome in ('ok', 'refused', 'failed')),
  reason text not null,
  effect text not null
) strict`
const VERBS = ['update', 'delete'] as const
const triggerName = (table: string, verb: string) => `${table}_is_append_only_${verb}`
export const triggerSql = (
  table: string,
  verb: string,
): string => `create trigger ${triggerName(table, verb)} before ${verb} on ${table}
begin
  select raise(abort, 'audit records are append-only');
end`

const monthOf = (atMs: number): string => new Date(atMs).toISOString().slice(0, 7)

/** Pure: whether a record of this instant goes on in the month of this name (M3). */
function staysIn(name: string, atMs: number): boolean {
  const [year = 0, month = 1] = name.split('-').map(Number)
  const [startMs, endMs] = [Date.UTC(year, month - 1), Date.UTC(year, month)]
  return atMs >= startMs - DAY_MS && atMs < endMs
}

const tableOf = ({ name, state }: Pick<AuditMonth, 'name' | 'state'>): string => {
  if (state === 'open') return TABLE
  if (!NAME.test(name) || state === 'dropped')
    throw new HubError('internal', '', { reason: `the audit month ${JSON.stringify(name)} has no table` })
  return `${TABLE}_${name.replaceAll('-', '_')}`
}

const VIRTUAL: AuditMonth = {
  ...{ name: '', state: 'open', first: 1, previous: GENESIS, last: null, head: null },
  ...{ endedAtMs: null, signed: null, checkpoints: null, bytes: null },
}

export function createAuditMonths(store: Store): AuditMonths {
  const select = store.prepare(`select ${COLUMNS} from audit_month order by first_seq`)
  const dropped = store
    .prepare(
      `select name from sqlite_schema where type = 'table' and name glob '${DROPPED}_[0-9]*' order by name limit 1`,
    )
    .pluck()
  let known: readonly AuditMonth[] | undefined

  function all(): readonly AuditMonth[] {
    if (known === undefined) {
      const rows = select.all() as AuditMonth[]
      // Before its first record a home has no month. A home older than months has all its records in the one table.
      known = rows.length === 0 ? [VIRTUAL] : rows
    }
    return known
  }
  const open = () => all().at(-1) as AuditMonth

  function changed(): void {
    known = undefined
    store.onRollback(() => {
      known = undefined
    })
  }

  function begin(first: number, previous: string, atMs: number): void {
    const base = monthOf(atMs)
    let name = base
    for (let again = 2; all().some((month) => month.name === name); again += 1) name = `${base}-${again}`
    store
      .prepare(`insert into audit_month (first_seq, name, state, previous) values (?, ?, 'open', ?)`)
      .run(first, name, previous)
    changed()
  }

  /** The open table becomes the one of its month, and an empty one takes its place. */
  function end(last: number, head: string, atMs: number): void {
    const month = open()
    const table = tableOf({ ...month, state: 'ended' })
    store
      .prepare(`update audit_month set state = 'ended', last_seq = ?, head = ?, ended_at_ms = ? where state = 'open'`)
      .run(last, head, atMs)
    for (const verb of VERBS) store.prepare(`drop trigger if exists ${triggerName(TABLE, verb)}`).run()
    store.prepare(`alter table ${TABLE} rename to ${table}`).run()
    store.prepare(tableSql(TABLE)).run()
    for (const verb of VERBS) for (const each of [table, TABLE]) store.prepare(triggerSql(each, verb)).run()
    changed()
  }

  function holding(seq: number): AuditMonth {
    const months = all()
    // The newest are asked for most.
    for (let at = months.length - 1; at > 0; at -= 1) {
      const month = months[at] as AuditMonth
      if (seq >= month.first) return month
    }
    return months[0] as AuditMonth
  }

  return {
    all,
    find: (name) => all().find((month) => month.name === name),
    holding,
    tableOf,
    keepPlace(atMs, seq, previous) {
      let month = open()
      if (month.name !== '' && staysIn(month.name, atMs)) return
      if (month.name === '') {
        const firstMs = store.prepare(`select at_ms from ${TABLE} order by seq limit 1`).pluck().get() as
          | number
          | undefined
        known = []
        begin(1, GENESIS, firstMs ?? atMs)
        month = open()
        if (staysIn(month.name, atMs)) return
      }
      end(seq - 1, previous, atMs)
      begin(seq, previous, atMs)
    },
    blocksOf: ({ first }) =>
      (store.prepare('select blocks from audit_month where first_seq = ?').pluck().get(first) as Buffer | null) ??
      Buffer.alloc(0),
    sealed({ first }, { signed, checkpoints, bytes, blocks }) {
      store.transaction(() => {
        store
          .prepare(
            `update audit_month set state = 'sealed', signed = ?, checkpoints = ?, bytes = ?, blocks = ? where first_seq = ? and state = 'ended'`,
          )
          .run(signed, checkpoints, bytes, blocks, first)
        changed()
      })
    },
    unsealed({ first }) {
      store.transaction(() => {
        store
          .prepare(
            `update audit_month set state = 'ended', signed = null, checkpoints = null, bytes = null, blocks = null where first_seq = ? and state = 'sealed'`,
          )
          .run(first)
        changed()
      })
    },
    drop(month) {
      const run = () => {
        const { changes } = store
          .prepare(`update audit_month set state = 'dropped' where first_seq = ? and state = 'sealed'`)
          .run(month.first)
        if (changes === 1) {
          const table = tableOf(month)
          for (const verb of VERBS) store.prepare(`drop trigger if exists ${triggerName(table, verb)}`).run()
          store.prepare(`alter table ${table} rename to ${table.replace(TABLE, DROPPED)}`).run()
        }
        changed()
      }
      if (store.inTransaction) run()
      else store.transaction(run)
    },
    emptyDropped() {
      const [table] = dropped.all() as string[]
      if (table === undefined) return false
      store.transaction(() => {
        const { changes } = store
          .prepare(`delete from ${table} where seq < (select min(seq) from ${table}) + ${ROWS_A_TURN}`)
          .run()
        if (changes < ROWS_A_TURN) store.prepare(`drop table ${table}`).run()
      })
      return true
    },
  }
}
