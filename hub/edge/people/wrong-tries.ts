/**
 * Wrong credentials from outside get the same answer, slowed by a back-off and recorded together (T16, T17). One mechanism for bearers,
 * webhooks and the words of the card.
 *
 * W1. It never comes before the comparison: a right credential never gets here, so nobody's guessing keeps its holder out.
 * W2. Tries are counted by source and in all. Each wrong one beyond the free ones doubles the pause of the one who guesses.
 * W3. They are recorded with their number once in `RECORD_EVERY_MS`: a guesser must not fill the disk.
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { Call, Gate } from '../../guard/gate.ts'

export interface TriesOptions {
  /** Wrong tries of one source without a pause. */
  free: number
  /** Of all sources together. */
  freeOfAll: number
  /** The pause after the first that is not free. */
  pauseFirstMs: number
}
/** For programs: nobody mistypes. On loopback their sources cannot be told apart. */
export const BEARER_TRIES: TriesOptions = { free: 0, freeOfAll: 0, pauseFirstMs: 200 }
/** For a person who types twelve words. */
export const CARD_TRIES: TriesOptions = { free: 5, freeOfAll: 20, pauseFirstMs: 1000 }

const PAUSE_MAX_MS = 60_000
/** After this long without a wrong try, all is forgotten. */
const FORGET_MS = 600_000
const SOURCES_MAX = 1024
const RECORD_EVERY_MS = 10_000

interface Count {
  tries: number
  lastMs: number
}
export interface Wrong {
  /** The pause of an earlier one was not over. */
  isTooEarly: boolean
  /** From now on, before this source should try again. */
  retryAfterMs: number
  /** Wrong tries since the last record; undefined while the next record is not due. */
  record: number | undefined
  /** The free tries of all sources together are used up. */
  isGuessing: boolean
}
export interface WrongTries {
  /** Counts a wrong try. */
  wrong(source: string): Wrong
}

/** For the record: how many tries it covers. */
export const othersText = (record: number): string =>
  record > 1 ? `; ${record - 1} others before it were not recorded one by one` : ''

export function createWrongTries(options: TriesOptions, clock: Pick<Clock, 'monotonicMs'>): WrongTries {
  const sources = new Map<string, Count>()
  let all: Count = { tries: 0, lastMs: Number.NEGATIVE_INFINITY }
  let unrecorded = 0
  let recordedMs = Number.NEGATIVE_INFINITY

  const pauseMs = ({ tries }: Count, free: number): number =>
    tries <= free ? 0 : Math.min(PAUSE_MAX_MS, options.pauseFirstMs * 2 ** Math.min(16, tries - free - 1))
  const pausesOf = (mine: Count) => [
    { of: mine, ms: pauseMs(mine, options.free) },
    { of: all, ms: pauseMs(all, options.freeOfAll) },
  ]

  return {
    wrong(source) {
      const nowMs = clock.monotonicMs()
      const grown = (known: Count): Count => ({
        tries: nowMs - known.lastMs > FORGET_MS ? 1 : known.tries + 1,
        lastMs: nowMs,
      })
      const before = sources.get(source) ?? { tries: 0, lastMs: Number.NEGATIVE_INFINITY }
      const isTooEarly = pausesOf(before).some(({ of, ms }) => nowMs < of.lastMs + ms)
      const mine = grown(before)
      all = grown(all)
      // The latest user is the last. At the limit, the source that was silent longest is forgotten.
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
      const retryAfterMs = Math.max(...pausesOf(mine).map(({ ms }) => ms))
      return { isTooEarly, retryAfterMs, record, isGuessing: all.tries > options.freeOfAll }
    },
  }
}

/** Records the refusal if that is due. Throws `rate_limited` if it came too early, else `unauthenticated`. */
export function refuseWrong({ gate, tries }: { gate: Gate; tries: WrongTries }, call: Call, what: string): never {
  const { isTooEarly, retryAfterMs, record } = tries.wrong('')
  const error = new HubError('unauthenticated', '', { reason: `${what}${othersText(record ?? 0)}` })
  if (record !== undefined) gate.refuse(call, error)
  if (isTooEarly) throw new HubError('rate_limited', 'too many wrong tries', { facts: { retryAfterMs } })
  throw error
}
