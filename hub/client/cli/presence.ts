/** `hub heartbeat`, `hub safe-mode`, `hub resume`: the operator's own word about being there and about the mode. */
import type { HeartbeatView } from '../answers.ts'
import { EXIT, Problem, toProblem } from '../problem.ts'
import { type Context, given, type Run } from './context.ts'
import { clean, instantText, whenText } from './text.ts'

/** `accepted; next due Sat 09:00 CET (in 23 h 58 m)`, and what happens without the next one. */
export function heartbeatText(view: HeartbeatView, nowMs: number, zone?: string): string {
  const safe = instantText(view.safeAtMs, nowMs, zone)
  const stop = instantText(view.stopAtMs, nowMs, zone)
  return `accepted; next due ${whenText(view.dueAtMs, nowMs, zone)}\nwithout it nothing starts after ${safe}, and everything stops ${stop}`
}

/** Gives the heartbeat to the hub; where the hub does not answer, straight to the watchdog, whose clock it is. */
async function giveHeartbeat({ hub, watchdog, terminal }: Context, note: string | undefined): Promise<HeartbeatView> {
  try {
    return (await hub.call('operator.heartbeat', given({ note }), { deadlineMs: 10_000 })) as HeartbeatView
  } catch (error) {
    const problem = toProblem(error)
    // A refusal of the hub's is an answer; anything else must not keep the operator from saying "I am here".
    if (problem.kind === 'refused') throw problem
    terminal.note(`${problem.message}; giving it to the watchdog`)
    const body = { note: note ?? '', source: 'cli' }
    try {
      return (await watchdog.send('POST', '/v1/heartbeat', body, { deadlineMs: 10_000 })) as HeartbeatView
    } catch (second) {
      const worse = toProblem(second)
      const text = `neither the hub nor the watchdog took the heartbeat (${worse.message})`
      throw new Problem('unreachable', 'unavailable', text, 'start both: `hub up`')
    }
  }
}

export const heartbeat: Run = async (context, _, options) => {
  const view = await giveHeartbeat(context, options.note as string | undefined)
  if (context.json) context.terminal.json(view)
  else context.terminal.out(heartbeatText(view, Date.now()))
  return EXIT.done
}

async function showMode({ json, terminal }: Context, answer: unknown, done: string) {
  const mode = (answer as { mode?: unknown }).mode
  if (json) terminal.json(answer)
  else terminal.out(mode === undefined ? done : `${done}; the mode is ${clean(mode)} (\`hub status\`)`)
  return EXIT.done
}

export const safeMode: Run = async (context, _, options) =>
  showMode(context, await context.hub.call('mode.safe', given({ reason: options.reason })), 'nothing new starts')

export const resume: Run = async (context, _, { acceptHead }) => {
  const request = acceptHead === undefined ? {} : { acceptHead }
  return showMode(context, await context.hub.call('mode.resume', request), 'resumed')
}
