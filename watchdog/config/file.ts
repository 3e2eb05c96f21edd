/**
 * The file of the configuration: `HOME/watchdog/config.yaml`, or else `config.json`, its earlier form. Each fault is reported
 * with line, column and key. The parser is loaded only if there is a file, and only gives values and places.
 */
import { readFileSync, rmSync, statSync } from 'node:fs'
import path from 'node:path'
import type { ParsedNode } from 'yaml'
import { StartError } from '../base/home.ts'
import { type Config, judgeConfig, judgeOldConfig } from './config.ts'

type Yaml = typeof import('yaml')

export interface Fault {
  /** One-based. */
  readonly line: number
  readonly column: number
  /** `alerts.channels[0].url`; '' for the whole file. */
  readonly key: string
  readonly message: string
}
export interface JudgedFile {
  readonly config: Config | undefined
  readonly faults: readonly Fault[]
}

const NEW_FORM = 'config.yaml'
const OLD_FORM = 'config.json'
/** The note about the earlier form, wherever it is read. */
export const OLD_NOTE =
  'watchdog/config.json is the older format; it is still read, and `hub setup` rewrites it as watchdog/config.yaml'
const BOTH_NOTE = 'watchdog/config.json is not read, because there is a watchdog/config.yaml; remove it'

/** Judges a text in either form. */
export async function judgeText(text: string, form: 'new' | 'old' = 'new'): Promise<JudgedFile> {
  const yaml: Yaml = await import('yaml')
  const { LineCounter, parseDocument } = yaml
  const lines = new LineCounter()
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, strict: true })
  const asJson = form === 'old' ? jsonOf(text) : undefined
  const [error] = document.errors
  if (error !== undefined && asJson === undefined) {
    const message = error.message.split('\n')[0]?.replace(/ at line .*$/, '') ?? ''
    return { config: undefined, faults: [{ ...at(error.pos[0]), key: '', message }] }
  }
  let value: unknown
  try {
    value = asJson ?? document.toJS({ maxAliasCount: 0 }) ?? {}
  } catch {
    const message = 'an alias (*name) is not accepted; write the value itself'
    return { config: undefined, faults: [{ line: 1, column: 1, key: '', message }] }
  }
  const { config, faults } = form === 'new' ? judgeConfig(value) : judgeOldConfig(value)
  const placed = faults.map(({ key, reason }) => ({
    ...at(offsetOf(yaml, document.contents, key)),
    key,
    message: reason,
  }))
  return { config, faults: placed.sort((a, b) => a.line - b.line || a.column - b.column) }
}

/** JSON may be indented with tabs, which YAML does not allow. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The place of the key, or of what is nearest around it. The guards come with the parser, which is loaded by then. */
function offsetOf({ isMap, isScalar, isSeq }: Yaml, root: ParsedNode | null, key: string): number {
  let node = root
  let offset = root?.range[0] ?? 0
  for (const step of key.split(/[.[\]]+/).filter((word) => word !== '')) {
    if (isSeq<ParsedNode>(node)) {
      node = node.items[Number(step)] ?? null
      offset = node?.range[0] ?? offset
    } else if (isMap<ParsedNode, ParsedNode | null>(node)) {
      const pair = node.items.find((each) => isScalar(each.key) && String(each.key.value) === step)
      if (pair === undefined) break
      offset = pair.key.range[0]
      node = pair.value
    } else break
  }
  return offset
}

/** `line 3, column 5: http.port: must be ...`. */
const faultText = ({ line, column, key, message }: Fault): string =>
  `line ${line}, column ${column}: ${key === '' ? '' : `${key}: `}${message}`

const readOrNothing = (file: string): string | undefined => {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new StartError(
      `watchdog/${path.basename(file)} cannot be read (${(error as Error).message}); fix its mode or owner`,
    )
  }
}

/** How long a text that `hub restart --watchdog` has judged may wait for the new process; after that the file counts again. */
const JUDGED_MS = 300_000

/** The text that was judged for this start, taken once; a file that was changed meanwhile counts from the next start on. */
function takeJudged(folder: string, nowMs: number): string | undefined {
  const handed = path.join(folder, 'run', 'judged.yaml')
  const left = statSync(handed, { throwIfNoEntry: false })
  if (left === undefined) return undefined
  const text = readOrNothing(handed)
  rmSync(handed, { force: true })
  return Math.abs(nowMs - left.mtimeMs) > JUDGED_MS ? undefined : text
}

/**
 * The configuration in a folder; without a file the defaults. `startsAtMs`: for a start, which takes a text that was judged for it.
 * `note`: what people should know about the file that was read. @throws StartError with file, line, column and key
 */
export async function loadConfig(
  folder: string,
  startsAtMs?: number,
): Promise<{ config: Config; note: string | undefined }> {
  const judged = startsAtMs === undefined ? undefined : takeJudged(folder, startsAtMs)
  const text = judged ?? readOrNothing(path.join(folder, NEW_FORM))
  const old = readOrNothing(path.join(folder, OLD_FORM))
  const name = text === undefined ? OLD_FORM : NEW_FORM
  const { config, faults } = await judgeText(text ?? old ?? '', text === undefined && old !== undefined ? 'old' : 'new')
  const [first] = faults
  if (config === undefined) {
    const more = faults.length > 1 ? ` (and ${faults.length - 1} more)` : ''
    const said = first === undefined ? '' : faultText(first)
    throw new StartError(`watchdog/${name} ${said}${more}; correct it (hub config check shows all of it)`)
  }
  if (old === undefined) return { config, note: undefined }
  return { config, note: text === undefined ? OLD_NOTE : BOTH_NOTE }
}
