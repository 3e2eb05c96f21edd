/**
 * The backup contact's stop at the hub: who may, what happens, and how far it is (docs/safety.md 6, S1-31, S1-32).
 *
 * D1. GET, HEAD and whatever a browser fetches ahead change nothing. Only a POST with the words of the valid card stops, and only with the
 *     one-time field of a page or the proof of `hub-stop` (stop-proof.ts). A program that posts to the address is shown the button (T19).
 * D2. Wrong, altered, revoked and expired words get the same answer; the reason goes to the record. The comparison comes before the
 *     back-off, so nobody's guessing keeps the contact out (T17).
 * D3. It stops once. While it is stopping or stopped, pressing again starts nothing and says how things are.
 * D4. "Everything has stopped" is said only when every container was confirmed gone.
 */
import type { Clock } from '../../base/clock.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import type { Gate } from '../../guard/gate.ts'
import type { StopGrant } from '../../guard/grant.ts'
import type { Modes } from '../../guard/modes.ts'
import type { Card, Contact } from '../../guard/operator/contact.ts'
import { CONTACT, NO_CONTACT } from '../../guard/principal.ts'
import { exactWords, typedWords } from '../../protocol/card-words.ts'
import { type StopAnswer, type StopView, stopPage } from './stop-page.ts'
import { answerProof, type ClientWord, createOnces, isProven, PROVEN_MS } from './stop-proof.ts'
import { CARD_TRIES, createWrongTries, othersText } from './wrong-tries.ts'

export interface StopCall {
  method: 'GET' | 'HEAD' | 'POST'
  /** What comes after `/stop/`, exactly as it was sent; undefined for `/stop` itself. */
  path: string | undefined
  /** What was typed into the form. */
  typed: string | undefined
  /** The one-time field. */
  once: string | undefined
  /** What `hub-stop` says instead of words; null if it is malformed. */
  client: ClientWord | null | undefined
  /** A browser's or a program's guess at what will be wanted next. */
  isPrefetch: boolean
  /** Who asks; used only for the back-off. */
  source: string
}

export interface StopReport {
  containers: readonly { outcome: 'gone' | 'already_gone' | 'failed' }[]
  /** Why it cannot be said that nothing is left. */
  unproven?: string
}
export interface ContactStopParts {
  instance: string
  random: Random
  contact: Contact
  gate: Gate
  modes: Modes
  clock: Clock
  /** In the transaction that records who asked: sets what outlives the stop. */
  begin: (reason: string) => void
  stop: (grant: StopGrant, reason: string) => Promise<StopReport>
  progress: () => { requested: number; confirmed: number } | undefined
  /** Whether a session of the hub is still open. */
  isAnythingLeft: () => boolean
  /** Tells the operator. */
  raise: (cause: 'contact_stop' | 'contact_guessing', text: string) => void
}
export interface ContactStop {
  answer(call: StopCall): Promise<StopAnswer>
  /** The card used as a bearer: its one verb is not reached in this way. Throws `forbidden`; other credentials are for others to judge. */
  refuseBearer(authorization: string | undefined, resource: string): void
  /** Resolves once whoever pressed has seen the end, or had a minute to. At once if nobody pressed. */
  seen(): Promise<void>
}

/** A stop that is over within this time is answered with its end. */
const ANSWER_AFTER_MS = 400
const SEEN_WITHIN_MS = 60_000
/** Time for the last page to leave before the process does. */
const FAREWELL_MS = 1500
/** What the contact asks for is always the same (routes/stopping.ts). */
const WISH = { drain: false, emergency: true, exit: 'shutdown', reason: '' }
/** Pressing again is recorded once in this time. */
const AGAIN_EVERY_MS = 10_000

export function createContactStop(parts: ContactStopParts): ContactStop {
  const { contact, gate, modes, clock } = parts
  const tries = createWrongTries(CARD_TRIES, clock)
  const onces = createOnces(parts.random)
  const provenOnces = createOnces(parts.random, { clock, maxMs: PROVEN_MS })
  /** Used if there is no card: no proof has this key. */
  const noKey = onces.give()
  let pressed: { done: boolean; report?: StopReport; fault?: string } | undefined
  let againMs = Number.NEGATIVE_INFINITY
  let hasSeen: () => void = () => undefined
  let seen: Promise<void> = Promise.resolve()

  const call = (card: Card) => ({ principal: CONTACT, operation: 'hub.shutdown', resource: `card ${card.id}` }) as const

  function refuse(reason: string, source: string): StopAnswer {
    const { retryAfterMs, record, isGuessing } = tries.wrong(source)
    if (record !== undefined) {
      gate.refuse(
        { principal: NO_CONTACT, operation: 'hub.shutdown', resource: 'hub' },
        new HubError('unauthenticated', '', { reason: `${reason}${othersText(record)}` }),
      )
    }
    if (isGuessing)
      parts.raise(
        'contact_guessing',
        'Somebody is guessing words at the stop page. Nothing was stopped, and the card still works.',
      )
    const page = stopPage({ state: 'refused' })
    if (retryAfterMs > 0) page.headers['retry-after'] = String(Math.ceil(retryAfterMs / 1000))
    return page
  }

  /** What the page shows of a stop; undefined if there is none to show. */
  function viewOf(card: Card, words: string, again: boolean): StopView | undefined {
    const { operator } = card
    if (pressed?.done === false) {
      const { requested = 0, confirmed = 0 } = parts.progress() ?? {}
      return { state: 'stopping', confirmed, total: requested, next: `/stop/${words}` }
    }
    if (pressed !== undefined) {
      const containers = pressed.report?.containers ?? []
      const confirmed = containers.filter(({ outcome }) => outcome !== 'failed').length
      const isWhole = pressed.fault === undefined && pressed.report?.unproven === undefined
      hasSeen()
      if (!isWhole || confirmed < containers.length) return { state: 'failed', confirmed, total: containers.length }
      return { state: again ? 'already' : 'stopped', confirmed, operator }
    }
    // Stopped by the watchdog's page, by the operator, or before this hub started.
    if (modes.has('emergency_stop') && !parts.isAnythingLeft())
      return { state: again ? 'already' : 'stopped', confirmed: 0, operator }
    return undefined
  }

  function press(card: Card): Promise<void> {
    const reason = `the backup contact pressed stop (card ${card.id})`
    let grant: StopGrant | undefined
    gate.admitStop({ ...call(card), wish: WISH }, (proof) => {
      grant = proof
      parts.begin(reason)
      contact.noteUsed()
      return { auditEffect: `card ${card.id}` }
    })
    parts.raise(
      'contact_stop',
      `${card.name} stopped everything with the card ${card.id}. Nothing was deleted. To go on: hub up, then hub resume.`,
    )
    seen = new Promise((resolve) => {
      hasSeen = () => void clock.after(FAREWELL_MS, resolve)
      clock.after(SEEN_WITHIN_MS, resolve)
    })
    const mine: NonNullable<typeof pressed> = { done: false }
    pressed = mine
    return parts
      .stop(grant as StopGrant, reason)
      .then(
        (report) => {
          mine.report = report
        },
        (thrown: unknown) => {
          mine.fault = toHubError(thrown).reason
        },
      )
      .then(() => {
        mine.done = true
      })
  }

  /** What somebody who may press sees after pressing. */
  async function pressedView(card: Card, words: string): Promise<StopView> {
    const known = viewOf(card, words, true)
    if (known === undefined) {
      await Promise.race([press(card), clock.sleep(ANSWER_AFTER_MS)])
      return viewOf(card, words, false) ?? { state: 'refused' }
    }
    if (clock.monotonicMs() - againMs >= AGAIN_EVERY_MS) {
      againMs = clock.monotonicMs()
      gate.admitStop(call(card), () => ({
        auditEffect: `card ${card.id}: already ${known.state === 'stopping' ? 'stopping' : 'stopped'}`,
      }))
    }
    return known
  }
  const lookedView = (card: Card, words: string): StopView =>
    viewOf(card, words, false) ?? { state: 'ask', operator: card.operator, once: onces.give(), next: `/stop/${words}` }

  /** `hub-stop` sends no words, and believes no answer that does not prove itself. */
  async function answerClient(said: ClientWord | null, once: string | undefined, source: string): Promise<StopAnswer> {
    const mine = contact.provable()
    const isRight = said !== null && isProven(mine?.key ?? noKey, said, once ?? '')
    if (mine === undefined || said === null || !isRight) return refuse('the proof belongs to no card', source)
    const { card, key } = mine
    const stops = said.act === 'stop' && provenOnces.take(once)
    const page = stopPage(stops ? await pressedView(card, '') : lookedView(card, ''))
    const word = page.headers['hub-stop'] ?? ''
    const proof = answerProof(key, said.challenge, { word, once: provenOnces.give(), instance: parts.instance })
    return { ...page, headers: { ...page.headers, ...proof } }
  }

  return {
    refuseBearer(authorization, resource) {
      const judged = contact.judge(typedWords(authorization?.replace(/^Bearer /i, '') ?? ''))
      if (judged.kind === 'refused') return
      const error = new HubError('forbidden', 'this card can only stop everything, at /stop')
      gate.refuse({ principal: CONTACT, operation: 'health.show', resource }, error)
      throw error
    },
    seen: () => seen,
    async answer({ method, path, typed, once, client, isPrefetch, source }) {
      const posts = method === 'POST'
      if (posts && client !== undefined) return answerClient(client, once, source)
      if (path === undefined && !posts) return stopPage({ state: 'type', once: onces.give() })
      const words = path === undefined ? typedWords(typed ?? '') : exactWords(path)
      const judged = contact.judge(words)
      if (words === undefined || judged.kind === 'refused')
        return refuse(judged.kind === 'refused' ? judged.reason : '', source)
      const { card } = judged
      return stopPage(
        posts && !isPrefetch && onces.take(once) ? await pressedView(card, words) : lookedView(card, words),
      )
    },
  }
}
