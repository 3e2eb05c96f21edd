/** Instants and spans as a person reads them in a message: weekday, date, local time with zone, and how far away (docs/safety.md 7). Pure. */

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
