/** Opens the database file as it must be: version, pragmas read back (database.ts S2), integrity; or says why not. Never an empty one in its place (T81). */
import { rmSync, statfsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import Database from 'better-sqlite3'
import { HubError } from '../base/errors.ts'

type Value = string | number | bigint | Buffer | null
const SQLITE_FLOOR = [3, 51, 3] as const
/** How many pages the write-ahead log holds before it is emptied into the file; the ballast's size follows from it. */
const WAL_PAGES_MAX = 128

/** Throws `store_unavailable` below the floor. */
export function assertVersion(version: string): void {
  const parts = version.split('.').map(Number)
  for (const [place, floor] of SQLITE_FLOOR.entries()) {
    const part = parts[place] ?? 0
    if (part > floor) return
    if (part < floor)
      throw new HubError(
        'store_unavailable',
        `SQLite ${version} can corrupt a write-ahead log; ${SQLITE_FLOOR.join('.')} or later is needed (X8)`,
      )
  }
}

const PRAGMAS: readonly [name: string, value: string | number, readBack: Value][] = [
  // One process: a second hub on the same home is refused here, and nobody else opens the live file (X8).
  ['locking_mode', 'exclusive', 'exclusive'],
  ['journal_mode', 'wal', 'wal'],
  ['synchronous', 'full', 2],
  ['foreign_keys', 1, 1],
  ['trusted_schema', 0, 0],
  ['cell_size_check', 1, 1],
  ['mmap_size', 0, 0],
  ['wal_autocheckpoint', WAL_PAGES_MAX, WAL_PAGES_MAX],
  ['busy_timeout', 0, 0],
]

/** So large a file is looked through whole at the start, which takes some 20 ms; of a larger one, what does not grow with history. */
const WHOLE_BYTES_MAX = 16 * 1024 ** 2
/** Tables of which rows stay; they are looked through right after the start (look.ts, guard/audit/walk.ts). */
const GROWING = new Set(
  ['checkpoint', 'decision', 'audit_decision', 'nonce', 'task', 'attempt', 'session', 'artifact', 'recycle'].concat([
    'approval',
    'alert',
    'alert_delivery',
    'run',
    'plan',
    'step',
    'step_try',
    'state_history',
    'egress_reservation',
    'egress_account',
  ]),
)
/** Of the audit log: months that count, and what is left of dropped ones (guard/audit/months.ts). */
export const isAuditTable = (table: string): boolean => /^audit_(record|dropped)/.test(table)
export const growsWithHistory = (table: string): boolean => GROWING.has(table) || isAuditTable(table)

/** Faults of one row's values: reading the row finds them too, and they harm only that row (fault G3). */
const OF_ONE_ROW = /^(?:CHECK constraint failed|NULL value|(?:non-)?[A-Z]+ value) in (\w+)/
/** More findings than a file that is looked through whole can have. */
const FINDINGS_MAX = 1_000_000

/** The first damage, or `ok`, in time that does not grow with history. A bad value in one row of a history table does not count. */
function quickCheck(database: Database.Database, bytes: number): unknown {
  if (bytes <= WHOLE_BYTES_MAX) {
    const all = database.pragma(`quick_check(${FINDINGS_MAX})`) as { quick_check: string }[]
    const found = all.map(({ quick_check }) => quick_check)
    return found.find((each) => each !== 'ok' && !growsWithHistory(OF_ONE_ROW.exec(each)?.[1] ?? '')) ?? 'ok'
  }
  const names = database
    .prepare(`select name from sqlite_schema where type = 'table' and name not like 'sqlite_%'`)
    .pluck()
    .all() as string[]
  const found = names
    .filter((name) => !growsWithHistory(name))
    .map((name) => database.pragma(`quick_check("${name.replaceAll('"', '""')}")`, { simple: true }))
  return found.find((each) => each !== 'ok') ?? 'ok'
}

/** What to do about a database that cannot be used; the newest backups are in the home. */
const FROM_BACKUP = 'make a new home from a backup: hub restore BACKUP --home NEW (see HOME/backups)'

/** The remedy for what SQLite threw at opening. On a full disk it may speak of an I/O error: its index of the log finds no room. */
function remedyOf(thrown: unknown, path: string): string {
  const code = String((thrown as { code?: unknown }).code)
  if (code === 'SQLITE_FULL' || (code.startsWith('SQLITE_IOERR') && !hasRoom(dirname(path))))
    return 'the disk is full; free some room, then try again'
  if (code.startsWith('SQLITE_READONLY'))
    return 'it is read-only for this account; look at mode, owner and mount (ls -l, mount)'
  if (code.startsWith('SQLITE_CANTOPEN'))
    return 'look at what is there, its owner and mode (ls -ld); move away a folder of that name'
  if (code.startsWith('SQLITE_IOERR'))
    return `the disk cannot write it (full, over a limit, or broken: see dmesg and ulimit -f); free some room, or ${FROM_BACKUP}`
  return `move it and its -wal aside, then ${FROM_BACKUP}`
}

const ROOM_BYTES = 256 * 1024

function hasRoom(folder: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder)
    return bavail * bsize >= ROOM_BYTES
  } catch {
    return true
  }
}

export function openFile(path: string): Database.Database {
  let database: Database.Database | undefined
  const sizeOf = () => statSync(path, { throwIfNoEntry: false })?.size
  const isNew = sizeOf() === undefined
  if (sizeOf() === 0) throw new HubError('store_unavailable', `${path} is empty: move it aside, then ${FROM_BACKUP}`)
  try {
    // No waiting for a lock: another hub holds it, and keeps it.
    database = new Database(path, { timeout: 0 })
    assertVersion(String(database.prepare('select sqlite_version() as v').pluck().get()))
    for (const [name, value, readBack] of PRAGMAS) {
      database.pragma(`${name} = ${value}`)
      const found = database.pragma(name, { simple: true })
      if (path !== ':memory:' && found !== readBack)
        throw new HubError('store_unavailable', `pragma ${name} is ${found}, not ${readBack}`)
    }
    const integrity = quickCheck(database, sizeOf() ?? 0)
    if (integrity !== 'ok')
      throw new HubError(
        'store_unavailable',
        `${path} is damaged (${integrity}): move it and its -wal aside, then ${FROM_BACKUP}`,
      )
    return database
  } catch (thrown) {
    database?.close()
    // Nothing half-made: remove what this call began and could not write.
    if (isNew && sizeOf() === 0) for (const file of [path, `${path}-wal`]) rmSync(file, { force: true })
    if (thrown instanceof HubError) throw thrown
    if (String((thrown as { code?: unknown }).code).startsWith('SQLITE_BUSY')) {
      throw new HubError('conflict', `another hub is running on ${path}; stop it with \`hub down\``, { cause: thrown })
    }
    throw new HubError(
      'store_unavailable',
      `cannot open ${path} (${(thrown as Error).message}): ${remedyOf(thrown, path)}`,
      {
        reason: (thrown as Error).message,
        cause: thrown,
      },
    )
  }
}
