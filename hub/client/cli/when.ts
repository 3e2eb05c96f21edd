/**
 * An instant as a person writes it for `--until`, read strictly: `3d`, `2026-12-01`, `2026-12-01 18:00`, `2026-12-01T18:00Z` (or `+01:00`),
 * `fri`, `fri 18:00`. Local times are the operator's zone; without a time of day noon is meant, so that nobody is alarmed at night. Pure.
 */
import { usage } from '../problem.ts'

const DAY_MS = 86_400_000
const UNITS: Readonly<Record<string, number>> = { h: 3_600_000, d: DAY_MS, w: 7 * DAY_MS }
const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']
const NOON = '12:00'

const wrong = (text: string) =>
  usage(
    `--until: ${JSON.stringify(text.slice(0, 80))} is not an instant; write 3d, 2026-12-01, "2026-12-01 18:00", "fri 18:00" or 2026-12-01T18:00+01:00`,
  )

/** The zone's own reading of an instant, as if it were UTC. */
function localMs(atMs: number, zone: string): number {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  })
  const part = Object.fromEntries(format.formatToParts(atMs).map(({ type, value }) => [type, Number(value)]))
  return Date.UTC(part.year ?? 0, (part.month ?? 1) - 1, part.day, part.hour, part.minute, part.second)
}

/** `2026-12-01` and `18:00` read as UTC; undefined where the calendar or the clock has no such time. */
function readFields(date: string, time: string): number | undefined {
  const text = `${date}T${time.length === 5 ? `${time}:00` : time}.000Z`
  const ms = Date.parse(text)
  return !Number.isNaN(ms) && new Date(ms).toISOString() === text ? ms : undefined
}

/** A local time as an instant: the first where the clock shows it twice. @throws Problem usage where it never shows it */
function fromLocal(wantedMs: number, zone: string, text: string): number {
  const guesses = [wantedMs - DAY_MS, wantedMs + DAY_MS].map((nearMs) => wantedMs - (localMs(nearMs, zone) - nearMs))
  const exact = guesses.filter((atMs) => localMs(atMs, zone) === wantedMs)
  if (exact.length === 0)
    throw usage(`--until: ${JSON.stringify(text)} does not exist in ${zone}: the clock is put forward then`)
  return Math.min(...exact)
}

/** @throws Problem usage for anything that is not exactly one of the forms */
export function parseWhen(text: string, nowMs: number, zone: string): number {
  const span = /^(\d{1,4})([hdw])$/.exec(text)
  if (span !== null) return nowMs + Number(span[1]) * (UNITS[span[2] ?? ''] ?? 0)

  const exact = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d(?::\d\d)?)(Z|([+-])(\d\d):(\d\d))$/.exec(text)
  if (exact !== null) {
    const [, date = '', time = '', , sign, hours = '0', minutes = '0'] = exact
    const ms = readFields(date, time)
    if (ms === undefined || Number(hours) > 14 || Number(minutes) > 59) throw wrong(text)
    return ms - (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * 60_000
  }

  const day = /^(\d{4}-\d\d-\d\d)(?: (\d\d:\d\d))?$/.exec(text)
  if (day !== null) {
    const ms = readFields(day[1] ?? '', day[2] ?? NOON)
    if (ms === undefined) throw wrong(text)
    return fromLocal(ms, zone, text)
  }

  const weekday = /^([a-z]{3})(?: (\d\d:\d\d))?$/.exec(text.toLowerCase())
  const wanted = WEEKDAYS.indexOf(weekday?.[1] ?? '')
  if (weekday === null || wanted === -1) throw wrong(text)
  const today = Math.floor(localMs(nowMs, zone) / DAY_MS)
  const first = today + ((wanted - new Date(today * DAY_MS).getUTCDay() + 7) % 7)
  const at = (dayNumber: number) => {
    const ms = readFields(new Date(dayNumber * DAY_MS).toISOString().slice(0, 10), weekday[2] ?? NOON)
    if (ms === undefined) throw wrong(text)
    return fromLocal(ms, zone, text)
  }
  // That weekday's next coming, a week later where today's hour has passed.
  return at(first) > nowMs ? at(first) : at(first + 7)
}
