/**
 * Which day it is for money: of the operator's zone, by the hub's steady clock [E18].
 *
 * D1. A wall clock that jumps ahead begins no new day: the steady clock does not follow it. One that is back has the day's account again.
 * D2. While nobody has said that a clock far ahead of the last run is right, the last day that money was spent in goes on.
 */
import type { SteadyClock } from '../../../guard/conditions/steady-clock.ts'

export interface Days {
  /** `2026-12-01`. `last`: the latest day that has an account. */
  now(last: () => string | undefined): string
  nowMs(): number
}

/** Minutes that tokens of an hour are counted by. */
export const SLOT_MS = 300_000
/** The slot that has begun and the twelve before it: never less than an hour. */
export const SLOTS_OF_AN_HOUR = 13
const QUARTER_MS = 900_000
export const slotOf = (ms: number): number => Math.floor(ms / SLOT_MS)

export function createDays(
  steady: Pick<SteadyClock, 'wallMs' | 'isUnproven'>,
  settings: { readonly zone: string },
): Days {
  let format = { zone: settings.zone, of: formatIn(settings.zone) }
  let known = { zone: '', quarter: Number.NaN, day: '' }

  return {
    nowMs: steady.wallMs,
    now(last) {
      const kept = steady.isUnproven() ? last() : undefined
      if (kept !== undefined) return kept
      const { zone } = settings
      const nowMs = steady.wallMs()
      // In every zone a day begins with a quarter of an hour.
      const quarter = Math.floor(nowMs / QUARTER_MS)
      if (known.zone === zone && known.quarter === quarter) return known.day
      if (format.zone !== zone) format = { zone, of: formatIn(zone) }
      const { year, month, day } = Object.fromEntries(
        format.of.formatToParts(nowMs).map(({ type, value }) => [type, value]),
      )
      known = { zone, quarter, day: `${year}-${month}-${day}` }
      return known.day
    },
  }
}

function formatIn(zone: string): Intl.DateTimeFormat {
  const parts = { year: 'numeric', month: '2-digit', day: '2-digit' } as const
  return new Intl.DateTimeFormat('en-GB', { ...parts, ...(zone === '' ? {} : { timeZone: zone }) })
}
