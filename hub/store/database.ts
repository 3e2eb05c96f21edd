/**
 * The one database. Owns the only connection (D13, X8).
 *
 * S1. One synchronous transaction at a time; none is ever open across an await.
 * S2. The pragmas are read back after setting: WAL, synchronous=FULL, foreign keys. `NORMAL` may forget a commit, and a forgotten nonce is a replay.
 * S3. The first I/O error latches: no write by this process again, since the kernel may have marked the dirty pages clean (T79).
 *     A full disk does not latch; writing goes on as soon as there is room.
 */
import { statSync } from 'node:fs'
import Database from 'better-sqlite3'
import { HubError } from '../base/errors.ts'

export type Statement = Database.Statement
type Value = string | number | bigint | Buffer | null

export interface Store {
  /** A prepared statement, made once per text. */
  prepare(sql: string): Statement
  /** Runs `fn` in one IMMEDIATE transaction: committed when it returns, rolled back when it throws. Nested use is our bug. */
  transaction<Result>(fn: () => Result): Result
  /** Runs `fn` under a savepoint of the open transaction: undone alone when it throws. */
  savepoint<Result>(fn: () => Result): Result
  /** Runs `fn` once the open transaction has committed; forgotten if it, or the savepoint it was asked in, is undone. */
  afterCommit(fn: () => void): void
  /** Runs `fn` if the open transaction, or the savepoint it was asked in, is undone: for what was changed in memory ahead of the commit. */
  onRollback(fn: () => void): void
  readonly inTransaction: boolean
  /** The latched I/O error, or why the last write failed; undefined while writing works. */
  failure(): { reason: string; latched: boolean } | undefined
  /** Empties the write-ahead log into the database file. */
  checkpoint(): void
  close(): void
}

/** One that throws does not keep the others from running; the first fault is thrown at the end. */
function runAll(callbacks: readonly (() => void)[]): void {
  const faults: unknown[] = []
  for (const callback of callbacks) {
    try {
      callback()
    } catch (thrown) {
      faults.push(thrown)
    }
  }
  if (faults.length > 0) throw faults[0]
}

/** SQLite result codes after which nothing written by this process can be trusted. */
const LATCHING = /^SQLITE_(IOERR|CORRUPT|NOTADB)/
const FAILING = /^SQLITE_(FULL|READONLY|CANTOPEN|BUSY)/
const CAUSES_MAX = 8
const SQLITE_FLOOR = [3, 51, 3] as const

/** Pure: whether what was thrown, or what caused it, is SQLite unable to write or read; `latched` when nothing may be trusted after it. */
export function judgeStoreFault(thrown: unknown): { reason: string; latched: boolean } | undefined {
  let error = thrown as { code?: unknown; message?: string; cause?: unknown } | null | undefined
  for (let depth = 0; depth < CAUSES_MAX && typeof error === 'object' && error !== null; depth += 1) {
    const { code, message } = error
    if (typeof code === 'string' && (LATCHING.test(code) || FAILING.test(code)))
      return { reason: `${code}: ${message}`, latched: LATCHING.test(code) }
    error = error.cause as typeof error
  }
  return undefined
}

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
  ['wal_autocheckpoint', 128, 128],
  ['busy_timeout', 0, 0],
]

/** Opens the file, asserts version, integrity and pragmas. Throws `store_unavailable` with the reason; never falls back to an empty database (T81). */
export function openStore(path: string): Store {
  const database = openFile(path)
  const statements = new Map<string, Statement>()
  let afterwards: (() => void)[] = []
  let undoing: (() => void)[] = []
  let failure: { reason: string; latched: boolean } | undefined

  function guarded<Result>(fn: () => Result): Result {
    if (failure?.latched)
      throw new HubError('store_unavailable', 'the database had an I/O error; restart the hub', {
        reason: failure.reason,
      })
    try {
      const result = fn()
      failure = undefined
      return result
    } catch (thrown) {
      const fault = judgeStoreFault(thrown)
      if (fault === undefined) throw thrown
      failure = fault
      // Statements outside a transaction do not pass here; this keeps them from writing too.
      if (fault.latched) database.pragma('query_only = 1')
      throw new HubError('store_unavailable', '', { reason: failure.reason, cause: thrown })
    }
  }

  const prepare = (sql: string): Statement => {
    const known = statements.get(sql)
    if (known !== undefined) return known
    const made = database.prepare(sql)
    statements.set(sql, made)
    return made
  }

  /** Newest first, down to the mark. */
  function undo(mark: number): void {
    while (undoing.length > mark) undoing.pop()?.()
  }
  // Prepared once: the library's own wrapper builds four functions at every call, which cost more than the savepoint itself.
  const [begin, commit, rollback] = [prepare('begin immediate'), prepare('commit'), prepare('rollback')]
  const [openSavepoint, rollbackTo, release] = [
    prepare('savepoint step'),
    prepare('rollback to step'),
    prepare('release step'),
  ]

  return {
    prepare,
    transaction(fn) {
      if (database.inTransaction)
        throw new HubError('internal', '', { reason: 'a transaction was opened inside another' })
      afterwards = []
      undoing = []
      let result: ReturnType<typeof fn>
      try {
        result = guarded(() => {
          begin.run()
          const done = fn()
          commit.run()
          return done
        })
      } catch (thrown) {
        if (database.inTransaction) rollback.run()
        afterwards = []
        undo(0)
        throw thrown
      }
      const due = afterwards
      afterwards = []
      undoing = []
      runAll(due)
      return result
    },
    savepoint(fn) {
      if (!database.inTransaction)
        throw new HubError('internal', '', { reason: 'a savepoint needs an open transaction' })
      const marks = [afterwards.length, undoing.length] as const
      openSavepoint.run()
      try {
        const result = fn()
        release.run()
        return result
      } catch (thrown) {
        // A full disk may have ended the whole transaction already; then there is no savepoint left to return to.
        if (database.inTransaction) {
          rollbackTo.run()
          release.run()
        }
        afterwards.length = marks[0]
        undo(marks[1])
        throw thrown
      }
    },
    afterCommit(fn) {
      if (database.inTransaction) afterwards.push(fn)
      else fn()
    },
    onRollback(fn) {
      if (database.inTransaction) undoing.push(fn)
    },
    get inTransaction() {
      return database.inTransaction
    },
    failure: () => failure,
    checkpoint: () => void guarded(() => database.pragma('wal_checkpoint(TRUNCATE)')),
    close: () => database.close(),
  }
}

function openFile(path: string): Database.Database {
  let database: Database.Database | undefined
  if (statSync(path, { throwIfNoEntry: false })?.size === 0)
    throw new HubError('store_unavailable', `${path} is empty; restore a backup, or remove it if this hub never ran`)
  try {
    // No waiting for a lock: whoever holds it is another hub, and keeps it.
    database = new Database(path, { timeout: 0 })
    assertVersion(String(database.prepare('select sqlite_version() as v').pluck().get()))
    for (const [name, value, readBack] of PRAGMAS) {
      database.pragma(`${name} = ${value}`)
      const found = database.pragma(name, { simple: true })
      if (path !== ':memory:' && found !== readBack)
        throw new HubError('store_unavailable', `pragma ${name} is ${found}, not ${readBack}`)
    }
    const integrity = database.pragma('quick_check(1)', { simple: true })
    if (integrity !== 'ok')
      throw new HubError(
        'store_unavailable',
        `the database file is damaged (${integrity}); keep a copy and restore a backup`,
      )
    return database
  } catch (thrown) {
    database?.close()
    if (thrown instanceof HubError) throw thrown
    if (String((thrown as { code?: unknown }).code).startsWith('SQLITE_BUSY')) {
      throw new HubError('conflict', `another hub is running on ${path}; stop it with \`hub down\``, { cause: thrown })
    }
    throw new HubError('store_unavailable', `cannot open ${path}: ${(thrown as Error).message}`, { cause: thrown })
  }
}
