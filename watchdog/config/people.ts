/** The two people of the configuration and their times: zone, quiet hours, and when a heartbeat is due. */

import type { PersonTimes, QuietHours } from '../base/quiet-hours.ts'
import { channelOf, type PersonChannel } from './channels.ts'
import { isRow, mapOf, onlyKeys, type Row, refuse, text, zoneOf } from './fields.ts'

/** `rolling`: `missedMs` after the last heartbeat. `daily`: the first of these local times at least 8 h after it, in the operator's zone. */
export type Due = { readonly kind: 'rolling' } | { readonly kind: 'daily'; readonly minutes: readonly number[] }

const CHANNELS_MAX = 8
const TIMES_MAX = 6
const QUIET_MINUTES_MAX = 12 * 60

/** `HH:MM`, as minutes after midnight; NaN for anything else. */
const minuteOf = (word: string): number =>
  /^([01]\d|2[0-3]):[0-5]\d$/.test(word) ? Number(word.slice(0, 2)) * 60 + Number(word.slice(3)) : Number.NaN

function quietOf(value: unknown, key: string): QuietHours | null {
  if (value === undefined) return null
  if (isRow(value)) onlyKeys(value, ['from', 'to'], `${key}.`)
  const times = isRow(value) ? [value.from, value.to] : []
  const [from = Number.NaN, to = Number.NaN] = times.map((time) => minuteOf(String(time)))
  const minutes = (to - from + 1440) % 1440
  // Longer quiet hours would switch the loud channels off (T96).
  if (!(minutes > 0 && minutes <= QUIET_MINUTES_MAX))
    refuse(key, 'must be two local times, from and to, such as from: "22:00" and to: "07:00", at most 12 h apart')
  return { fromMinute: from, toMinute: to }
}

export interface Operator extends PersonTimes {
  /** The name by which the contact knows the operator; '' = none given. */
  readonly name: string
  readonly phone: string
}

export interface Contact extends PersonTimes {
  readonly name: string
  readonly language: 'en' | 'de'
  /** What may be done at the machine when nothing else helps, in the contact's language; '' = the usual sentence. */
  readonly lastResort: string
  /** Empty: nobody is told but the operator. */
  readonly channels: readonly PersonChannel[]
}

const timesOf = (row: Row, key: string, zone: string): PersonTimes => ({
  zone: row.zone === undefined ? zone : zoneOf(row, `${key}.`),
  quiet: quietOf(row.quiet, `${key}.quiet`),
})

/** `operator`: `{name, phone, zone}`; their quiet hours are those of `alerts`. `zone` is the file's, used if they name none. @throws KeyFault */
export function operatorOf(file: Row, alerts: Row, zone: string): Operator {
  const row = mapOf(file, 'operator', ['name', 'phone', 'zone'])
  return {
    zone: row.zone === undefined ? zone : zoneOf(row, 'operator.'),
    quiet: quietOf(alerts.quiet, 'alerts.quiet'),
    name: text(row, 'name', '', 'operator.'),
    phone: text(row, 'phone', '', 'operator.'),
  }
}

/** `contact`: `{name, channels, language, lastResort, zone, quiet}`; name and channels go together. @throws KeyFault */
export function contactOf(file: Row, zone: string): Contact {
  const value = mapOf(file, 'contact', ['name', 'channels', 'language', 'lastResort', 'zone', 'quiet'])
  const name = text(value, 'name', '', 'contact.')
  const rows = value.channels === undefined && name === '' ? [] : value.channels
  if (!Array.isArray(rows) || rows.length > CHANNELS_MAX || (rows.length === 0) !== (name === ''))
    refuse('contact.channels', `must list 1 to ${CHANNELS_MAX}, together with contact.name`)
  const channels = rows.map((row, index) => {
    const channel = channelOf(row, index, 'contact.channels')
    if (channel.kind === 'file') refuse(`contact.channels[${index}].kind`, 'must reach a person; a file does not')
    return channel
  })
  const language = value.language === undefined ? 'en' : value.language
  if (language !== 'en' && language !== 'de') refuse('contact.language', 'must be en or de')
  return {
    ...timesOf(value, 'contact', zone),
    name,
    language,
    lastResort: text(value, 'lastResort', '', 'contact.'),
    channels,
  }
}

/** `heartbeat`: `{due}`, `rolling` or `daily at HH:MM[, HH:MM ...]`. @throws KeyFault */
export function dueOf(file: Row): Due {
  const value = mapOf(file, 'heartbeat', ['due'])
  const due = text(value, 'due', 'rolling', 'heartbeat.')
  if (due === 'rolling') return { kind: 'rolling' }
  const minutes = due.startsWith('daily at ') ? due.slice(9).split(/, */).map(minuteOf) : []
  if (minutes.length < 1 || minutes.length > TIMES_MAX || minutes.some(Number.isNaN))
    refuse('heartbeat.due', `must be rolling, or daily at HH:MM with up to ${TIMES_MAX} times such as 08:30, 20:00`)
  return { kind: 'daily', minutes: [...new Set(minutes)].sort((a, b) => a - b) }
}
