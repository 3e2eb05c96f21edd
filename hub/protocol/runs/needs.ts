/** Whether what a step waits for has ended as it asks (D-R14). Pure. */
import type { Need, PlanStep, StepState } from './plan.ts'

/** Another step, as far as it matters to those that wait for it. */
export interface Other {
  state: StepState
  isOver: boolean
  /** Its failure counts as if it had completed, without a value. */
  optional: boolean
}

/** What becomes of a step by what it waits for. `lost`: it can no longer be needed, because of that step. */
export type Judged = { is: 'ready' } | { is: 'lost'; because: string } | { is: 'open'; open: string[] }

/** Undefined while it may still be met. A skipped or cancelled step never meets anything. */
function isMet({ of }: Need, { state, isOver, optional }: Other): boolean | undefined {
  if (!isOver) return undefined
  const isFailed = state === 'failed'
  if (of === 'failed') return isFailed
  if (of === 'ended') return isFailed || state === 'completed'
  return state === 'completed' || (isFailed && optional)
}

export function judgeNeeds({ id, after, join }: PlanStep, otherOf: (step: string) => Other | undefined): Judged {
  const open: string[] = []
  let met = 0
  let lost: string | undefined
  for (const need of after) {
    const other = otherOf(need.step)
    const is = other !== undefined && isMet(need, other)
    if (is === true) met += 1
    else if (is === undefined) open.push(need.step)
    else lost ??= need.step
  }
  if (join === 'any' && after.length > 0) {
    if (met > 0) return { is: 'ready' }
    return open.length > 0 ? { is: 'open', open } : { is: 'lost', because: lost ?? id }
  }
  if (lost !== undefined) return { is: 'lost', because: lost }
  return met === after.length ? { is: 'ready' } : { is: 'open', open }
}
