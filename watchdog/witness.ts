/**
 * The witness of the audit chain (safety.md section 8). It remembers the last signed checkpoint and accepts only the same
 * one again or a linked, longer row of them; whatever else it is shown is a mismatch. Checkpoints older than the one it
 * remembers are overlap after a restart of the hub and prove nothing.
 * A few older heads are kept too, and with each lease the hub shows the hash of the newest of them and of one other as the records now are:
 * a past that was rewritten with its checkpoints left in place is seen (fault F5).
 */
import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { canonicalText, sha256Hex } from './digest.ts'

export interface Checkpoint {
  readonly size: number
  readonly head: string
  /** SHA-256 of the checkpoint before, signature included; 64 zeros for the first. */
  readonly previous: string
  readonly instance: string
  readonly wallMs: number
  readonly bootId: string
  readonly signature: string
}
export interface Witness {
  readonly size: number
  readonly head: string
  readonly digest: string
}
/** A record that the hub was asked for, and its hash as worked out from what it holds now; null where there is none. */
export interface Asked {
  readonly seq: number
  readonly hash: string | null
}
/** A head that was witnessed: the size of the log, and the hash of its last record. */
export type Head = readonly [size: number, head: string]

/** Each kept head stands for sizes up to sixteen times its own: eight of them for four billion records. */
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
/** `unproven`: checkpoints came, but their public key is not at hand; nothing is remembered and nothing accused. */
export type WitnessWord =
  | { readonly kind: 'accepted'; readonly witness: Witness | null }
  | { readonly kind: 'unproven' }
  | { readonly kind: 'mismatch'; readonly reason: string }

/** The public key of the checkpoints, or null if it is not there or is no Ed25519 key. */
export function readCheckpointKey(file: string): KeyObject | null {
  try {
    const key = createPublicKey(readFileSync(file, 'utf8'))
    return key.asymmetricKeyType === 'ed25519' ? key : null
  } catch {
    return null
  }
}

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
