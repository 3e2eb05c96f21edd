/** An agent's envelopes: admitted one by one, routed, answered. A repeat gets its first outcome again. */
import { digestOf, sha256Hex } from '../../base/canonical.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import type { Grid } from '../../base/meters.ts'
import type { Random } from '../../base/random.ts'
import type { ActFacts } from '../../guard/acts.ts'
import type { Gate } from '../../guard/gate.ts'
import type { Envelope, MessageKind } from '../../protocol/envelope.ts'
import { readTraceparent } from '../../protocol/traces.ts'
import type { Delegation } from '../../work/messages/delegation.ts'
import type { Outcomes } from '../../work/messages/outcomes.ts'
import { OPERATION_OF_KIND, type Router } from '../../work/messages/router.ts'
import type { Addressed, Targets } from '../../work/messages/targets.ts'
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
/** A fault of the caller's proof or of the store ends a broadcast. A refusal for one recipient does not. */
const ENDS_BROADCAST = new Set(['nonce_used', 'unauthenticated', 'store_unavailable', 'audit_unavailable'])

/**
 * What an approval of this message is bound to: where it goes as the sender wrote it, what it answers, and its content. Not its id, which a
 * second try need not repeat, nor which session of the recipient had the most room. Of a restricted one nobody can try contents against the
 * digest, because `secret` is in it; so it is asked about anew after a restart of the hub (S1-63).
 */
function actOfMessage(envelope: Envelope, facts: Addressed['facts'], secret: string): ActFacts {
  const { kind, to, type, body, correlationId } = envelope
  const { session, ...named } = (facts.to ?? {}) as { session?: string; agent?: string }
  const isOne = kind === 'broadcast' && named.agent !== undefined
  return {
    resource: isOne ? `agent:${named.agent}` : to,
    payload: digestOf('hub-message-v1', {
      ...{ kind, to, type, body, correlationId },
      ...(envelope.dataClass === 'restricted' ? { secret } : {}),
    }),
    facts: facts.to === undefined ? facts : { ...facts, to: named },
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
  outcomes: Outcomes
  /** The session made progress: a message of it was admitted for the first time. */
  acted: (session: string) => void
  meter: Grid<MessageKind, 'accepted' | 'refused'>
  random: Random
}): Send {
  const { gate, router, targets, delegation, outcomes, acted, meter } = parts
  const secret = parts.random.bytes(32).toString('hex')

  function prepare({ session }: AgentCaller, envelope: Envelope): Addressed[] {
    const addressed = targets.resolve(session, envelope)
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
    const repeats = envelope.kind === 'delegate' && delegation.isTaken(session, envelope)
    const call = { principal, operation: OPERATION_OF_KIND[envelope.kind], ...hashed, repeats }
    const [only] = addressed
    if (envelope.kind !== 'broadcast' && only !== undefined) {
      const { resource, facts, target } = only
      const act = () => actOfMessage(envelope, facts, secret)
      gate.admit({ ...call, ...proof, resource, facts, act }, (grant) => router.route(grant, session, envelope, target))
      return {}
    }
    // Each recipient is admitted by itself (S1-36). The nonce is burned with the first.
    let delivered = 0
    for (const [place, { resource, facts, target }] of addressed.entries()) {
      const { burn, ...rest } = proof
      try {
        const own = place === 0 ? proof : rest
        const act = () => actOfMessage(envelope, facts, secret)
        gate.admit({ ...call, ...own, resource, facts, act }, (grant) => router.route(grant, session, envelope, target))
        delivered += 1
      } catch (thrown) {
        if (ENDS_BROADCAST.has(toHubError(thrown).code)) throw thrown
      }
    }
    return { delivered, refused: addressed.length - delivered }
  }

  function send(caller: AgentCaller, envelope: Envelope, raw: Buffer, refusal: HubError | undefined): Sent {
    const { session, principal, proof } = caller
    // Of what is restricted only the access is written down: a short body could be guessed from its hash (S1-63).
    const hashed = envelope.dataClass === 'restricted' ? {} : { payloadHash: sha256Hex(raw) }
    const refuse = (error: HubError) => {
      gate.refuse(
        { principal, operation: OPERATION_OF_KIND[envelope.kind], resource: envelope.to, ...hashed, ...proof },
        error,
      )
      return error
    }
    if (refusal !== undefined) throw refuse(refusal)
    const known = outcomes.recall(session.id, envelope.id)
    // A repeated delegation or question goes through: its row makes it unique, and its answer may have to be sent again.
    if (known !== undefined && envelope.kind !== 'delegate' && envelope.kind !== 'ask') {
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
