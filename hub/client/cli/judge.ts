/**
 * `hub config check`, `hub policy check`, and the same judgement before a command touches anything: a file with a fault in it never ends a
 * hub that runs (fault C3), and never replaces rules that are in force (fault C12). Judged by a process of its own (hub/judge.ts).
 */
import { spawn } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { EXIT, Problem, usage } from '../problem.ts'
import type { Context } from './context.ts'
import { writeWhole } from './home-files.ts'
import type { Alone } from './row.ts'
import { clean } from './text.ts'

interface Fault {
  line: number
  column: number
  key: string
  message: string
}
export interface Verdict {
  faults: Fault[]
  warnings: string[]
}
export type Judged = 'config' | 'policy'

const JUDGE = fileURLToPath(new URL('../../judge.ts', import.meta.url))
const JUDGE_MS = 60_000

export const configFileOf = (home: string): string => path.join(home, 'hub.yaml')
const policyFileOf = (home: string): string => path.join(home, 'policy', 'data.json')

/** The verdict on a text, read once by whoever asks. @throws Problem where it cannot be judged at all */
export function judge(what: Judged, home: string, text: Uint8Array): Promise<Verdict> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [JUDGE, what, '--home', home], { timeout: JUDGE_MS })
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
        resolve(JSON.parse(said.out) as Verdict)
      } catch {
        const why = clean(said.err.trim().split('\n').at(-1) ?? '')
        reject(new Problem('internal', 'fault', `the file could not be judged: ${why}`, 'see `hub doctor`'))
      }
    })
    child.stdin.on('error', () => {})
    child.stdin.end(text)
  })
}

const faultLine = (file: string, { line, column, key, message }: Fault): string =>
  clean(`${file} line ${line}, column ${column}: ${key === '' ? '' : `${key}: `}${message}`)

/** Every fault in one line. */
const faultsText = (file: string, faults: readonly Fault[]): string => {
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

/** Leaves the judged text for the hub that `start` starts, and takes it back when it was not needed. */
export async function handOn<Result>(home: string, text: Buffer, start: () => Promise<Result>): Promise<Result> {
  const file = path.join(home, 'run', 'judged.yaml')
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

const check =
  (what: Judged, fileOf: (home: string) => string): Alone =>
  async (home, [named], json) => {
    const file = named === undefined ? fileOf(home) : path.resolve(named)
    let text: Buffer
    try {
      text = readFileSync(file)
    } catch (error) {
      throw usage(
        `${file} cannot be read (${(error as NodeJS.ErrnoException).code})`,
        `name the file: hub ${what} check FILE`,
      )
    }
    const verdict = await judge(what, home, text)
    const isFine = verdict.faults.length === 0
    const lines = [
      ...verdict.faults.map((fault) => faultLine(file, fault)),
      ...verdict.warnings.map((warning) => clean(`note: ${warning}`)),
      ...(isFine
        ? [`${file} is in order; \`${what === 'config' ? 'hub restart' : 'hub policy reload'}\` takes it over`]
        : []),
    ]
    process.stdout.write(json ? `${JSON.stringify({ file, ok: isFine, ...verdict })}\n` : `${lines.join('\n')}\n`)
    return isFine ? EXIT.done : EXIT.refused
  }

export const configCheck: Alone = check('config', configFileOf)
export const policyCheck: Alone = check('policy', policyFileOf)
