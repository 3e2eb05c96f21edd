/**
 * Wrong credentials at the loopback listener: answered alike, slowed by a back-off, recorded now and then (T16, T17).
 * A right credential never comes here, so guessing cannot lock its holder out.
 */
import type { Clock } from '../base/clock.ts'
import { HubError } from '../base/errors.ts'
import type { Call, Gate } from '../guard/gate.ts'

const FIRST_PAUSE_MS = 200
const PAUSE_MAX_MS = 60_000
const FORGET_MS = 600_000

export interface BackOff {
  /** Counts one; answers how long to wait, or how many went unrecorded before this one, which is to be recorded. */
  wrong(): { waitMs: number } | { before: number }
}

/** Wrong tries in a row, for all callers together: on loopback they cannot be told apart. */
export function createBackOff(clock: Clock): BackOff {
  let tries = 0
  let unrecorded = 0
  let lastAt = Number.NEGATIVE_INFINITY
  let untilMs = Number.NEGATIVE_INFINITY
  return {
    wrong() {
      const now = clock.monotonicMs()
      if (now - lastAt > FORGET_MS) tries = 0
      lastAt = now
      if (now < untilMs) {
        unrecorded += 1
        return { waitMs: Math.ceil(untilMs - now) }
      }
      untilMs = now + Math.min(FIRST_PAUSE_MS * 2 ** tries, PAUSE_MAX_MS)
      tries += 1
      const before = unrecorded
      unrecorded = 0
      return { before }
    },
  }
}

/** Throws `rate_limited` while the back-off lasts, else records the refusal and throws `unauthenticated`. */
export function refuseWrong({ gate, backOff }: { gate: Gate; backOff: BackOff }, call: Call, what: string): never {
  const judged = backOff.wrong()
  if ('waitMs' in judged)
    throw new HubError('rate_limited', 'too many wrong tries', { facts: { retryAfterMs: judged.waitMs } })
  const others = judged.before === 0 ? '' : `; ${judged.before} others before it were not recorded one by one`
  const error = new HubError('unauthenticated', '', { reason: `${what}${others}` })
  gate.refuse(call, error)
  throw error
}
