/**
 * Back-off of wrong words, per source and for all together (T17). It never stands before the comparison: the right words are always taken,
 * whoever tries others meanwhile. What it withholds are records, and it tells who guesses to wait; 128 random bits do the rest.
 */
import type { Clock } from '../base/clock.ts'

const FREE_TRIES = 5
const FREE_TRIES_ALL = 20
const PAUSE_FIRST_MS = 1000
const PAUSE_MAX_MS = 60_000
/** After so long without a wrong try all is forgotten. */
const FORGET_MS = 600_000
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
  tries <= free ? 0 : Math.min(PAUSE_MAX_MS, PAUSE_FIRST_MS * 2 ** Math.min(16, tries - free - 1))

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
