/**
 * `hub undo-update`: the way back after an update (fault G7). The copy from before the update becomes the database again. The newer database is
 * kept beside it and no longer counts. Only restrictions are carried over from it: whoever was shut out since then stays out. As after a
 * restore, every unfinished task is held, and the hub starts in safe mode.
 *
 * R1. The newer database is read by plain SQL, and may be of a newer version. What that version stores in another form is not carried over;
 *     the answer names it.
 * R2. It only gets stricter: what the older database has ended, suspended or withheld stays so.
 */
import { copyFileSync, linkSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { HubError } from '../base/errors.ts'
import { syncFile, syncFolder } from '../base/whole-file.ts'
import { judgeStoreFault, openStore, type Store } from '../store/database.ts'
import { COPY_BEFORE, shippedMigrations } from '../store/migrations.ts'
import { openFile } from '../store/open-file.ts'
import { settleDatabase } from './restore.ts'

export interface UndoReport {
  home: string
  /** When the copy was made that is in force now, epoch milliseconds. */
  madeAtMs: number
  /** The newer database, kept in the home. */
  kept: string
  held: number
  /** How many of each kind stay revoked, suspended or withheld. */
  carried: Carried['counts']
  /** What could not be read in the newer database: look through it, and revoke it again. */
  revokeAnew: readonly string[]
  /** The watchdog has seen a longer log, and asks about that once. */
  next: string
}

/** Throws `config_invalid` if there is no copy that this version can use, `conflict` while a hub runs on the home. */
export function undoUpdate({ home }: { home: string }, clock: Clock): UndoReport {
  const path = join(home, 'hub.db')
  const copies = readdirSync(home)
    .map((name) => ({ name, madeAtMs: Number(COPY_BEFORE.exec(name)?.[1]) }))
    .filter(({ madeAtMs }) => Number.isFinite(madeAtMs))
    .sort((a, b) => b.madeAtMs - a.madeAtMs)
  const usable = copies.find(({ name }) => isKnown(join(home, name)))
  if (usable === undefined)
    throw new HubError(
      'config_invalid',
      copies.length === 0
        ? `there is no copy from before an update in ${home} (hub.db.before-*); make a new home from a backup: hub restore BACKUP --home NEW`
        : `no copy in ${home} is of this version or older (${copies.map(({ name }) => name).join(', ')}); start the version that made it`,
    )
  const kept = `${path}.after-${clock.wallMs()}`
  const beside = `${path}.making`
  const made = new Date(usable.madeAtMs).toISOString()
  // Its lock is held until the older one is in its place: a hub that is started meanwhile stops at the lock.
  const newer = openLocked(path)
  try {
    for (const file of [beside, `${beside}-wal`]) rmSync(file, { force: true })
    copyFileSync(join(home, usable.name), beside)
    syncFile(beside)
    let carried: Carried = { counts: {}, revokeAnew: [] }
    const held = settleDatabase(beside, clock, {
      reason: `put back to ${made}, before an update; look first, then hub resume`,
      record: { action: 'hub.update_undone', reason: `the copy of ${made}`, effect: `kept:${kept}` },
      within(store) {
        carried = carryOver(newer, store, clock.wallMs())
        const counts = Object.entries(carried.counts).map(([what, count]) => `${what} ${count}`)
        return counts.length === 0 ? '' : `; as strict as since: ${counts.join(', ')}`
      },
    })
    setAside(newer, path, kept)
    renameSync(beside, path)
    syncFolder(home)
    const next =
      'hub up; the watchdog has seen a longer log and asks about it once: hub audit verify prints the head, then hub resume --accept-head HEAD'
    return {
      ...{ home, madeAtMs: usable.madeAtMs, kept, held },
      ...{ carried: carried.counts, revokeAnew: carried.revokeAnew, next },
    }
  } finally {
    // The file has another name by now, so SQLite removes no log of the other file.
    newer.close()
  }
}

/** A database that is only opened still lets others open it, and they fail later; after a first write nobody can. */
function openLocked(path: string): ReturnType<typeof openFile> {
  const database = openFile(path)
  try {
    database.exec('begin immediate; commit')
    return database
  } catch (thrown) {
    database.close()
    if (!String((thrown as { code?: unknown }).code).startsWith('SQLITE_BUSY')) throw thrown
    throw new HubError('conflict', `another hub is running on ${path}; stop it with \`hub down\``, { cause: thrown })
  }
}

/**
 * Empties the log into the file, which is then whole by itself, and removes the log while the lock keeps everybody out. The file gets its
 * second name before its first name goes to the other file. So there is a database at every moment, and no empty one can be made.
 */
function setAside(newer: ReturnType<typeof openFile>, path: string, kept: string): void {
  newer.pragma('wal_checkpoint(truncate)')
  const log = `${path}-wal`
  if ((statSync(log, { throwIfNoEntry: false })?.size ?? 0) > 0)
    throw new HubError('store_unavailable', `${log} cannot be emptied; look at the disk (dmesg), then try again`)
  // The log's index as well: with the index of another file a database would be read wrongly.
  for (const file of [log, `${path}-shm`]) rmSync(file, { force: true })
  linkSync(path, kept)
}

/** Whether every step this copy has had is one of this program. */
function isKnown(path: string): boolean {
  const store = openStore(path)
  try {
    const names = store.prepare('select name from migration').pluck().all() as string[]
    const shipped = new Set(shippedMigrations().map(({ name }) => name))
    return names.every((name) => shipped.has(name))
  } finally {
    store.close()
  }
}

type Row = Record<string, string | number | null>
/** The newer database, for reading. */
interface Newer {
  prepare(sql: string): { all(): unknown[] }
}

interface Carried {
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

/** Ends what is in force here and not in the newer database: there it was ended or replaced. */
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

const STRICTNESS = ['registered', 'unhealthy', 'suspended']
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

/** An alert that holds the hub safe comes with its row, because only its id can end it. */
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
    // `critical_alert` comes with its alert; a name that is unknown here becomes `operator_request`.
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
function carryOver(newer: Newer, store: Store, nowMs: number): Carried {
  const counts: Record<string, number> = {}
  const looks = new Set<string>()
  for (const { what, select, look, apply } of FAMILIES) {
    try {
      const rows = newer.prepare(select).all() as Row[]
      const changed = store.savepoint(() => apply(store, rows, nowMs))
      if (changed > 0) counts[what] = changed
    } catch (thrown) {
      // A disk that cannot be written says nothing about the other version.
      if (judgeStoreFault(thrown) !== undefined) throw thrown
      for (const words of look) looks.add(words)
    }
  }
  return { counts, revokeAnew: [...looks] }
}
