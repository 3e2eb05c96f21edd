/**
 * The backup contact's stop at the watchdog: works with the hub dead (docs/safety.md 6).
 * D1 GET, HEAD and prefetches change nothing; only POST with the words of the card in force stops, and only with the one-time
 * field of a page, or with the proof of `hub-stop` (stop-proof.ts): a program that posts to the address is shown the button (T19).
 * D2 wrong, altered, revoked and expired words get one constant answer, and the comparison comes before the back-off (T17).
 * D3 it stops once: during a stop, and while all is stopped, pressing again starts no second stop. If something is left, it does.
 * D4 "everything has stopped" is said only when the engine has just shown that nothing is left.
 */
import type { Clock } from '../base/clock.ts'
import { type Card, type ContactFile, cardIdOf, exactWords, typedWords } from './contact-card.ts'
import { type StopAnswer, type StopView, stopPage } from './stop-page.ts'
import {
  answerProof,
  type ClientWord,
  createOnces,
  isProven,
  PROVEN_MS,
  proofKeyOf,
  type RandomBytes,
} from './stop-proof.ts'

// Back-off of wrong words, per source and for all together (T17). It never comes before the comparison: the right words are always accepted,
// whatever others try meanwhile. It only limits log records and tells the guesser to wait; 128 random bits do the rest.

const FREE_TRIES = 5
const FREE_TRIES_ALL = 20
const PAUSE_FIRST_MS = 1000
const PAUSE_MAX_MS = 60_000
/** After this long without a wrong try everything is forgotten. */
const FORGET_MS = 600_000
const SOURCES_MAX = 1024
/** Wrong tries are recorded together, once in this time at most: a guesser must not fill the disk. */
const RECORD_EVERY_MS = 10_000

interface Count {
  tries: number
  lastMs: number
}
export interface Wrong {
  retryAfterMs: number
  /** Wrong tries since the last record; undefined while the next is not due. */
  record: number | undefined
  /** The free tries of all sources together are used up. */
  isGuessing: boolean
}
export interface Backoff {
  /** Counts a wrong try. */
  wrong(source: string): Wrong
}

const pauseMs = (tries: number, free: number): number =>
  tries <= free ? 0 : Math.min(PAUSE_MAX_MS, PAUSE_FIRST_MS * 2 ** Math.min(16, tries - free - 1))

function createBackoff(clock: Clock): Backoff {
  const sources = new Map<string, Count>()
  let all: Count = { tries: 0, lastMs: 0 }
  let unrecorded = 0
  let recordedMs = Number.NEGATIVE_INFINITY

  return {
    wrong(source) {
      const nowMs = clock.read().monotonicMs
      const grown = (known: Count | undefined): Count => ({
        tries: known === undefined || nowMs - known.lastMs > FORGET_MS ? 1 : known.tries + 1,
        lastMs: nowMs,
      })
      const mine = grown(sources.get(source))
      all = grown(all)
      // The latest goes last: at the limit the source that was silent longest is forgotten.
      sources.delete(source)
      sources.set(source, mine)
      if (sources.size > SOURCES_MAX) sources.delete(sources.keys().next().value ?? '')
      unrecorded += 1
      const isDue = nowMs - recordedMs >= RECORD_EVERY_MS
      const record = isDue ? unrecorded : undefined
      if (isDue) {
        unrecorded = 0
        recordedMs = nowMs
      }
      const retryAfterMs = Math.max(pauseMs(mine.tries, FREE_TRIES), pauseMs(all.tries, FREE_TRIES_ALL))
      return { retryAfterMs, record, isGuessing: all.tries > FREE_TRIES_ALL }
    },
  }
}

export interface StopCall {
  readonly method: 'GET' | 'HEAD' | 'POST'
  /** What follows `/stop/`, exactly as it was sent; undefined for `/stop` itself. */
  readonly path: string | undefined
  readonly typed: string | undefined
  /** The one-time field. */
  readonly once: string | undefined
  /** What `hub-stop` sends instead of words; null if it is malformed. */
  readonly client: ClientWord | null | undefined
  readonly isPrefetch: boolean
  readonly source: string
}
export interface ContactStopParts {
  readonly instance: string
  readonly random: RandomBytes
  readonly contact: ContactFile
  readonly clock: Clock
  /** Stops everything, by the hub or by label, and remembers that the contact did. */
  readonly stop: (reason: string) => Promise<unknown>
  /** Whether what the contact began still holds. */
  readonly isHeld: () => boolean
  /** How many containers of ours the engine shows; rejects if it does not answer. */
  readonly count: () => Promise<number>
  readonly log: { warn(fields: object, text: string): void }
}
export interface ContactStop {
  answer(call: StopCall): Promise<StopAnswer>
  /** Within the last hour the free tries of all sources together were used up. */
  isGuessed(): boolean
}

/** The next rounds try again to remove what the stop could not; the page waits this long before it calls that a failure. */
const SETTLE_MS = 45_000
/** If the stop ends this soon, the answer already shows the end. */
const ANSWER_AFTER_MS = 400
const GUESSED_FOR_MS = 3_600_000

export function createContactStop(parts: ContactStopParts): ContactStop {
  const { contact, clock, log } = parts
  const backoff = createBackoff(clock)
  const onces = createOnces(parts.random)
  const provenOnces = createOnces(parts.random, { clock, maxMs: PROVEN_MS })
  /** Used if there is no card: no proof is made with this key. */
  const noKey = proofKeyOf(onces.give())
  let guessedMs = Number.NEGATIVE_INFINITY
  let pressed: { total: number; endedMs: number | null } | null = null

  function refuse(reason: string, source: string): StopAnswer {
    const { retryAfterMs, record, isGuessing } = backoff.wrong(source)
    if (isGuessing) guessedMs = clock.read().monotonicMs
    if (record !== undefined) log.warn({ reason, tries: record }, 'wrong words at the stop page')
    const page = stopPage({ state: 'refused' })
    if (retryAfterMs > 0) page.headers['retry-after'] = String(Math.ceil(retryAfterMs / 1000))
    return page
  }

  async function countOr(unknown: number): Promise<number> {
    try {
      return await parts.count()
    } catch {
      return unknown
    }
  }

  async function viewOf(card: Card, words: string, again: boolean): Promise<StopView | null> {
    const { operator } = card
    const stopping = (total: number, left: number): StopView => ({
      state: 'stopping',
      confirmed: Math.max(0, total - left),
      total,
      next: `/stop/${words}`,
    })
    if (pressed !== null && pressed.endedMs === null) return stopping(pressed.total, await countOr(pressed.total))
    if (!parts.isHeld()) {
      // The operator has resumed: what was pressed before is over.
      pressed = null
      return null
    }
    const left = await countOr(-1)
    const total = Math.max(pressed?.total ?? 0, left)
    if (left === 0) return { state: again ? 'already' : 'stopped', confirmed: total, operator }
    const settles = pressed?.endedMs != null && clock.read().monotonicMs - pressed.endedMs < SETTLE_MS
    if (settles) return stopping(total, left < 0 ? total : left)
    return { state: 'failed', confirmed: left < 0 ? 0 : total - left, total: left < 0 ? 0 : total }
  }

  async function press(card: Card): Promise<void> {
    const mine: NonNullable<typeof pressed> = { total: 0, endedMs: null }
    pressed = mine
    const { wallMs } = clock.read()
    const id = cardIdOf(card.digest)
    log.warn({ card: id, contact: card.name }, 'the backup contact pressed stop')
    contact.noteUsed(wallMs)
    // Counted while the stop runs, never before it: a slow engine must not delay the order.
    const counted = countOr(0).then((count) => {
      mine.total = count
    })
    try {
      await parts.stop(`the backup contact pressed stop (card ${id})`)
    } catch (error) {
      log.warn({ reason: (error as Error).message }, 'the stop failed')
    }
    await counted
    mine.endedMs = clock.read().monotonicMs
  }

  const after = (ms: number) => new Promise<void>((resolve) => void clock.after(ms, resolve))

  /** What the page shows once somebody with the right words has pressed. */
  async function pressedView(card: Card, words: string): Promise<StopView> {
    const known = await viewOf(card, words, true)
    if (known !== null && known.state !== 'failed') return known
    // Between the question and this line another press may have come first.
    if (pressed === null || pressed.endedMs !== null) await Promise.race([press(card), after(ANSWER_AFTER_MS)])
    return (await viewOf(card, words, false)) ?? { state: 'failed', confirmed: 0, total: 0 }
  }
  const lookedView = async (card: Card, words: string): Promise<StopView> =>
    (await viewOf(card, words, false)) ?? {
      state: 'ask',
      operator: card.operator,
      once: onces.give(),
      next: `/stop/${words}`,
    }

  /** `hub-stop`, which sends no words and believes no answer that does not prove itself. */
  async function answerClient(said: ClientWord | null, once: string | undefined, source: string): Promise<StopAnswer> {
    const found = contact.card()
    const card = found !== null && (found.expiresAtMs ?? Number.POSITIVE_INFINITY) > clock.read().wallMs ? found : null
    const key = card === null ? noKey : proofKeyOf(card.digest)
    const isRight = said !== null && isProven(key, said, once ?? '')
    if (card === null || said === null || !isRight) return refuse('a proof of no card', source)
    const stops = said.act === 'stop' && provenOnces.take(once)
    const page = stopPage(await (stops ? pressedView(card, '') : lookedView(card, '')))
    const word = page.headers['hub-stop'] ?? ''
    const proof = answerProof(key, said.challenge, { word, once: provenOnces.give(), instance: parts.instance })
    return { ...page, headers: { ...page.headers, ...proof } }
  }

  return {
    isGuessed: () => clock.read().monotonicMs - guessedMs < GUESSED_FOR_MS,
    async answer({ method, path, typed, once, client, isPrefetch, source }) {
      const posts = method === 'POST'
      if (posts && client !== undefined) return answerClient(client, once, source)
      if (path === undefined && !posts) return stopPage({ state: 'type', once: onces.give() })
      const words = path === undefined ? typedWords(typed ?? '') : exactWords(path)
      const judged = contact.judge(words, clock.read().wallMs)
      if (words === null || judged.kind === 'refused')
        return refuse(judged.kind === 'refused' ? judged.reason : '', source)
      const { card } = judged
      return stopPage(
        await (posts && !isPrefetch && onces.take(once) ? pressedView(card, words) : lookedView(card, words)),
      )
    },
  }
}
