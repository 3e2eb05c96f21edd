/** Runs one line of the `hub` command: this file parses, table.ts lists the commands, and the rest loads only when needed. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { Command, CommanderError } from 'commander'
import { didYouMean } from '../../base/nearest.ts'
import { wordOf } from '../../base/watchdog-words.ts'
import { documentOf, EXIT, exitCodeOf, nextOf, type Problem, toProblem, usage } from '../problem.ts'
import type { Command as Row } from './command.ts'
import { homeOf } from './home.ts'
import { COMMANDS, GROUPS } from './table.ts'
import type { Terminal } from './terminal.ts'
import { clean, showIn } from './text.ts'

/** What was typed, where, and what came of it. */
interface Line {
  readonly argv: readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly terminal: Terminal
  /** The words of the command that runs, such as `task show`; empty until it is known. */
  used: string
  exitCode: number
}

/** A command that could not write its results has failed. Only a stop keeps its own code. */
async function codeAfter({ terminal }: Line, { isStop }: Row, code: number): Promise<number> {
  // A stream reports its error one turn of the event loop later.
  await new Promise((resolve) => setImmediate(resolve))
  const fault = terminal.outputFault?.()
  if (fault === undefined) return code
  terminal.note(`hub: could not write the output (${fault})`)
  return code === EXIT.done && !isStop ? EXIT.fault : code
}

async function run(
  { env, terminal }: Line,
  row: Row,
  args: readonly string[],
  options: Readonly<Record<string, unknown>>,
): Promise<number> {
  const home = homeOf(options.home as string | undefined, env)
  const json = options.json === true
  showIn(zoneOfHome(home))
  if ('alone' in row.how) return (await row.how.alone())({ home, json, terminal }, args, options)
  for (const [option, load] of Object.entries(row.aloneWith))
    if (typeof options[option] === 'string') return (await load())({ home, json, terminal }, args, options)
  const { createContext } = await import('./context.ts')
  // Checks the home before it loads the command: "no hub here" must be quick.
  const context = createContext(home, json, terminal)
  const code = (await (await row.how.load())(context, args, options)) ?? EXIT.done
  for (const detail of context.unwritten) terminal.note(clean(detail))
  return code === EXIT.done && context.unwritten.size > 0 ? EXIT.unwritten : code
}

/** From package.json of this checkout. */
function readVersion(): string {
  const file = new URL('../../../package.json', import.meta.url)
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

/** Commander passes the positional arguments (a variadic one as a list), then the options and the command. */
const positional = (values: readonly unknown[]): string[] =>
  values
    .slice(0, -2)
    .flat()
    .filter((value) => typeof value === 'string')

/** A value that stands twice: one of them would be ignored, and nobody could say which was meant. A flag without one only says the same again. */
const once = (flags: string) => (value: string, before: unknown) => {
  const [flag = ''] = flags.split(' ')
  if (before !== undefined) throw usage(`${flag} is given twice`, `give ${flag} once`)
  return value
}

function build(line: Line): Command {
  const program = new Command('hub')
    .description('A security-first hub for AI agents.')
    .option('--home <dir>', 'the home of the hub (HUB_HOME, else ~/.hub)', once('--home <dir>'))
    .option('--json', 'print results as JSON')
    .configureHelp({ showGlobalOptions: true })
    .helpCommand('help [command...]', 'show the help of a command')
    .option('--version', 'print the version')
    .showSuggestionAfterError(false)
    // `misused` prints these errors, in the same way for every command.
    .configureOutput({ outputError: () => {}, writeOut: (text) => line.terminal.out(text.replace(/\n$/, '')) })
    .exitOverride()
    .addHelpText(
      'after',
      '\nExit codes: 0 done, 1 fault, 2 usage, 3 refused, 4 unreachable or unavailable, 5 the task failed, 6 timed out,\n8 stopping, not written yet.',
    )
  const groups = new Map(
    Object.entries(GROUPS).map(([name, text]) => [
      name,
      new Command(name).description(text).helpCommand(false).copyInheritedSettings(program),
    ]),
  )
  for (const row of COMMANDS) {
    const [first = '', second] = row.words.split(' ')
    const group = second === undefined ? undefined : groups.get(first)
    if (group !== undefined && group.parent === null) program.addCommand(group)
    const command = (group ?? program).command(second ?? first).description(row.text)
    if (row.args !== '') command.arguments(row.args)
    for (const [flags, text, many] of row.flags) {
      // Of a flag without a value commander keeps `true` from the beginning where its name begins with `no-`.
      if (flags.includes('...') || !flags.includes('<')) command.option(flags, text)
      else if (many === undefined) command.option(flags, text, once(flags))
      else command.option(flags, text, (value: string, before: string[]) => [...before, value], [])
    }
    command.action(async (...values: unknown[]) => {
      line.used = row.words
      line.exitCode = await codeAfter(line, row, await run(line, row, positional(values), command.optsWithGlobals()))
    })
  }
  return program
}

/** The words of the command line that name a command or a group; empty if none do. */
function wordsOf(argv: readonly string[]): string {
  const words = argv.filter((each) => !each.startsWith('-'))
  const [first = '', second = ''] = words
  if (COMMANDS.some((row) => row.words === `${first} ${second}`)) return `${first} ${second}`
  return Object.hasOwn(GROUPS, first) || COMMANDS.some((row) => row.words === first) ? first : ''
}

/** Commander's error in our words: what was likely meant, and which help to read (fault C8). */
function misused({ argv }: Line, error: CommanderError): Problem {
  const text = error.message.replace(/^error: /, '').replace(/\n[\s\S]*$/, '')
  const words = wordsOf(argv)
  const wrong = /'([^']+)'/.exec(text)?.[1] ?? ''
  const within = COMMANDS.filter((row) => words === '' || row.words.startsWith(`${words} `) || row.words === words)
  const known =
    error.code === 'commander.unknownCommand'
      ? within.map((row) => row.words.split(' ')[words === '' ? 0 : 1] ?? '')
      : error.code === 'commander.unknownOption'
        ? [
            '--help',
            '--home',
            '--json',
            ...within.flatMap((row) => row.flags).map(([flag]) => flag.split(' ')[0] ?? ''),
          ]
        : []
  return usage(`${text}${didYouMean(wrong, known)}`, `see \`hub ${words === '' ? '' : `${words} `}--help\``)
}

const everyWord = (): string[] => [...COMMANDS.map((row) => row.words), ...Object.keys(GROUPS)]

/** `hub help task show` is `hub task show --help`. */
function asked(argv: readonly string[]): string[] {
  const [first, ...rest] = argv
  return first === 'help' ? [...rest, '--help'] : [...argv]
}

function say(line: Line, problem: Problem): void {
  const { argv, terminal, used } = line
  if (argv.includes('--json')) terminal.json(documentOf(problem))
  const decision = typeof problem.facts.decisionId === 'string' ? ` (decision ${problem.facts.decisionId})` : ''
  terminal.fault(`hub: ${problem.message}${decision}`)
  const next = nextOf(problem, used)
  if (next !== '') terminal.fault(`next: ${next}`)
  line.exitCode = exitCodeOf(problem)
}

/** Runs `argv`, the words after `hub`, and returns the exit code. */
export async function runLine(argv: readonly string[], env: NodeJS.ProcessEnv, terminal: Terminal): Promise<number> {
  const line: Line = { argv, env, terminal, used: '', exitCode: EXIT.done }
  try {
    const [first, ...rest] = argv
    if (argv.length === 1 && (first === '--version' || first === '-V')) {
      terminal.out(`hub ${readVersion()}`)
      return EXIT.done
    }
    // For an unknown command commander would show the help of another one.
    if (first === 'help' && rest.length > 0 && wordsOf(rest) !== rest.join(' '))
      throw usage(`there is no command ${rest.join(' ')}${didYouMean(rest.join(' '), everyWord())}`, 'see `hub --help`')
    await build(line).parseAsync(asked(argv), { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) say(line, toProblem(error))
    else if (error.exitCode !== 0) {
      // `hub task` alone prints its help, and commander calls that an error.
      if (error.code === 'commander.help') line.exitCode = EXIT.usage
      else say(line, misused(line, error))
    }
  }
  return line.exitCode
}

/**
 * The time zone in which a person reads times: that of hub.yaml, which the deadlines use too (fault C22). Undefined (this machine's zone) if
 * it names none or no valid one. A YAML parser would take longer than the command.
 */
function zoneOfHome(home: string): string | undefined {
  try {
    const zone = wordOf(readFileSync(path.join(home, 'hub.yaml'), 'utf8'), 'alerts', 'zone')
    // Throws if the zone is unknown.
    new Intl.DateTimeFormat('en-GB', zone === undefined ? {} : { timeZone: zone })
    return zone
  } catch {
    return undefined
  }
}
