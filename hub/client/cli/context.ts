/** What every command gets: its home, its connections and its terminal. */
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
  /** What the answers so far said about stops that are not recorded yet. */
  readonly unwritten: ReadonlySet<string>
}

/** Option values as commander passes them; a command reads those of its own row in table.ts. */
export type Options = Readonly<Record<string, unknown>>
/** Runs one command; the number is the exit code, nothing means 0. */
export type Run = (context: Context, args: readonly string[], options: Options) => Promise<number | undefined>

export function createContext(home: string, json: boolean, terminal: Terminal): Context {
  requireHome(home)
  const hub = withParts(createConnection(hubDoor(home)))
  const unwritten = new Set<string>()
  const call: Connection['call'] = async (operation, ...rest) => {
    const answer = await hub.call(operation, ...rest)
    const detail = unwrittenOf(answer)
    // A shutdown asks the engine what is left and reports it itself (stop-paths.ts).
    if (detail !== undefined && operation !== 'hub.shutdown') unwritten.add(detail)
    return answer
  }
  return { home, json, terminal, hub: { ...hub, call }, watchdog: createConnection(watchdogDoor(home)), unwritten }
}

/** What came of a stop: `word`, unless the hub could not record it yet. */
export const stopped = (answer: unknown, word: string): string =>
  unwrittenOf(answer) === undefined ? word : 'stopping, not written yet'

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `10m` to milliseconds. @throws Problem usage, naming the option */
export function spanOption(name: string, text: unknown): number | undefined {
  if (text === undefined) return undefined
  const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(String(text))
  const ms = match === null ? 0 : Number(match[1]) * (UNIT_MS[match[2] ?? ''] ?? 0)
  if (ms <= 0) throw usage(`${name}: ${JSON.stringify(text)} is not a span of time; write 30s, 10m or 2h`)
  return ms
}

/** A whole number within limits. @throws Problem usage, naming the option */
export function wholeOption(name: string, text: unknown, least: number, most: number): number | undefined {
  if (text === undefined) return undefined
  const value = /^\d{1,15}$/.test(String(text)) ? Number(text) : Number.NaN
  if (!(value >= least && value <= most)) throw usage(`${name} must be a whole number from ${least} to ${most}`)
  return value
}

/** Only the keys that were given: the hub has defaults for the others. */
export const given = <Given extends object>(request: Given): Given =>
  Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined)) as Given

/**
 * What was typed after an option, as the request takes it. Whether it is one of the words that the operation knows is judged by the operation's
 * own shape before anything is sent (connection.ts), so not here as well.
 */
export const typed = <Text extends string>(value: unknown): Text | undefined =>
  value === undefined ? undefined : (String(value) as Text)

/** Paging of a list command: its `--limit` and `--cursor`. */
export const pageOf = (options: Options): { limit?: number | undefined; cursor?: string | undefined } =>
  given({ limit: wholeOption('--limit', options.limit, 1, 100), cursor: typed(options.cursor) })

/** Prints a list: with `--json` a bare array (empty: `[]`), else a table or one line that says it is empty. stderr names the next page. */
export function showList<Row>(
  { json, terminal }: Context,
  rows: readonly Row[],
  show: { next?: string | null | undefined; empty: string; table: (rows: readonly Row[]) => string },
): void {
  if (json) terminal.json(rows)
  else terminal.out(rows.length === 0 ? show.empty : show.table(rows))
  if (show.next) terminal.note(`there is more: the same command with --cursor ${show.next} shows what follows`)
}
