/** The strict reading of single fields of the configuration, in the dialect of hub.yaml. Each refusal names the key. */

import { StartError } from '../base/home.ts'

/** What is wrong with one key of the configuration. Its message is key and reason, without the file. */
export class KeyFault extends StartError {
  /** `contact.channels[0].url`. */
  readonly key: string
  readonly reason: string

  constructor(key: string, reason: string) {
    super(`${key} ${reason}`)
    this.key = key
    this.reason = reason
  }
}

export type Row = Readonly<Record<string, unknown>>
export const isRow = (value: unknown): value is Row =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** @throws KeyFault */
export function refuse(key: string, wanted: string): never {
  throw new KeyFault(key, wanted)
}

export function whole(row: Row, key: string, [normal, least, most]: readonly [number, number, number], where = '') {
  const value = row[key] === undefined ? normal : row[key]
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least || value > most) {
    refuse(`${where}${key}`, `must be a whole number from ${least} to ${most}`)
  }
  return value
}

export function text(row: Row, key: string, normal?: string, where = ''): string {
  const value = row[key] === undefined ? normal : row[key]
  if (typeof value !== 'string' || value.length > 256 || /\p{Cc}/u.test(value) || (value === '' && normal !== '')) {
    refuse(`${where}${key}`, 'must be a text of at most 256 characters without control characters')
  }
  return value
}

export function yes(row: Row, key: string, where: string, normal: boolean): boolean {
  const value = row[key] === undefined ? normal : row[key]
  if (typeof value !== 'boolean') refuse(`${where}${key}`, 'must be true or false')
  return value
}

const UNITS: readonly (readonly [string, number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
]

/** `30s`; days are written as hours, as everywhere in this system. */
export function spanWritten(ms: number): string {
  const [unit, one] = UNITS.find(([name, each]) => name !== 'd' && ms >= each && ms % each === 0) ?? ['ms', 1]
  return `${ms / one}${unit}`
}

/** A span such as `30s` or `2h`, in milliseconds; limits included. A number without a unit is refused: it would be a guess. */
export function span(row: Row, key: string, [normal, least, most]: readonly [number, number, number], where = '') {
  const value = row[key]
  if (value === undefined) return normal
  const [, count, unit] = (typeof value === 'string' && /^(\d{1,12})(ms|s|m|h|d)$/.exec(value)) || []
  const ms = Number(count) * (UNITS.find(([name]) => name === unit)?.[1] ?? Number.NaN)
  if (Number.isNaN(ms)) refuse(`${where}${key}`, 'must be a whole number with a unit (ms, s, m, h, d), such as 30s')
  if (ms < least || ms > most)
    refuse(`${where}${key}`, `must be from ${spanWritten(least)} to ${spanWritten(most)}, and is ${spanWritten(ms)}`)
  return ms
}

/** For a key of the earlier form with milliseconds, the error gives its present name. */
export function onlyKeys(row: Row, keys: readonly string[], where: string): void {
  for (const key of Object.keys(row)) {
    if (keys.includes(key)) continue
    const now = key.replace(/Ms$/, '')
    if (now !== key && keys.includes(now))
      refuse(`${where}${key}`, `is called ${now} here, with a unit, such as ${now}: 30s`)
    refuse(`${where}${key}`, 'is not a known key; remove it')
  }
}

/** A map of keys, or an empty one if the key is absent. */
export function mapOf(row: Row, key: string, keys: readonly string[]): Row {
  const value = row[key] === undefined ? {} : row[key]
  if (!isRow(value)) refuse(key, 'must be a map of keys')
  onlyKeys(value, keys, `${key}.`)
  return value
}

/** `zone` of a row: an IANA name, or '' for the machine's. */
export function zoneOf(row: Row, where = ''): string {
  const zone = text(row, 'zone', '', where)
  try {
    if (zone !== '') new Intl.DateTimeFormat('en-GB', { timeZone: zone })
  } catch {
    refuse(`${where}zone`, 'must be an IANA time zone such as Europe/Berlin')
  }
  return zone
}
