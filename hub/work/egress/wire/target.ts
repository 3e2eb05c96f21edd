/**
 * What of a request line may be sent: one parser (E3, E4). It normalises first, so that what is judged is what is sent, and refuses what two
 * servers could read in two ways. To normalise twice is to normalise once.
 */
import { type Refused, refused } from './judged.ts'

const TARGET_BYTES_MAX = 8192
const KEYS_MAX = 64
/** Of RFC 3986: never written as an escape. */
const UNRESERVED = /[A-Za-z0-9._~-]/
/** What else may stand in a segment of a path as it is. */
const SEGMENT = /^(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-F]{2})*$/
/** What else may stand in a value of a query as it is. `+` is one sign there and is kept; its escape is another. */
const VALUE = /[A-Za-z0-9._~!$'()*,:@/?-]/
const KEY = /^[A-Za-z0-9_$][A-Za-z0-9_.$[\]-]{0,63}$/

/** A path and a query that were normalised. */
export interface Target {
  /** Begins with a slash; without dot segments, doubled slashes and needless escapes. */
  path: string
  query: readonly (readonly [key: string, value: string | undefined])[]
}

const odd = (what: string): Refused => refused('egress_denied', `the request line ${what}`)

/** The target of a request after `/up/NAME`, normalised, or why it is none. `keepsSlash`: an escaped slash may stand in a path. */
export function parseTarget(raw: string, keepsSlash = false): Target | Refused {
  if (raw.length > TARGET_BYTES_MAX) return odd(`is longer than ${TARGET_BYTES_MAX} bytes`)
  if (!/^[\x21-\x7e]*$/.test(raw)) return odd('holds a space, a control character or a letter that is not ASCII')
  if (raw.includes('#')) return odd('holds a fragment (#)')
  if (raw !== '' && raw[0] !== '/' && raw[0] !== '?') return odd('must be a path: no scheme, no host, no user')
  const at = raw.indexOf('?')
  const path = normalPath(at === -1 ? raw : raw.slice(0, at), keepsSlash)
  if (typeof path !== 'string') return path
  const query = parseQuery(at === -1 ? '' : raw.slice(at + 1))
  return 'code' in query ? query : { path, query }
}

function normalPath(raw: string, keepsSlash: boolean): string | Refused {
  if (raw.includes('\\')) return odd('holds a backslash')
  if (raw.includes(';')) return odd('holds a semicolon')
  const text = withoutNeedlessEscapes(raw)
  if (text === undefined) return odd('holds an escape that is none')
  if (/%(?:[01][0-9A-F]|7F|5C|3B|25|23|3F)/.test(text))
    return odd('hides a control character or a sign of the request line in an escape')
  if (/%[89A-F]/.test(text) && !isUtf8Escaped(text)) return odd('holds escapes that are not UTF-8')
  if (!keepsSlash && text.includes('%2F')) return odd('holds an escaped slash')
  const kept: string[] = []
  const segments = text.split('/').slice(1)
  for (const segment of segments) {
    if (!SEGMENT.test(segment)) return odd('holds a sign that belongs into an escape')
    if (segment === '..') {
      if (kept.pop() === undefined) return odd('leaves the upstream')
    } else if (segment !== '.' && segment !== '') kept.push(segment)
  }
  const isFolder = kept.length > 0 && /^(?:\.{0,2})$/.test(segments.at(-1) ?? '')
  return `/${kept.join('/')}${isFolder ? '/' : ''}`
}

/** Escapes in capitals, and none for what needs none; undefined if one is broken. */
function withoutNeedlessEscapes(raw: string): string | undefined {
  if (/%(?![0-9A-Fa-f]{2})/.test(raw)) return undefined
  return raw.replaceAll(/%([0-9A-Fa-f]{2})/g, (_, digits: string) => {
    const sign = String.fromCharCode(Number.parseInt(digits, 16))
    return UNRESERVED.test(sign) ? sign : `%${digits.toUpperCase()}`
  })
}

function isUtf8Escaped(text: string): boolean {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}

function parseQuery(raw: string): Target['query'] | Refused {
  const found = new Map<string, string | undefined>()
  for (const part of raw.split('&')) {
    if (part === '') continue
    const at = part.indexOf('=')
    const key = withoutNeedlessEscapes(at === -1 ? part : part.slice(0, at))
      ?.replaceAll('%24', '$')
      .replaceAll('%5B', '[')
      .replaceAll('%5D', ']')
    if (key === undefined || !KEY.test(key)) return odd('holds a key of a query that is none')
    if (found.has(key)) return odd(`holds the key ${key} twice`)
    const value = at === -1 ? undefined : normalValue(part.slice(at + 1))
    if (typeof value === 'object') return value
    found.set(key, value)
  }
  if (found.size > KEYS_MAX) return odd(`holds more than ${KEYS_MAX} keys`)
  return [...found]
}

function normalValue(raw: string): string | Refused {
  if (/%(?![0-9A-Fa-f]{2})/.test(raw)) return odd('holds an escape that is none')
  if (/%(?:[01][0-9A-F]|7F)/i.test(raw)) return odd('hides a control character in an escape')
  if (!isUtf8Escaped(raw)) return odd('holds escapes that are not UTF-8')
  return raw.replaceAll(/%([0-9A-Fa-f]{2})|[^%]/g, (token, digits: string | undefined) => {
    const sign = digits === undefined ? token : String.fromCharCode(Number.parseInt(digits, 16))
    if (VALUE.test(sign) || (digits === undefined && sign === '+')) return sign
    return `%${sign.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
  })
}

/** The query as it is sent. */
export const queryText = (query: Target['query']): string =>
  query.map(([key, value]) => (value === undefined ? key : `${key}=${value}`)).join('&')

/**
 * A path below the base path of an upstream. A base that names a version of its own (`/api/v1`) takes the place of the version that
 * the client asks for.
 */
export function belowBase(base: string, path: string): string {
  const own = new URL(base).pathname.replace(/\/$/, '')
  const rest = /\/v\d[\w.]*(?:\/|$)/.test(own) ? path.replace(/^\/v\d[a-z0-9]*(?=\/)/, '') : path
  return `${own}${rest}`
}
