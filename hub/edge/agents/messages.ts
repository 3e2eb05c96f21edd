/**
 * An agent's envelopes: admitted one by one, routed, answered. A repeat gets its first outcome again.
 *
 * What an approval of a message is bound to:
 *
 * M1. Where it goes as the sender wrote it, what it answers, and its content. Not its id, which a second try need not repeat, nor which
 *     session of the recipient had the most room.
 * M2. Of a restricted one nobody can try contents against the digest, because `secret` is in it; so it is asked about anew after a restart of
 *     the hub (S1-63).
 * M3. A broadcast is one act, whoever of its recipients the rules ask about: it is bound to the names of all who would get it.
 *
 * A broadcast:
 *
 * B1. Each recipient is admitted by itself (S1-36). The rules are asked about all of them before anybody gets it; whom they refuse is left
 *     out, with a record.
 * B2. If they ask about one of them, nobody gets it until a person has said yes; else those who need no yes would get it twice.
 * B3. While the store cannot be written nobody is asked (docs/safety.md, ask-10), so each recipient is only admitted by itself.
 */
import { digestOf, sha256Hex } from '../../base/canonical.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import type { Grid } from '../../base/meters.ts'
import type { Random } from '../../base/random.ts'
import type { ActFacts } from '../../guard/acts.ts'
import type { Call, Gate } from '../../guard/gate.ts'
import { classFact } from '../../protocol/data-class.ts'
import type { Envelope, MessageKind } from '../../protocol/envelope.ts'
import { readTraceparent } from '../../protocol/traces.ts'
import type { Delegation } from '../../work/messages/delegation.ts'
import type { Outcomes } from '../../work/messages/outcomes.ts'
import type { Permits } from '../../work/messages/permits.ts'
import { OPERATION_OF_KIND, type Router } from '../../work/messages/router.ts'
import type { Addressed, Targets } from '../../work/messages/targets.ts'
import { withdrawnBy } from '../../work/messages/withdrawals.ts'
import type { TaskTraces } from '../../work/traces.ts'
import type { AgentCaller } from './requests.ts'

export interface Sent {
  id: string
  outcome: 'accepted'
  /** Of a broadcast: how many recipients got it, and for how many it was refused. */
  delivered?: number
  refused?: number
}
/** `refusal`: what a hook said of it. It is recorded and thrown like any other. */
export type Send = (caller: AgentCaller, envelope: Envelope, raw: Buffer, refusal?: HubError) => Sent

/** Refusals that no repeat of the same envelope can change. */
const FINAL = new Set([
  'policy_denied',
  'schema_invalid',
  'delegation_depth',
  'delegation_cycle',
  'delegation_wider',
  'forbidden',
])
/** A repeat of these goes through: a row makes each unique, or it is decided again, and its answer may have to be sent again. */
const ANSWERED_AGAIN: ReadonlySet<MessageKind> = new Set(['delegate', 'ask', 'permit'])

function payloadOf({ kind, to, type, body, correlationId, dataClass }: Envelope, secret: string): string {
  const said = { kind, to, type, body, correlationId }
  return digestOf('hub-message-v1', { ...said, ...(dataClass === 'restricted' ? { secret } : {}) })
}

function actOfMessage(envelope: Envelope, facts: Addressed['facts'], secret: string): ActFacts {
  const { session: _, ...named } = (facts.to ?? {}) as { session?: string; agent?: string }
  return {
    resource: envelope.to,
    payload: payloadOf(envelope, secret),
    facts: facts.to === undefined ? facts : { ...facts, to: named },
  }
}

function actOfBroadcast(envelope: Envelope, recipients: readonly Addressed[], secret: string): ActFacts {
  const names = recipients.flatMap(({ facts }) => (facts.to as { agent?: string }).agent ?? [])
  const agents = [...new Set(names)].sort()
  const { kind, type, to, dataClass } = envelope
  return {
    resource: to,
    payload: payloadOf(envelope, secret),
    facts: { kind, type, to: { agents }, ...classFact(dataClass) },
  }
}

/** A fault of the caller's proof or of the store ends a broadcast. A refusal for one recipient does not. */
const ENDS_IT = new Set(['nonce_used', 'unauthenticated', 'store_unavailable', 'audit_unavailable'])
/** What is said about the one approval of all. */
const SAID_OF_ALL = new Set(['needs_approval', 'approval_refused', 'rate_limited'])

/** Answers how many recipients got it. Throws what ends all of it. */
type Broadcast = (
  caller: AgentCaller,
  envelope: Envelope,
  call: Pick<Call, 'principal' | 'operation' | 'payloadHash'>,
  addressed: readonly Addressed[],
) => number

function createBroadcast(parts: { gate: Gate; router: Router; secret: string }): Broadcast {
  const { gate, router, secret } = parts

  return ({ session, proof }, envelope, call, addressed) => {
    const { burn: _, ...later } = proof
    let isFirst = true
    /** The nonce is burned with the first question. */
    const own = () => {
      const first = isFirst
      isFirst = false
      return first ? proof : later
    }
    const isOwn = (thrown: unknown) => !ENDS_IT.has(toHubError(thrown).code)

    const asked: Addressed[] = []
    const free: Addressed[] = []
    for (const one of addressed) {
      if (gate.isStoreFailing()) free.push(one)
      else
        try {
          const { resource, facts } = one
          const { asks } = gate.foresee({ ...call, ...own(), resource, facts }, true)
          ;(asks === undefined ? free : asked).push(one)
        } catch (thrown) {
          if (!isOwn(thrown)) throw thrown
        }
    }

    const recipients = [...asked, ...free]
    const act = () => actOfBroadcast(envelope, recipients, secret)
    const shared = asked.length === 0 ? {} : { act, together: {} }
    let delivered = 0
    for (const { resource, facts, target } of recipients) {
      try {
        const one = { ...call, ...own(), ...shared, resource, facts }
        gate.admit(one, (grant) => router.route(grant, session, envelope, target))
        delivered += 1
      } catch (thrown) {
        if (!isOwn(thrown)) throw thrown
        if (asked.length > 0 && delivered === 0 && SAID_OF_ALL.has(toHubError(thrown).code)) throw thrown
      }
    }
    return delivered
  }
}

/** The same with a span around each: the recipient gets its place. An agent can name a place in the trace of its own task and in no other. */
export function tracedSend(send: Send, { tracer, placeOf }: Pick<TaskTraces, 'tracer' | 'placeOf'>): Send {
  return (caller, envelope, raw, refusal) => {
    const { session } = caller
    const own = placeOf(session.task)
    const named = readTraceparent(envelope.traceparent)
    const isOwn = named?.traceId === own.traceId
    const span = tracer.begin('orch.msg.send', {
      parent: isOwn ? named : own,
      link: isOwn ? undefined : named,
      ids: { message: envelope.id, kind: envelope.kind, task: session.task, session: session.id, agent: session.agent },
    })
    let code: string | undefined = 'internal'
    try {
      const passedOn = { ...envelope, traceparent: tracer.traceparentOf(span.place) }
      const sent = tracer.within(span.place, () => send(caller, passedOn, raw, refusal))
      code = undefined
      return sent
    } catch (thrown) {
      code = toHubError(thrown).code
      throw thrown
    } finally {
      span.end(code)
    }
  }
}

export function createSend(parts: {
  gate: Gate
  router: Router
  targets: Targets
  delegation: Delegation
  permits: Pick<Permits, 'about'>
  outcomes: Outcomes
  /** Whether the session asked this very question before. */
  isAsked: (session: string, askId: string) => boolean
  /** The session made progress: a message of it was admitted for the first time. */
  acted: (session: string) => void
  meter: Grid<MessageKind, 'accepted' | 'refused'>
  random: Random
}): Send {
  const { gate, router, targets, delegation, permits, outcomes, isAsked, acted, meter } = parts
  const secret = parts.random.bytes(32).toString('hex')
  const broadcast = createBroadcast({ gate, router, secret })

  function prepare({ session }: AgentCaller, envelope: Envelope): Addressed[] {
    const addressed = targets.resolve(session, envelope)
    if (envelope.kind === 'permit') return addressed.map((only) => ({ ...only, ...permits.about(session, envelope) }))
    if (envelope.kind !== 'delegate') return addressed
    const facts = delegation.facts(session, envelope)
    return addressed.map((only) => ({ ...only, facts }))
  }

  function admit(
    caller: AgentCaller,
    envelope: Envelope,
    hashed: { payloadHash?: string },
    addressed: readonly Addressed[],
  ): Partial<Sent> {
    const { session, principal, proof } = caller
    const repeats =
      (envelope.kind === 'delegate' && delegation.isTaken(session, envelope)) ||
      (envelope.kind === 'ask' && isAsked(session.id, envelope.id))
    const asksItself = envelope.kind === 'permit' ? ({ asksItself: true } as const) : {}
    const takesBack = withdrawnBy(envelope) === undefined ? {} : ({ takesBack: true, restricts: true } as const)
    const call = {
      principal,
      operation: OPERATION_OF_KIND[envelope.kind],
      ...hashed,
      repeats,
      ...asksItself,
      ...takesBack,
    }
    const [only] = addressed
    if (envelope.kind === 'broadcast' || only === undefined) {
      const delivered = broadcast(caller, envelope, call, addressed)
      return { delivered, refused: addressed.length - delivered }
    }
    const { resource, facts, target } = only
    const act = () => actOfMessage(envelope, facts, secret)
    gate.admit({ ...call, ...proof, resource, facts, act }, (grant) => router.route(grant, session, envelope, target))
    return {}
  }

  function send(caller: AgentCaller, envelope: Envelope, raw: Buffer, refusal: HubError | undefined): Sent {
    const { session, principal, proof } = caller
    // Of what is restricted, and of arguments of a tool, nothing is written down: a short body could be guessed from its hash (S1-63).
    const hashed =
      envelope.dataClass === 'restricted' || envelope.kind === 'permit' ? {} : { payloadHash: sha256Hex(raw) }
    const refuse = (error: HubError) => {
      gate.refuse(
        { principal, operation: OPERATION_OF_KIND[envelope.kind], resource: envelope.to, ...hashed, ...proof },
        error,
      )
      return error
    }
    if (refusal !== undefined) throw refuse(refusal)
    const known = outcomes.recall(session.id, envelope.id)
    if (known !== undefined && !ANSWERED_AGAIN.has(envelope.kind)) {
      refuse(new HubError('already_resolved', 'a repeat of a message that was already answered'))
      if (!known.ok) throw known.error
      return { id: envelope.id, outcome: 'accepted' }
    }
    try {
      const addressed = prepareOrRefuse()
      if (addressed.length === 0) throw refuse(new HubError('inbox_closed', 'no other session is running'))
      const counts = admit(caller, envelope, hashed, addressed)
      outcomes.remember(session.id, envelope.id, { ok: true })
      if (counts.delivered !== 0 && known === undefined) acted(session.id)
      return { id: envelope.id, outcome: 'accepted', ...counts }
    } catch (thrown) {
      const error = toHubError(thrown)
      if (FINAL.has(error.code)) outcomes.remember(session.id, envelope.id, { ok: false, error })
      throw error
    }

    function prepareOrRefuse(): Addressed[] {
      try {
        return prepare(caller, envelope)
      } catch (thrown) {
        throw refuse(toHubError(thrown))
      }
    }
  }

  return (caller, envelope, raw, refusal) => {
    let result: 'accepted' | 'refused' = 'refused'
    try {
      const sent = send(caller, envelope, raw, refusal)
      result = 'accepted'
      return sent
    } finally {
      meter.add(envelope.kind, result)
    }
  }
}
