/**
 * What the watchdog keeps of the backup contact's card: one small file, replaced whole and synced. It accepts the card by itself, whether
 * the hub is alive or not. It needs no word list for that: the spelling itself is digested.
 *
 * C1 only a digest of the words is kept. C2 a revoked card is remembered and cannot be set again. C3 with an unreadable file no card is
 * accepted; the file is put aside, and a finding says so.
 */
import { copyFileSync, readFileSync, statSync } from 'node:fs'
import { sameHex, sha256Hex } from '../base/digest.ts'
import { replaceFile } from '../base/whole-file.ts'

export interface Card {
  readonly digest: string
  /** The contact. */
  readonly name: string
  /** Whom to tell. */
  readonly operator: string
  readonly madeAtMs: number
  readonly expiresAtMs: number | null
}
interface Kept {
  readonly version: 1
  readonly card: Card | null
  /** Digests of earlier cards, the newest first. */
  readonly revoked: readonly string[]
  readonly usedAtMs: number | null
  readonly reachedAtMs: number | null
}

export type Judged =
  | { readonly kind: 'accepted'; readonly card: Card }
  /** Why, for the log only. */
  | { readonly kind: 'refused'; readonly reason: string }

export interface ContactFile {
  card(): Card | null
  /** False if this card was revoked here. @throws if it could not be written to disk. */
  set(card: Card): boolean
  /** @throws if it could not be written to disk; the card in memory is gone anyway. */
  revoke(): void
  judge(words: string | null, wallMs: number): Judged
  /** Kept in memory if the disk cannot take it. */
  noteUsed(wallMs: number): void
  noteReached(wallMs: number): void
  readonly usedAtMs: number | null
  readonly reachedAtMs: number | null
  /** The file could not be read; where its copy is. */
  readonly damaged: string | null
}

const LABEL = 'hub-contact-card-v1'
const SPELLING = /^[a-z]{3,8}(?:-[a-z]{3,8}){11}$/
const TYPED_LENGTH_MAX = 300
const REVOKED_MAX = 64
const REACHED_EVERY_MS = 3_600_000

/** The card's one spelling, or null. */
export const exactWords = (text: string): string | null => (SPELLING.test(text) ? text : null)

/** The same from what a person typed: capitals, numbers, dots, any spaces. */
export function typedWords(text: string): string | null {
  if (text.length > TYPED_LENGTH_MAX) return null
  const words = text.toLowerCase().split(/[^a-z]+/)
  return exactWords(words.filter((word) => word !== '').join('-'))
}
export const digestOfWords = (words: string): string => sha256Hex(`${LABEL}\n${words}`)
export const cardIdOf = (digest: string): string => digest.slice(0, 12)

const isRow = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isInstant = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0
const isDigest = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)
const isName = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= 80 && !/\p{Cc}/u.test(value)
const orNull = <T>(value: unknown, is: (one: unknown) => one is T): value is T | null => value === null || is(value)

/** Whether a value from the door or the file is a card. */
export const isCard = (value: unknown): value is Card =>
  isRow(value) &&
  isDigest(value.digest) &&
  isName(value.name) &&
  isName(value.operator) &&
  isInstant(value.madeAtMs) &&
  orNull(value.expiresAtMs, isInstant)

function parse(text: string): Kept {
  const value: unknown = JSON.parse(text)
  if (!isRow(value) || value.version !== 1) throw new Error('its version is unknown')
  const { card, revoked, usedAtMs, reachedAtMs } = value
  if (!orNull(card, isCard)) throw new Error('its card is malformed')
  if (!Array.isArray(revoked) || !revoked.every(isDigest)) throw new Error('its revoked cards are malformed')
  if (!orNull(usedAtMs, isInstant) || !orNull(reachedAtMs, isInstant)) throw new Error('its dates are malformed')
  return { version: 1, card, revoked, usedAtMs, reachedAtMs }
}

const NOTHING: Kept = { version: 1, card: null, revoked: [], usedAtMs: null, reachedAtMs: null }

export function openContact(file: string, wallMs: number): ContactFile {
  let kept = NOTHING
  let damaged: string | null = null
  try {
    kept = parse(readFileSync(file, 'utf8'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      damaged = `${file}.corrupt-${wallMs}`
      try {
        copyFileSync(file, damaged)
      } catch {
        damaged = file
      }
    }
  }

  function keep(next: Kept): void {
    replaceFile(file, JSON.stringify(next))
    kept = next
    damaged = null
  }
  function tryKeep(next: Kept): void {
    try {
      keep(next)
    } catch {
      kept = next
    }
  }
  const ended = ({ card, revoked }: Kept): readonly string[] =>
    card === null ? revoked : [card.digest, ...revoked].slice(0, REVOKED_MAX)

  return {
    card: () => kept.card,
    set(card) {
      if (kept.card?.digest === card.digest) {
        keep({ ...kept, card })
        return true
      }
      if (kept.revoked.includes(card.digest)) return false
      keep({ ...kept, card, revoked: ended(kept), usedAtMs: null })
      return true
    },
    revoke() {
      const next = { ...kept, card: null, revoked: ended(kept), usedAtMs: null }
      kept = next
      keep(next)
    },
    judge(words, nowMs) {
      const digest = digestOfWords(words ?? '')
      const { card, revoked } = kept
      // Always one comparison of two digests, whatever was typed (T16).
      const isCurrent = sameHex(digest, card?.digest ?? digestOfWords('no card'))
      if (words !== null && card !== null && isCurrent) {
        if (card.expiresAtMs === null || nowMs < card.expiresAtMs) return { kind: 'accepted', card }
        return { kind: 'refused', reason: `card ${cardIdOf(digest)} has expired` }
      }
      if (words !== null && revoked.some((one) => sameHex(one, digest)))
        return { kind: 'refused', reason: `card ${cardIdOf(digest)} was revoked` }
      return { kind: 'refused', reason: words === null ? 'not twelve words' : 'these words belong to no card' }
    },
    noteUsed: (nowMs) => tryKeep({ ...kept, usedAtMs: nowMs }),
    noteReached(nowMs) {
      if (Math.abs(nowMs - (kept.reachedAtMs ?? 0)) >= REACHED_EVERY_MS) tryKeep({ ...kept, reachedAtMs: nowMs })
    },
    get usedAtMs() {
      return kept.usedAtMs
    },
    get reachedAtMs() {
      return kept.reachedAtMs
    },
    get damaged() {
      return damaged
    },
  }
}

function identityOf(file: string): string {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(file, { bigint: true })
    return [dev, ino, size, mtimeNs, ctimeNs].join(':')
  } catch {
    return 'none'
  }
}

/**
 * The same for a file that another process keeps: each look and each change uses the file as it is now. A card that was revoked or replaced
 * meanwhile does not count here, and is never written back.
 */
export function followContact(file: string, wallMs: () => number): ContactFile {
  let seen = ''
  let opened: ContactFile | undefined
  function now(): ContactFile {
    const identity = identityOf(file)
    // Read again only if it has changed, because a damaged file is copied aside each time it is opened.
    if (opened === undefined || identity !== seen) opened = openContact(file, wallMs())
    seen = identity
    return opened
  }
  return {
    card: () => now().card(),
    set: (card) => now().set(card),
    revoke: () => now().revoke(),
    judge: (words, nowMs) => now().judge(words, nowMs),
    noteUsed: (nowMs) => now().noteUsed(nowMs),
    noteReached: (nowMs) => now().noteReached(nowMs),
    get usedAtMs() {
      return now().usedAtMs
    },
    get reachedAtMs() {
      return now().reachedAtMs
    },
    get damaged() {
      return now().damaged
    },
  }
}
