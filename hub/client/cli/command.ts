/** What the table says about one command, and the options that several commands share. */
import type { Context, Options, Run } from './context.ts'

/** `many`: may be given several times, one value each. A variadic option would swallow the argument after it. */
export type Flag = readonly [flags: string, text: string, many?: 'many']
/** Runs without a hub and without a checked home: it makes one, or needs none. */
export type Alone = (
  at: Pick<Context, 'home' | 'json' | 'terminal'>,
  args: readonly string[],
  options: Options,
) => Promise<number>
/** Loads a command, only when that command runs. */
type Load<Runs> = () => Promise<Runs>

export interface Command {
  /** `task list`: at most two words. */
  words: string
  /** In commander's notation: `<id>` needed, `[id]` not, `[id...]` many. */
  args: string
  text: string
  flags: readonly Flag[]
  how: { load: Load<Run> } | { alone: Load<Alone> }
  /** Its exit code says whether everything has stopped, and nothing else. */
  isStop: boolean
  /** With this option it runs alone, without a hub and a home. */
  aloneWith: Readonly<Record<string, Load<Alone>>>
}

function row(usage: string, text: string, flags: readonly Flag[], how: Command['how']): Command {
  const [words = '', ...args] = usage.split(/ (?=[<[])/)
  return { words, args: args.join(' '), text, flags, how, isStop: false, aloneWith: {} }
}

/** `usage` is the words and the arguments: `task show <task>`. */
export const command = (
  usage: string,
  text: string,
  load: Load<Run>,
  flags: readonly Flag[] = [],
  aloneWith: Command['aloneWith'] = {},
): Command => ({ ...row(usage, text, flags, { load }), aloneWith })

export const stop = (...of: Parameters<typeof command>): Command => ({ ...command(...of), isStop: true })

export const alone = (usage: string, text: string, load: Load<Alone>, flags: readonly Flag[] = []): Command =>
  row(usage, text, flags, { alone: load })

/** One export of a module that is loaded when it is needed. */
export const lazy =
  <Module extends object>(load: () => Promise<Module>) =>
  <Name extends keyof Module>(name: Name): Load<Module[Name]> =>
  async () =>
    (await load())[name]

export const yes: Flag = ['--yes', 'do not ask']
export const paging: readonly Flag[] = [
  ['--limit <n>', 'how many at most, 1 to 100 (default: 25)'],
  ['--cursor <text>', 'continue after the last page, which names the text'],
]
/** The operator's own repository. */
export const inRepo: Flag = ['--repo <dir>', 'your repository (default: the folder you are in)']
/** The input of a task. */
export const handed: readonly Flag[] = [
  ['--input <path>', 'a folder, a file, or - for stdin'],
  ['--with-secrets', 'send files that look like secrets too'],
  ['--param <k=v>', 'a parameter, as often as needed; k:=JSON for anything but text', 'many'],
]
