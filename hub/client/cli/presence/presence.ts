/** `hub heartbeat`, `hub away`, `hub back`: the operator says that they are there, or for how long they are not. */
import type { HeartbeatView } from '../../answers.ts'
import type { Request } from '../../connection.ts'
import { EXIT, Problem, toProblem, usage } from '../../problem.ts'
import { type Context, given, type Run, typed } from '../context.ts'
import { clean, countOf, instantText, whenText } from '../text.ts'
import { questionLines } from './approvals.ts'

/** `accepted; next due Sat 09:00 CET (in 23 h 58 m)`, and what happens without the next one; or what is still in force. */
export function heartbeatText(view: HeartbeatView, nowMs: number, zone = view.zone): string {
  if (view.conditions?.includes('unattended_stop'))
    return 'accepted; the unattended stop holds until `hub up` and then `hub heartbeat`'
  const safe = instantText(view.safeAtMs, nowMs, zone)
  const stop = instantText(view.stopAtMs, nowMs, zone)
  const others = (view.conditions ?? []).filter((name) => name !== 'away')
  const holding =
    others.length === 0 ? '' : `\nstill blocks new starts: ${others.map(clean).join(', ')} (\`hub status\`)`
  const asked = (view.questions ?? []).flatMap(questionLines).map((line) => `\n${line}`)
  if (view.conditions?.includes('away'))
    return `accepted; you are away until ${whenText(view.dueAtMs, nowMs, zone)}; if you are back earlier: \`hub back\`${holding}${asked.join('')}`
  const held = view.held
    ? `\n${countOf(view.held, 'task is', 'tasks are')} held: \`hub task release --all\` or \`hub task cancel --held\``
    : ''
  return `accepted; next due ${whenText(view.dueAtMs, nowMs, zone)}\nwithout it nothing starts after ${safe}, and everything stops ${stop}${holding}${held}${asked.join('')}`
}

/** The watchdog's own paths for these operations. */
const PATHS = { 'operator.heartbeat': 'heartbeat', 'operator.away': 'away', 'operator.back': 'back' } as const

/** Tells the hub; if the hub does not answer, tells the watchdog directly, because the watchdog keeps the presence clock. */
export async function tellPresence(
  { hub, watchdog, terminal }: Context,
  operation: keyof typeof PATHS,
  request: Request<keyof typeof PATHS>,
): Promise<HeartbeatView> {
  try {
    return await hub.call(operation, request, { deadlineMs: 10_000 })
  } catch (error) {
    const problem = toProblem(error)
    // A refusal of the hub's is an answer; anything else must not keep the operator from saying "I am here".
    if (problem.kind === 'refused') throw problem
    terminal.note(`${problem.message}; telling the watchdog instead`)
    const body = { note: '', ...request, source: 'cli' }
    try {
      return (await watchdog.send('POST', `/v1/${PATHS[operation]}`, body, { deadlineMs: 10_000 })) as HeartbeatView
    } catch (second) {
      const worse = toProblem(second)
      if (worse.kind === 'refused' && operation === 'operator.away') throw worse
      const text = `neither the hub nor the watchdog accepted the ${PATHS[operation]} (${worse.message})`
      throw new Problem('unreachable', 'unavailable', text, 'start both: `hub up`')
    }
  }
}

export const heartbeat: Run = async (context, _, options) => {
  const view = await tellPresence(context, 'operator.heartbeat', given({ note: typed<string>(options.note) }))
  if (context.json) context.terminal.json(view)
  else context.terminal.out(heartbeatText(view, Date.now()))
  return EXIT.done
}

/** The operator's zone, which the watchdog knows; else this machine's. */
async function zoneOf({ watchdog }: Context): Promise<string> {
  const machine = Intl.DateTimeFormat().resolvedOptions().timeZone
  try {
    const status = await watchdog.send('GET', '/v1/status', undefined, { deadlineMs: 5_000 })
    const zone = (status as { heartbeat?: { zone?: unknown } }).heartbeat?.zone
    return typeof zone === 'string' ? zone : machine
  } catch (error) {
    // Without the watchdog no absence can be planned; the request that follows says so.
    if (toProblem(error).kind === 'refused') throw error
    return machine
  }
}

/** `away until Fri 18:00 CET (in 3 d)`, and what happens then. */
export function awayText(view: HeartbeatView, nowMs: number, keepWorking: boolean): string {
  const { zone } = view
  const work = keepWorking ? 'agents keep working until then' : 'nothing new starts; running tasks finish'
  return `away until ${whenText(view.dueAtMs, nowMs, zone)}: ${work}, and no reminders are sent\nnot back by ${instantText(view.safeAtMs, nowMs, zone)}: your contact is told; everything stops ${instantText(view.stopAtMs, nowMs, zone)}\nif you are back earlier: \`hub back\``
}

export const away: Run = async (context, _, { until, note, keepWorking = false }) => {
  if (typeof until !== 'string')
    throw usage('--until is missing: say when you will be back, for example 3d or "fri 18:00"')
  const zone = await zoneOf(context)
  const untilMs = parseWhen(until.trim(), Date.now(), zone)
  if (untilMs <= Date.now()) throw usage(`--until: ${whenText(untilMs, Date.now(), zone)} is in the past`)
  const request = { untilMs, keepWorking: keepWorking === true, ...given({ note: typed<string>(note) }) }
  const view = await tellPresence(context, 'operator.away', request)
  if (context.json) context.terminal.json(view)
  else context.terminal.out(awayText(view, Date.now(), request.keepWorking))
  return EXIT.done
}

export const back: Run = async (context, _, { note }) => {
  const view = await tellPresence(context, 'operator.back', given({ note: typed<string>(note) }))
  if (context.json) context.terminal.json(view)
  else context.terminal.out(heartbeatText(view, Date.now()))
  return EXIT.done
}

const DAY_MS = 86_400_000
const UNITS: Readonly<Record<string, number>> = { h: 3_600_000, d: DAY_MS, w: 7 * DAY_MS }
const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']
/** Without a time of day noon is meant, so that nobody is alarmed at night. */
const NOON = '12:00'

const wrong = (text: string) =>
  usage(
    `--until: ${JSON.stringify(text.slice(0, 80))} is not a date or time; write 3d, 2026-12-01, "2026-12-01 18:00", "fri 18:00" or 2026-12-01T18:00+01:00`,
  )

/** What clocks in the zone show at that instant, read as if it were UTC. */
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

/** `2026-12-01` and `18:00` read as UTC; undefined if there is no such day or time. */
function readFields(date: string, time: string): number | undefined {
  const text = `${date}T${time.length === 5 ? `${time}:00` : time}.000Z`
  const ms = Date.parse(text)
  return !Number.isNaN(ms) && new Date(ms).toISOString() === text ? ms : undefined
}

/** A local time as an instant: the first one if clocks show it twice. @throws Problem usage if they never show it */
function fromLocal(wantedMs: number, zone: string, text: string): number {
  const guesses = [wantedMs - DAY_MS, wantedMs + DAY_MS].map((nearMs) => wantedMs - (localMs(nearMs, zone) - nearMs))
  const exact = guesses.filter((atMs) => localMs(atMs, zone) === wantedMs)
  if (exact.length === 0)
    throw usage(`--until: ${JSON.stringify(text)} does not exist in ${zone}: clocks go forward then`)
  return Math.min(...exact)
}

/**
 * An instant as a person writes it for `--until`, read strictly: `3d`, `2026-12-01`, `2026-12-01 18:00`, `2026-12-01T18:00Z` (or `+01:00`),
 * `fri`, `fri 18:00`. Local times are the operator's zone. Pure. @throws Problem usage for anything that is not exactly one of the forms
 */
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
  // The next such weekday; a week later if it is today and the hour has passed.
  return at(first) > nowMs ? at(first) : at(first + 7)
}
