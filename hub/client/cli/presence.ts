/** `hub heartbeat`, `hub safe-mode`, `hub resume`: the operator's own word about being there and about the mode. */
import type { HeartbeatView } from '../answers.ts'
import { EXIT, Problem, toProblem } from '../problem.ts'
import { questionLines } from './approvals.ts'
import { type Context, given, type Run } from './context.ts'
import { clean, countOf, instantText, whenText } from './text.ts'

/** `accepted; next due Sat 09:00 CET (in 23 h 58 m)`, and what happens without the next one; or what holds in spite of it. */
export function heartbeatText(view: HeartbeatView, nowMs: number, zone = view.zone): string {
  if (view.conditions?.includes('unattended_stop'))
    return 'accepted; the unattended stop holds until `hub up` and then `hub heartbeat`'
  const safe = instantText(view.safeAtMs, nowMs, zone)
  const stop = instantText(view.stopAtMs, nowMs, zone)
  const others = (view.conditions ?? []).filter((name) => name !== 'away')
  const holding = others.length === 0 ? '' : `\nstill in the way: ${others.map(clean).join(', ')} (\`hub status\`)`
  const asked = (view.questions ?? []).flatMap(questionLines).map((line) => `\n${line}`)
  if (view.conditions?.includes('away'))
    return `accepted; you are away until ${whenText(view.dueAtMs, nowMs, zone)}, back earlier: \`hub back\`${holding}${asked.join('')}`
  const held = view.held
    ? `\n${countOf(view.held, 'task is', 'tasks are')} held: \`hub task release --all\` or \`hub task cancel --held\``
    : ''
  return `accepted; next due ${whenText(view.dueAtMs, nowMs, zone)}\nwithout it nothing starts after ${safe}, and everything stops ${stop}${holding}${held}${asked.join('')}`
}

/** Where the watchdog takes these words itself. */
const PATHS = { 'operator.heartbeat': 'heartbeat', 'operator.away': 'away', 'operator.back': 'back' } as const

/** Gives a word to the hub; where the hub does not answer, straight to the watchdog, whose clock it is. */
export async function giveWord(
  { hub, watchdog, terminal }: Context,
  operation: keyof typeof PATHS,
  request: Record<string, unknown>,
): Promise<HeartbeatView> {
  try {
    return (await hub.call(operation, request, { deadlineMs: 10_000 })) as HeartbeatView
  } catch (error) {
    const problem = toProblem(error)
    // A refusal of the hub's is an answer; anything else must not keep the operator from saying "I am here".
    if (problem.kind === 'refused') throw problem
    terminal.note(`${problem.message}; giving it to the watchdog`)
    const body = { note: '', ...request, source: 'cli' }
    try {
      return (await watchdog.send('POST', `/v1/${PATHS[operation]}`, body, { deadlineMs: 10_000 })) as HeartbeatView
    } catch (second) {
      const worse = toProblem(second)
      if (worse.kind === 'refused' && operation === 'operator.away') throw worse
      const text = `neither the hub nor the watchdog took the ${PATHS[operation]} (${worse.message})`
      throw new Problem('unreachable', 'unavailable', text, 'start both: `hub up`')
    }
  }
}

export const heartbeat: Run = async (context, _, options) => {
  const view = await giveWord(context, 'operator.heartbeat', given({ note: options.note }))
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

export const resume: Run = async (context, _, { acceptHead, alert }) => {
  const request = given({ acceptHead, alert })
  return showMode(context, await context.hub.call('mode.resume', request), 'resumed')
}
