/**
 * JSON from outside as a tree of places (E23): where each value stands in the bytes, and nothing decoded that nobody asks for. For bodies that are
 * judged and then sent on as they came, with single values replaced: what was judged and what is sent are the same bytes. It is stricter than
 * `JSON.parse` (UTF-8 that is whole, no key twice in one object, no half surrogate pair, no number that is infinite) and never takes what
 * `JSON.parse` refuses. Unlike `strict-json.ts` it keeps numbers as written, takes many more keys, and reads in turns, so that
 * 64 MiB do not hold up the process.
 */
import { isUtf8 } from 'node:buffer'
import { HubError } from './errors.ts'

/** A value: `from` is its first byte, `to` the one after its last. */
export type JsonNode =
  | { kind: 'object'; from: number; to: number; fields: Map<string, JsonField> }
  | { kind: 'array'; from: number; to: number; items: JsonNode[] }
  | { kind: 'string'; from: number; to: number; isPlain: boolean }
  | { kind: 'number'; from: number; to: number }
  | { kind: 'word'; from: number; to: number; value: true | false | null }
/** `from`: where the key begins, with its quote. */
export interface JsonField {
  from: number
  value: JsonNode
}
export interface TreeLimits {
  depthMax: number
  /** Values and keys together. */
  valuesMax: number
}

/** Bytes that are read in one turn. A turn ends at the first value or piece of a string after that. */
const TURN_BYTES = 256 * 1024
const TURN_VALUES = 2048
const UTF8_BYTES = 4 * 1024 * 1024
/** What may follow a backslash but for u. */
const ESCAPED = new Set(Buffer.from('"\\/bfnrt'))
const [QUOTE, BACKSLASH, COMMA, COLON] = [34, 92, 44, 58]
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/
const NUMBER_BYTES_MAX = 1024
const WORDS = [
  ['true', true],
  ['false', false],
  ['null', null],
] as const

const invalid = (detail: string, at: number) => new HubError('schema_invalid', detail, { facts: { at } })

/** Reads bytes in turns: each `next()` reads a part, and the last returns the tree. Throws `schema_invalid` with the offset, `too_large` over a limit. */
export function* readJsonTree(bytes: Buffer, { depthMax, valuesMax }: TreeLimits): Generator<undefined, JsonNode> {
  yield* checkUtf8(bytes)
  if (bytes[0] === 0xef && bytes[1] === 0xbb) throw invalid('the body begins with a byte order mark', 0)
  const open: (JsonNode & { kind: 'object' | 'array' })[] = []
  let at = afterSpace(bytes, 0)
  let [values, turnAt, turnValues] = [0, 0, 0]
  let key: { from: number; name: string } | undefined
  for (;;) {
    if (at - turnAt > TURN_BYTES || values - turnValues > TURN_VALUES) {
      turnAt = at
      turnValues = values
      yield
    }
    values += 1
    if (values > valuesMax) throw new HubError('too_large', `the body holds more than ${valuesMax} values and keys`)
    const holder = open.at(-1)
    // A key of an object comes before its value.
    if (holder?.kind === 'object' && key === undefined) {
      if (bytes[at] !== QUOTE) throw invalid('not a JSON text', at)
      const { to, isPlain } = yield* readString(bytes, at)
      const name = textOf(bytes, { kind: 'string', from: at, to, isPlain })
      if (holder.fields.has(name)) throw invalid('a key is there twice in one object', at)
      key = { from: at, name }
      at = afterSpace(bytes, to)
      if (bytes[at] !== COLON) throw invalid('not a JSON text', at)
      at = afterSpace(bytes, at + 1)
      continue
    }
    const value = yield* readValue(bytes, at)
    if (holder?.kind === 'array') holder.items.push(value)
    else if (holder?.kind === 'object' && key !== undefined) holder.fields.set(key.name, { from: key.from, value })
    key = undefined
    at = afterSpace(bytes, value.to)
    let ended: JsonNode = value
    if (value.kind === 'object' || value.kind === 'array') {
      if (open.length === depthMax) throw invalid(`nested deeper than ${depthMax}`, value.from)
      if (bytes[at] !== closing(value)) {
        open.push(value)
        continue
      }
      value.to = at + 1
      at = afterSpace(bytes, at + 1)
    }
    // Whatever ends here may end what holds it, and so on.
    for (;;) {
      const around = open.at(-1)
      if (around === undefined) {
        if (at < bytes.length) throw invalid('not a JSON text', at)
        return ended
      }
      if (bytes[at] === COMMA) {
        at = afterSpace(bytes, at + 1)
        break
      }
      if (bytes[at] !== closing(around)) throw invalid('not a JSON text', at)
      around.to = at + 1
      at = afterSpace(bytes, at + 1)
      ended = around
      open.pop()
    }
  }
}

/** In pieces, each of which ends with a whole character. */
function* checkUtf8(bytes: Buffer): Generator<undefined, void> {
  for (let from = 0; from < bytes.length; ) {
    let to = Math.min(from + UTF8_BYTES, bytes.length)
    while (to < bytes.length && ((bytes[to] ?? 0) & 0xc0) === 0x80) to += 1
    if (!isUtf8(bytes.subarray(from, to))) throw invalid('the body is not valid UTF-8', from)
    from = to
    if (from < bytes.length) yield
  }
}

/** All turns at once; for tests. */
export function readWholeTree(bytes: Buffer, limits: TreeLimits): JsonNode {
  const turns = readJsonTree(bytes, limits)
  for (;;) {
    const turn = turns.next()
    if (turn.done) return turn.value
  }
}

/** The text of a string. */
export function textOf(bytes: Buffer, node: JsonNode & { kind: 'string' }): string {
  const raw = bytes.toString('utf8', node.from + 1, node.to - 1)
  return node.isPlain ? raw : (JSON.parse(`"${raw}"`) as string)
}

/** The value of a number, as a double. */
export const numberOf = (bytes: Buffer, node: JsonNode & { kind: 'number' }): number =>
  Number(bytes.toString('latin1', node.from, node.to))

function closing(node: { kind: 'object' | 'array' }): number {
  return node.kind === 'object' ? 125 : 93
}

function afterSpace(bytes: Buffer, start: number): number {
  let at = start
  for (;;) {
    const code = bytes[at]
    if (code !== 32 && code !== 10 && code !== 13 && code !== 9) return at
    at += 1
  }
}

/** A value; of an object or an array only its beginning. */
function* readValue(bytes: Buffer, from: number): Generator<undefined, JsonNode> {
  const code = bytes[from]
  if (code === QUOTE) return { kind: 'string', from, ...(yield* readString(bytes, from)) }
  if (code === 123) return { kind: 'object', from, to: from + 1, fields: new Map() }
  if (code === 91) return { kind: 'array', from, to: from + 1, items: [] }
  if (code === 45 || (code !== undefined && code >= 48 && code <= 57)) return readNumber(bytes, from)
  for (const [word, value] of WORDS)
    if (bytes.toString('latin1', from, from + word.length) === word)
      return { kind: 'word', from, to: from + word.length, value }
  throw invalid('not a JSON text', from)
}

function readNumber(bytes: Buffer, from: number): JsonNode {
  let to = from
  for (;;) {
    const code = bytes[to] ?? 0
    const isPart =
      (code >= 48 && code <= 57) || code === 43 || code === 45 || code === 46 || code === 69 || code === 101
    if (!isPart) break
    to += 1
    if (to - from > NUMBER_BYTES_MAX) throw invalid(`a number is longer than ${NUMBER_BYTES_MAX} digits`, from)
  }
  const text = bytes.toString('latin1', from, to)
  if (!NUMBER.test(text)) throw invalid('not a JSON text', from)
  if (!Number.isFinite(Number(text))) throw invalid('a number is too large', from)
  return { kind: 'number', from, to }
}

/** From its quote to the byte after its last quote; without an escape it is plain. */
function* readString(bytes: Buffer, from: number): Generator<undefined, { to: number; isPlain: boolean }> {
  let at = from + 1
  let isPlain = true
  let turnAt = at
  for (;;) {
    const stop = at + TURN_BYTES
    while (at < stop) {
      const code = bytes[at]
      if (code === undefined || code < 32 || code === QUOTE || code === BACKSLASH) break
      at += 1
    }
    const code = bytes[at]
    if (code === QUOTE) return { to: at + 1, isPlain }
    if (code === BACKSLASH) {
      isPlain = false
      at = afterEscape(bytes, at)
    } else if (code === undefined || code < 32) throw invalid('not a JSON text', at)
    if (at - turnAt >= TURN_BYTES) {
      turnAt = at
      yield
    }
  }
}

function afterEscape(bytes: Buffer, at: number): number {
  const code = bytes[at + 1] ?? 0
  if (code !== 117) {
    if (!ESCAPED.has(code)) throw invalid('not a JSON text', at)
    return at + 2
  }
  const unit = unitOf(bytes, at)
  if (unit >= 0xdc00 && unit <= 0xdfff) throw invalid('a string holds half a surrogate pair', at)
  if (unit < 0xd800 || unit > 0xdbff) return at + 6
  const low = bytes[at + 6] === BACKSLASH && bytes[at + 7] === 117 ? unitOf(bytes, at + 6) : 0
  if (low < 0xdc00 || low > 0xdfff) throw invalid('a string holds half a surrogate pair', at)
  return at + 12
}

function unitOf(bytes: Buffer, at: number): number {
  const digits = bytes.toString('latin1', at + 2, at + 6)
  if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw invalid('not a JSON text', at)
  return Number.parseInt(digits, 16)
}
