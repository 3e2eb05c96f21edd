/**
 * A file that a person writes (hub.yaml, a card, policy/data.json), judged whole: each fault with line, column and the person's own key,
 * in plain words, and the key or value that was probably meant. No value from the file is ever repeated, since it may be a
 * secret in the wrong place (S0-24); numbers are, with the figure they miss.
 */
import { isMap, isScalar, isSeq, LineCounter, type ParsedNode, parseDocument } from 'yaml'
import { z } from 'zod'
import { didYouMean } from '../base/nearest.ts'

export interface Fault {
  /** One-based. */
  line: number
  column: number
  /** `limits.agents.echo.ttl`; '' for the whole file. */
  key: string
  message: string
}

/** Faults that are shown of one file. */
const FAULTS_MAX = 20

const BETWEEN = '\u0000'
const NO_KEY = 'there is no such key'

/** `line 3, column 5: limits.ttl: ...`. */
export const faultText = ({ line, column, key, message }: Fault): string =>
  `line ${line}, column ${column}: ${key === '' ? '' : `${key}: `}${message}`

/** The first of them, and that there are more. */
export function firstOf(faults: readonly Fault[]): string {
  const [first] = faults
  const more = faults.length < 2 ? '' : ` (and ${faults.length - 1} more)`
  return first === undefined ? '' : `${faultText(first)}${more}`
}

export type Places = (path: readonly PropertyKey[], of: 'key' | 'value') => Pick<Fault, 'line' | 'column'>

type ParsedDocument = ReturnType<typeof parseDocument>
type At = (offset: number) => Pick<Fault, 'line' | 'column'>
const byPlace = (a: Fault, b: Fault): number => a.line - b.line || a.column - b.column

export interface Judged<Value> {
  /** Undefined if there are faults. */
  value: Value | undefined
  /** What the file holds, before the shape; undefined if it is no YAML. */
  given: unknown
  faults: Fault[]
  /** The place of a key or its value, or of what is nearest around it. */
  placeOf: Places
}

/** Strict YAML (unique keys, no aliases), then the shape. An empty file is `empty`. */
export function judgeYaml<Shape extends z.ZodType>(
  text: string,
  shape: Shape,
  empty?: unknown,
): Judged<z.output<Shape>> {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, strict: true })
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
  const placeOf = placesIn(document.contents as ParsedNode | null, at)
  const broken = document.errors.find(({ code }) => code !== 'DUPLICATE_KEY')
  if (broken !== undefined) {
    const fault = { ...at(broken.pos[0]), key: '', message: yamlWords(broken.code, broken.message) }
    return { value: undefined, given: undefined, faults: [fault], placeOf }
  }
  if (document.errors.length > 0) {
    const faults = twiceIn(document, shape, at, placeOf)
    return { value: undefined, given: undefined, faults, placeOf }
  }
  let given: unknown
  try {
    given = document.toJS({ maxAliasCount: 0 }) ?? empty ?? {}
  } catch {
    const fault = { line: 1, column: 1, key: '', message: 'an alias (*name) is not accepted; write the value itself' }
    return { value: undefined, given: undefined, faults: [fault], placeOf }
  }
  return { ...judgeValue(given, shape, placeOf), given, placeOf }
}

/** Each key that is there twice, by its full name, and what is wrong elsewhere. Which of the two was meant is not known, so neither is judged. */
function twiceIn(document: ParsedDocument, shape: z.ZodType, at: At, placeOf: Places): Fault[] {
  const names = new Map<number, string>()
  const walk = (node: unknown, path: readonly PropertyKey[]): void => {
    if (isSeq(node)) for (const [n, item] of node.items.entries()) walk(item, [...path, n])
    if (!isMap(node)) return
    for (const { key, value } of node.items) {
      const own = [...path, isScalar(key) ? String(key.value) : '']
      if (isScalar(key) && key.range) names.set(key.range[0], keyOf(own))
      walk(value, own)
    }
  }
  walk(document.contents, [])
  const twice = document.errors.map(({ code, message, pos: [offset] }): Fault => {
    return { ...at(offset), key: names.get(offset) ?? '', message: yamlWords(code, message) }
  })
  const isTwice = (key: string) =>
    twice.some(({ key: own }) => key === own || key.startsWith(`${own}.`) || key.startsWith(`${own}[`))
  let others: Fault[] = []
  try {
    others = judgeValue(document.toJS({ maxAliasCount: 0 }), shape, placeOf).faults
  } catch {
    // It holds an alias, which is said once each key is there once.
  }
  return [...twice, ...others.filter(({ key }) => !isTwice(key))].sort(byPlace).slice(0, FAULTS_MAX)
}

/** The places of keys and values in a JSON text, which is YAML too. */
export function placesOf(text: string): Places {
  const lines = new LineCounter()
  const { contents } = parseDocument(text, { lineCounter: lines })
  return placesIn(contents as ParsedNode | null, (offset) => {
    const { line, col } = lines.linePos(offset)
    return { line, column: col }
  })
}

function placesIn(contents: ParsedNode | null, at: At): Places {
  return (path, of) => {
    let node = contents
    let offset = node?.range?.[0] ?? 0
    for (const step of path) {
      const inside: { key?: ParsedNode | null; value?: ParsedNode | null } | undefined = childOf(node, step)
      if (inside === undefined) break
      const own = of === 'value' ? (inside.value ?? inside.key) : (inside.key ?? inside.value)
      offset = own?.range?.[0] ?? offset
      node = inside.value ?? null
    }
    return at(offset)
  }
}

/** A value that was parsed already, against its shape. */
export function judgeValue<Shape extends z.ZodType>(
  given: unknown,
  shape: Shape,
  placeOf: Places,
): Pick<Judged<z.output<Shape>>, 'value' | 'faults'> {
  const parsed = shape.safeParse(given, { error: (issue) => wordsOf(issue as unknown as RawIssue) })
  if (parsed.success) return { value: parsed.data, faults: [] }
  let known: string[] | undefined
  const faults = parsed.error.issues.flatMap((issue): Fault[] => {
    if (issue.code !== 'unrecognized_keys')
      return [{ ...placeOf(issue.path, 'value'), key: keyOf(issue.path), message: issue.message }]
    const words = issue.message.split(BETWEEN)
    return issue.keys.slice(0, FAULTS_MAX).map((key, index) => {
      const path = [...issue.path, key]
      const said = words[index] ?? NO_KEY
      known ??= keysOf(shape)
      const elsewhere = said === NO_KEY ? known.find((each) => each.endsWith(`.${key}`)) : undefined
      const message = elsewhere === undefined ? said : `${said} here; did you mean ${elsewhere}?`
      return { ...placeOf(path, 'key'), key: keyOf(path), message }
    })
  })
  // What is probably meant first: an unknown key explains the one that is missing.
  faults.sort(byPlace)
  return { value: undefined, faults: faults.slice(0, FAULTS_MAX) }
}

/** `alerts.channels[0].kind`. */
export function keyOf(path: readonly PropertyKey[]): string {
  return path
    .map((step, at) => (typeof step === 'number' ? `[${step}]` : `${at === 0 ? '' : '.'}${String(step)}`))
    .join('')
}

/** Every key that the shape knows below its top, in full: `limits.sessions`. */
function keysOf(shape: z.ZodType): string[] {
  const walk = (node: { properties?: Record<string, object> }, before: string): string[] =>
    Object.entries(node.properties ?? {}).flatMap(([key, inner]) => [
      `${before}${key}`,
      ...walk(inner, `${before}${key}.`),
    ])
  return walk(z.toJSONSchema(shape, { io: 'input', unrepresentable: 'any' }) as object, '')
}

function childOf(node: ParsedNode | null, step: PropertyKey) {
  if (isSeq(node)) {
    const item = node.items[Number(step)]
    return item === undefined ? undefined : { value: item as ParsedNode }
  }
  if (!isMap(node)) return undefined
  return node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step))
}

/** The part of a raw issue that words are made from (zod 4). */
interface RawIssue {
  code: string
  input?: unknown
  expected?: string
  origin?: string
  maximum?: number
  minimum?: number
  inclusive?: boolean
  values?: readonly unknown[]
  options?: readonly unknown[]
  discriminator?: string
  keys?: readonly string[]
  issues?: readonly { message: string }[]
  inst?: { _zod?: { def?: { shape?: object } } }
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map of keys',
  record: 'a map of names',
  tuple: 'a list',
}
const kindOf = (value: unknown): string =>
  value === null
    ? 'nothing'
    : Array.isArray(value)
      ? 'a list'
      : typeof value === 'object'
        ? 'a map'
        : (KINDS[typeof value] ?? 'something else')

const oneOf = (known: readonly unknown[], input: unknown): string =>
  `must be ${known.length === 1 ? '' : 'one of '}${known.map(String).join(', ')}${
    typeof input === 'string' ? didYouMean(input, known.map(String)) : ''
  }`

function sizeWords({ origin, inclusive = true, input }: RawIssue, limit: number, word: 'at most' | 'at least'): string {
  if (origin === 'string') return `must have ${word} ${limit} characters`
  if (origin === 'array') return `must have ${word} ${limit} ${limit === 1 ? 'entry' : 'entries'}`
  const bound = inclusive ? `${word} ${limit}` : word === 'at most' ? `below ${limit}` : `above ${limit}`
  return `must be ${bound}${typeof input === 'number' ? `, and is ${input}` : ''}`
}

/** An issue in plain words; undefined keeps the shape's own words. */
function wordsOf(issue: RawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined
        ? 'is missing'
        : `must be ${KINDS[issue.expected ?? ''] ?? issue.expected}, and is ${kindOf(issue.input)}`
    case 'too_big':
      return sizeWords(issue, issue.maximum ?? 0, 'at most')
    case 'too_small':
      return sizeWords(issue, issue.minimum ?? 0, 'at least')
    case 'invalid_value':
      return issue.input === undefined ? 'is missing' : oneOf(issue.values ?? [], issue.input)
    case 'invalid_union': {
      if (issue.options === undefined) return 'has no form that is accepted here'
      const given = (issue.input as Record<string, unknown> | undefined)?.[issue.discriminator ?? '']
      return oneOf(issue.options, given)
    }
    case 'unrecognized_keys': {
      const known = Object.keys(issue.inst?._zod?.def?.shape ?? {})
      // No more are shown, and each is compared with every key that there is.
      return (issue.keys ?? [])
        .slice(0, FAULTS_MAX)
        .map((key) => `${NO_KEY}${didYouMean(key, known)}`)
        .join(BETWEEN)
    }
    case 'invalid_key':
      return issue.issues?.[0]?.message ?? 'is not a name that is accepted here'
    case 'invalid_format':
      return 'has a form that is not accepted here'
    default:
      return undefined
  }
}

const YAML_WORDS: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: 'this key is there twice',
  TAB_AS_INDENT: 'a tab cannot indent; use spaces',
  BAD_INDENT: 'this line is not indented like the lines it belongs to, or a bracket is not closed',
  BAD_ALIAS: 'an alias (*name) is not accepted; write the value itself',
  MULTIPLE_DOCS: 'a second document begins here (---); one file holds one',
  MULTILINE_IMPLICIT_KEY: 'a key must be on one line; a colon is missing here, or there is one too many',
  MISSING_CHAR: 'a character is missing here: a quote, a comma or a closing bracket',
  UNEXPECTED_TOKEN: 'this character does not belong here',
  BLOCK_AS_IMPLICIT_KEY: 'a map cannot begin on this line; put it on the next one, indented',
  BLOCK_IN_FLOW: 'inside brackets, maps and lists need brackets too',
  KEY_OVER_1024_CHARS: 'a key is too long',
  BAD_SCALAR_START: 'a text that begins with this character must be in quotes',
  BAD_DQ_ESCAPE: 'a backslash that means nothing; write \\\\ for one, or use single quotes',
}
/** Our words, or else the first line of the parser's, without the place, which is added anyway. */
function yamlWords(code: string, message: string): string {
  return YAML_WORDS[code] ?? (message.split('\n')[0] ?? '').replace(/ at line .*$/, '')
}
