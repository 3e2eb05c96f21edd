/** `hub away`, `hub back`: a planned absence, given to the hub, or straight to the watchdog where the hub does not answer. */
import type { HeartbeatView } from '../answers.ts'
import { EXIT, toProblem, usage } from '../problem.ts'
import { type Context, given, type Run } from './context.ts'
import { giveWord, heartbeatText } from './presence.ts'
import { instantText, whenText } from './text.ts'
import { parseWhen } from './when.ts'

/** The operator's zone is the watchdog's to say; without it this machine's. */
async function zoneOf({ watchdog }: Context): Promise<string> {
  const machine = Intl.DateTimeFormat().resolvedOptions().timeZone
  try {
    const status = await watchdog.send('GET', '/v1/status', undefined, { deadlineMs: 5_000 })
    const zone = (status as { heartbeat?: { zone?: unknown } }).heartbeat?.zone
    return typeof zone === 'string' ? zone : machine
  } catch (error) {
    // It owns the clock: without it there is no absence to plan, and giving it says so.
    if (toProblem(error).kind === 'refused') throw error
    return machine
  }
}

/** `away until Fri 18:00 CET (in 3 d)`, and what happens then. */
export function awayText(view: HeartbeatView, nowMs: number, keepWorking: boolean): string {
  const { zone } = view
  const work = keepWorking ? 'agents go on working until then' : 'nothing new starts; what runs ends by itself'
  return `away until ${whenText(view.dueAtMs, nowMs, zone)}: ${work}, and nobody is reminded\nnot back by ${instantText(view.safeAtMs, nowMs, zone)}: your contact hears of it; everything stops ${instantText(view.stopAtMs, nowMs, zone)}\nback earlier: \`hub back\``
}

export const away: Run = async (context, _, { until, note, keepWorking = false }) => {
  if (typeof until !== 'string') throw usage('--until is needed: when you are back, as 3d or "fri 18:00"')
  const zone = await zoneOf(context)
  const untilMs = parseWhen(until.trim(), Date.now(), zone)
  if (untilMs <= Date.now()) throw usage(`--until: ${whenText(untilMs, Date.now(), zone)} has passed already`)
  const request = { untilMs, keepWorking: keepWorking === true, ...given({ note }) }
  const view = await giveWord(context, 'operator.away', request)
  if (context.json) context.terminal.json(view)
  else context.terminal.out(awayText(view, Date.now(), request.keepWorking))
  return EXIT.done
}

export const back: Run = async (context, _, { note }) => {
  const view = await giveWord(context, 'operator.back', given({ note }))
  if (context.json) context.terminal.json(view)
  else context.terminal.out(heartbeatText(view, Date.now()))
  return EXIT.done
}
