/**
 * Finds the values of known secrets in any text, in every spelling in which programs write them (S1-62).
 *
 * F1. Only whole values are found. The first half of a value is no secret, and is found only at the edge of a text that was cut out of a
 *     stream (`cut`).
 * F2. A value that is short, or a plain word, is not looked for: it would mask half of every text. `spellingsOf` says so by having none.
 * F3. Linear in the text, whatever the text and the values are: eight characters at a time are looked up, most of the text is skipped, and
 *     a long value is compared by one walk through the text.
 */
import { isUtf8 } from 'node:buffer'

const VALUE_LENGTH_MIN = 8
const WORD_LENGTH_MAX = 15
const DIGITS_LENGTH_MAX = 11
const DISTINCT_MIN = 4
/** A line of a longer value that is found by itself, such as one of a key in PEM: programs print line by line. */
const LINE_LENGTH_MIN = 32
/** How many characters are looked up at once; no spelling is shorter. */
const HEAD = 8
/** Longer ones are compared by one walk, so that a text made of their beginnings costs no more. */
const SHORT_MAX = 64
/** As much of a value at the edge of a piece counts as cut off there. */
const EDGE_MIN = 6
const BLOCKS = 1 << 16

const isWords = (text: string): boolean => text.length <= WORD_LENGTH_MAX && /^[a-z]+(?:[ ._-][a-z]+)*$/i.test(text)
const isNumber = (text: string): boolean => text.length <= DIGITS_LENGTH_MAX && /^\d+$/.test(text)

/** Whether a value is so long and so odd that no other text holds it by chance. Pure. */
const isTelling = (text: string): boolean =>
  text.length >= VALUE_LENGTH_MIN && !isWords(text) && !isNumber(text) && new Set(text).size >= DISTINCT_MIN

/** The base64 of a value inside something longer: at each of the three places where it can begin, without the characters it shares. */
function base64Within(value: Buffer): string[] {
  return [0, 1, 2].map((before) => {
    const text = Buffer.concat([Buffer.alloc(before), value]).toString('base64')
    const bits = 8 * (before + value.length)
    return text.slice(Math.ceil((8 * before) / 6), Math.floor(bits / 6))
  })
}

function textSpellings(text: string): string[] {
  const inJson = JSON.stringify(text).slice(1, -1)
  const inUrl = encodeURIComponent(text.toWellFormed())
  const lowerUrl = inUrl.replaceAll(/%[\dA-F]{2}/g, (each) => each.toLowerCase())
  return [text, inJson, JSON.stringify(inJson).slice(1, -1), inUrl, lowerUrl, inUrl.replaceAll('%20', '+')]
}

function byteSpellings(value: Buffer): string[] {
  const base64 = [value.toString('base64').replace(/=+$/, ''), ...base64Within(value)]
  const hex = value.toString('hex')
  return [...base64, ...base64.map((each) => each.replaceAll('+', '-').replaceAll('/', '_')), hex, hex.toUpperCase()]
}

/** Every text that gives this value away; none if it cannot be told from ordinary text (F2). Pure. */
export function spellingsOf(value: Buffer): string[] {
  const text = value.toString(isUtf8(value) ? 'utf8' : 'latin1').trim()
  if (!isTelling(text)) return []
  const lines = text.split(/[\r\n]+/).filter((line) => line.length >= LINE_LENGTH_MIN && !/\s/.test(line))
  const bytes = [value, Buffer.from(text)].flatMap(byteSpellings)
  return [...new Set([...textSpellings(text), ...bytes, ...lines])].filter((each) => each.length >= HEAD)
}

export interface Spelling {
  readonly text: string
  /** Of the secret. */
  readonly name: string
}

export interface ValueFinder {
  /** The text with `mask` for each value in it. */
  masked(text: string, mask: string): string
  /** The same for a piece of a stream: a value that was cut off at its beginning or end is masked there too. */
  maskedPiece(text: string, mask: string): string
  /** How many characters at the end of the text are the beginning of a value, and no whole one; 0 without one. */
  begun(text: string): number
  /** The name of a secret whose value the text holds. */
  holds(text: string): string | undefined
}

const blockAt = (text: string, at: number): number =>
  ((text.charCodeAt(at) & 0xff) << 8) | (text.charCodeAt(at + 1) & 0xff)

/** Builds the finder for these spellings, each of eight characters or more. */
export function createValueFinder(spellings: readonly Spelling[]): ValueFinder {
  const byHead = new Map<string, Spelling[]>()
  /** By the last two of eight characters: how far the next place can be that begins a spelling. */
  const shifts = new Uint8Array(BLOCKS).fill(HEAD - 1)
  for (const spelling of [...spellings].sort((a, b) => b.text.length - a.text.length)) {
    const head = spelling.text.slice(0, HEAD)
    byHead.set(head, [...(byHead.get(head) ?? []), spelling])
    for (let at = 0; at < HEAD - 1; at += 1) {
      const block = blockAt(head, at)
      shifts[block] = Math.min(shifts[block] ?? 0, HEAD - 2 - at)
    }
  }

  /** Calls `found` with each place that holds a value, in order and without overlap, until it answers false. */
  function walk(text: string, found: (from: number, spelling: Spelling) => boolean): void {
    const walked = new Map<Spelling, ReadonlySet<number>>()
    const isAt = (spelling: Spelling, at: number): boolean => {
      if (spelling.text.length <= SHORT_MAX) return text.startsWith(spelling.text, at)
      let places = walked.get(spelling)
      if (places === undefined) {
        places = new Set(placesOf(spelling.text, text))
        walked.set(spelling, places)
      }
      return places.has(at)
    }
    for (let at = 0; at + HEAD <= text.length; ) {
      const shift = shifts[blockAt(text, at + HEAD - 2)] ?? 0
      if (shift > 0) {
        at += shift
        continue
      }
      const spelling = byHead.get(text.slice(at, at + HEAD))?.find((each) => isAt(each, at))
      if (spelling !== undefined && !found(at, spelling)) return
      at += spelling?.text.length ?? 1
    }
  }

  function masked(text: string, mask: string): string {
    if (byHead.size === 0 || text.length < HEAD) return text
    let kept = ''
    let from = 0
    walk(text, (at, spelling) => {
      kept += text.slice(from, at) + mask
      from = at + spelling.text.length
      return true
    })
    return from === 0 ? text : kept + text.slice(from)
  }

  return {
    masked,
    maskedPiece(text, mask) {
      if (text.length >= HEAD && spellings.some((each) => each.text.includes(text))) return mask
      const whole = masked(text, mask)
      const longest = (of: (spelling: string) => number) => Math.max(0, ...spellings.map((each) => of(each.text)))
      const head = longest((spelling) => overlap(spelling, whole))
      const tail = longest((spelling) => overlap(whole, spelling))
      const begun = head < EDGE_MIN ? whole : mask + whole.slice(head)
      return tail < EDGE_MIN || tail > begun.length ? begun : begun.slice(0, begun.length - tail) + mask
    },
    begun: (text) => Math.max(0, ...spellings.map((each) => overlap(text, each.text))),
    holds(text) {
      let name: string | undefined
      if (byHead.size > 0)
        walk(text, (_at, spelling) => {
          name = spelling.name
          return false
        })
      return name
    },
  }
}

/** For each length of a beginning of `text`: how long its longest proper beginning is that is also its end (Knuth, Morris, Pratt). */
function borders(text: string): Int32Array {
  const all = new Int32Array(text.length + 1)
  all[0] = -1
  let border = -1
  for (let at = 0; at < text.length; at += 1) {
    while (border >= 0 && text[border] !== text[at]) border = all[border] ?? -1
    border += 1
    all[at + 1] = border
  }
  return all
}

function placesOf(wanted: string, text: string): number[] {
  const all = borders(wanted)
  const places: number[] = []
  let matched = 0
  for (let at = 0; at < text.length; at += 1) {
    while (matched >= 0 && wanted[matched] !== text[at]) matched = all[matched] ?? -1
    matched += 1
    if (matched < wanted.length) continue
    places.push(at + 1 - matched)
    matched = all[matched] ?? 0
  }
  return places
}

/** How much of the end of `first` is the beginning of `second`; never all of one that is whole in the other. */
function overlap(first: string, second: string): number {
  const most = Math.min(first.length, second.length)
  const all = borders(`${second.slice(0, most)}\0${first.slice(first.length - most)}`)
  return all[all.length - 1] ?? 0
}
