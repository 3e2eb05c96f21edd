/**
 * Local times of a zone as instants, right over both changes of the clock. Pure; the zone's rules come with Node (ICU).
 * Z1 a local time that does not exist (clock put forward) means the instant it would have been without the change: later,
 * never skipped. Z2 one that exists twice (clock put back) means the first of the two. `zone` '' is the machine's.
 */

const DAY_MS = 86_400_000
const formats = new Map<string, Intl.DateTimeFormat>()

function formatOf(zone: string): Intl.DateTimeFormat {
  const known = formats.get(zone)
  if (known !== undefined) return known
  const made = new Intl.DateTimeFormat('en-US', {
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
    ...(zone === '' ? {} : { timeZone: zone }),
  })
  formats.set(zone, made)
  return made
}

/** The local wall's reading of an instant, as if it were UTC: local fields can then be read with the UTC ones. */
function localMs(wallMs: number, zone: string): number {
  const part = Object.fromEntries(
    formatOf(zone)
      .formatToParts(wallMs)
      .map(({ type, value }) => [type, Number(value)]),
  )
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = part
  return Date.UTC(year, month - 1, day, hour, minute, second)
}

/** Local time minus UTC at an instant. */
const offsetMs = (wallMs: number, zone: string): number => {
  const secondMs = Math.floor(wallMs / 1000) * 1000
  return localMs(secondMs, zone) - secondMs
}

/** The local day of an instant, counted from 1 Jan 1970. */
export const localDay = (wallMs: number, zone: string): number => Math.floor(localMs(wallMs, zone) / DAY_MS)

/** The instant of a local time, minutes after midnight of a local day (Z1, Z2). */
export function instantOf(day: number, minute: number, zone: string): number {
  const wanted = day * DAY_MS + minute * 60_000
  // No zone changes its clock twice within two days.
  const before = offsetMs(wanted - DAY_MS, zone)
  const after = offsetMs(wanted + DAY_MS, zone)
  const exact = [wanted - before, wanted - after].filter((atMs) => atMs + offsetMs(atMs, zone) === wanted)
  return exact.length === 0 ? wanted - before : Math.min(...exact)
}

/** The first of these local times of the day (minutes after midnight) at or after an instant. */
export function nextLocalTime(fromMs: number, minutes: readonly number[], zone: string): number {
  const today = localDay(fromMs, zone)
  const instants = [-1, 0, 1, 2].flatMap((more) => minutes.map((minute) => instantOf(today + more, minute, zone)))
  return Math.min(...instants.filter((atMs) => atMs >= fromMs))
}
