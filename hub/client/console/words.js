/** Words for people, pure: makes text of agents harmless, writes spans and times, says what modes and conditions mean. */

/** @import { Problem } from '../console-types/state.ts' */

/** Control, format, separator and surrogate code points; joiners stay, since scripts and emoji need them and they move nothing. */
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}]|(?![\u200C\u200D])\p{Cf}/gu
/** More marks on one letter than any script needs: they would cover the neighbouring lines. */
const TOWER = /(\p{M}{4})\p{M}+/gu
const TEXT_MAX = 2000

/** @param {string} character */
const escaped = (character) => {
  const hex = (character.codePointAt(0) ?? 0).toString(16)
  return hex.length <= 4 ? `\\u${hex.padStart(4, '0')}` : `\\u{${hex}}`
}

/**
 * One line in which every character that hides, reorders or moves something is shown as its number (T30); of a long one the beginning.
 * @param {unknown} text
 */
export function clean(text, most = TEXT_MAX) {
  const whole = typeof text === 'string' ? text : text === undefined || text === null ? '' : JSON.stringify(text)
  const points = [...whole.slice(0, 2 * most + 2)]
  return (
    points.slice(0, most).join('').replace(TOWER, '$1…').replace(UNSAFE, escaped) + (points.length > most ? ' …' : '')
  )
}

/**
 * The end of an id, which is random where its beginning is a time (fault C9).
 * @param {string | null | undefined} id
 */
export const brief = (id, most = 8) => clean(String(id ?? '').slice(-most))

/**
 * The same as `clean` with its line breaks kept.
 * @param {unknown} text
 */
export const cleanLines = (text, most = TEXT_MAX) =>
  clean(
    String(text ?? '')
      .split(/\r?\n/)
      .join('\n'),
    most,
  ).replaceAll('\\u000a', '\n')

/**
 * `14 B`, `4.8 MiB`.
 * @param {number} bytes
 */
export function sizeWords(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB']
  const power = Math.min(3, bytes < 1 ? 0 : Math.floor(Math.log2(bytes) / 10))
  return `${power === 0 ? bytes : (bytes / 1024 ** power).toFixed(1)} ${units[power]}`
}

/**
 * Millionths of a US dollar as a person reads them: `1.60`, `0.00753`; at least two places, and no more than there are.
 * @param {number} micro
 */
export function usdWords(micro) {
  const all = Math.abs(micro)
  const part = String(all % 1_000_000)
    .padStart(6, '0')
    .replace(/0{1,4}$/, '')
  return `${micro < 0 ? '-' : ''}${Math.floor(all / 1_000_000)}.${part}`
}

/**
 * `23 h 58 m`, `4 m 10 s`: the two largest units, rounded down.
 * @param {number} ms
 */
export function spanWords(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  /** @type {[count: number, unit: string][]} */
  const units = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ]
  const first = units.findIndex(([count]) => count > 0)
  if (first === -1) return '0 s'
  return units
    .slice(first, first + 2)
    .filter(([count], at) => at === 0 || count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(' ')
}

/** @type {(atMs: number, zone: string | undefined, fields: Intl.DateTimeFormatOptions) => string} */
const format = (atMs, zone, fields) =>
  new Intl.DateTimeFormat('en-GB', {
    ...fields,
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
    timeZoneName: 'short',
    ...(zone === undefined ? {} : { timeZone: zone }),
  }).format(atMs)

/** @type {typeof format} */
const inZone = (atMs, zone, fields) => {
  try {
    return format(atMs, zone, fields)
  } catch {
    return format(atMs, undefined, fields)
  }
}
/**
 * `Wednesday 25 Nov, 11:00 CET`. `zone` is an IANA name; absent, or one that this browser does not know: the browser's own.
 * @type {(atMs: number, zone?: string) => string}
 */
export const dateText = (atMs, zone) => inZone(atMs, zone, { weekday: 'long', day: 'numeric', month: 'short' })
/**
 * `Wed 25 Nov, 11:00 CET`.
 * @type {(atMs: number, zone?: string) => string}
 */
export const shortDate = (atMs, zone) => inZone(atMs, zone, { weekday: 'short', day: 'numeric', month: 'short' })

/**
 * `in 3 h`, `3 h ago`.
 * @type {(atMs: number, nowMs: number) => string}
 */
export const distance = (atMs, nowMs) =>
  atMs >= nowMs ? `in ${spanWords(atMs - nowMs)}` : `${spanWords(nowMs - atMs)} ago`

/** @type {Readonly<Record<string, [title: string, meaning: string]>>} */
export const MODES = {
  normal: ['Normal', 'Agents may start and work.'],
  degraded: ['Degraded', 'Nothing new starts until the cause is fixed. Running tasks go on.'],
  safe: ['Safe mode', 'Nothing new starts. Running tasks may finish.'],
  draining: ['Stopping', 'Sessions are told to finish, then they are stopped.'],
}

/**
 * What a condition means for its reader; the hub says what ends it.
 * @type {Readonly<Record<string, string>>}
 */
export const CONDITIONS = {
  store_failing: 'The database cannot be written.',
  disk_low: 'The disk is nearly full.',
  engine_disk_low: 'The disk of the container engine is nearly full.',
  audit_failing: 'The audit log cannot be written.',
  policy_unavailable: 'The rules cannot be used.',
  engine_unavailable: 'The container engine does not answer.',
  loop_failing: 'A part of the hub fails again and again.',
  loop_lagging: 'The hub is too busy to keep up.',
  clock_fault: "This machine's clock looks wrong.",
  lease_pending: 'The watchdog has not yet said that you are there.',
  lease_lapsed: 'The watchdog is silent.',
  heartbeat_missed: 'Your heartbeat was missed.',
  unattended_stop: 'Everything was stopped because nobody was there.',
  away: 'You are away as planned.',
  emergency_stop: 'Everything was stopped in an emergency.',
  operator_request: 'You asked for safe mode.',
  critical_alert: 'A critical alert waits for you.',
  witness_mismatch: 'The audit log does not match what the watchdog saw.',
  draining: 'The hub is stopping.',
}

/**
 * Text with `commands` in backticks, cut into its parts: [text, isCommand].
 * @type {(text: string) => [text: string, isCommand: boolean][]}
 */
export const parts = (text) =>
  clean(text)
    .split('`')
    .map((part, at) => /** @type {[text: string, isCommand: boolean]} */ ([part, at % 2 === 1]))
    .filter(([part]) => part !== '')

/**
 * What the operator sees of a refusal.
 * @param {Problem} problem
 */
export function problemText(problem) {
  const { code = '', detail = '', next = '' } = problem ?? {}
  const said = clean(detail === '' ? next : detail, 300)
  return code === '' ? said : `${clean(code, 40)}: ${said}`
}
