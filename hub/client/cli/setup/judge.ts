/**
 * `hub config check`, `hub policy check`, and the same check before a command changes anything: a file with a fault never ends a running hub
 * (fault C3) and never replaces rules that are in force (fault C12). A separate process does the check (hub/judge.ts).
 */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { watchdogFileOf } from '../../../base/watchdog-words.ts'
import { HOME_PRICES } from '../../../protocol/prices.ts'
import { EXIT, Problem, usage } from '../../problem.ts'
import type { Alone } from '../command.ts'
import type { Context } from '../context.ts'
import { writeWhole } from '../home-files.ts'
import { clean } from '../text.ts'

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
/** `prices`: prices.yaml of the home. `watchdog`: its file in the present form; `watchdog-old`: its `config.json`. */
export type Judged = 'config' | 'policy' | 'prices' | 'watchdog' | 'watchdog-old'

export const program = (script: string): string => fileURLToPath(new URL(`../../../../${script}`, import.meta.url))
/** Hub and watchdog each check their own file with their own code: they share none. */
const judgeArgv = (what: Judged, home: string): string[] =>
  what === 'config' || what === 'policy' || what === 'prices'
    ? [program('hub/judge.ts'), what, '--home', home]
    : [program('watchdog/config-check.ts'), what === 'watchdog' ? 'new' : 'old']
const JUDGE_MS = 60_000

export const configFileOf = (home: string): string => path.join(home, 'hub.yaml')
const policyFileOf = (home: string): string => path.join(home, 'policy', 'data.json')

/** Runs a program of this checkout that reads one text and answers one line of JSON. @throws Problem if it does not */
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
        reject(new Problem('internal', 'fault', `the file could not be checked: ${why}`, 'see `hub doctor`'))
      }
    })
    child.stdin.on('error', () => {})
    child.stdin.end(text)
  })
}

/** The verdict on a text that the caller has read. @throws Problem if it cannot be checked at all */
export const judge = (what: Judged, home: string, text: Uint8Array | string): Promise<Verdict> =>
  askProgram(judgeArgv(what, home), text)

export const faultLine = (file: string, { line, column, key, message }: Fault): string =>
  clean(`${file} line ${line}, column ${column}: ${key === '' ? '' : `${key}: `}${message}`)

/** Every fault in one line. */
export const faultsText = (file: string, faults: readonly Fault[]): string => {
  const [first = '', ...others] = faults.map((fault) => faultLine(file, fault))
  return others.length === 0 ? first : `${first} (and ${others.length} more)`
}

/** Empty if there is no file: every key has a default. */
export function configText(home: string): Buffer {
  try {
    return readFileSync(configFileOf(home))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0)
    throw error
  }
}

/**
 * The text of hub.yaml, checked. A hub is started with exactly this text (`handOn`). `kept`: what stays as it is, for the message.
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

/** The form of the watchdog's file, by its name. */
const formOf = (file: string): Judged => (file.endsWith('.json') ? 'watchdog-old' : 'watchdog')

/** The watchdog's present file, checked; undefined if there is none. */
export async function judgeWatchdogFile(home: string) {
  const found = watchdogFileOf(home)
  if (found === undefined) return undefined
  return { ...found, verdict: await judge(formOf(found.path), home, Buffer.from(found.text)) }
}

/**
 * The text of the watchdog's file, checked; undefined if it uses its defaults or still has `config.json`. `kept`: as above.
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

/** Leaves the checked text for the process that `start` starts (`own`: its folder), and removes it afterwards. */
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

/** The verdict on the whole folder `policy/`: data, and the rules in it, compiled and tried. */
export const judgeFolder = (home: string): Promise<Verdict & { rules: string[]; isData: boolean }> =>
  askProgram([program('hub/policy-tool.ts'), 'check', '--home', home], '')

/** Has the folder `policy/` compiled, named and signed as it is. @throws Problem policy_unavailable, with what is wrong or missing */
export async function sealPolicy(home: string, key?: string): Promise<{ written: string[]; removed: string[] }> {
  const words = key === undefined ? [] : ['--key', path.resolve(key)]
  const { fault, ...sealed } = await askProgram<{ written: string[]; removed: string[]; fault?: string }>(
    [program('hub/policy-tool.ts'), 'seal', '--home', home, ...words],
    '',
  )
  if (fault !== undefined) throw new Problem('policy_unavailable', 'refused', clean(fault), '')
  return sealed
}

/** @throws Problem policy_unavailable with line, column and key */
export async function requirePolicy(home: string, text: string): Promise<void> {
  const { faults } = await judge('policy', home, Buffer.from(text))
  if (faults.length === 0) return
  const said = `${faultsText('policy/data.json', faults)}; nothing was written`
  throw new Problem('policy_unavailable', 'refused', said, 'correct it', { faults })
}

/**
 * A running hub has its rules in force. If the file has a fault, a new hub would start without any, so the file is checked first.
 * `kept`: as above. @throws Problem policy_unavailable with line, column and key
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

async function checkFolder(home: string): Promise<Checked & { rules: string[] }> {
  const file = policyFileOf(home)
  if (!existsSync(file)) throw usage(`${file} is not there`, 'name the file: hub policy check FILE')
  const { isData: _, ...verdict } = await judgeFolder(home)
  return { file, ok: verdict.faults.length === 0, ...verdict }
}

const TAKEN_OVER: Readonly<Record<Judged, string>> = {
  config: 'a running hub takes it over by itself; `hub config diff` shows what waits for `hub restart`',
  policy: 'apply it with `hub policy reload`',
  prices: 'a running hub takes it over by itself',
  watchdog: 'apply it with `hub restart --watchdog`',
  'watchdog-old': 'apply it with `hub restart --watchdog`',
}
const checkedLines = (what: Judged, { file, ok, faults, warnings }: Checked): string[] => [
  ...faults.map((fault) => faultLine(file, fault)),
  ...warnings.map((warning) => clean(`note: ${warning}`)),
  ...(ok ? [`${file} is valid; ${TAKEN_OVER[what]}`] : []),
]

/**
 * Without a file: checks hub.yaml, prices.yaml if there is one, and the watchdog's file. With `--watchdog` the named file is the watchdog's; one
 * that is named prices.yaml is judged as that.
 */
export const configCheck: Alone = async ({ home, json, terminal }, [named], options) => {
  const isTheirs = options.watchdog === true
  const file = named === undefined ? undefined : path.resolve(named)
  const prices = file ?? path.join(home, HOME_PRICES)
  const isPrices = !isTheirs && path.basename(prices) === HOME_PRICES
  const theirs = file === undefined ? watchdogFileOf(home)?.path : isTheirs ? file : undefined
  const hub =
    isTheirs || (file !== undefined && isPrices)
      ? undefined
      : await checkFile('config', home, file ?? configFileOf(home))
  const priced =
    isPrices && (file !== undefined || existsSync(prices)) ? await checkFile('prices', home, prices) : undefined
  const watchdog = theirs === undefined ? undefined : await checkFile(formOf(theirs), home, theirs)
  if (json)
    terminal.out(JSON.stringify({ ...(hub ?? {}), ...(priced && { prices: priced }), ...(watchdog && { watchdog }) }))
  else {
    const lines = [
      ...(hub === undefined ? [] : checkedLines('config', hub)),
      ...(priced === undefined ? [] : checkedLines('prices', priced)),
      ...(watchdog === undefined ? [] : checkedLines(formOf(watchdog.file), watchdog)),
    ]
    const none = 'the watchdog has no configuration file and uses its defaults'
    terminal.out((lines.length === 0 ? [none] : lines).join('\n'))
  }
  return [hub, priced, watchdog].some((each) => each?.ok === false) ? EXIT.refused : EXIT.done
}

/** Without a file: the whole folder `policy/`, as a reload would take it. */
export const policyCheck: Alone = async ({ home, json, terminal }, [named]) => {
  const checked = named === undefined ? await checkFolder(home) : await checkFile('policy', home, path.resolve(named))
  if (json) terminal.out(JSON.stringify(checked))
  else terminal.out(checkedLines('policy', checked).join('\n'))
  return checked.ok ? EXIT.done : EXIT.refused
}
