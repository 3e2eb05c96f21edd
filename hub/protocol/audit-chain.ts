/** The audit chain, purely: what a record's hash covers and how a run of records is judged; for the log and for readers of an export (docs/safety.md 8). */

import { sha256Hex } from '../base/canonical.ts'
import type { Hide } from '../base/redaction.ts'

export interface AuditEntry {
  principal: string
  action: string
  resource: string
  decisionId: string | null
  policyRevision: string | null
  /** SHA-256 of the payload; never the payload. */
  payloadHash: string | null
  outcome: 'ok' | 'refused' | 'failed'
  reason: string
  effect: string
}
export interface AuditRecord extends AuditEntry {
  seq: number
  previous: string
  hash: string
  atMs: number
  bootId: string
}

export const GENESIS = '0'.repeat(64)

/**
 * Half a surrogate pair would come back from the database as another character, and every later verify would fail. A record may name what
 * a caller sent, but never a secret.
 */
export const wellFormed = <Entry extends AuditEntry>(entry: Entry, hide: Hide): Entry => ({
  ...entry,
  resource: hide(entry.resource.toWellFormed()),
  reason: hide(entry.reason.toWellFormed()),
  effect: hide(entry.effect.toWellFormed()),
})

/** A fixed order of primitives: `JSON.stringify` of this array is canonical by construction, and five times cheaper than RFC 8785. */
export function hashRecord(record: Omit<AuditRecord, 'hash'>): string {
  const {
    seq,
    previous,
    atMs,
    bootId,
    principal,
    action,
    resource,
    decisionId,
    policyRevision,
    payloadHash,
    outcome,
    reason,
    effect,
  } = record
  return sha256Hex(
    `hub-audit-v1\0${JSON.stringify([seq, previous, atMs, bootId, principal, action, resource, decisionId, policyRevision, payloadHash, outcome, reason, effect])}`,
  )
}

export interface ChainFault {
  seq: number
  reason: string
}

/** The first record that does not follow from the one before it, or undefined. `expected` moves along: pass one state over many pages. */
export function judgeRecords(
  records: Iterable<AuditRecord>,
  state: { size: number; head: string },
): ChainFault | undefined {
  for (const record of records) {
    if (record.seq !== state.size + 1)
      return { seq: state.size + 1, reason: `record ${state.size + 1} is missing; ${record.seq} follows` }
    if (record.previous !== state.head)
      return { seq: record.seq, reason: 'it does not name the hash of the record before it' }
    if (record.hash !== hashRecord(record)) return { seq: record.seq, reason: 'its content does not match its hash' }
    state.size = record.seq
    state.head = record.hash
  }
  return undefined
}
