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

// The tries at the contact's page.
const FREE_TRIES = 5
const FREE_TRIES_ALL = 20
const PAGE_PAUSE_FIRST_MS = 1000
const SOURCES_MAX = 1024
/** Wrong tries are recorded together, once in this time at most: a guesser must not fill the disk. */
const RECORD_EVERY_MS = 10_000

interface Count {
  tries: number
  lastMs: number
}
export interface Wrong {
  retryAfterMs: number
  /** Wrong tries since the last record; undefined while the next is not due. */
  record: number | undefined
  /** The free tries of all sources together are used up. */
  isGuessing: boolean
}
export interface Backoff {
  /** Counts a wrong try. */
  wrong(source: string): Wrong
}

const pauseMs = (tries: number, free: number): number =>
  tries <= free ? 0 : Math.min(PAUSE_MAX_MS, PAGE_PAUSE_FIRST_MS * 2 ** Math.min(16, tries - free - 1))

export function createBackoff(clock: Pick<Clock, 'monotonicMs'>): Backoff {
  const sources = new Map<string, Count>()
  let all: Count = { tries: 0, lastMs: 0 }
  let unrecorded = 0
  let recordedMs = Number.NEGATIVE_INFINITY

  return {
    wrong(source) {
      const nowMs = clock.monotonicMs()
      const grown = (known: Count | undefined): Count => ({
        tries: known === undefined || nowMs - known.lastMs > FORGET_MS ? 1 : known.tries + 1,
        lastMs: nowMs,
      })
      const mine = grown(sources.get(source))
      all = grown(all)
      // Last used last: at the limit the one that was silent longest is forgotten.
      sources.delete(source)
      sources.set(source, mine)
      if (sources.size > SOURCES_MAX) sources.delete(sources.keys().next().value ?? '')
      unrecorded += 1
      const isDue = nowMs - recordedMs >= RECORD_EVERY_MS
      const record = isDue ? unrecorded : undefined
      if (isDue) {
        unrecorded = 0
        recordedMs = nowMs
      }
      const retryAfterMs = Math.max(pauseMs(mine.tries, FREE_TRIES), pauseMs(all.tries, FREE_TRIES_ALL))
      return { retryAfterMs, record, isGuessing: all.tries > FREE_TRIES_ALL }
    },
  }
}
