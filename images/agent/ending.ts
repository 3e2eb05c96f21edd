/** What both drivers share: how a program's run ends, how it is stopped, how its log is read. */
import type { HubAgent } from '../../hub/client/agent.ts'
import { STOP_GRACE_MS } from '../../hub/protocol/task.ts'
import type { Child } from './child.ts'
import type { Result } from './conversation.ts'
import { createLineSplitter, type Line } from './lines.ts'
import type { LogLines } from './log-lines.ts'

/** How a program ended: with a result, or without one, which is a crash unless it was being stopped. */
export type Ending = { kind: 'result'; result: Result } | { kind: 'crash'; why: string }

export interface DriverOptions {
  hub: HubAgent
  argv: readonly string[]
  env: Record<string, string>
  workspace: string
  log: LogLines
}

/** Of a grace that the hub gives: half to end by itself, a quarter after SIGTERM; the rest is for what there is to be stored. */
export const GRACE = { ms: STOP_GRACE_MS, term: 0.5, kill: 0.75 }

export const failed = (error: string, value?: unknown): Ending => ({
  kind: 'result',
  result: { outcome: 'failed', error, ...(value === undefined ? {} : { value }) },
})

export const exitText = (exit: { kind: 'exited'; code: number } | { kind: 'killed'; signal: string }): string =>
  exit.kind === 'exited' ? `exit code ${exit.code}` : exit.signal

/** Calls back once, when the task is to stop, with how long there is, in ms. */
export function onStop({ signal }: HubAgent, stop: (graceMs: number) => void): void {
  const given = () => Number((signal.reason as { facts?: { graceMs?: unknown } }).facts?.graceMs)
  const now = () => stop(given() > 0 ? given() : GRACE.ms)
  if (signal.aborted) now()
  else signal.addEventListener('abort', now, { once: true })
}

/** Reads a stream of the program into the log. */
export async function readLog(child: Child, from: 'stdout' | 'stderr', log: LogLines): Promise<void> {
  const lines = createLineSplitter()
  const add = ({ bytes, tooLong }: Line) =>
    log.add(`${bytes.toString()}${tooLong === undefined ? '' : `... (a line of ${tooLong} bytes)`}`)
  await child.read(from, (chunk) => {
    for (const line of lines.push(chunk)) add(line)
  })
  for (const line of lines.end()) add(line)
}
