/**
 * The one database. Owns the only connection (X8).
 *
 * S1. One synchronous transaction at a time; none is ever open across an await.
 * S2. The pragmas are read back after setting: WAL, synchronous=FULL, foreign keys. `NORMAL` may forget a commit, and a forgotten nonce is a replay.
 * S3. The first I/O error latches: no write by this process again, since the kernel may have marked the dirty pages clean (T79).
 *     A full disk does not latch; writing goes on as soon as there is room.
 */
import type Database from 'better-sqlite3'
import { HubError } from '../base/errors.ts'
import type { Spread } from '../base/meters.ts'
import { openFile } from './open-file.ts'

export type Statement = Database.Statement

export interface StoreFault {
  /** SQLite's own. */
  code: string
  reason: string
  latched: boolean
}

export interface Store {
  /** A prepared statement, made once per text. */
  prepare(sql: string): Statement
  /** Runs `fn` in one IMMEDIATE transaction: committed when it returns, rolled back when it throws. Nested use is our bug. */
  transaction<Result>(fn: () => Result): Result
  /** Runs `fn` under a savepoint of the open transaction: if it throws, only its own changes are undone. */
  savepoint<Result>(fn: () => Result): Result
  /** Runs `fn` once the open transaction has committed; forgotten if it, or the savepoint it was asked in, is undone. */
  afterCommit(fn: () => void): void
  /** Runs `fn` if the open transaction, or the savepoint it was asked in, is undone: for what was changed in memory ahead of the commit. */
  onRollback(fn: () => void): void
  readonly inTransaction: boolean
  /**
   * Runs `fn` without a transaction, and nothing in it can write. What it asked for after the commit runs when it returns, what it asked
   * for at a rollback when it throws. For what may go on while the store cannot be written (S1-18).
   */
  unwritten<Result>(fn: () => Result): Result
  /** The latched I/O error, or why the last write failed; undefined while writing works. */
  failure(): StoreFault | undefined
  /** Notes a fault that a statement outside a transaction threw; answers whether it was one of the store. */
  heard(thrown: unknown): boolean
  /** Times every commit from now on: `nowMs` is a clock that never steps. One listener. */
  timeCommits(nowMs: () => number, spread: Spread): void
  /** Hears each failure as it happens, once the transaction is undone; one listener. */
  onFailure(listener: (fault: StoreFault) => void): void
  /** One consistent copy in a new file, some pages a turn. Never by copying the file itself: closing a second handle to it drops SQLite's lock (X8). */
  copy(path: string, onPages?: (done: number, of: number) => void): Promise<void>
  /**
   * Empties the write-ahead log into the database file; `passive`: copies what it holds and lets it be. SQLite's own automatic copying
   * tells nobody when it fails, so this is where a disk that cannot be synced is noticed; until then the log holds everything.
   */
  checkpoint(how?: 'truncate' | 'passive'): void
  close(): void
}

/** All run, even if one throws; the first fault is thrown at the end. */
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

/** SQLite result codes after which nothing that this process writes can be trusted. */
const LATCHING = /^SQLITE_(IOERR|CORRUPT|NOTADB)/
const FAILING = /^SQLITE_(FULL|READONLY|CANTOPEN|BUSY)/
const CAUSES_MAX = 8
/** Of 4 KiB, between two turns of the event loop. */
const COPY_PAGES = 256

/** Pure: whether what was thrown, or what caused it, is SQLite unable to write or read; `latched` when nothing may be trusted after it. */
export function judgeStoreFault(thrown: unknown): StoreFault | undefined {
  let error = thrown as { code?: unknown; message?: string; cause?: unknown } | null | undefined
  for (let depth = 0; depth < CAUSES_MAX && typeof error === 'object' && error !== null; depth += 1) {
    const { code, message } = error
    if (typeof code === 'string' && (LATCHING.test(code) || FAILING.test(code)))
      return { code, reason: `${code}: ${message}`, latched: LATCHING.test(code) }
    error = error.cause as typeof error
  }
  return undefined
}

/** Opens the file, asserts version, integrity and pragmas. Throws `store_unavailable` with the reason; never falls back to an empty database (T81). */
export function openStore(path: string): Store {
  const database = openFile(path)
  const statements = new Map<string, Statement>()
  let afterwards: (() => void)[] = []
  let undoing: (() => void)[] = []
  let failure: StoreFault | undefined
  let listener: (fault: StoreFault) => void = () => undefined
  let timed: { nowMs: () => number; spread: Spread } | undefined
  /** Within `unwritten`. */
  let aside = false

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
      note(fault)
      throw new HubError('store_unavailable', '', { reason: fault.reason, cause: thrown })
    }
  }

  function note(fault: StoreFault): void {
    if (failure?.latched) return
    failure = fault
    // Statements outside a transaction do not pass `guarded`; this keeps them from writing too.
    if (fault.latched) database.pragma('query_only = 1')
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
      if (aside)
        throw new HubError('store_unavailable', '', {
          reason: 'tried to write a row in work that runs without a transaction',
        })
      afterwards = []
      undoing = []
      let result: ReturnType<typeof fn>
      try {
        result = guarded(() => {
          begin.run()
          const done = fn()
          const from = timed?.nowMs() ?? 0
          commit.run()
          timed?.spread.add((timed.nowMs() - from) / 1000)
          return done
        })
      } catch (thrown) {
        if (database.inTransaction) rollback.run()
        afterwards = []
        undo(0)
        if (failure !== undefined) listener(failure)
        throw thrown
      }
      const due = afterwards
      afterwards = []
      undoing = []
      runAll(due)
      return result
    },
    savepoint(fn) {
      if (!database.inTransaction && !aside)
        throw new HubError('internal', '', { reason: 'a savepoint needs an open transaction' })
      const marks = [afterwards.length, undoing.length] as const
      if (!aside) openSavepoint.run()
      try {
        const result = fn()
        if (!aside) release.run()
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
    unwritten(fn) {
      if (database.inTransaction || aside)
        throw new HubError('internal', '', { reason: 'work without a transaction was begun inside other work' })
      const before = database.pragma('query_only', { simple: true })
      afterwards = []
      undoing = []
      aside = true
      let result: ReturnType<typeof fn>
      try {
        database.pragma('query_only = 1')
        result = fn()
      } catch (thrown) {
        afterwards = []
        undo(0)
        throw thrown
      } finally {
        aside = false
        database.pragma(`query_only = ${before}`)
      }
      const due = afterwards
      afterwards = []
      undoing = []
      runAll(due)
      return result
    },
    heard(thrown) {
      const fault = judgeStoreFault(thrown)
      if (fault === undefined) return false
      note(fault)
      listener(fault)
      return true
    },
    timeCommits(nowMs, spread) {
      timed = { nowMs, spread }
    },
    onFailure(hears) {
      listener = hears
    },
    afterCommit(fn) {
      if (database.inTransaction || aside) afterwards.push(fn)
      else fn()
    },
    onRollback(fn) {
      if (database.inTransaction || aside) undoing.push(fn)
    },
    get inTransaction() {
      return database.inTransaction
    },
    failure: () => failure,
    checkpoint(how = 'truncate') {
      try {
        const before = failure
        guarded(() => database.pragma(`wal_checkpoint(${how})`))
        // A log that could be copied may still be unable to grow.
        failure = before
      } catch (thrown) {
        if (failure !== undefined) listener(failure)
        throw thrown
      }
    },
    copy: async (path, onPages) => {
      const progress = ({ totalPages, remainingPages }: { totalPages: number; remainingPages: number }) => {
        onPages?.(totalPages - remainingPages, totalPages)
        return COPY_PAGES
      }
      await database.backup(path, { progress })
    },
    close: () => database.close(),
  }
}
