/** A signed head of the audit log, purely: what is signed, how each is linked to the one before, and how one is judged (docs/safety.md 8). */
import { type KeyObject, verify } from 'node:crypto'
import { canonicalText, sha256Hex } from '../base/canonical.ts'

export interface Checkpoint {
  size: number
  head: string
  /** SHA-256 of the previous checkpoint's canonical text, signature included; zeros for the first. */
  previous: string
  instance: string
  wallMs: number
  bootId: string
  /** Ed25519, base64url, over `hub-checkpoint-v1 LF canonical text without signature`. */
  signature: string
}

export const signedBytes = (unsigned: Omit<Checkpoint, 'signature'>): Buffer =>
  Buffer.from(`hub-checkpoint-v1\n${canonicalText(unsigned)}`)

/** What the next checkpoint names as the one before it. */
export const checkpointDigest = (document: string): string => sha256Hex(document)

/** Why this one does not follow the one before it, or that its signature is wrong; undefined if it is right. */
export function judgeCheckpoint(
  checkpoint: Checkpoint,
  { previous, publicKey }: { previous: string; publicKey: KeyObject },
): string | undefined {
  const { signature, ...unsigned } = checkpoint
  if (checkpoint.previous !== previous) return `checkpoint at ${checkpoint.size} does not follow the one before it`
  if (!verify(null, signedBytes(unsigned), publicKey, Buffer.from(signature, 'base64url')))
    return `checkpoint at ${checkpoint.size} has a wrong signature`
  return undefined
}
