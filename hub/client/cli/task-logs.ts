/**
 * `hub task logs`: what the task logged, and with `--follow` what it goes on to log, until it has ended. What is new comes as events; asking
 * again and again would be a record of the audit log each time.
 */
import type { HubEvent } from '../../protocol/events.ts'
import type { TaskView } from '../answers.ts'
import { EXIT } from '../problem.ts'
import type { Context, Run } from './context.ts'
import { wholeId } from './ids.ts'
import { isTerminal } from './tasks.ts'
import { cleanLines, jsonText, stampText } from './text.ts'
import { listen, watchTask } from './watch.ts'

interface Line {
  atMs: number
  level: string
  text: string
}
const nameOf = ({ level, text }: Omit<Line, 'atMs'>): string => `${level} ${text}`

const logLine = (line: Line): string =>
  `${stampText(line.atMs)} ${cleanLines(`${line.level.padEnd(5)} ${line.text}`).replaceAll('\n', '\n    ')}`

/** Which of the lines that come as events were in the first answer already; each is told once. */
function createFresh(told: readonly Line[]) {
  const left = new Map<string, number>()
  for (const line of told) left.set(nameOf(line), (left.get(nameOf(line)) ?? 0) + 1)
  const since = told.at(-1)?.atMs ?? 0
  return (event: HubEvent): Line | undefined => {
    if (event.type !== 'hub.task.log.v1') return undefined
    const line = { atMs: Date.parse(event.time), level: String(event.data.level), text: String(event.data.text) }
    const again = left.get(nameOf(line)) ?? 0
    if (again > 0) left.set(nameOf(line), again - 1)
    // The log keeps no more than its limit, and forgets the oldest before the events do.
    return again > 0 || line.atMs < since ? undefined : line
  }
}

async function follow(context: Context, id: string, told: readonly Line[], show: (line: Line) => void): Promise<void> {
  const fresh = createFresh(told)
  const ending = new AbortController()
  const heard = (event: HubEvent) => {
    const line = fresh(event)
    if (line !== undefined) show(line)
  }
  const listening = listen(context, { task: id }, heard, () => {}, ending.signal)
  try {
    await watchTask({ ...context, terminal: { ...context.terminal, live: () => {} } }, id)
    // What was logged last comes before the end in the same feed, and may still be on its way.
    await new Promise((resolve) => setTimeout(resolve, TRAILING_MS))
  } finally {
    ending.abort()
    await listening
  }
}
const TRAILING_MS = 300

export const logs: Run = async (context, [named = ''], options) => {
  const { hub, json, terminal } = context
  const id = await wholeId(hub.call, 'task', named)
  const { lines } = (await hub.call('task.logs', { id })) as { lines: Line[] }
  const follows = options.follow === true
  const show = (line: Line) => terminal.out(json ? jsonText(line).replaceAll(/\n\s*/g, '') : logLine(line))
  if (json && !follows) terminal.json(lines)
  else for (const line of lines) show(line)
  if (follows) await follow(context, id, lines, show)
  else if (lines.length === 0 && !json) {
    const { task } = (await hub.call('task.show', { id })) as { task: TaskView }
    const more = isTerminal(task) ? '' : ` so far (it is ${task.state}; --follow waits for more)`
    terminal.note(`task ${id} has logged nothing${more}`)
  }
  return EXIT.done
}
