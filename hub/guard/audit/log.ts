/**
 * The audit log: appends inside the caller's transaction, so that no effect commits without its record (I1).
 *
 * A1. The head in memory is the head of the open transaction; after a rollback it is read again.
 * A2. While the store cannot be written, the records of what may go on all the same (stopping, routing between open sessions) wait in a
 *     bounded buffer (buffer.ts) and are written in order before anything else once it can (safety.md section 8).
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import {
  type AuditEntry,
  type AuditRecord,
  type ChainFault,
  GENESIS,
  hashRecord,
  judgeRecords,
  wellFormed,
} from '../../protocol/audit-chain.ts'
import { judgeStoreFault, type Store } from '../../store/database.ts'
import { createAuditBuffer, type WaitingKind } from './buffer.ts'

const PAGE = 1000
/** Of an export: an answer of so many records stays far below what a client reads of one. */
const EXPORT_PAGE = 500
/** Never kept. */
const TRIAL: AuditEntry = {
  principal: 'hub',
  action: 'audit.tried',
  resource: '',
  decisionId: null,
  policyRevision: null,
  payloadHash: null,
  outcome: 'ok',
  reason: '',
  effect: '',
}
/** A buffer of more than so many records is tried again at most four times a second: each try writes them all. */
const EAGER_RECORDS_MAX = 100
const RETRY_MS = 250
const COLUMNS = `seq, previous, hash, at_ms as atMs, boot_id as bootId, principal, action, resource, decision_id as decisionId,
  policy_revision as policyRevision, payload_hash as payloadHash, outcome, reason, effect`

export interface AuditLog {
  /** Appends one record; needs an open transaction. Answers its sequence number. */
  append(entry: AuditEntry): number
  /** Keeps a record until the store can be written. Throws `audit_unavailable` when the buffer is full for this kind. */
  buffer(entry: AuditEntry, kind: WaitingKind, atMs?: number): void
  /**
   * Writes the buffered records, `before` them what they refer to and `after` them what they promised, in one transaction; call before
   * anything else once the store works again.
   */
  flush(before?: () => void, after?: () => void): void
  bufferState(): { size: number; head: string | null }
  /** Whether nothing more that has an effect can be kept. */
  bufferIsFull(): boolean
  /** Why nothing can be recorded though the store works, tried anew; undefined while it can. Not for an open transaction. */
  fault(): string | undefined
  /** To be called after any rollback. */
  reload(): void
  head(): { size: number; head: string }
  /** Whether a record of this hash stands in the log: its present head, or what once was. Reads the whole log. */
  includes(hash: string): boolean
  list(query: { limit: number; before?: number; action?: string; outcome?: string }): AuditRecord[]
  /** The records after `after` and up to `upTo`, in order, 500 at most. */
  page(after: number, upTo: number): AuditRecord[]
  /** Checks the next 1 000 records after `walk`, which moves along: the first fault, `more` to come, or undefined at the end of a whole log. */
  look(walk: { size: number; head: string }): ChainFault | 'more' | undefined
  /** Reads the whole log in pages of 1 000 and checks every hash and link. */
  verify(): { size: number; head: string; fault: ChainFault | undefined }
}

export function createAuditLog(parts: { store: Store; clock: Clock }): AuditLog {
  const { store, clock } = parts
  const insert = store.prepare('insert into audit_record values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
  const last = store.prepare('select seq, hash from audit_record order by seq desc limit 1')
  const pageAfter = store.prepare(`select ${COLUMNS} from audit_record where seq > ? order by seq limit ${PAGE}`)
  const exportPage = store.prepare(
    `select ${COLUMNS} from audit_record where seq > ? and seq <= ? order by seq limit ${EXPORT_PAGE}`,
  )
  // Undefined after a rollback, and read again when it is next needed: a store that fails may not be readable at once.
  let known: { size: number; head: string } | undefined
  const now = () => {
    known ??= read()
    return known
  }

  const waiting = createAuditBuffer({ bootId: clock.bootId, wallMs: clock.wallMs, headOf: () => now() })
  /** Why the last append could not be made; tried again by `fault`. */
  let broken: string | undefined
  let triedAt = Number.NEGATIVE_INFINITY

  function read(): { size: number; head: string } {
    const row = last.get() as { seq: number; hash: string } | undefined
    return row === undefined ? { size: 0, head: GENESIS } : { size: row.seq, head: row.hash }
  }

  function write(given: AuditEntry, atMs: number): number {
    const entry = wellFormed(given)
    const seq = now().size + 1
    const previous = now().head
    const hash = hashRecord({ ...entry, seq, previous, atMs, bootId: clock.bootId })
    try {
      insertRow(entry, seq, previous, hash, atMs)
    } catch (thrown) {
      const fault = judgeStoreFault(thrown)
      if (fault !== undefined) throw new HubError('store_unavailable', '', { reason: fault.reason, cause: thrown })
      // A rule of the table itself, or a row that stands in the place: the log's fault, not the store's.
      broken = (thrown as Error).message
      throw new HubError('audit_unavailable', '', { reason: broken, cause: thrown })
    }
    known = { size: seq, head: hash }
    return seq
  }

  function insertRow(entry: AuditEntry, seq: number, previous: string, hash: string, atMs: number): void {
    const { principal, action, decisionId, policyRevision, payloadHash, outcome } = entry
    insert.run(
      seq,
      previous,
      hash,
      atMs,
      clock.bootId,
      principal,
      action,
      entry.resource,
      decisionId,
      policyRevision,
      payloadHash,
      outcome,
      entry.reason,
      entry.effect,
    )
  }

  function look(walk: { size: number; head: string }): ChainFault | 'more' | undefined {
    const records = pageAfter.all(walk.size) as AuditRecord[]
    const fault = judgeRecords(records, walk)
    if (fault !== undefined) return fault
    if (records.length === PAGE) return 'more'
    return walk.size < read().size ? { seq: walk.size + 1, reason: 'a record is missing' } : undefined
  }

  /** Appends and takes it back. */
  function tryAppend(): void {
    const undo = new Error('only tried')
    try {
      store.transaction(() => {
        write(TRIAL, clock.wallMs())
        throw undo
      })
    } catch (thrown) {
      known = undefined
      if (thrown !== undo) throw thrown
    }
  }

  return {
    append(entry) {
      if (!store.inTransaction)
        throw new HubError('internal', '', { reason: 'an audit record was appended outside a transaction' })
      return write(entry, clock.wallMs())
    },
    buffer: (entry, kind, atMs) => waiting.push(entry, kind, atMs),
    flush(before, after) {
      if (waiting.size === 0 && before === undefined && after === undefined) return
      if (waiting.size > EAGER_RECORDS_MAX && clock.monotonicMs() - triedAt < RETRY_MS)
        throw new HubError('store_unavailable', '', { reason: 'what waits for the store was just tried in vain' })
      triedAt = clock.monotonicMs()
      try {
        store.transaction(() => {
          before?.()
          for (const { atMs, ...entry } of waiting.all()) write(entry, atMs)
          after?.()
        })
        waiting.clear()
      } catch (thrown) {
        known = undefined
        throw thrown
      }
    },
    bufferState: () => (waiting.size === 0 ? { size: 0, head: null } : waiting.state()),
    bufferIsFull: () => waiting.isFull,
    fault() {
      if (waiting.isFull) return `the buffer of records that wait for the store is full (${waiting.size})`
      if (broken === undefined) return undefined
      try {
        tryAppend()
        broken = undefined
      } catch {
        // `broken` says why, or the store itself fails now.
      }
      return broken
    },
    reload() {
      known = undefined
    },
    head: now,
    includes: (hash) => store.prepare('select 1 from audit_record where hash = ? limit 1').get(hash) !== undefined,
    list({ limit, before, action, outcome }) {
      const rows = store.prepare(
        `select ${COLUMNS} from audit_record where seq < ? and (? is null or action = ?) and (? is null or outcome = ?) order by seq desc limit ?`,
      )
      const [byAction, byOutcome] = [action ?? null, outcome ?? null]
      return rows.all(
        before ?? Number.MAX_SAFE_INTEGER,
        byAction,
        byAction,
        byOutcome,
        byOutcome,
        limit,
      ) as AuditRecord[]
    },
    page: (after, upTo) => exportPage.all(after, upTo) as AuditRecord[],
    look,
    verify() {
      const walk = { size: 0, head: GENESIS }
      for (;;) {
        const fault = look(walk)
        if (fault !== 'more') return { ...walk, fault }
      }
    },
  }
}
