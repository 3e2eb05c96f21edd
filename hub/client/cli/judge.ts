/**
 * `hub config check`, `hub policy check`, and the same judgement before a command touches anything: a file with a fault in it never ends a
 * hub that runs (fault C3), and never replaces rules that are in force (fault C12). Judged by a process of its own (hub/judge.ts).
 */
import { spawn } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { watchdogFileOf } from '../../base/watchdog-words.ts'
import { EXIT, Problem, usage } from '../problem.ts'
import type { Context } from './context.ts'
import { writeWhole } from './home-files.ts'
import type { Alone } from './row.ts'
import { clean } from './text.ts'

export interface Fault {
  line: number
  column: number
  key: string
  message: string
}
export interface Verdict {
  faults: Fault[]
  warnings: string[]
}
/** `watchdog`: its file in the form of today; `watchdog-old`: its `config.json`. */
export type Judged = 'config' | 'policy' | 'watchdog' | 'watchdog-old'

export const program = (script: string): string => fileURLToPath(new URL(`../../../${script}`, import.meta.url))
/** Each of the two judges its own file by its own code: they share none. */
const judgeArgv = (what: Judged, home: string): string[] =>
  what === 'config' || what === 'policy'
    ? [program('hub/judge.ts'), what, '--home', home]
    : [program('watchdog/config-check.ts'), what === 'watchdog' ? 'new' : 'old']
const JUDGE_MS = 60_000

export const configFileOf = (home: string): string => path.join(home, 'hub.yaml')
const policyFileOf = (home: string): string => path.join(home, 'policy', 'data.json')

/** Runs a program of this checkout that reads one text and answers one line of JSON. @throws Problem where it does not */
export function askProgram<Answer>(argv: readonly string[], text: Uint8Array | string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, argv, { timeout: JUDGE_MS })
    const said = { out: '', err: '' }
    child.stdout.on('data', (piece: Buffer) => {
      said.out += piece
    })
    child.stderr.on('data', (piece: Buffer) => {
      said.err += piece
    })
    child.on('error', reject)
    child.on('close', () => {
      try {
        resolve(JSON.parse(said.out) as Answer)
      } catch {
        const why = clean(said.err.trim().split('\n').at(-1) ?? '')
        reject(new Problem('internal', 'fault', `the file could not be judged: ${why}`, 'see `hub doctor`'))
      }
    })
    child.stdin.on('error', () => {})
    child.stdin.end(text)
  })
}

/** The verdict on a text, read once by whoever asks. @throws Problem where it cannot be judged at all */
export const judge = (what: Judged, home: string, text: Uint8Array | string): Promise<Verdict> =>
  askProgram(judgeArgv(what, home), text)

const faultLine = (file: string, { line, column, key, message }: Fault): string =>
  clean(`${file} line ${line}, column ${column}: ${key === '' ? '' : `${key}: `}${message}`)

/** Every fault in one line. */
export const faultsText = (file: string, faults: readonly Fault[]): string => {
  const [first = '', ...others] = faults.map((fault) => faultLine(file, fault))
  return others.length === 0 ? first : `${first} (and ${others.length} more)`
}

/** Empty where there is no file: every key has a default. */
export function configText(home: string): Buffer {
  try {
    return readFileSync(configFileOf(home))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0)
    throw error
  }
}

/**
 * The text of hub.yaml, judged; whoever starts a hub hands on this text and no other (`handOn`). `kept`: what goes on as it is.
 * @throws Problem config_invalid with line, column and key
 */
export async function requireConfig({ home, terminal }: Context, kept: string): Promise<Buffer> {
  const text = configText(home)
  const { faults, warnings } = await judge('config', home, text)
  for (const warning of warnings) terminal.note(`note: ${clean(warning)}`)
  if (faults.length === 0) return text
  const said = `${faultsText(configFileOf(home), faults)}; ${kept}`
  throw new Problem('config_invalid', 'refused', said, 'correct it; `hub config check` shows all of it', { faults })
}

/** Which form a file of the watchdog's has, by its name. */
const formOf = (file: string): Judged => (file.endsWith('.json') ? 'watchdog-old' : 'watchdog')

/** The watchdog's file as it stands, judged; undefined where there is none. */
export async function judgeWatchdogFile(home: string) {
  const found = watchdogFileOf(home)
  if (found === undefined) return undefined
  return { ...found, verdict: await judge(formOf(found.path), home, Buffer.from(found.text)) }
}

/**
 * The text of the watchdog's file, judged; undefined where it goes by its defaults, or still has `config.json`. `kept`: what goes on as it is.
 * @throws Problem config_invalid with line, column and key
 */
export async function requireWatchdogConfig({ home, terminal }: Context, kept: string): Promise<Buffer | undefined> {
  const found = await judgeWatchdogFile(home)
  if (found === undefined) return undefined
  const { faults, warnings } = found.verdict
  for (const warning of warnings) terminal.note(`note: ${clean(warning)}`)
  if (faults.length > 0) {
    const said = `${faultsText(found.path, faults)}; ${kept}`
    throw new Problem('config_invalid', 'refused', said, 'correct it; `hub config check` shows all of it', { faults })
  }
  return found.form === 'config.yaml' ? Buffer.from(found.text) : undefined
}

/** Leaves the judged text for the process that `start` starts (`own`: the folder of it), and takes it back when it was not needed. */
export async function handOn<Result>(
  home: string,
  text: Buffer,
  start: () => Promise<Result>,
  own: 'run' | 'watchdog/run' = 'run',
): Promise<Result> {
  const file = path.join(home, own, 'judged.yaml')
  writeWhole(file, text)
  try {
    return await start()
  } finally {
    rmSync(file, { force: true })
  }
}

/** @throws Problem policy_unavailable with line, column and key; nothing was written then */
export async function requirePolicy(home: string, text: string): Promise<void> {
  const { faults } = await judge('policy', home, Buffer.from(text))
  if (faults.length === 0) return
  const said = `${faultsText('policy/data.json', faults)}; nothing was written`
  throw new Problem('policy_unavailable', 'refused', said, 'correct it', { faults })
}

/**
 * The rules of a hub that answers are in force. A new one would come up without any where the file has a fault, so it is judged first.
 * `kept`: what goes on as it is. @throws Problem policy_unavailable with line, column and key
 */
export async function requireStandingPolicy(home: string, kept: string): Promise<void> {
  const file = policyFileOf(home)
  let text: Buffer
  try {
    text = readFileSync(file)
  } catch (error) {
    const said = `${file} cannot be read (${(error as NodeJS.ErrnoException).code}); ${kept}`
    throw new Problem('policy_unavailable', 'refused', said, `\`git -C ${path.dirname(file)} checkout data.json\``)
  }
  const { faults } = await judge('policy', home, text)
  if (faults.length === 0) return
  const said = `${faultsText(file, faults)}; ${kept}`
  throw new Problem('policy_unavailable', 'refused', said, 'correct it; `hub policy check` shows all of it', { faults })
}

interface Checked extends Verdict {
  file: string
  ok: boolean
}

async function checkFile(what: Judged, home: string, file: string): Promise<Checked> {
  let text: Buffer
  try {
    text = readFileSync(file)
  } catch (error) {
    const word = what === 'policy' ? 'policy' : 'config'
    throw usage(
      `${file} cannot be read (${(error as NodeJS.ErrnoException).code})`,
      `name the file: hub ${word} check FILE`,
    )
  }
  const verdict = await judge(what, home, text)
  return { file, ok: verdict.faults.length === 0, ...verdict }
}

const TAKEN_OVER: Readonly<Record<Judged, string>> = {
  config: 'hub restart',
  policy: 'hub policy reload',
  watchdog: 'hub restart --watchdog',
  'watchdog-old': 'hub restart --watchdog',
}
const checkedLines = (what: Judged, { file, ok, faults, warnings }: Checked): string[] => [
  ...faults.map((fault) => faultLine(file, fault)),
  ...warnings.map((warning) => clean(`note: ${warning}`)),
  ...(ok ? [`${file} is in order; \`${TAKEN_OVER[what]}\` takes it over`] : []),
]

/** Without a file named: both, hub.yaml and the watchdog's. One that is named is the watchdog's with `--watchdog`. */
export const configCheck: Alone = async (home, [named], json, options) => {
  const isTheirs = options.watchdog === true
  const own = watchdogFileOf(home)
  const theirs = named === undefined ? own?.path : isTheirs ? path.resolve(named) : undefined
  const ours = named === undefined ? configFileOf(home) : path.resolve(named)
  const hub = isTheirs ? undefined : await checkFile('config', home, ours)
  const watchdog = theirs === undefined ? undefined : await checkFile(formOf(theirs), home, theirs)
  if (json) {
    const both = watchdog === undefined ? {} : { watchdog }
    process.stdout.write(`${JSON.stringify({ ...(hub ?? {}), ...both })}\n`)
  } else {
    const lines = [
      ...(hub === undefined ? [] : checkedLines('config', hub)),
      ...(watchdog === undefined ? [] : checkedLines(formOf(watchdog.file), watchdog)),
    ]
    const none = 'the watchdog has no file of its own and goes by its defaults'
    process.stdout.write(`${(lines.length === 0 ? [none] : lines).join('\n')}\n`)
  }
  return hub?.ok === false || watchdog?.ok === false ? EXIT.refused : EXIT.done
}

export const policyCheck: Alone = async (home, [named], json) => {
  const checked = await checkFile('policy', home, named === undefined ? policyFileOf(home) : path.resolve(named))
  process.stdout.write(json ? `${JSON.stringify(checked)}\n` : `${checkedLines('policy', checked).join('\n')}\n`)
  return checked.ok ? EXIT.done : EXIT.refused
}
