/**
 * `hub task logs`: what the task logged; with `--follow` also what it logs from now on, until it ends. New lines come as events, because each
 * repeated request would add a record to the audit log.
 */
import type { HubEvent } from '../../../protocol/events.ts'
import type { Answered } from '../../answers.ts'
import { EXIT } from '../../problem.ts'
import type { Context, Run } from '../context.ts'
import { wholeId } from '../ids.ts'
import { cleanLines, jsonText, stampText } from '../text.ts'
import { isTerminal } from './tasks.ts'
import { listen, watchTask } from './watch.ts'

const TRAILING_MS = 300

type Line = Answered<'task.logs'>['lines'][number]
const nameOf = ({ level, text }: Omit<Line, 'atMs'>): string => `${level} ${text}`

const logLine = (line: Line): string =>
  `${stampText(line.atMs)} ${cleanLines(`${line.level.padEnd(5)} ${line.text}`).replaceAll('\n', '\n    ')}`

/** Leaves out the events whose lines were in the first answer already. */
function createFresh(told: readonly Line[]) {
  const left = new Map<string, number>()
  for (const line of told) left.set(nameOf(line), (left.get(nameOf(line)) ?? 0) + 1)
  const since = told.at(-1)?.atMs ?? 0
  return (event: HubEvent): Line | undefined => {
    if (event.type !== 'hub.task.log.v1') return undefined
    const line = { atMs: Date.parse(event.time), level: String(event.data.level), text: String(event.data.text) }
    const again = left.get(nameOf(line)) ?? 0
    if (again > 0) left.set(nameOf(line), again - 1)
    // The log drops its oldest lines at its limit, before the event feed drops them.
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
    // The last log lines may still be on their way.
    await new Promise((resolve) => setTimeout(resolve, TRAILING_MS))
  } finally {
    ending.abort()
    await listening
  }
}

export const logs: Run = async (context, [named = ''], options) => {
  const { hub, json, terminal } = context
  const id = await wholeId(hub.call, 'task', named)
  const { lines } = await hub.call('task.logs', { id })
  const follows = options.follow === true
  const show = (line: Line) => terminal.out(json ? jsonText(line).replaceAll(/\n\s*/g, '') : logLine(line))
  if (json && !follows) terminal.json(lines)
  else for (const line of lines) show(line)
  if (follows) await follow(context, id, lines, show)
  else if (lines.length === 0 && !json) {
    const { task } = await hub.call('task.show', { id })
    const more = isTerminal(task) ? '' : ` so far (it is ${task.state}; --follow waits for more)`
    terminal.note(`task ${id} has logged nothing${more}`)
  }
  return EXIT.done
}
