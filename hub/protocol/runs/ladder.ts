/**
 * What follows a try of a step (D-R1, D-R7, D-R14): a retry, with or without a repair before it, the next agent of `fallback`, a question to a
 * person, or the end. Pure.
 *
 * L1. A person who ended a try is not overruled: no rung follows.
 * L2. What happened is asked before any rung: after a try whose agent had its task and that left no result, `onUnknown` decides.
 * L3. A step that destroys or reaches outside is never tried again without a word of a person, also after a plain failure.
 * L4. All rungs share one ceiling, and none takes the first try of another step: `room` is what is left below it.
 */
import type { OnFailure, PlanStep } from './plan.ts'
import { neverReruns } from './tiers.ts'

/** How a try came about. A repair comes before a retry and is a try of the same step. */
export type TryCause = 'first' | 'retry' | 'repair' | 'fallback'

/** What a person is asked about a step. */
export type Question =
  /** Its tier, or a rule, wants a person's yes before it starts. */
  | 'start'
  /** It has its result; the definition wants a look before it counts. */
  | 'checkpoint'
  /** A try ended without a result, and nobody knows what it did. */
  | 'unknown'
  /** A step that destroys or reaches outside failed. */
  | 'failed'
  /** Every rung was tried. */
  | 'ladder'
  /** A person ended its try. */
  | 'stopped'
  /** The hub was restored from a backup since, and nobody knows what the step did after that (D-R16). */
  | 'restored'

/** How a try ended. */
export interface TryEnd {
  /** `lost`: it ended without a result that was accepted. */
  outcome: 'succeeded' | 'failed' | 'lost'
  /** A code of the table of errors, where one is known. */
  code: string | null
  /** Whether its agent had its task. Where it had not, nothing can have been done. */
  joined: boolean
  /** Who ended it, where it was ended. */
  by: 'itself' | 'person' | 'runner'
}

/** Where a step stands on its ladder. */
export interface Standing {
  /** How its present try came about, or how the next one will. */
  by: TryCause
  /** Retries that were used. */
  retries: number
  /** 0: its own agent; n: the n-th of `fallback`; one more than there are: its own again, because a person said so when nothing was left. */
  fallback: number
}

export type Rung = Standing & { inMs: number }
export type Next =
  | { next: 'try'; rung: Rung; why: string }
  | { next: 'ask'; question: Question; why: string }
  | { next: 'failed' | 'cancelled'; why: string }

/** What helps after a failure: the same again, another agent, waiting until it is paid for, or nothing. */
type Cure = 'again' | 'elsewhere' | 'money' | 'nothing'
const CURES: Readonly<Record<string, Cure>> = {
  policy_denied: 'elsewhere',
  no_capable_agent: 'elsewhere',
  unknown_agent: 'elsewhere',
  agent_unhealthy: 'elsewhere',
  image_missing: 'elsewhere',
  image_refused: 'elsewhere',
  unsupported_mode: 'elsewhere',
  version_refused: 'elsewhere',
  login_needed: 'elsewhere',
  model_unknown: 'elsewhere',
  unknown_upstream: 'elsewhere',
  result_unreadable: 'elsewhere',
  upstream_exhausted: 'money',
  budget_exceeded: 'money',
  schema_invalid: 'nothing',
  too_large: 'nothing',
  limit_exceeded: 'nothing',
  approval_refused: 'nothing',
  forbidden: 'nothing',
  token_revoked: 'nothing',
}

/** A time-out, a failed launch, an engine that failed, a program that ended with another code than 0: each may go well the next time (S2-40). */
const cureOf = (code: string | null): Cure => (code !== null && Object.hasOwn(CURES, code) && CURES[code]) || 'again'

/** The least that a retry waits. */
const DELAY_MS_MIN = 250
/** Without a time that is known, a quota is looked at this often (D-R12). */
const LOOK_MS = 900_000

/** Before a retry: twice as long each time (S3-20). `retries`: those before it. */
const delayOf = (delayMs: number, retries: number): number => Math.max(DELAY_MS_MIN, delayMs * 2 ** retries)

/** The agent of a standing; undefined for a step by needs, or of a kind without one. */
export function agentAt(step: PlanStep, { by, fallback }: Standing): string | undefined {
  if (by === 'repair') return step.retry.repair?.agent
  return fallback >= 1 && fallback <= step.fallback.length ? step.fallback[fallback - 1] : step.agent
}

export interface Circumstances {
  onFailure: OnFailure
  /** A step waits for its failure, so nobody has to be asked about it. */
  isHandled: boolean
  /** Tries that may still be started by themselves. */
  room: number
  /** Until the quota that is used up may be there again; null: not known. */
  quotaLeftMs: number | null
}

const ask = (question: Question, why: string): Next => ({ next: 'ask', question, why })

/** What follows a try that did not succeed. */
export function afterFailure(step: PlanStep, at: Standing, end: TryEnd, around: Circumstances): Next {
  const why = end.code ?? end.outcome
  if (end.by === 'person')
    return around.onFailure === 'pause' ? ask('stopped', 'cancelled') : { next: 'cancelled', why: 'cancelled' }
  const cure = cureOf(end.code)
  const isUnknown = end.outcome === 'lost' && end.joined
  const mayDoHarm = end.joined && neverReruns(step.tier)
  // It spends no try: the runner leaves it out of the count, so the same standing comes again.
  if (cure === 'money' && !mayDoHarm)
    return {
      next: 'try',
      rung: { ...at, inMs: end.code === 'upstream_exhausted' ? (around.quotaLeftMs ?? LOOK_MS) : 0 },
      why,
    }
  if (isUnknown && step.onUnknown === 'ask') return ask('unknown', why)
  if (mayDoHarm && step.onUnknown !== 'fail' && cure !== 'nothing') return ask('failed', why)
  const isOver = cure === 'nothing' || mayDoHarm || (isUnknown && step.onUnknown === 'fail')
  const rung = isOver ? undefined : nextRung(step, at, cure, isUnknown, around.room)
  if (rung !== undefined) return { next: 'try', rung, why }
  const asks = around.onFailure === 'pause' && !step.optional && !around.isHandled
  return asks ? ask('ladder', why) : { next: 'failed', why }
}

function nextRung(step: PlanStep, at: Standing, cure: Cure, isUnknown: boolean, room: number): Rung | undefined {
  const { retry, fallback } = step
  // A rerun without a word about retries is one more try.
  const max = retry.max === 0 && isUnknown ? 1 : retry.max
  const retries = at.by === 'repair' ? at.retries + 1 : at.retries
  const takes = retry.repair === undefined ? 1 : 2
  if (cure === 'again' && at.fallback === 0 && retries < max && room >= takes) {
    const inMs = delayOf(retry.delayMs, retries)
    return retry.repair === undefined
      ? { by: 'retry', retries: retries + 1, fallback: 0, inMs }
      : { by: 'repair', retries, fallback: 0, inMs }
  }
  return at.fallback < fallback.length && room >= 1
    ? { by: 'fallback', retries, fallback: at.fallback + 1, inMs: 0 }
    : undefined
}

/** After a repair that succeeded: its retry, at once. */
export const afterRepair = (at: Standing): Rung => ({
  by: 'retry',
  retries: at.retries + 1,
  fallback: at.fallback,
  inMs: 0,
})

/** After a person said to try again. Where nothing was left the own agent tries once, and no rung follows by itself. */
export const afterYes = (step: PlanStep, at: Standing, question: Question): Rung => ({
  by: 'retry',
  retries: at.by === 'repair' ? at.retries + 1 : at.retries,
  fallback: question === 'ladder' ? step.fallback.length + 1 : at.fallback,
  inMs: 0,
})
