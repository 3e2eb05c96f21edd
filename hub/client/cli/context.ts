/** What every command is handed: its home, its connections and its terminal. */
import { type Connection, createConnection, unwrittenOf } from '../connection.ts'
import { usage } from '../problem.ts'
import { hubDoor, requireHome, watchdogDoor } from './home.ts'
import { withParts } from './ids.ts'
import type { Terminal } from './terminal.ts'

export interface Context {
  home: string
  json: boolean
  terminal: Terminal
  hub: Connection
  watchdog: Connection
  /** What the answers so far said of stops that are not written yet. */
  readonly unwritten: ReadonlySet<string>
}

/** Values of options as commander hands them over; a room reads the ones of its own row in table.ts. */
export type Options = Readonly<Record<string, unknown>>
/** Runs one command; the number is the exit code, nothing means 0. */
export type Run = (context: Context, args: readonly string[], options: Options) => Promise<number | undefined>

export function createContext(home: string, json: boolean, terminal: Terminal): Context {
  requireHome(home)
  const hub = withParts(createConnection(hubDoor(home)))
  const unwritten = new Set<string>()
  const call: Connection['call'] = async (operation, request, options) => {
    const answer = await hub.call(operation, request, options)
    const detail = unwrittenOf(answer)
    // What becomes of everything is confirmed by the engine, and says so itself (stop-paths.ts).
    if (detail !== undefined && operation !== 'hub.shutdown') unwritten.add(detail)
    return answer
  }
  return { home, json, terminal, hub: { ...hub, call }, watchdog: createConnection(watchdogDoor(home)), unwritten }
}

/** What came of a stop: `word`, unless the hub could not write it down yet. */
export const stopped = (answer: unknown, word: string): string =>
  unwrittenOf(answer) === undefined ? word : 'stopping, not written yet'

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `10m` to milliseconds. @throws Problem usage, naming the option */
export function spanOption(name: string, text: unknown): number | undefined {
  if (text === undefined) return undefined
  const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(String(text))
  const ms = match === null ? 0 : Number(match[1]) * (UNIT_MS[match[2] ?? ''] ?? 0)
  if (ms <= 0) throw usage(`${name}: ${JSON.stringify(text)} is not a span; write 30s, 10m or 2h`)
  return ms
}

/** A whole number within limits. @throws Problem usage, naming the option */
export function wholeOption(name: string, text: unknown, least: number, most: number): number | undefined {
  if (text === undefined) return undefined
  const value = /^\d{1,15}$/.test(String(text)) ? Number(text) : Number.NaN
  if (!(value >= least && value <= most)) throw usage(`${name}: a whole number from ${least} to ${most} is needed`)
  return value
}

/** Only the keys that were given: the hub refuses unknown ones, and its defaults stand for the rest. */
export const given = (request: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined))

/** Paging of a list command: its `--limit` and `--cursor`. */
export const pageOf = (options: Options): Record<string, unknown> =>
  given({ limit: wholeOption('--limit', options.limit, 1, 100), cursor: options.cursor })

/** Prints a list: a bare array with `--json` (empty: `[]`), else its table or one line that it is empty; where it goes on, on stderr. */
export function showList<Row>(
  { json, terminal }: Context,
  rows: readonly Row[],
  show: { next?: string | null | undefined; empty: string; table: (rows: readonly Row[]) => string },
): void {
  if (json) terminal.json(rows)
  else terminal.out(rows.length === 0 ? show.empty : show.table(rows))
  if (show.next) terminal.note(`there is more: --cursor ${show.next}`)
}
