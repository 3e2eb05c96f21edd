/** The strict reading of single fields of the configuration. Each refusal names the key. */

/** A fault of the home or its configuration: the process does not start, and the text says what to do. */
export class StartError extends Error {}

export type Row = Readonly<Record<string, unknown>>
export const isRow = (value: unknown): value is Row =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export function refuse(key: string, wanted: string): never {
  throw new StartError(`watchdog/config.json: ${key} ${wanted}`)
}

export function whole(row: Row, key: string, [normal, least, most]: readonly [number, number, number]): number {
  const value = row[key] === undefined ? normal : row[key]
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least || value > most) {
    refuse(key, `must be a whole number from ${least} to ${most}`)
  }
  return value
}

export function text(row: Row, key: string, normal?: string): string {
  const value = row[key] === undefined ? normal : row[key]
  if (typeof value !== 'string' || value.length > 256 || /\p{Cc}/u.test(value) || (value === '' && normal !== '')) {
    refuse(key, 'must be a text of at most 256 characters without control characters')
  }
  return value
}

export function onlyKeys(row: Row, keys: readonly string[], where: string): void {
  for (const key of Object.keys(row)) if (!keys.includes(key)) refuse(`${where}${key}`, 'is not a known key; remove it')
}

/** `zone` of a row: an IANA name, or '' for the machine's. */
export function zoneOf(row: Row, where = ''): string {
  const zone = text(row, 'zone', '')
  try {
    if (zone !== '') new Intl.DateTimeFormat('en-GB', { timeZone: zone })
  } catch {
    refuse(`${where}zone`, 'must be an IANA time zone such as Europe/Berlin')
  }
  return zone
}
