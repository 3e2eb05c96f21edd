/** The two people of the configuration and their times: zone, quiet hours, and when a heartbeat is due. */
import { isRow, onlyKeys, refuse, text, zoneOf } from './config-fields.ts'
import type { PersonTimes, QuietHours } from './quiet.ts'

/** `rolling`: `missedMs` after the last heartbeat. `daily`: the first of these local times at least 8 h after it, in the operator's zone. */
export type Due = { readonly kind: 'rolling' } | { readonly kind: 'daily'; readonly minutes: readonly number[] }

const TIMES_MAX = 6
const QUIET_MINUTES_MAX = 12 * 60

/** `HH:MM`, as minutes after midnight; NaN for anything else. */
const minuteOf = (word: string): number =>
  /^([01]\d|2[0-3]):[0-5]\d$/.test(word) ? Number(word.slice(0, 2)) * 60 + Number(word.slice(3)) : Number.NaN

function quietOf(value: unknown, key: string): QuietHours | null {
  if (value === undefined) return null
  const [from, to, more] = typeof value === 'string' ? value.split('-').map(minuteOf) : []
  const minutes = from === undefined || to === undefined ? Number.NaN : (to - from + 1440) % 1440
  // Longer ones would switch the loud channels off (T96).
  if (from === undefined || to === undefined || more !== undefined || !(minutes > 0 && minutes <= QUIET_MINUTES_MAX))
    refuse(key, 'must be two local times such as 22:00-07:00, at most 12 h apart')
  return { fromMinute: from, toMinute: to }
}

/** `operator` or `contact`: `{zone, quiet}`. `zone` is the file's own, for who names none. @throws StartError */
export function personOf(value: unknown, key: 'operator' | 'contact', zone: string): PersonTimes {
  if (value === undefined) return { zone, quiet: null }
  if (!isRow(value)) refuse(key, 'must be an object')
  onlyKeys(value, ['zone', 'quiet'], `${key}.`)
  return {
    zone: value.zone === undefined ? zone : zoneOf(value, `${key}.`),
    quiet: quietOf(value.quiet, `${key}.quiet`),
  }
}

/** `heartbeat`: `{due}`, `rolling` or `daily at HH:MM[, HH:MM ...]`. @throws StartError */
export function dueOf(value: unknown): Due {
  if (value === undefined) return { kind: 'rolling' }
  if (!isRow(value)) refuse('heartbeat', 'must be an object')
  onlyKeys(value, ['due'], 'heartbeat.')
  const due = text(value, 'due', 'rolling')
  if (due === 'rolling') return { kind: 'rolling' }
  const minutes = due.startsWith('daily at ') ? due.slice(9).split(/, */).map(minuteOf) : []
  if (minutes.length < 1 || minutes.length > TIMES_MAX || minutes.some(Number.isNaN))
    refuse('heartbeat.due', `must be rolling, or daily at HH:MM with up to ${TIMES_MAX} times such as 08:30, 20:00`)
  return { kind: 'daily', minutes: [...new Set(minutes)].sort((a, b) => a - b) }
}
