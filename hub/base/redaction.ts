/**
 * The one choke point of what is written down, shown and told (S1-62): a card's twelve words (docs/safety.md 6), values of known secrets
 * (`known-values.ts`), what looks like a key (`SHAPES`). Every sink takes its texts through `text`, `piece` or `value`: log,
 * events, audit log, alerts, journal, rows of tasks, answers, evidence. And characters that control a terminal or turn the direction of a
 * text (T30, fault F17).
 *
 * R1. It cannot be switched off, and what it masked cannot be had back.
 * R2. It keeps the values of secrets in memory, as it must; it writes them nowhere and names only their names.
 * R3. A value that was replaced is still masked: the newest `REPLACED_MAX` of those are known. What a secret holds now is never forgotten
 *     because others change, up to `SECRETS_MAX` values in all.
 */
import { isUtf8 } from 'node:buffer'
import { createValueFinder, type Spelling, spellingsOf, type ValueFinder } from './known-values.ts'

/** Not from within an escape of a text of JSON. */
const WORDS = /(?<!\\|\\u[\da-f]{0,3})[a-z]{3,8}(?:(?:-|%20|%2d|\+)[a-z]{3,8}){11}/gi

/** Twelve words of three letters, and what joins them. */
const LENGTH_MIN = 47
const MASK = '[redacted]'
const REPLACED_MAX = 256
/** More than the files of secrets that are looked at, and those that were replaced. */
const SECRETS_MAX = 2048
const DEPTH_MAX = 64

/** How far one joint can begin behind the one before it: `%20` and a word of eight. */
const JOINT_STEP_MAX = 11
const JOINTS = 11
const [MINUS, PLUS, PERCENT] = ['-', '+', '%'].map((sign) => sign.charCodeAt(0))

/** Whether there may be twelve joined words: eleven joints in a row, each as near as a word permits. Most texts have none, and the pattern tries each letter. */
function mayHoldWords(text: string): boolean {
  let row = 0
  let last = 0
  for (let at = 0; at < text.length; at += 1) {
    const sign = text.charCodeAt(at)
    if (sign !== MINUS && sign !== PLUS && sign !== PERCENT) continue
    row = at - last <= JOINT_STEP_MAX ? row + 1 : 1
    if (row >= JOINTS) return true
    last = at
  }
  return false
}

/** The text with every run of twelve joined words masked. */
const hideWords = (text: string): string =>
  text.length < LENGTH_MIN || !mayHoldWords(text) ? text : text.replace(WORDS, MASK)

/** DEL, C1, line and paragraph separators, marks of direction and of width: JSON allows them unescaped. */
const ODD = /[\u007f-\u009f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/g

/** A JSON text with each of those as its escape: the same value. */
export const escapeOdd = (json: string): string =>
  json.replace(ODD, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** Of what follows a word such as `bearer`: a token, not the next word of a sentence. */
const TOKEN = String.raw`(?=[\w.~+/-]{0,400}[\d=])[\w.~+/=-]{8,}`

/** After a line break or the like in a text of JSON, whose letter is none of the word that follows. */
const BROKEN = String.raw`(?<=\\(?:[nrtbf]|u[\da-f]{4}))`

const SERVICE_KEYS = [
  String.raw`sk-(?=[\w-]{0,200}\d)[\w-]{16,}`,
  String.raw`[sr]k_(?:live|test)_\w{10,}`,
  String.raw`gh[pousr]_\w{20,}`,
  String.raw`github_pat_\w{22,}`,
  String.raw`gl(?:pat|dt|rt|cbt|ptt)-[\w-]{16,}`,
  String.raw`xox[abeoprs]-[\w-]{10,}`,
  String.raw`(?:AKIA|ASIA|ABIA|ACCA)[A-Z\d]{16}(?![\w-])`,
  String.raw`AIza[\w-]{35}`,
  String.raw`ya29\.[\w-]{20,}`,
  String.raw`npm_[A-Za-z\d]{36}`,
  String.raw`pypi-[\w-]{50,}`,
  String.raw`hf_[A-Za-z\d]{30,}`,
  String.raw`SG\.[\w-]{16,64}\.[\w-]{16,}`,
  String.raw`do[opr]_v1_[a-f\d]{64}`,
  String.raw`hv[sbr]\.[\w-]{20,}`,
  String.raw`\d{8,10}:AA[\w-]{33}`,
  String.raw`AGE-SECRET-KEY-1[A-Z\d]{50,}`,
  String.raw`eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?`,
]

/**
 * What looks like a key wherever it is: keys of well-known services, private keys, signed tokens, headers and addresses that carry a
 * credential. Digests of 64 hex digits are no secrets, and people need them. Each pattern begins at a place that few texts have, and what
 * it takes is taken once: no text makes it walk twice over the same part (T26). A text of JSON stays one: no escape is cut in two.
 */
const SHAPES: readonly [RegExp, string][] = [
  [
    /-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:(?!-----)(?:[\w\s+/=:,.-]|\\+(?:[nrt/\s]|u000[ad])))*(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?/g,
    MASK,
  ],
  [new RegExp(String.raw`(?:(?<![\w-])|${BROKEN})(?:${SERVICE_KEYS.join('|')})`, 'g'), MASK],
  [new RegExp(String.raw`(?:\b|${BROKEN})(bearer|basic)(\s{1,8})${TOKEN}`, 'gi'), `$1$2${MASK}`],
  [
    /(?:\b|(?<=\\(?:[nrtbf]|u[\da-f]{4})))((?:proxy-)?authorization|x-api-key|(?:set-)?cookie)((?:\\*["'])?\s{0,8}[=:]\s{0,8}(?:\\*["'])?(?:(?:bearer|basic|token|digest|apikey)\s{1,8})?)(?!\[redacted\]|bearer\s|basic\s)[^\s"',;\\]{4,}/gi,
    `$1$2${MASK}`,
  ],
  // A password may hold a slash or an @ that nobody escaped. `//host:8080/a@b` and `//[::1]/a@b` are a port and an address, and stay.
  [
    /\b([a-z][a-z\d+.-]{0,20}:\/\/)[^\s/@"'<>:]{0,200}:(?:[^\s/"'<>]{1,200}|(?!\d{1,5}\/)(?<!\/\[[\da-f]{0,4}:)[^\s@"'<>]{1,200})@/gi,
    `$1${MASK}@`,
  ],
  // Alone before the host: on the web a token; elsewhere a token if no person would choose it as a name.
  [/\b((?:http|ws)s?:\/\/)[^\s/@"'<>:?#\\]{1,400}@/gi, `$1${MASK}@`],
  [/\b([a-z][a-z\d+.-]{0,20}:\/\/)(?=[^\s/@"'<>:\\]{0,400}\d)[^\s/@"'<>:?#\\]{16,400}@/gi, `$1${MASK}@`],
]

/** One of the beginnings that the patterns have; most texts have none. */
const MAY_HAVE =
  /PRIVATE KEY(?: BLOCK)?-----|:\/\/|bearer|basic|authorization|x-api-key|cookie|[sr]k[-_]|gh[pousr]_|github_pat_|gl[a-z]{2,3}-|xox|A[KSBC][IC]A|AIza|ya29\.|npm_|pypi-|hf_|SG\.|do[opr]_v1_|hv[sbr]\.|:AA|AGE-SECRET|eyJ/i
const SHAPE_LENGTH_MIN = 12

/** The text with all of this masked. Pure. */
function hideShapes(text: string): string {
  if (text.length < SHAPE_LENGTH_MIN || !MAY_HAVE.test(text)) return text
  return SHAPES.reduce((left, [pattern, kept]) => left.replaceAll(pattern, kept), text)
}

/** With what those shapes begin; letters of either case. */
const BEGINNINGS = (
  'sk- sk_ rk_ ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- gldt- glrt- glcbt- glptt- xox akia asia abia acca aiza ya29. npm_ pypi- hf_ sg. ' +
  'dop_v1_ dor_v1_ doo_v1_ hvs. hvb. hvr. age-secret-key- eyj ://'
).split(' ')
/** After these the secret follows behind a space. */
const HEADS =
  /(?:bearer|basic|authorization|x-api-key|cookie)["'\\]{0,4}\s{0,8}[=:]?\s{0,8}["'\\]{0,4}(?:(?:bearer|basic|token|digest|apikey)\s{0,8})?\S{0,400}$/i
/** A private key that has begun and not ended. */
const KEY = '-----BEGIN '
const KEY_CHARS_MAX = 16_384
const RUN = /\S{1,600}$/
/** Words joined by signs, of which twelve are a card's. */
const JOINED = /[a-z]{3,8}(?:(?:-|%20|%2d|\+)[a-z]{0,8}){1,11}$/i

/**
 * So many characters at the end of a text that still grows may begin a key by its shape (S1-62): whoever writes down a stream piece by piece
 * keeps so much back until more of it comes, or its end.
 */
function shapeBegun(text: string): number {
  const key = text.lastIndexOf(KEY)
  if (key !== -1 && text.length - key <= KEY_CHARS_MAX && !/-----END [A-Z ]{0,40}-----/.test(text.slice(key)))
    return text.length - key
  const [head = ''] = HEADS.exec(text.slice(-500)) ?? []
  const [run = ''] = RUN.exec(text.slice(-600)) ?? []
  const lower = run.toLowerCase()
  const inside = BEGINNINGS.some((each) => lower.includes(each)) || JOINED.test(run) ? run.length : 0
  const begun = Math.max(
    0,
    ...[...BEGINNINGS, 'bearer', 'basic', 'authorization', 'x-api-key', 'cookie', KEY.toLowerCase()].map((each) => {
      for (let length = Math.min(each.length, lower.length); length >= 1; length -= 1)
        if (lower.endsWith(each.slice(0, length))) return length
      return 0
    }),
  )
  return Math.max(head.length, inside, begun)
}

/** A text as it may be written down. */
export type Hide = (text: string) => string

export interface Redaction {
  readonly text: Hide
  /** For a piece that was cut out of a stream: what is left of a value at its edges is masked too. */
  readonly piece: Hide
  /** How much of the end of a text that still grows is to be kept back: it may be the beginning of something that is masked only whole. */
  begun(text: string): number
  /** Each text within a value of JSON, keys included; the same object if nothing in it had to be masked. */
  value<Value>(value: Value): Value
  /** The name of a known secret that a text within the value holds whole; undefined if none does. */
  secretIn(value: unknown): string | undefined
  /** What is known now, by the names of secrets, for who looks for it in streams. The same list until something changes. */
  known(): readonly (readonly [name: string, value: string])[]
  /** From now on this value is masked. Answers false if it is too short or too common to be. */
  know(name: string, value: Buffer): boolean
}

/** What a part takes that was built without a hub: it knows no secret. */
export const hideUnknown = (): Redaction => createRedaction()

export function createRedaction(): Redaction {
  /** By their spellings, oldest first. */
  const known = new Map<string, readonly Spelling[]>()
  /** By the name of a secret: the first spelling of what it holds now. */
  const current = new Map<string, string>()
  let made: ValueFinder | undefined
  let listed: (readonly [string, string])[] | undefined
  const finder = (): ValueFinder => {
    made ??= createValueFinder([...known.values()].flat())
    return made
  }

  /** After one more became known. */
  function forgetOldest(): void {
    const held = new Set(current.values())
    const replaced = [...known.keys()].filter((key) => !held.has(key))
    const [oldest] = known.keys()
    const gone = replaced.length > REPLACED_MAX ? replaced[0] : known.size > SECRETS_MAX ? oldest : undefined
    if (gone === undefined) return
    known.delete(gone)
    for (const [name, key] of current) if (key === gone) current.delete(name)
  }

  const rest = (text: string): string => hideShapes(hideWords(text))
  const text: Hide = (given) => rest(finder().masked(given, MASK))

  function value<Value>(given: Value, depth = 0): Value {
    if (typeof given === 'string') return text(given) as Value
    if (typeof given !== 'object' || given === null || Buffer.isBuffer(given)) return given
    if (depth > DEPTH_MAX) return MASK as Value
    if (Array.isArray(given)) {
      const items = given.map((each) => value(each, depth + 1))
      return items.every((each, at) => each === given[at]) ? given : (items as Value)
    }
    const entries = Object.entries(given)
    const kept = entries.map(([key, each]) => [text(key), value(each, depth + 1)] as const)
    const isSame = kept.every(([key, each], at) => key === entries[at]?.[0] && each === entries[at]?.[1])
    return isSame ? given : (Object.fromEntries(kept) as Value)
  }

  function secretIn(given: unknown, depth = 0): string | undefined {
    if (typeof given === 'string') return finder().holds(given)
    if (typeof given !== 'object' || given === null || depth > DEPTH_MAX) return undefined
    for (const [key, each] of Object.entries(given)) {
      const name = finder().holds(key) ?? secretIn(each, depth + 1)
      if (name !== undefined) return name
    }
    return undefined
  }

  return {
    text,
    piece: (given) => rest(finder().maskedPiece(given, MASK)),
    begun: (given) => Math.max(finder().begun(given), shapeBegun(given)),
    value: (given) => value(given),
    secretIn: (given) => secretIn(given),
    known() {
      listed ??= [...known].map(([key, [spelling]]) => [spelling?.name ?? '', key] as const)
      return listed
    },
    know(name, bytes) {
      // A key of an upstream is told of at each of its uses: nothing is new then, and the spellings of a value take a tenth of a millisecond.
      const held = current.get(name)
      const spellings =
        held !== undefined && isUtf8(bytes) && held === bytes.toString('utf8').trim() ? [held] : spellingsOf(bytes)
      const [key] = spellings
      if (key === undefined) return false
      const before = known.get(key)
      // It is the newest again: what it replaced meanwhile is older.
      known.delete(key)
      known.set(key, before ?? spellings.map((each) => ({ text: each, name })))
      current.set(name, key)
      if (before !== undefined) return true
      forgetOldest()
      made = undefined
      listed = undefined
      return true
    },
  }
}
