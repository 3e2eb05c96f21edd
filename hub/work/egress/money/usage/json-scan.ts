/**
 * Finds a few values of a JSON text that comes in pieces, without keeping the rest: an answer of a model may be megabytes, and only its usage
 * is of interest. Pure. Memory is bounded by the paths asked for.
 *
 * Borders of chunks may fall anywhere. What is no JSON, a value found twice, or one that is too large is a fault, and never throws.
 */

/** Names of keys joined by dots, `[]` for any entry of a list: `response.usage`, `candidates.[].finishReason`. */
export type Path = string

export interface JsonScan {
  /** The bytes from `from` to before `to`. */
  push(bytes: Uint8Array, from: number, to: number): void
  /** The text is over. Answers what is wrong with it, or undefined. */
  end(): string | undefined
}

const VALUE_MAX = 64 * 1024
const KEY_MAX = 256
const DEPTH_MAX = 256

const code = (sign: string): number => sign.charCodeAt(0)
const [QUOTE, BACKSLASH, COMMA, COLON] = [code('"'), code('\\'), code(','), code(':')]
const [OBJECT, OBJECT_END, LIST, LIST_END] = [code('{'), code('}'), code('['), code(']')]
const isSpace = (byte: number): boolean => byte === 32 || byte === 10 || byte === 13 || byte === 9

interface Frame {
  isList: boolean
  key: string
}
type Mode = 'value' | 'first-value' | 'key' | 'first-key' | 'colon' | 'after' | 'string' | 'escape' | 'scalar' | 'over'

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8')

/**
 * `onDocument` gets what was found in the whole text; if its root is a list, in each entry of it (a stream of Google is one list). Values are
 * given as their JSON text.
 */
export function createJsonScan(
  paths: readonly Path[],
  onDocument: (found: ReadonlyMap<Path, string>) => void,
): JsonScan {
  const depthOfPaths = Math.max(...paths.map((path) => path.split('.').length))
  const wanted = new Set(paths)
  const stack: Frame[] = []
  /** Frames above a document: one where the root is a list. */
  let base = 0
  let mode: Mode = 'value'
  let isKey = false
  let fault: string | undefined
  let found = new Map<Path, string>()
  let key = { bytes: new Uint8Array(0), length: 0 }
  let taking: { path: Path; depth: number; bytes: Uint8Array; length: number } | undefined

  function wrong(why: string): void {
    fault ??= why
  }

  function keep(
    into: { bytes: Uint8Array; length: number },
    bytes: Uint8Array,
    from: number,
    to: number,
    most: number,
  ) {
    const length = into.length + to - from
    if (length > most) {
      wrong('a value that is looked at is too large')
      return
    }
    if (length > into.bytes.length) {
      const larger = new Uint8Array(Math.min(most, Math.max(length, 2 * into.bytes.length, 64)))
      larger.set(into.bytes.subarray(0, into.length))
      into.bytes = larger
    }
    into.bytes.set(bytes.subarray(from, to), into.length)
    into.length = length
  }

  /** A value begins here: of the path that the frames name. */
  function begin(): void {
    if (stack.length <= base || stack.length - base > depthOfPaths || taking !== undefined) return
    const path = stack
      .slice(base)
      .map(({ isList, key: name }) => (isList ? '[]' : name))
      .join('.')
    if (wanted.has(path)) taking = { path, depth: stack.length, bytes: new Uint8Array(0), length: 0 }
  }

  /** A value has ended, at this depth. */
  function ended(): void {
    if (taking?.depth === stack.length) {
      const { path, bytes, length } = taking
      if (found.has(path) && !path.includes('[]')) wrong(`${path} is there twice`)
      found.set(path, textOf(bytes.subarray(0, length)))
      taking = undefined
    }
    mode = stack.length === 0 ? 'over' : 'after'
    if (stack.length === base) {
      onDocument(found)
      found = new Map()
    }
  }

  function open(isList: boolean): void {
    if (stack.length >= DEPTH_MAX) wrong('it is nested too deep')
    if (isList && stack.length === 0) base = 1
    stack.push({ isList, key: '' })
    mode = isList ? 'first-value' : 'first-key'
  }

  function close(isList: boolean): void {
    if (stack.at(-1)?.isList !== isList) wrong('it is no JSON')
    stack.pop()
    // The end of a root list ends no document: its entries were documents.
    if (stack.length < base) {
      base = 0
      mode = 'over'
    } else ended()
  }

  function endString(): void {
    if (!isKey) {
      ended()
      return
    }
    isKey = false
    mode = 'colon'
    const frame = stack.at(-1)
    try {
      if (frame !== undefined) frame.key = JSON.parse(textOf(key.bytes.subarray(0, key.length))) as string
    } catch {
      wrong('it is no JSON')
    }
  }

  function startString(ofKey: boolean): void {
    isKey = ofKey
    mode = 'string'
    if (ofKey) key = { bytes: Uint8Array.of(QUOTE), length: 1 }
  }

  function beginValue(byte: number): void {
    begin()
    if (byte === QUOTE) startString(false)
    else if (byte === OBJECT || byte === LIST) open(byte === LIST)
    else mode = 'scalar'
  }

  /** A byte outside of strings and plain values. */
  function structural(byte: number): void {
    const isEnd = byte === OBJECT_END || byte === LIST_END
    const awaitsValue = mode === 'value' || mode === 'first-value'
    const awaitsKey = mode === 'key' || mode === 'first-key'
    if (isSpace(byte)) return
    if (awaitsValue && !isEnd && byte !== COMMA && byte !== COLON) beginValue(byte)
    else if (awaitsKey && byte === QUOTE) startString(true)
    else if (mode === 'colon' && byte === COLON) mode = 'value'
    else if (mode === 'after' && byte === COMMA) mode = stack.at(-1)?.isList === true ? 'value' : 'key'
    else if (mode === 'after' && isEnd) close(byte === LIST_END)
    else if (mode === 'first-value' && byte === LIST_END) close(true)
    else if (mode === 'first-key' && byte === OBJECT_END) close(false)
    else wrong('it is no JSON')
  }

  /** Where the piece of a string that begins at `from` ends: behind its last quote, or at a border. */
  function string(bytes: Uint8Array, from: number, to: number): number {
    let at = from
    while (at < to) {
      const byte = bytes[at]
      at += 1
      if (mode === 'escape') mode = 'string'
      else if (byte === BACKSLASH) mode = 'escape'
      else if (byte === QUOTE) return at
    }
    return -at
  }

  return {
    push(bytes, from, to) {
      let at = from
      while (at < to && fault === undefined) {
        if (mode === 'string' || mode === 'escape') {
          const reached = string(bytes, at, to)
          const until = Math.abs(reached)
          if (isKey) keep(key, bytes, at, until, KEY_MAX)
          if (taking !== undefined) keep(taking, bytes, at, until, VALUE_MAX)
          at = until
          if (reached > 0) endString()
          continue
        }
        const byte = bytes[at] ?? 0
        if (mode === 'scalar' && (isSpace(byte) || byte === COMMA || byte === OBJECT_END || byte === LIST_END)) ended()
        // Before it is judged: the bracket that ends a value belongs to the value.
        const isTaken = taking !== undefined
        if (taking !== undefined) keep(taking, bytes, at, at + 1, VALUE_MAX)
        if (mode !== 'scalar') structural(byte)
        if (taking !== undefined && !isTaken) keep(taking, bytes, at, at + 1, VALUE_MAX)
        at += 1
      }
    },
    end() {
      if (mode === 'scalar' && stack.length === 0) ended()
      return fault ?? (mode === 'over' ? undefined : 'it ends in the middle')
    },
  }
}
