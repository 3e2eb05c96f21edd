/** How instants and spans are written for people: weekday, date, local time with zone, and the distance (docs/safety.md 7). */

/** "3 min", "5 h", "2 d 3 h". */
export function spanText(spanMs: number): string {
  const minutes = Math.round(Math.abs(spanMs) / 60_000)
  if (minutes < 1) return `${Math.round(Math.abs(spanMs) / 1000)} s`
  if (minutes < 120) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`
  return `${Math.floor(hours / 24)} d ${hours % 24} h`
}

const formats = new Map<string, Intl.DateTimeFormat>()

function formatOf(zone: string): Intl.DateTimeFormat {
  const known = formats.get(zone)
  if (known !== undefined) return known
  const made = new Intl.DateTimeFormat('en-GB', {
    weekday: 'short',
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    timeZoneName: 'short',
    ...(zone === '' ? {} : { timeZone: zone }),
  })
  formats.set(zone, made)
  return made
}

/** "Sat 21 Nov 2026, 14:00 GMT+1 (in 3 h)". `zone` '' = the machine's. */
export function instantText(wallMs: number, nowWallMs: number, zone: string): string {
  const distance = spanText(wallMs - nowWallMs)
  return `${formatOf(zone).format(wallMs)} (${wallMs >= nowWallMs ? `in ${distance}` : `${distance} ago`})`
}

/** The name of a configured zone; '' is the machine's. */
export const zoneName = (zone: string): string =>
  zone === '' ? new Intl.DateTimeFormat('en-GB').resolvedOptions().timeZone : zone
