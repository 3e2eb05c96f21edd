/**
 * The witness of the audit chain (docs/safety.md 8). It remembers the last signed checkpoint and accepts only the same
 * one again or a linked, longer row of them; whatever else it is shown is a mismatch. Checkpoints older than the one it
 * remembers are overlap after a restart of the hub and prove nothing.
 * A few older heads are kept too. With each lease the hub shows the hash of the newest of them and of one other, from the records as they
 * are now: so a rewritten past is seen even if its checkpoints were left in place (fault F5).
 */
import { type KeyObject, verify } from 'node:crypto'
import { canonicalText, sha256Hex } from '../base/digest.ts'
import type { Answer, Asked, Checkpoint } from './lease.ts'

export interface Witness {
  readonly size: number
  readonly head: string
  readonly digest: string
}
/** A head that was witnessed: the size of the log, and the hash of its last record. */
export type Head = readonly [size: number, head: string]

/** Each kept head is at least sixteen times the size of the one before: eight of them cover four billion records. */
const HEADS_GROW = 16
const HEADS_MAX = 8

/** The kept heads with this one, if it is the first of its magnitude. Pure. */
function withHead(heads: readonly Head[], { size, head }: Pick<Witness, 'size' | 'head'>): readonly Head[] {
  const last = heads.at(-1)
  const isNext = last === undefined || size >= last[0] * HEADS_GROW
  return isNext && heads.length < HEADS_MAX ? [...heads, [size, head]] : heads
}

/** What is remembered once this was witnessed. Pure. */
export const witnessNow = (before: { readonly heads: readonly Head[] }, witness: Witness | null) => ({
  witness,
  heads: witness === null ? before.heads : withHead(before.heads, witness),
})

/** The kept head whose turn it is: each in its time. Pure. */
export const headInTurn = (heads: readonly Head[], turn: number): Head | undefined => heads[turn % heads.length]

export interface Shown {
  readonly auditSize: number
  readonly auditHead: string
  readonly checkpoints: readonly Checkpoint[]
  readonly asked?: readonly Asked[]
}
/** `unproven`: checkpoints came, but their public key is missing; nothing is remembered, and nothing counts as a mismatch. */
export type WitnessWord =
  | { readonly kind: 'accepted'; readonly witness: Witness | null }
  | { readonly kind: 'unproven' }
  | { readonly kind: 'mismatch'; readonly reason: string }

function isSigned(checkpoint: Checkpoint, key: KeyObject): boolean {
  const { signature, ...body } = checkpoint
  const bytes = Buffer.from(`hub-checkpoint-v1\n${canonicalText(body)}`, 'utf8')
  return verify(null, bytes, key, Buffer.from(signature, 'base64url'))
}

/** Judges what the hub shows against what is remembered. Pure. */
export function judgeWitness(
  known: Witness | null,
  shown: Shown,
  instance: string,
  key: KeyObject | null,
  heads: readonly Head[] = [],
): WitnessWord {
  const mismatch = (reason: string) => ({ kind: 'mismatch', reason }) as const
  const seen = new Map(known === null ? heads : [...heads, [known.size, known.head]])
  for (const { seq, hash } of shown.asked ?? []) {
    const head = seen.get(seq)
    if (head !== undefined && head !== hash)
      return mismatch(`record ${seq} is ${hash === null ? 'gone' : 'not the one that was witnessed'}`)
  }
  let last = known
  if (last !== null && shown.auditSize < last.size) {
    return mismatch(`the log has ${shown.auditSize} records, ${last.size} were witnessed`)
  }
  if (key === null && shown.checkpoints.length > 0) return { kind: 'unproven' }
  for (const checkpoint of shown.checkpoints) {
    if (checkpoint.instance !== instance) return mismatch(`checkpoint ${checkpoint.size} is of another instance`)
    if (key === null || !isSigned(checkpoint, key))
      return mismatch(`checkpoint ${checkpoint.size} has a wrong signature`)
    const digest = sha256Hex(canonicalText(checkpoint))
    if (last !== null && checkpoint.size < last.size) continue
    if (last !== null && checkpoint.size === last.size) {
      // Signed again over the same log (a shutdown without new records) is fine; another head is not.
      if (checkpoint.head !== last.head) return mismatch(`checkpoint ${checkpoint.size} has another head than before`)
      if (digest === last.digest || checkpoint.previous !== last.digest) continue
    } else if (last !== null && checkpoint.previous !== last.digest) {
      return mismatch(`checkpoint ${checkpoint.size} does not link to checkpoint ${last.size}`)
    }
    last = { size: checkpoint.size, head: checkpoint.head, digest }
  }
  if (last !== null && shown.auditSize < last.size) {
    return mismatch(`the log has ${shown.auditSize} records, its own checkpoint ${last.size}`)
  }
  if (last !== null && shown.auditSize === last.size && shown.auditHead !== last.head) {
    return mismatch(`record ${last.size} has another head than was witnessed`)
  }
  return { kind: 'accepted', witness: last }
}

/**
 * Records that waited for a failing store, as the watchdog remembers them (S1-18). The hub tells with each answer how many
 * wait and the hash that the last will have. This is remembered, over restarts of both, until that hash is in the log. If
 * something else is there, or nothing, they were lost. Pure.
 */
export interface Buffered {
  /** The number that the last of them will have. */
  readonly seq: number
  readonly head: string
  readonly count: number
}

/** What to remember after an answer, and how many records it shows as lost. The hub was asked for `known.seq`. */
export function judgeBuffered(
  known: Buffered | null,
  { auditSize, bufferSize, bufferHead, asked }: Pick<Answer, 'auditSize' | 'bufferSize' | 'bufferHead' | 'asked'>,
): { buffered: Buffered | null; lost: number } {
  const now =
    bufferSize === 0 || bufferHead === null
      ? null
      : { seq: auditSize + bufferSize, head: bufferHead, count: bufferSize }
  if (known === null) return { buffered: now, lost: 0 }
  const said = asked.find(({ seq }) => seq === known.seq)
  // It could not read the record now, or this answer is to a lease that did not ask yet.
  if (said === undefined) return { buffered: known, lost: 0 }
  return { buffered: now, lost: said.hash === known.head ? 0 : known.count }
}
