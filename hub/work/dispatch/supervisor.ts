/** What becomes of a task whose session is gone, purely (S0-4, S1-12, X6): the first rung of the failure ladder. */
import type { HubError } from '../../base/errors.ts'
import type { AfterLoss } from './tasks.ts'

const BACKOFF_MS = 1000
const BACKOFF_MAX_MS = 30_000

const backoffMs = (failures: number) => Math.min(BACKOFF_MS * 2 ** failures, BACKOFF_MAX_MS)

/**
 * A crash: the program ended without a result. Restarted `restarts` times, then the task fails and the agent is unhealthy.
 * While the hub is stopping it is none: the program was told to finish, and its task waits for the operator's word (safety.md section 5).
 */
export function decideAfterCrash(facts: {
  crashes: number
  restarts: number
  agent: string
  how: string
  stopping: boolean
  nowMs: number
}): { next: AfterLoss; giveUp: boolean } {
  const { crashes, restarts, agent, how, stopping, nowMs } = facts
  if (stopping) return { giveUp: false, next: { again: { crashed: false, held: true, notBeforeMs: nowMs } } }
  if (crashes < restarts)
    return { giveUp: false, next: { again: { crashed: true, held: false, notBeforeMs: nowMs + backoffMs(crashes) } } }
  const detail = `agent ${agent} ended without a result ${crashes + 1} times; last: ${how}`
  return { giveUp: true, next: { end: { state: 'failed', error: { code: 'agent_unhealthy', detail } } } }
}

/** An interruption: hub, engine or machine took the session away. Repeated by itself only if the card says so (safety.md section 3). */
export const decideAfterInterruption = (facts: {
  repeatable: boolean
  started: boolean
  stopping: boolean
  nowMs: number
}): AfterLoss => ({
  again: { crashed: false, held: facts.stopping || (facts.started && !facts.repeatable), notBeforeMs: facts.nowMs },
})

/**
 * Its program says that it was told to stop before it was done. While the hub stops, that was the hub: the task waits for a word. Else the
 * engine or a hand did it: an interruption. That is the program's own word, so it counts against its restarts, and then it is held.
 */
export const decideAfterStopped = (facts: {
  crashes: number
  restarts: number
  repeatable: boolean
  stopping: boolean
  nowMs: number
}): AfterLoss => {
  const { crashes, restarts, repeatable, stopping, nowMs } = facts
  if (stopping) return { again: { crashed: false, held: true, notBeforeMs: nowMs } }
  const held = !repeatable || crashes >= restarts
  return { again: { crashed: true, held, notBeforeMs: nowMs + backoffMs(crashes) } }
}

/** How often a start is tried that the engine refuses, and one that it gives no clear answer to although it answers otherwise. */
export const REFUSED_TRIES_MAX = 3
export const UNCLEAR_TRIES_MAX = 6
const REFUSED_WAIT_MS = 2000

/**
 * A session that never started. An engine that is away is worth waiting for. One that is there and does not do it (fault A4) may only be
 * busy: a few tries, 2 s, 10 s and then 30 s apart; then the task fails with the engine's words. Anything else is the task's end.
 * `refusals`: how often the engine refused a start of this task before.
 */
export function decideAfterStartFailure(
  error: HubError,
  facts: { attempts: number; refusals: number; nowMs: number },
): AfterLoss {
  const { attempts, refusals, nowMs } = facts
  const again = (waitMs: number): AfterLoss => ({
    again: { crashed: false, held: false, notBeforeMs: nowMs + waitMs },
  })
  if (error.code === 'engine_unavailable') return again(backoffMs(Math.min(attempts, 5)))
  if (error.code !== 'engine_refused')
    return { end: { state: 'failed', error: { code: error.code, detail: error.message } } }
  const most = error.facts.engineStatus === undefined ? UNCLEAR_TRIES_MAX : REFUSED_TRIES_MAX
  if (refusals + 1 < most) return again(Math.min(REFUSED_WAIT_MS * 5 ** refusals, BACKOFF_MAX_MS))
  const detail = `${error.message} (tried ${refusals + 1} times)`
  return { end: { state: 'failed', error: { code: error.code, detail } } }
}
