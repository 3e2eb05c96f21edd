/**
 * The audit log: appends inside the caller's transaction, so that no effect commits without its record (I1).
 *
 * A1. The head in memory is the head of the open transaction; after a rollback it is read again.
 * A2. Stopping is never refused: while the store cannot be written its records wait in a bounded buffer, chained like the log,
 *     and are written in order before anything else once it can (safety.md section 8).
 */
import { createBoundedQueue } from '../../base/bounded.ts'
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { Store } from '../../store/database.ts'
import { type AuditEntry, type AuditRecord, type ChainFault, GENESIS, hashRecord, judgeRecords } from './chain.ts'

const BUFFER_MAX = 10_000
const PAGE = 1000
const COLUMNS = `seq, previous, hash, at_ms as atMs, boot_id as bootId, principal, action, resource, decision_id as decisionId,
  policy_revision as policyRevision, payload_hash as payloadHash, outcome, reason, effect`

export interface AuditLog {
  /** Appends one record; needs an open transaction. Answers its sequence number. */
  append(entry: AuditEntry): number
  /** Keeps a stop's record until the store can be written. Throws `audit_unavailable` when the buffer is full. */
  buffer(entry: AuditEntry): void
  /** Writes the buffered records; call before anything else once the store works again. */
  flush(): void
  bufferState(): { size: number; head: string | null }
  /** To be called after any rollback. */
  reload(): void
  head(): { size: number; head: string }
  list(query: { limit: number; before?: number; action?: string; outcome?: string }): AuditRecord[]
  /** Reads the whole log in pages of 1 000 and checks every hash and link. */
  verify(): { size: number; head: string; fault: ChainFault | undefined }
}

export function createAuditLog(parts: { store: Store; clock: Clock }): AuditLog {
  const { store, clock } = parts
  const insert = store.prepare('insert into audit_record values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
  const last = store.prepare('select seq, hash from audit_record order by seq desc limit 1')
  const pageAfter = store.prepare(`select ${COLUMNS} from audit_record where seq > ? order by seq limit ${PAGE}`)
  const waiting = createBoundedQueue<AuditEntry & { atMs: number }>(BUFFER_MAX)
  // Undefined after a rollback, and read again when it is next needed: a store that fails may not be readable at once.
  let known: { size: number; head: string } | undefined
  const now = () => {
    known ??= read()
    return known
  }

  function read(): { size: number; head: string } {
    const row = last.get() as { seq: number; hash: string } | undefined
    return row === undefined ? { size: 0, head: GENESIS } : { size: row.seq, head: row.hash }
  }

  function write(given: AuditEntry, atMs: number): number {
    // Half a surrogate pair would come back from the database as another character, and fail every later verify.
    const [resource, reason, effect] = [given.resource, given.reason, given.effect].map((text) => text.toWellFormed())
    const entry = { ...given, resource: resource ?? '', reason: reason ?? '', effect: effect ?? '' }
    const seq = now().size + 1
    const previous = now().head
    const hash = hashRecord({ ...entry, seq, previous, atMs, bootId: clock.bootId })
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
    known = { size: seq, head: hash }
    return seq
  }

  return {
    append(entry) {
      if (!store.inTransaction)
        throw new HubError('internal', '', { reason: 'an audit record was appended outside a transaction' })
      return write(entry, clock.wallMs())
    },
    buffer(entry) {
      if (!waiting.push({ ...entry, atMs: clock.wallMs() })) throw new HubError('audit_unavailable')
    },
    flush() {
      if (waiting.size === 0) return
      try {
        store.transaction(() => {
          for (const { atMs, ...entry } of waiting.peekAll()) write(entry, atMs)
        })
        waiting.clear()
      } catch (thrown) {
        known = undefined
        throw thrown
      }
    },
    bufferState() {
      if (waiting.size === 0) return { size: 0, head: null }
      let { size, head } = now()
      for (const { atMs, ...entry } of waiting.peekAll()) {
        size += 1
        head = hashRecord({ ...entry, seq: size, previous: head, atMs, bootId: clock.bootId })
      }
      return { size: waiting.size, head }
    },
    reload() {
      known = undefined
    },
    head: now,
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
    verify() {
      const walk = { size: 0, head: GENESIS }
      for (;;) {
        const records = pageAfter.all(walk.size) as AuditRecord[]
        const fault = judgeRecords(records, walk)
        if (fault !== undefined || records.length < PAGE) {
          const gap =
            fault === undefined && walk.size < read().size
              ? { seq: walk.size + 1, reason: 'a record is missing' }
              : fault
          return { ...walk, fault: gap }
        }
      }
    },
  }
}
