/**
 * JSON from outside, read strictly (T6, T25, T27): fatal UTF-8, no byte order mark, no duplicate keys, no prototype keys,
 * no integer that a double cannot hold, bounded depth and number of keys. `JSON.parse` decides the syntax; the scan after it
 * may therefore assume well-formed text and stay a single pass.
 */
import { HubError } from './errors.ts'

const FORBIDDEN_KEYS = new Set(['__proto__', 'constructor', 'prototype', 'hasOwnProperty'])
const KEYS_MAX = 4096
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** `at`: the offset of the fault, if it is known, as a fact of the error. */
const invalid = (detail: string, at?: number) =>
  new HubError('schema_invalid', detail, at === undefined ? {} : { facts: { at } })

/** Parses bytes or text. Throws `schema_invalid` with what is wrong; depth counts nested objects and arrays. */
export function parseStrictJson(source: Uint8Array | string, depthMax = 32): unknown {
  const text = typeof source === 'string' ? source : decode(source)
  if (text.charCodeAt(0) === 0xfeff) throw invalid('the text begins with a byte order mark')
  // Before JSON.parse, so that 100 000 opening brackets cost nothing.
  scanDepth(text, depthMax)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw invalid('not a JSON text')
  }
  scanKeysAndNumbers(text)
  return value
}

function decode(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes)
  } catch {
    throw invalid('not valid UTF-8')
  }
}

/** Index just past the string that opens at `start`. */
function endOfString(text: string, start: number): number {
  let at = start + 1
  for (;;) {
    const quote = text.indexOf('"', at)
    if (quote === -1) return text.length
    let slashes = 0
    while (text.charCodeAt(quote - 1 - slashes) === 92) slashes += 1
    if (slashes % 2 === 0) return quote + 1
    at = quote + 1
  }
}

function scanDepth(text: string, depthMax: number): void {
  let depth = 0
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code === 34) at = endOfString(text, at) - 1
    else if (code === 123 || code === 91) {
      depth += 1
      if (depth > depthMax) throw invalid(`nested deeper than ${depthMax}`, at)
    } else if (code === 125 || code === 93) depth -= 1
  }
}

function scanKeysAndNumbers(text: string): void {
  const scopes: (Set<string> | undefined)[] = []
  let keys = 0
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code === 123) scopes.push(new Set())
    else if (code === 91) scopes.push(undefined)
    else if (code === 125 || code === 93) scopes.pop()
    else if (code === 34) {
      const end = endOfString(text, at)
      const raw = text.slice(at + 1, end - 1)
      const decoded = raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw
      if (!decoded.isWellFormed()) throw invalid('a string holds half a surrogate pair', at)
      if (isKey(text, end)) {
        keys += 1
        addKey(scopes[scopes.length - 1], decoded, keys, at)
      }
      at = end - 1
    } else if (code === 45 || (code >= 48 && code <= 57)) at = checkNumber(text, at) - 1
  }
}

function isKey(text: string, end: number): boolean {
  let at = end
  while (text.charCodeAt(at) <= 32) at += 1
  return text.charCodeAt(at) === 58
}

function addKey(scope: Set<string> | undefined, key: string, keys: number, at: number): void {
  if (keys > KEYS_MAX) throw invalid(`more than ${KEYS_MAX} keys`, at)
  if (FORBIDDEN_KEYS.has(key)) throw invalid('a key that names an object prototype', at)
  if (scope?.has(key)) throw invalid('a key is there twice in one object', at)
  scope?.add(key)
}

function checkNumber(text: string, start: number): number {
  let end = start
  let whole = true
  for (; end < text.length; end += 1) {
    const code = text.charCodeAt(end)
    if (code === 46 || code === 69 || code === 101) whole = false
    else if (!(code === 45 || code === 43 || (code >= 48 && code <= 57))) break
  }
  const value = Number(text.slice(start, end))
  if (!Number.isFinite(value)) throw invalid('a number is too large', start)
  if (whole && !Number.isSafeInteger(value)) throw invalid('an integer is too large to be exact', start)
  return end
}
