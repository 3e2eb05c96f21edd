/** What all drivers share: how a program's run ends, how it is stopped, how its log is read. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { HubAgent, Turns } from '../../hub/client/agent.ts'
import type { ResultFault } from '../../hub/protocol/result-faults.ts'
import { STOP_GRACE_MS } from '../../hub/protocol/stop-grace.ts'
import type { Child } from './child.ts'
import type { Classes } from './classes.ts'
import type { Conversation, Result } from './conversation.ts'
import { createLineSplitter, type Line } from './lines.ts'
import type { LogLines } from './log-lines.ts'
import type { Silence } from './silence.ts'

/** How a program ended: with a result, or without one, which is a crash unless it was being stopped. */
export type Ending = { kind: 'result'; result: Result } | { kind: 'crash'; why: string }

export interface DriverOptions {
  hub: HubAgent
  /** `run` of the card as it stands. */
  argv: readonly string[]
  /** The task's input: its one file, or the folder of them; undefined without one. */
  input: string | undefined
  /** The folder that holds inputs. */
  inputFolder: string
  /** Where the program begins: the workspace, or the repository of the task. */
  cwd: string
  env: Record<string, string>
  workspace: string
  log: LogLines
  classes: Classes
  /**
   * Prompts that people give while the program lives, one turn after the other. `turns.next()` answers the next one, begun, and undefined once the
   * session is to end; `turn.text`, `turn.tool` and `turn.usage` say what comes of it, `turn.done(stopReason)` ends it, `turn.signal` is the
   * cancel of that turn alone. Only a driver with the feature `takesPrompts` is given any.
   */
  turns: Turns
  /** A session of `mode: chat`: it goes on after each turn until it is closed. Else prompts are notes to a program at work. */
  chat: boolean
  /** Is told of the program's process: only so can the hub end one that says nothing. */
  silence: Pick<Silence, 'watch' | 'ended'>
  /** What stands for `{earlier}` in `argv`; undefined where nothing is kept of conversations. */
  earlier?: string | undefined
  /** Hears what the program says; see transcripts.ts. */
  said?: ((text: string, joins: boolean) => void) | undefined
}

/** How the hub's grace is divided: half to end by itself, a quarter after SIGTERM, the rest for storing outputs. */
export const GRACE = { ms: STOP_GRACE_MS, term: 0.5, kill: 0.75 }

export const failed = (error: string, value?: unknown, code?: ResultFault): Ending => ({
  kind: 'result',
  result: {
    ...{ outcome: 'failed', error },
    ...(value === undefined ? {} : { value }),
    ...(code === undefined ? {} : { code }),
  },
})

/** Above this even a result that becomes an artifact is refused; a result is kept in memory until it is stored. */
export const RESULT_BYTES_MAX = 4 * 1024 ** 2
/** After its result a program has this long to end by itself, then SIGTERM, then SIGKILL. */
export const FAREWELL_MS = 1_000

/** The value that replaces one too large for a result: the large one becomes an artifact, which the shim stores before the result. */
export async function keepLarge(workspace: string, value: unknown): Promise<unknown> {
  const text = JSON.stringify(value)
  for (const name of ['result.json', 'result-value.json']) {
    try {
      await writeFile(join(workspace, 'out', name), text, { flag: 'wx' })
      return { artifact: name, bytes: Buffer.byteLength(text) }
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown
    }
  }
  throw new Error('the result is too long for a line, and out/result.json is there already')
}

/** The result of a program that ended, or why its result could not be read; undefined if it gave none. */
export function resultEnding(conversation: Pick<Conversation, 'result' | 'spoiled'>): Ending | undefined {
  const result = conversation.result()
  if (result !== undefined) return { kind: 'result', result }
  const why = conversation.spoiled()
  // It ran to its end: once more it would print the same.
  return why === undefined ? undefined : failed(`its result could not be read: ${why}`, undefined, 'result_unreadable')
}

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
