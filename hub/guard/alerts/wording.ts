/**
 * Words of a message (docs/safety.md 7). Instants and spans as a person reads them: weekday, date, local time with zone, and how far away.
 * And what is removed from an alert's text before it is stored or told: control characters, secrets, and what is too long (T38). Pure.
 */
import type { Hide } from '../../base/redaction.ts'

/** `3 min`, `5 h 20 min`, `2 d 3 h`. */
export function spanWords(spanMs: number): string {
  const seconds = Math.round(Math.abs(spanMs) / 1000)
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 60) return `${minutes} min`
  const [hours, days] = [Math.floor(minutes / 60), Math.floor(minutes / 1440)]
  const two = (large: number, unit: string, rest: number, small: string) =>
    rest === 0 ? `${large} ${unit}` : `${large} ${unit} ${rest} ${small}`
  return days === 0 ? two(hours, 'h', minutes % 60, 'min') : two(days, 'd', hours % 24, 'h')
}

/** `Sat 21 Nov 2026, 14:00 GMT+1`. `zone`: an IANA name; '' is this machine's. */
export function dateText(atMs: number, zone: string): string {
  const parts = new Intl.DateTimeFormat('en-GB', {
    weekday: 'short',
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
    timeZoneName: 'short',
    ...(zone === '' ? {} : { timeZone: zone }),
  }).formatToParts(atMs)
  const of = (type: string) => parts.find((part) => part.type === type)?.value ?? ''
  return `${of('weekday')} ${of('day')} ${of('month')} ${of('year')}, ${of('hour')}:${of('minute')} ${of('timeZoneName')}`
}

/** The same with `(in 3 h)`, `(3 h ago)` or `(now)`. */
export function instantText(atMs: number, nowMs: number, zone: string): string {
  const away = atMs - nowMs
  const distance = Math.abs(away) < 1000 ? 'now' : away > 0 ? `in ${spanWords(away)}` : `${spanWords(away)} ago`
  return `${dateText(atMs, zone)} (${distance})`
}

const CAUSE_LENGTH_MAX = 200
const TEXT_LENGTH_MAX = 4000
const MASK = '[redacted]'

/** What only an alert leaves out beside all that no text may hold: parts of an address that open a door, and what is named as a secret. */
const NAMED: readonly [RegExp, string][] = [
  [/\b(bearer|basic)\s{1,8}(?!\[redacted\])[\w.~+/=-]{8,}/gi, `$1 ${MASK}`],
  [/(\/(?:stop|hook|approve)\/)[^\s/"'<>]+/gi, `$1${MASK}`],
  [
    /((?<![\w-])[\w-]{0,40}(?:password|passwd|secret|token|api[_-]?key|credential)[\w-]{0,40}["']?\s{0,8}[=:]\s{0,8})["']?(?!\[redacted\])[^\s"',;]+/gi,
    `$1${MASK}`,
  ],
]

/** One line of a cause: no controls, capped. */
export const causeText = (cause: string, hide: Hide): string =>
  hide(cause)
    .slice(0, CAUSE_LENGTH_MAX * 2)
    .replaceAll(/[\p{Cc}\p{Cf}]+/gu, ' ')
    .toWellFormed()
    .slice(0, CAUSE_LENGTH_MAX)

/** Text of several lines: other controls out, secrets masked, capped. */
export function alertText(text: string, hide: Hide): string {
  // Secrets first: one that is cut in two would not be known any more. Then cut, so that no other pattern walks over megabytes.
  let kept = hide(text)
    .slice(0, TEXT_LENGTH_MAX * 2)
    .replaceAll(/[^\P{Cc}\n]|\p{Cf}/gu, ' ')
  for (const [pattern, left] of NAMED) kept = kept.replaceAll(pattern, left)
  return kept.slice(0, TEXT_LENGTH_MAX).toWellFormed()
}
