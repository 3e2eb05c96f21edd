/**
 * The routes of the watchdog's socket, by method and path. Possession of the socket is the credential (door.ts).
 * D1 a body that is not understood is refused by name. D2 GET never acts.
 */

import { isCheckpoint } from '../judge/lease.ts'
import type { AlertTest } from '../tell/alert-test.ts'
import type { Said } from '../watch/operator-words.ts'
import type { Watch } from '../watch/watch.ts'
import { type ContactRouteParts, contactRoute } from './contact.ts'

export interface DoorParts {
  readonly watch: Watch
  readonly alertTest: AlertTest
  /** Asks for a round at once. */
  readonly wake: () => void
  readonly contact: ContactRouteParts
  /** Ends the process after the answer is out. */
  readonly exit: () => void
}

export type Body = Readonly<Record<string, unknown>>
export interface DoorAnswer {
  readonly status: number
  /** An object goes out as JSON, a text as it is. */
  readonly body: object | string
  /** Runs once the answer is out. */
  readonly after?: () => void
}
type Route = (body: Body, parts: DoorParts) => DoorAnswer | Promise<DoorAnswer>

/** Whether a heartbeat from there is strong (docs/safety.md 2). */
const SOURCES: Readonly<Record<string, boolean>> = { cli: true, api: true, console: true, device: true, webhook: false }
const KINDS = ['restart', 'down', 'shutdown'] as const

export class BodyError extends Error {}

function only(body: Body, keys: readonly string[]): void {
  for (const key of Object.keys(body)) if (!keys.includes(key)) throw new BodyError(`${key} is not a known field`)
}
function textField(body: Body, key: string, normal: string): string {
  const value = body[key] ?? normal
  if (typeof value !== 'string' || value.length > 500)
    throw new BodyError(`${key} must be a text of at most 500 characters`)
  return value
}

/** Who says it, as the entrance proved it, and what they added. */
function saidIn(body: Body): Said {
  const source = textField(body, 'source', 'cli')
  if (!Object.hasOwn(SOURCES, source)) throw new BodyError(`source must be one of ${Object.keys(SOURCES).join(', ')}`)
  return { source, note: textField(body, 'note', '') }
}
function strongIn(body: Body): Said {
  const said = saidIn(body)
  if (SOURCES[said.source] !== true) throw new BodyError(`a ${said.source} may only give a heartbeat`)
  return said
}
/** Who asks for the stop: one of these, or the first if nothing is said. */
function byField<By extends string>(body: Body, allowed: readonly [By, ...By[]]): By {
  if (body.by === undefined) return allowed[0]
  const by = allowed.find((one) => one === body.by)
  if (by === undefined) throw new BodyError(`by must be one of ${allowed.join(', ')}`)
  return by
}

/** Every route of the socket. */
export const ROUTES: Readonly<Record<string, Route>> = {
  'GET /v1/status': (_body, { watch }) => ({ status: 200, body: watch.status() }),
  'POST /v1/heartbeat': (body, { watch, wake }) => {
    only(body, ['note', 'source'])
    const said = saidIn(body)
    const answer = watch.heartbeat(SOURCES[said.source] === true, said)
    wake()
    return { status: 200, body: answer }
  },
  'POST /v1/away': (body, { watch, wake }) => {
    only(body, ['untilMs', 'note', 'keepWorking', 'source'])
    const said = strongIn(body)
    const { untilMs, keepWorking = false } = body
    if (!Number.isSafeInteger(untilMs)) throw new BodyError('untilMs must be an instant in milliseconds since 1970')
    if (typeof keepWorking !== 'boolean') throw new BodyError('keepWorking must be true or false')
    const answer = watch.away({ untilMs: untilMs as number, keepWorking }, said)
    if (typeof answer === 'string') return { status: 409, body: { error: answer } }
    wake()
    return { status: 200, body: answer }
  },
  'POST /v1/back': (body, { watch, wake }) => {
    only(body, ['note', 'source'])
    const answer = watch.back(strongIn(body))
    wake()
    return { status: 200, body: answer }
  },
  'POST /v1/up': (body, { watch }) => {
    only(body, [])
    return { status: 200, body: watch.up() }
  },
  'POST /v1/announce': (body, { watch, wake }) => {
    only(body, ['kind', 'forMs', 'by'])
    const kind = KINDS.find((one) => one === body.kind)
    if (kind === undefined) throw new BodyError(`kind must be one of ${KINDS.join(', ')}`)
    const forMs = body.forMs
    if (!Number.isSafeInteger(forMs) || (forMs as number) < 0)
      throw new BodyError('forMs must be a whole number of milliseconds')
    const by = body.by === undefined ? undefined : byField(body, ['operator', 'contact', 'emergency'] as const)
    watch.announce(kind, forMs as number, by)
    if (by !== undefined) wake()
    return { status: 200, body: { announced: kind } }
  },
  'POST /v1/shutdown': async (body, { watch, wake }) => {
    if (body.by === 'drill') {
      only(body, ['reason', 'by', 'session'])
      const session = textField(body, 'session', '')
      if (!/^s[a-z2-7]{15}$/.test(session)) throw new BodyError('session must be the id of one session')
      return { status: 200, body: await watch.drill(session) }
    }
    only(body, ['reason', 'by'])
    const by = byField(body, ['operator', 'contact', 'emergency'] as const)
    const stopped = await watch.shutdown(textField(body, 'reason', 'operator'), by)
    wake()
    return { status: 200, body: stopped }
  },
  // Ends what the contact or `--emergency` began. A heartbeat does not.
  'POST /v1/resume': (body, { watch, wake }) => {
    only(body, [])
    const answer = watch.resume()
    wake()
    return { status: 200, body: answer }
  },
  // The last checkpoints of a hub that ends. They are signed, so it does not matter who brings them.
  'POST /v1/witness': (body, { watch, wake }) => {
    only(body, ['auditSize', 'auditHead', 'checkpoints'])
    const { auditSize, checkpoints } = body
    if (!Number.isSafeInteger(auditSize) || (auditSize as number) < 0) throw new BodyError('auditSize must be a count')
    if (!Array.isArray(checkpoints) || !checkpoints.every(isCheckpoint))
      throw new BodyError('checkpoints must be a list of signed checkpoints')
    const auditHead = textField(body, 'auditHead', '')
    const word = watch.witness({ auditSize: auditSize as number, auditHead, checkpoints })
    if (word === 'mismatch') wake()
    return { status: word === 'mismatch' ? 409 : 200, body: { witness: word } }
  },
  'POST /v1/accept-head': (body, { watch, wake }) => {
    only(body, ['head'])
    if (!watch.acceptHead(textField(body, 'head', ''))) throw new BodyError('head is not the one the hub last showed')
    wake()
    return { status: 200, body: { accepted: true } }
  },
  // Tries every channel now and says for each whether it took the message. Takes up to 12 s (alert-test.ts).
  'POST /v1/alert-test': async (body, { alertTest }) => {
    only(body, ['who', 'kind', 'code'])
    const { who = 'operator', kind = 'test' } = body
    if (who !== 'operator' && who !== 'contact' && who !== 'both')
      throw new BodyError('who must be one of operator, contact, both')
    if (kind !== 'test' && kind !== 'rehearsal') throw new BodyError('kind must be one of test, rehearsal')
    const code = textField(body, 'code', '')
    if (!/^[\w -]{0,40}$/.test(code))
      throw new BodyError('code must have at most 40 letters, digits, spaces and dashes')
    const answer = await alertTest({ who, kind, code })
    return typeof answer === 'string' ? { status: 409, body: { error: answer } } : { status: 200, body: answer }
  },
  // A hub that has just started asks for its lease at once, instead of waiting out the interval.
  'POST /v1/look': (body, { wake }) => {
    only(body, [])
    wake()
    return { status: 200, body: { looking: true } }
  },
  'POST /v1/contact': (body, { contact, watch }) => contactRoute(body, contact, watch),
  'POST /v1/exit': (body, { exit }) => {
    only(body, [])
    return { status: 200, body: { exiting: true }, after: exit }
  },
}
