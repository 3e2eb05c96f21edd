/** One command as the table lists it, and options that many commands share. */
import type { Run } from './context.ts'

/** `many`: may be given again and again, one value each; a variadic one would swallow the argument behind it. */
export type Flag = readonly [flags: string, text: string, many?: 'many']
export type Command = Row & ({ load: () => Promise<Run> } | { alone: () => Promise<Alone> })
/** What makes a home, and so has none to be judged yet. */
export type Alone = (
  home: string,
  args: readonly string[],
  json: boolean,
  options: Readonly<Record<string, unknown>>,
) => Promise<number>
interface Row {
  /** `task list`: at most two words. */
  words: string
  /** In commander's notation: `<id>` needed, `[id]` not, `[id...]` many. */
  args?: string
  text: string
  flags?: readonly Flag[]
}

export const paging: readonly Flag[] = [
  ['--limit <n>', 'how many at most, 1 to 100 (25)'],
  ['--cursor <text>', 'go on where the last page ended'],
]
export const yes: Flag = ['--yes', 'do not ask']
