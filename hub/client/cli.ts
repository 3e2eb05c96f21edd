/**
 * The `hub` command. Exit codes: 0 done, 1 fault, 2 usage, 3 refused, 4 unreachable or unavailable, 5 the task failed, 6 timed out,
 * 8 stopping, not written yet.
 * Results go to stdout, everything else to stderr. This file parses; cli/table.ts lists the commands; the rest loads when it is needed.
 */
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { didYouMean } from '../base/nearest.ts'
import { homeOf } from './cli/home.ts'
import type { Command as Row } from './cli/row.ts'
import { COMMANDS, GROUPS } from './cli/table.ts'
import { createTerminal } from './cli/terminal.ts'
import { clean } from './cli/text.ts'
import { documentOf, EXIT, exitCodeOf, nextOf, type Problem, toProblem, usage } from './problem.ts'

const terminal = createTerminal(process.stdin, process.stdout, process.stderr)

/** Their exit code says whether everything has stopped, and nothing else. */
const STOPPING: ReadonlySet<string> = new Set(['shutdown', 'down', 'session stop', 'safe-mode', 'task cancel'])

/** What could not be written down is not done, where there is nothing else that a code has to say. */
async function codeAfter({ words }: Row, code: number): Promise<number> {
  // A stream tells of its fault a turn later.
  await new Promise((resolve) => setImmediate(resolve))
  const fault = terminal.outputFault?.()
  if (fault === undefined) return code
  terminal.note(`hub: what this command prints could not be written (${fault})`)
  return code === EXIT.done && !STOPPING.has(words) ? EXIT.fault : code
}

/** The words of the command that was used, as far as they were understood. */
let used = ''

async function run(row: Row, args: readonly string[], options: Readonly<Record<string, unknown>>): Promise<number> {
  const home = homeOf(options.home as string | undefined, process.env)
  if ('alone' in row) return (await row.alone())(home, args, options.json === true, options)
  // Whoever holds the card needs no home of their own.
  if (row.words === 'shutdown' && typeof options.card === 'string')
    return (await import('./cli/card-stop.ts')).stopByCard(options.card)
  // An export is judged where it lies, also on a machine without any hub.
  if (row.words === 'audit verify' && typeof options.file === 'string')
    return (await import('./cli/audit-file.ts')).auditVerifyFile(home, options, terminal)
  const { createContext } = await import('./cli/context.ts')
  // The home is judged before the room is loaded: "no hub here" must be quick.
  const context = createContext(home, options.json === true, terminal)
  const code = (await (await row.load())(context, args, options)) ?? EXIT.done
  for (const detail of context.unwritten) terminal.note(clean(detail))
  return code === EXIT.done && context.unwritten.size > 0 ? EXIT.unwritten : code
}

/** Of the checkout this command is of. */
function readVersion(): string {
  const file = new URL('../../package.json', import.meta.url)
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

/** Commander's arguments: positional ones, of which a variadic one is a list, then options and the command. */
const positional = (values: readonly unknown[]): string[] =>
  values
    .slice(0, -2)
    .flat()
    .filter((value) => typeof value === 'string')

function build(): Command {
  const program = new Command('hub')
    .description('A security-first hub for AI agents.')
    .option('--home <dir>', 'the home of the hub (HUB_HOME, else ~/.hub)')
    .option('--json', 'results as JSON')
    .configureHelp({ showGlobalOptions: true })
    .helpCommand('help [command...]', 'what a command takes')
    .option('--version', 'which hub this is')
    .showSuggestionAfterError(false)
    // Every command says how its use went wrong in the same way; see below.
    .configureOutput({ outputError: () => {} })
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
    if (row.args !== undefined) command.arguments(row.args)
    for (const [flags, text, many] of row.flags ?? []) {
      if (many === undefined) command.option(flags, text)
      else command.option(flags, text, (value: string, before: string[]) => [...before, value], [])
    }
    command.action(async (...values: unknown[]) => {
      used = row.words
      process.exitCode = await codeAfter(row, await run(row, positional(values), command.optsWithGlobals()))
    })
  }
  return program
}

/** Which words were meant as the command, before anything that is not one. */
function wordsOf(argv: readonly string[]): string {
  const words = argv.filter((each) => !each.startsWith('-'))
  const [first = '', second = ''] = words
  if (COMMANDS.some((row) => row.words === `${first} ${second}`)) return `${first} ${second}`
  return Object.hasOwn(GROUPS, first) || COMMANDS.some((row) => row.words === first) ? first : ''
}

/** What commander found wrong, in our words: what was likely meant, and the help of that very command (fault C8). */
function misused(error: CommanderError): Problem {
  const text = error.message.replace(/^error: /, '').replace(/\n[\s\S]*$/, '')
  const words = wordsOf(process.argv.slice(2))
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
            ...within.flatMap((row) => row.flags ?? []).map(([flag]) => flag.split(' ')[0] ?? ''),
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

function say(problem: Problem): void {
  if (process.argv.includes('--json')) terminal.json(documentOf(problem))
  const decision = typeof problem.facts.decisionId === 'string' ? ` (decision ${problem.facts.decisionId})` : ''
  terminal.note(`hub: ${problem.message}${decision}`)
  const next = nextOf(problem, used)
  if (next !== '') terminal.note(`next: ${next}`)
  process.exitCode = exitCodeOf(problem)
}

async function main(): Promise<void> {
  const argv = asked(process.argv.slice(2))
  try {
    if (argv.length === 1 && (argv[0] === '--version' || argv[0] === '-V')) {
      terminal.out(`hub ${readVersion()}`)
      return
    }
    const [first, ...rest] = process.argv.slice(2)
    // Help of what is no command would be the help of something else.
    if (first === 'help' && rest.length > 0 && wordsOf(rest) !== rest.join(' '))
      throw usage(`there is no command ${rest.join(' ')}${didYouMean(rest.join(' '), everyWord())}`, 'see `hub --help`')
    await build().parseAsync(argv, { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) return say(toProblem(error))
    if (error.exitCode === 0) return
    process.exitCode = EXIT.usage
    // Help on its own, as of `hub task`, is help asked for in the wrong place.
    if (error.code !== 'commander.help') say(misused(error))
  }
}

await main()
