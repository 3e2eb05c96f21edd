/**
 * Records that wait until the store can be written again, chained like the log, so that their head can be told before (S1-18).
 *
 * B1. At most 10 000 records or 8 MiB, whichever comes first; then nothing more is routed.
 * B2. Refusals take at most half of that: a caller that is refused again and again must not keep others from being recorded.
 * B3. Stops have 256 places and 256 KiB of their own behind it (I6).
 */
import { HubError } from '../../base/errors.ts'
import type { Hide } from '../../base/redaction.ts'
import { type AuditEntry, hashRecord, wellFormed } from '../../protocol/audit-chain.ts'

export type WaitingKind = 'effect' | 'refusal' | 'stop'
export type WaitingRecord = AuditEntry & { atMs: number }

export interface AuditBuffer {
  readonly size: number
  readonly bytes: number
  /** Whether records of effects no longer fit. */
  readonly isFull: boolean
  /** Throws `audit_unavailable` when there is no room for this kind. */
  push(entry: AuditEntry, kind: WaitingKind, atMs?: number): void
  /** In order, oldest first. */
  all(): readonly WaitingRecord[]
  /** The hash that the waiting record of this number in the log will have; undefined if none has it, or the log's head cannot be read. */
  hashAt(seq: number): string | undefined
  /** How many wait and the hash of the last as it will be written; null while the log's own head cannot be read. */
  state(): { size: number; head: string | null }
  clear(): void
}

const BUFFER_RECORDS_MAX = 10_000
const BUFFER_BYTES_MAX = 8 * 1024 ** 2
const STOP_RECORDS = 256
const STOP_BYTES = 256 * 1024
/** For the numbers, ids and hashes of a record, besides its texts. */
const FIXED_BYTES = 400

const LIMITS: Record<WaitingKind, { records: number; bytes: number }> = {
  effect: { records: BUFFER_RECORDS_MAX, bytes: BUFFER_BYTES_MAX },
  refusal: { records: BUFFER_RECORDS_MAX / 2, bytes: BUFFER_BYTES_MAX / 2 },
  stop: { records: BUFFER_RECORDS_MAX + STOP_RECORDS, bytes: BUFFER_BYTES_MAX + STOP_BYTES },
}

const bytesOf = ({ principal, action, resource, reason, effect }: AuditEntry): number =>
  FIXED_BYTES + [principal, action, resource, reason, effect].reduce((sum, text) => sum + Buffer.byteLength(text), 0)

/** `headOf` answers the log's own head, or throws if it cannot be read now. */
export function createAuditBuffer(parts: {
  bootId: string
  wallMs: () => number
  headOf: () => { size: number; head: string }
  hide: Hide
}): AuditBuffer {
  const { bootId, wallMs, headOf, hide } = parts
  let waiting: WaitingRecord[] = []
  let bytes = 0
  /** How far the chain is worked out: the number and hash of the record before the first that waits, and those of the waiting. */
  let chained: { seq: number; head: string; hashes: string[] } | undefined

  /** Throws if the log's own head cannot be read now. */
  function worked(): NonNullable<typeof chained> {
    if (chained === undefined) {
      const { size, head } = headOf()
      chained = { seq: size, head, hashes: [] }
    }
    for (const { atMs, ...entry } of waiting.slice(chained.hashes.length)) {
      const seq: number = chained.seq + chained.hashes.length + 1
      const previous: string = chained.hashes.at(-1) ?? chained.head
      chained.hashes.push(hashRecord({ ...entry, seq, previous, atMs, bootId }))
    }
    return chained
  }

  return {
    get size() {
      return waiting.length
    },
    get bytes() {
      return bytes
    },
    get isFull() {
      return waiting.length >= LIMITS.effect.records || bytes >= LIMITS.effect.bytes
    },
    push(given, kind, atMs = wallMs()) {
      const entry = wellFormed(given, hide)
      const added = bytesOf(entry)
      const limit = LIMITS[kind]
      if (waiting.length >= limit.records || bytes + added > limit.bytes)
        throw new HubError('audit_unavailable', '', { reason: 'the audit buffer is full' })
      waiting.push({ ...entry, atMs })
      bytes += added
    },
    all: () => waiting,
    state() {
      const size = waiting.length
      try {
        const { head, hashes } = worked()
        return { size, head: hashes.at(-1) ?? head }
      } catch {
        return { size, head: null }
      }
    },
    hashAt(seq) {
      try {
        const { seq: before, hashes } = worked()
        return hashes[seq - before - 1]
      } catch {
        return undefined
      }
    },
    clear() {
      waiting = []
      bytes = 0
      chained = undefined
    },
  }
}
