/**
 * A program that says nothing (S1-49): no message, no progress, no line of output, no finished call of a model. Silence is asked before it ends
 * anything. Pure.
 *
 * S1. Never while it may wait, and never while a request of it is open at the gateway. Whether a child process of it lives is known only inside
 *     its container: the shim looks at each step, and what it finds is a sign of life.
 * S2. First it is asked. A minute later it is told to end: SIGTERM, then SIGKILL, then what it left is kept. Only where that does not come
 *     about does the hub end its session.
 * S3. Any sign before the second step begins all of it anew. From there on it ends.
 */
export interface SilenceFacts {
  idleMs: number
  /** After how long it is asked; undefined for never. */
  silentAfterMs: number | undefined
  mayWait: boolean
  /** A request of it is open at the gateway. */
  isCalling: boolean
  /** Since it was asked, and since it was told to end; undefined before. */
  sinceAskedMs: number | undefined
  sinceEndMs: number | undefined
}

/** Between question and end. */
const ASKED_MS = 60_000
/** The shim's time for SIGTERM, SIGKILL, keeping and the way out. */
export const ENDING_MS = 60_000

export type SilenceStep = 'nothing' | 'ask' | 'end' | 'over'

export function decideSilence(facts: SilenceFacts): SilenceStep {
  const { idleMs, silentAfterMs, mayWait, isCalling, sinceAskedMs, sinceEndMs } = facts
  if (sinceEndMs !== undefined) return sinceEndMs >= ENDING_MS ? 'over' : 'nothing'
  if (silentAfterMs === undefined || mayWait || isCalling || idleMs < silentAfterMs) return 'nothing'
  if (sinceAskedMs === undefined) return 'ask'
  return sinceAskedMs >= ASKED_MS ? 'end' : 'nothing'
}
