/**
 * The audit log: appends inside the caller's transaction, so that no effect commits without its record (I1).
 *
 * A1. The head in memory is the head of the open transaction; after a rollback it is read again.
 * A2. Months have tables of their own (months.ts); what reads them is in reader.ts.
 * A3. While the store cannot be written, stopping and routing between open sessions go on. Their records wait in a bounded buffer
 *     (buffer.ts), and are written in order, before anything else, once the store works again (docs/safety.md 8).
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { Spread } from '../../base/meters.ts'
import { type Hide, hideUnknown } from '../../base/redaction.ts'
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
import type { AuditFilter } from './filter.ts'
import { type AuditMonths, createAuditMonths } from './months.ts'
import { type AuditReader, createAuditReader, type Found } from './reader.ts'

/** What is judged in one go: some two milliseconds. */
const PAGE = 250
/** How far back to look for a head that the operator accepts: some 10 ms. */
const LATELY_RECORDS = 20_000
/** Records in one page of an export: far below what a client accepts as one answer. */
const EXPORT_PAGE = 250
/** A record that is only tried, and never kept. */
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
/** A larger buffer than this is tried at most four times a second, because each try writes all of it. */
const EAGER_RECORDS_MAX = 100
const RETRY_MS = 250

/** So many records are signed at once, however soon they come, so that no more than these are unsigned [audit-20]. */
export const SIGNED_RECORDS = 65_536

export interface AuditLog {
  /** Appends one record; needs an open transaction. Answers its sequence number. */
  append(entry: AuditEntry): number
  /** Keeps a record until the store can be written. Throws `audit_unavailable` when the buffer is full for this kind. */
  buffer(entry: AuditEntry, kind: WaitingKind, atMs?: number): void
  /**
   * Writes the buffered records in one transaction: `before` writes what they refer to, `after` what they promised. Call it before
   * anything else once the store works again.
   */
  flush(before?: () => void, after?: () => void): void
  bufferState(): { size: number; head: string | null }
  /** Whether nothing more that has an effect can be kept. */
  bufferIsFull(): boolean
  /** Why nothing can be recorded although the store works (tried again here); undefined if it can. Not in an open transaction. */
  fault(): string | undefined
  /**
   * Hears of each record whose number is a multiple of `every`, in the transaction that writes it: what it writes commits, or is undone,
   * with that record.
   */
  onEvery(every: number, hears: () => void): void
  /** To be called after any rollback. */
  reload(): void
  head(): { size: number; head: string }
  /** Whether a record of this hash is one of the last 20 000: the present head, or what it was a while ago. */
  includes(hash: string): boolean
  /** Newest first, as many as one look back finds (`search`). */
  list(query: { limit: number; before?: number; action?: string; outcome?: string }): AuditRecord[]
  /** The same, and how far back it looked. */
  search(query: { limit: number; before?: number } & AuditFilter): Found
  /** The records after `after` and up to `upTo`, in order, 250 at most; with their checkpoints if their month is only in its file. */
  page(after: number, upTo: number): ReturnType<AuditReader['withSigned']>
  hashAt(seq: number): string | undefined
  /**
   * The hash of this record, worked out from what it holds now; also for one that waits for the store. Null if there is no such record.
   * Throws if the store cannot be read.
   */
  provenHash(seq: number): string | null
  /** When a record was made. */
  atMsOf(seq: number): number | undefined
  /** Checks the next 250 records after `walk`, which moves along: the first fault, `more` to come, or undefined at the end of a whole log. */
  look(walk: { size: number; head: string }): ChainFault | 'more' | undefined
  /** Checks every hash and link in one go; for tests and tools. A hub walks in turns (walk.ts). */
  verify(): { size: number; head: string; fault: ChainFault | undefined }
  readonly months: AuditMonths
}

/** `home`: where the files of sealed months are; not needed without sealed months. `spread` gets how long each record took. */
export function createAuditLog(parts: {
  store: Store
  clock: Clock
  home?: string
  hide?: Hide
  spread?: Spread
}): AuditLog {
  const { store, clock, hide = hideUnknown().text, spread } = parts
  const months = createAuditMonths(store)
  const reader = createAuditReader({ store, months, home: parts.home ?? '' })
  const insert = store.prepare('insert into audit_record values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
  const last = store.prepare('select seq, hash from audit_record order by seq desc limit 1')
  // Undefined after a rollback, and read again when it is next needed: a store that fails may not be readable at once.
  let known: { size: number; head: string } | undefined
  const now = () => {
    known ??= read()
    return known
  }

  const waiting = createAuditBuffer({ bootId: clock.bootId, wallMs: clock.wallMs, headOf: () => now(), hide })
  /** Why the last append could not be made; tried again by `fault`. */
  let broken: string | undefined
  let triedAt = Number.NEGATIVE_INFINITY
  let mark = { every: Number.POSITIVE_INFINITY, hears: () => {} }

  function read(): { size: number; head: string } {
    const row = last.get() as { seq: number; hash: string } | undefined
    if (row !== undefined) return { size: row.seq, head: row.hash }
    const open = months.all().at(-1)
    return open === undefined ? { size: 0, head: GENESIS } : { size: open.first - 1, head: open.previous }
  }

  function write(given: AuditEntry, atMs: number): number {
    const entry = wellFormed(given, hide)
    const seq = now().size + 1
    const previous = now().head
    const hash = hashRecord({ ...entry, seq, previous, atMs, bootId: clock.bootId })
    try {
      months.keepPlace(atMs, seq, previous)
      insertRow(entry, seq, previous, hash, atMs)
    } catch (thrown) {
      const fault = judgeStoreFault(thrown)
      if (fault !== undefined) throw new HubError('store_unavailable', '', { reason: fault.reason, cause: thrown })
      // A rule of the table, or a row that is already there: the log's fault, not the store's.
      broken = (thrown as Error).message
      throw new HubError('audit_unavailable', '', { reason: broken, cause: thrown })
    }
    known = { size: seq, head: hash }
    if (seq % mark.every === 0) mark.hears()
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
    let records: AuditRecord[]
    try {
      records = reader.records(walk.size, Number.MAX_SAFE_INTEGER, PAGE)
    } catch (thrown) {
      return { seq: walk.size + 1, reason: `it cannot be read (${(thrown as Error).message})` }
    }
    const fault = judgeRecords(records, walk)
    if (fault !== undefined) return fault
    if (walk.size >= read().size) return undefined
    return records.length > 0 ? 'more' : { seq: walk.size + 1, reason: 'a record is missing' }
  }

  const search: AuditLog['search'] = ({ limit, before, ...filter }) =>
    reader.search({ limit, before: Math.min(before ?? Number.MAX_SAFE_INTEGER, now().size + 1), filter })

  /** Appends a record and rolls it back. */
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
      const from = clock.monotonicMs()
      const seq = write(entry, clock.wallMs())
      spread?.add((clock.monotonicMs() - from) / 1000)
      return seq
    },
    buffer: (entry, kind, atMs) => waiting.push(entry, kind, atMs),
    flush(before, after) {
      if (waiting.size === 0 && before === undefined && after === undefined) return
      if (waiting.size > EAGER_RECORDS_MAX && clock.monotonicMs() - triedAt < RETRY_MS)
        throw new HubError('store_unavailable', '', {
          reason: 'the waiting records were just tried, and could not be written',
        })
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
    onEvery(every, hears) {
      mark = { every, hears }
    },
    reload() {
      known = undefined
    },
    head: now,
    includes: (hash) => {
      const { size } = now()
      for (let from = size; from > Math.max(0, size - LATELY_RECORDS); ) {
        const month = months.holding(from)
        if (month.state === 'dropped') return false
        const to = Math.max(month.first, size - LATELY_RECORDS)
        const rows = store.prepare(
          `select 1 from ${months.tableOf(month)} where seq between ? and ? and hash = ? limit 1`,
        )
        if (rows.get(to, from, hash) !== undefined) return true
        from = to - 1
      }
      return false
    },
    list: (query) => search(query).records,
    search,
    page: (after, upTo) => reader.withSigned(after, upTo, EXPORT_PAGE),
    hashAt: reader.hashAt,
    provenHash(seq) {
      const [record] = reader.records(seq - 1, seq, 1)
      if (record !== undefined) return hashRecord(record)
      return waiting.size === 0 ? null : (waiting.hashAt(seq) ?? null)
    },
    atMsOf: (seq) => reader.records(seq - 1, seq, 1)[0]?.atMs,
    months,
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
