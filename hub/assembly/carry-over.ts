/**
 * What only restricts goes along into the database of before an update (`hub undo-update`): nobody who was shut out since is let in again.
 *
 * R1. Read by plain SQL from a database that may be of a newer version: what it keeps otherwise now is not carried, and is answered by name.
 * R2. Only ever stricter: what the older one ends, suspends or withholds stays so.
 */
import { judgeStoreFault, type Store } from '../store/database.ts'

type Row = Record<string, string | number | null>
/** The newer database, for reading. */
export interface Newer {
  prepare(sql: string): { all(): unknown[] }
}

export interface Carried {
  /** How much of what became stricter. */
  counts: Record<string, number>
  /** Where to look, for what could not be carried. */
  revokeAnew: string[]
}

interface Family {
  what: string
  select: string
  /** The commands that show what of it is in force. */
  look: readonly string[]
  /** Answers how many changed. */
  apply(store: Store, rows: Row[], nowMs: number): number
}

/** Runs it with these columns of each row. */
const each =
  (sql: string, ...columns: string[]): Family['apply'] =>
  (store, rows) =>
    rows.reduce((sum, row) => sum + store.prepare(sql).run(...columns.map((column) => row[column] ?? null)).changes, 0)

/** Ends what is in force here and not there: ended since, or replaced, which only follows an end. */
const endAllBut =
  (table: string, key: string): Family['apply'] =>
  (store, rows, nowMs) => {
    const there = new Map(rows.map((row) => [row[key], row.endedAtMs]))
    const end = store.prepare(`update ${table} set revoked_at_ms = ? where ${key} = ?`)
    const here = store.prepare(`select ${key} from ${table} where revoked_at_ms is null`).pluck().all() as string[]
    const ended = here.filter((name) => there.get(name) !== null)
    for (const name of ended) end.run(there.get(name) ?? nowMs, name)
    return ended.length
  }

const STRICTNESS = ['registered', 'unhealthy', 'suspended', 'retired']
const suspend: Family['apply'] = (store, rows) => {
  const find = store.prepare('select state from agent where name = ?').pluck()
  const put = store.prepare(
    `insert into agent (name, state, reason) values (?, ?, ?)
     on conflict (name) do update set state = excluded.state, reason = excluded.reason`,
  )
  const rank = (state: unknown) => STRICTNESS.indexOf(String(state))
  const stricter = rows.filter(({ name, state }) => rank(state) > Math.max(0, rank(find.get(name))))
  for (const { name, state, reason } of stricter) put.run(name, state, reason)
  return stricter.length
}

/** An alert that holds the hub safe goes with its row: only by its id can it be ended. */
const hold: Family['apply'] = (store, rows) => {
  const louder = store.prepare(
    `update alert set holds = 1, severity = ? where cause = ? and resolved_at_ms is null and holds = 0`,
  )
  const put = store.prepare(`insert or ignore into alert values (?, ?, ?, ?, ?, 1, ?, ?, null)`)
  return rows.reduce((sum, { id, cause, severity, text, state, lastsMs, raisedAtMs }) => {
    const { changes } = louder.run(severity, cause)
    return sum + changes + put.run(id, cause, severity, text, state, lastsMs, raisedAtMs).changes
  }, 0)
}

const CONDITION = 'insert or ignore into condition values (?, ?, ?)'
const FAMILIES: readonly Family[] = [
  {
    what: 'devices and tokens',
    select: 'select secret_hash, revoked_at_ms as endedAtMs from credential',
    look: ['hub device list', 'hub token list'],
    apply: endAllBut('credential', 'secret_hash'),
  },
  {
    what: 'contact cards',
    select: 'select digest, revoked_at_ms as endedAtMs from contact_card',
    look: ['hub contact card'],
    apply: endAllBut('contact_card', 'digest'),
  },
  {
    what: 'agents',
    select: "select name, state, reason from agent where state <> 'registered'",
    look: ['hub agent list'],
    apply: suspend,
  },
  {
    what: 'halted agents',
    select: 'select agent, since_ms, reason from halted_agent',
    look: ['hub agent list'],
    apply: each('insert or ignore into halted_agent values (?, ?, ?)', 'agent', 'since_ms', 'reason'),
  },
  {
    what: 'withheld artifacts',
    select: 'select task, name, sha256, quarantined_at_ms from artifact where quarantined_at_ms is not null',
    look: ['hub session list'],
    apply: each(
      'update artifact set quarantined_at_ms = ? where task = ? and name = ? and sha256 = ? and quarantined_at_ms is null',
      ...['quarantined_at_ms', 'task', 'name', 'sha256'],
    ),
  },
  {
    what: 'refused tokens',
    select: 'select jti, expires_at_ms from denied_token',
    look: [],
    apply: each('insert or ignore into denied_token values (?, ?)', 'jti', 'expires_at_ms'),
  },
  {
    what: 'used nonces',
    select: 'select scope, value, expires_at_ms from nonce',
    look: [],
    apply: each('insert or ignore into nonce values (?, ?, ?)', 'scope', 'value', 'expires_at_ms'),
  },
  {
    what: 'alerts that hold',
    select: `select id, cause, severity, text, state, lasts_ms as lastsMs, raised_at_ms as raisedAtMs from alert
      where holds = 1 and resolved_at_ms is null`,
    look: ['hub alert list'],
    apply: hold,
  },
  {
    // `critical_alert` comes with its alert; of a name that is not known here there is `operator_request`.
    what: 'conditions',
    select: `select name, since_ms, reason from condition where name in ('emergency_stop', 'witness_mismatch')`,
    look: ['hub status'],
    apply: each(CONDITION, 'name', 'since_ms', 'reason'),
  },
  {
    what: 'clock',
    select: `select key, value from meta where key in ('high_water_wall_ms', 'nonce_horizon_ms')`,
    look: [],
    apply: each('insert or replace into meta values (?, ?)', 'key', 'value'),
  },
]

/** Within the open transaction of `store`, which is the older one. */
export function carryOver(newer: Newer, store: Store, nowMs: number): Carried {
  const counts: Record<string, number> = {}
  const looks = new Set<string>()
  for (const { what, select, look, apply } of FAMILIES) {
    try {
      const rows = newer.prepare(select).all() as Row[]
      const changed = store.savepoint(() => apply(store, rows, nowMs))
      if (changed > 0) counts[what] = changed
    } catch (thrown) {
      // A disk that takes nothing is no word about the other version.
      if (judgeStoreFault(thrown) !== undefined) throw thrown
      for (const words of look) looks.add(words)
    }
  }
  return { counts, revokeAnew: [...looks] }
}
