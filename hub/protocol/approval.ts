/**
 * What waits for a person: kinds, states, tiers, and how long each may wait (docs/safety.md 11). Shapes and tables only.
 *
 * A question of an agent (`ask_user`), a tool that an agent is about to use (`tool`), an act that the rules ask about (`act`) and more money
 * for a tree of tasks (`budget`) are opened today. The other kinds share the table, the states and the limits, and nobody opens them yet.
 */
import { createMachine } from '../base/machine.ts'

export const APPROVAL_KINDS = ['ask_user', 'plan', 'step', 'checkpoint', 'tool', 'selection', 'budget', 'act'] as const
export type ApprovalKind = (typeof APPROVAL_KINDS)[number]

export const APPROVAL_STATES = ['asked', 'approved', 'refused', 'expired', 'used'] as const
export type ApprovalState = (typeof APPROVAL_STATES)[number]

/** An act that was approved is used once, or ends unused. An answered question stays approved. */
export const approvalMachine = createMachine<ApprovalState>('approval', {
  asked: ['approved', 'refused', 'expired'],
  approved: ['used', 'expired'],
  refused: [],
  expired: [],
  used: [],
})

/** Why it ended without an answer or unused: what it was for is over, what it was about changed, nobody answered or used it in time. */
export const APPROVAL_ENDINGS = ['over', 'superseded', 'timed_out'] as const
export type ApprovalEnding = (typeof APPROVAL_ENDINGS)[number]

/** What a session is told of its act once nobody decides about it any more. `superseded`: what it was about changed, so it is asked anew. */
export type ActAnswer = 'approved' | 'rejected' | 'expired' | 'superseded'
/** The type of the delivery that says so, and its body. It comes from the hub itself, so it has no `from`. */
export const ANSWERED_TYPE = 'approval.answered'
export interface AnsweredBody {
  approval: string
  answer: ActAnswer
  /** What the person said with it; empty if nothing. */
  text: string
}

/** How much an act can do, in rising order (S2-26). */
export const TIERS = ['read', 'write', 'execute', 'destructive', 'external'] as const
export type Tier = (typeof TIERS)[number]

/** What silence leads to: it ends as a no; the same, and an alert says so; it is asked again. None of them is a yes. */
export const ON_TIMEOUT = ['abort', 'notify', 'defer'] as const
export type OnTimeout = (typeof ON_TIMEOUT)[number]

/** The same in words, for whoever answers. */
export const SILENCE: Readonly<Record<OnTimeout, string>> = {
  abort: 'silence is a no',
  notify: 'silence is a no, and an alert says so',
  defer: 'then it is asked again, 30 times at most',
}

export interface TierLimit {
  /** While no container waits for the answer, in ms of the work clock. */
  waitMs: number
  /** While one does. */
  waitRunningMs: number
  onTimeout: OnTimeout
}
export type TierLimits = Readonly<Record<Tier, TierLimit>>

const HOUR_MS = 3_600_000
const SHIPPED: TierLimit = { waitMs: 24 * HOUR_MS, waitRunningMs: HOUR_MS / 2, onTimeout: 'abort' }
export const TIER_LIMITS: TierLimits = {
  read: SHIPPED,
  write: SHIPPED,
  execute: SHIPPED,
  destructive: { ...SHIPPED, onTimeout: 'notify' },
  external: { ...SHIPPED, onTimeout: 'notify' },
}

/** What a person decides about money or after the last try waits for a month, whatever its tier: it is asked again after an hour and then daily (D-R16). */
const PATIENT: ReadonlySet<ApprovalKind> = new Set(['checkpoint', 'budget'])
const PATIENT_FIRST_MS = HOUR_MS
const PATIENT_MS = 24 * HOUR_MS

/** How long one of this kind and tier waits, at first and each time it is asked again, and what silence then leads to. Pure. `running`: a container waits for it. */
export function limitOf(
  limits: TierLimits,
  { kind, tier, running }: { kind: ApprovalKind; tier: Tier; running: boolean },
): { firstMs: number; waitMs: number; onTimeout: OnTimeout } {
  const { waitMs, waitRunningMs, onTimeout } = limits[tier]
  if (PATIENT.has(kind)) return { firstMs: PATIENT_FIRST_MS, waitMs: PATIENT_MS, onTimeout: 'defer' }
  const usualMs = running ? waitRunningMs : waitMs
  return { firstMs: usualMs, waitMs: usualMs, onTimeout }
}
