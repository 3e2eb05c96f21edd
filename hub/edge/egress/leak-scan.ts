/**
 * Masks known secrets in what an upstream answers, while it streams by (E14). The answer comes from outside, so every form in which a service
 * might send a key back is looked for: as it is, escaped for JSON or a URL, in base64 and in hex, and the ends of one that is half masked.
 *
 * L1. A mask is as long as what it hides: lengths that were announced stay true.
 * L2. Only the bytes at the end of a piece that may begin a secret wait for the next piece; all others go on at once.
 * L3. Linear in the bytes: two at a time are looked up, and most are skipped.
 * L4. What waits is a copy. What goes on is in memory that nothing else is in, of its piece or of its own, so that it can be given back once it has gone.
 * L5. A large piece is not copied because some bytes wait before it: these go on by themselves, unless a secret may begin in them.
 */
import { spellingsOf } from '../../base/known-values.ts'

/** Bytes that are looked up at once; nothing shorter is looked for. */
const HEAD = 8
/** Of a secret that is half masked, this many bytes of either end are found. */
const END_BYTES = 8
/** A shorter piece is copied together with what waited: one write costs more than the copy. */
const APART_FROM_BYTES = 4096
/** An end of a shorter secret would be most of it, or a word. */
const ENDS_FROM = 20
const STAR = 0x2a

/** What many keys of one service begin with: no secret, and in every page that explains them. */
const PUBLIC_BEGINNING =
  /^(?:sk-(?:ant-(?:api|admin|oat)\d\d-|proj-|svcacct-|admin-|or-v1-|lf-)?|AIza(?:Sy)?|gh[pousr]_|github_pat_|gl[a-z]{2,4}-|npm_|pypi-(?:AgEIcHlwaS5vcmc)?|xox[a-z]-|hf_|ya29\.|gsk_|xai-|eyJ[\w-]{0,20})/

const escaped = (text: string, which: RegExp, isUpper: boolean): string =>
  text.replace(which, (one) => {
    const hex = one.charCodeAt(0).toString(16).padStart(4, '0')
    return `\\u${isUpper ? hex.toUpperCase() : hex}`
  })

/** Forms that programs of others write, beside those that `spellingsOf` knows. */
function foreignSpellings(text: string): string[] {
  return [
    text.replaceAll('/', '\\/'),
    ...[true, false].flatMap((isUpper) => [
      escaped(text, /[^A-Za-z\d]/g, isUpper),
      escaped(text, /[<>&'=+/"]/g, isUpper),
      escaped(text, /[\s\S]/g, isUpper),
    ]),
  ]
}

/** The two ends of a secret that a service shows when it masks the middle. */
function endsOf(text: string): string[] {
  const own = text.replace(PUBLIC_BEGINNING, '')
  if (own.length < ENDS_FROM) return []
  return [own.slice(0, END_BYTES), text.slice(-END_BYTES)].filter((end) => new Set(end).size >= 4 && !/\s/.test(end))
}

/** All byte strings that give this value away, of eight bytes or more. Pure. */
function patternsOf(value: Buffer): Buffer[] {
  const spellings = spellingsOf(value)
  const [text] = spellings
  if (text === undefined) return []
  const all = new Set([...spellings, ...foreignSpellings(text), ...endsOf(text)])
  return [...all].map((each) => Buffer.from(each)).filter((each) => each.length >= HEAD)
}

interface Pattern {
  bytes: Buffer
  /** Of the secret. */
  name: string
}

/** Built once for a set of secrets, used by every stream. */
export interface LeakPatterns {
  readonly byHead: ReadonlyMap<string, readonly Pattern[]>
  /** By the last two of eight bytes: how far the next place can be that begins a pattern. */
  readonly shifts: Uint8Array
  /** 1 for the first two bytes of each pattern: to ask `byHead` costs a string, and some texts would make it ask every few bytes. */
  readonly firsts: Uint8Array
  /** Beginnings of patterns, shorter than eight bytes. */
  readonly beginnings: ReadonlySet<string>
}

export function createLeakPatterns(secrets: Iterable<readonly [name: string, value: Buffer]>): LeakPatterns {
  const byHead = new Map<string, Pattern[]>()
  const shifts = new Uint8Array(1 << 16).fill(HEAD - 1)
  const firsts = new Uint8Array(1 << 16)
  const beginnings = new Set<string>()
  const all = [...secrets].flatMap(([name, value]) => patternsOf(value).map((bytes) => ({ bytes, name })))
  for (const pattern of all.sort((a, b) => b.bytes.length - a.bytes.length)) {
    const { bytes } = pattern
    const head = bytes.toString('latin1', 0, HEAD)
    byHead.set(head, [...(byHead.get(head) ?? []), pattern])
    firsts[bytes.readUInt16BE(0)] = 1
    for (let at = 0; at < HEAD - 1; at += 1) {
      const block = bytes.readUInt16BE(at)
      shifts[block] = Math.min(shifts[block] as number, HEAD - 2 - at)
      beginnings.add(head.slice(0, at + 1))
    }
  }
  return { byHead, shifts, firsts, beginnings }
}

export interface LeakScan {
  /** What waited and may go on, and what of the piece may, both in order and masked in place. None of them is empty. */
  pass(piece: Buffer): Buffer[]
  /** What still waited, at the end of the stream. */
  rest(): Buffer
  /** Names of secrets that were found, and how often all together. */
  readonly found: ReadonlySet<string>
  readonly count: number
}

const NOTHING = Buffer.alloc(0)

/** In memory of its own (L4); `Buffer.concat` and `Buffer.from` may take it from a pool. */
function joined(first: Buffer, second: Buffer): Buffer {
  const both = Buffer.from(new ArrayBuffer(first.length + second.length))
  first.copy(both)
  second.copy(both, first.length)
  return both
}

/** Scans one stream. */
export function createLeakScan({ byHead, shifts, firsts, beginnings }: LeakPatterns): LeakScan {
  const found = new Set<string>()
  let count = 0
  let held: Buffer = NOTHING

  /** Masks every whole pattern. Answers where the first begins that may go on behind the end. */
  function mask(bytes: Buffer, isEnd: boolean): number {
    const { length } = bytes
    for (let at = 0; at + HEAD <= length; ) {
      const shift = shifts[((bytes[at + 6] as number) << 8) | (bytes[at + 7] as number)] as number
      if (shift > 0) {
        at += shift
        continue
      }
      if (firsts[((bytes[at] as number) << 8) | (bytes[at + 1] as number)] === 0) {
        at += 1
        continue
      }
      const patterns = byHead.get(bytes.toString('latin1', at, at + HEAD))
      let step = 1
      for (const { bytes: wanted, name } of patterns ?? []) {
        const end = Math.min(length, at + wanted.length)
        if (bytes.compare(wanted, 0, end - at, at, end) !== 0) continue
        if (end - at === wanted.length) {
          bytes.fill(STAR, at, end)
          found.add(name)
          count += 1
          step = wanted.length
          break
        }
        if (!isEnd) return at
      }
      at += step
    }
    if (isEnd) return length
    // Of a pattern that begins in the last seven bytes.
    for (let at = Math.max(0, length - HEAD + 1); at < length; at += 1)
      if (beginnings.has(bytes.toString('latin1', at, length))) return at
    return length
  }

  /** No pattern begins in what waits and goes on in the piece, so each can be looked through by itself (L5). */
  function areApart(waits: Buffer, piece: Buffer): boolean {
    // Eight bytes or more wait only where all eight of a head were found.
    if (waits.length >= HEAD || piece.length < APART_FROM_BYTES) return false
    const border = Buffer.concat([waits, piece.subarray(0, HEAD - 1)]).toString('latin1')
    for (let at = 0; at < waits.length; at += 1) if (byHead.has(border.slice(at, at + HEAD))) return false
    return true
  }

  return {
    found,
    get count() {
      return count
    },
    pass(piece) {
      if (byHead.size === 0) return piece.length === 0 ? [] : [piece]
      const waited = held
      const isApart = waited.length === 0 || areApart(waited, piece)
      const bytes = isApart ? piece : joined(waited, piece)
      const until = mask(bytes, false)
      held = until === bytes.length ? NOTHING : joined(bytes.subarray(until), NOTHING)
      const goesOn = bytes.subarray(0, until)
      return [isApart ? waited : NOTHING, goesOn].filter(({ length }) => length > 0)
    },
    rest() {
      const bytes = held
      held = NOTHING
      mask(bytes, true)
      return bytes
    },
  }
}
