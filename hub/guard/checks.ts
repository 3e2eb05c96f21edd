/**
 * What a call to the gate is, the checks before its effect in their order (reach, nonce, generation and socket, mode, policy), and what a
 * denial by the rules becomes.
 */
import { HubError } from '../base/errors.ts'
import type { Operation, OperationName } from '../protocol/operations.ts'
import type { Tracer } from '../protocol/traces.ts'
import { type ActFacts, mayBeAsked } from './acts.ts'
import type { Nonces } from './identity/nonces.ts'
import type { GuardMeters } from './meters.ts'
import { type ConditionName, type Modes, permits, refusalOf } from './modes.ts'
import type { Approval } from './operator/approval-rows.ts'
import type { Decisions } from './policy/decisions.ts'
import type { PolicyDecision } from './policy/engine.ts'
import { mayStop, type Principal, principalText } from './principal.ts'

export interface Call {
  readonly principal: Principal
  readonly operation: OperationName
  /** What it is about, for the record: `task:…`, `agent:reader`. */
  readonly resource: string
  /** What the rules may look at. No time and nothing random, because decisions are memoised by it. */
  readonly facts?: Readonly<Record<string, unknown>>
  readonly payloadHash?: string
  /** This request only restricts (a question answered with no), although its operation may widen: every mode permits it, like a repair. */
  readonly restricts?: boolean
  /** It takes back a question that the caller asked itself: the rules are not asked, since they could only keep it open. */
  readonly takesBack?: true
  /** For a stop that must hold while the store cannot be written: the request, as the operation's handler takes it (stop-wishes.ts). */
  readonly wish?: unknown
  /** The condition that this call may end by what it proves; only that condition does not hold it back. */
  readonly mends?: ConditionName
  /** A signed request's nonce or a session's token id, burned in this transaction. */
  readonly burn?: { scope: string; value: string; expiresAtMs: number }
  /** What an approval of this call is bound to, if the rules ask; without it, resource, facts and payload (acts.ts). */
  readonly act?: () => ActFacts
  /** It was admitted before, and is only told of again: where the rules ask, nobody is asked a second time. */
  readonly repeats?: boolean
  /** Its effect is to ask a person: where the rules ask, it is admitted, and its grant says why they do. */
  readonly asksItself?: true
  /**
   * Several calls of one turn are one act: what a person admitted with the first of them admits the others. The same object for each of them;
   * it holds the approval that was used.
   */
  readonly together?: { used?: Pick<Approval, 'id' | 'act' | 'answeredBy'> | undefined }
  /** Why the rules asked about this already, before what it is about was chosen: a yes of theirs is no answer any more. */
  readonly mustAsk?: Pick<PolicyDecision, 'reason' | 'rule'>
  /** It changes nothing, and its record is written at its end (egress.settle): no record of its own if it is admitted. */
  readonly recordedLater?: true
  /** Checks generation and socket once more, now that nothing can come in between. */
  readonly recheck?: () => HubError | undefined
}

/** Thrown inside the gate's transaction, so that the refusal's record names the decision. */
export class Denial extends Error {
  readonly decision: PolicyDecision
  readonly error: HubError
  constructor(decision: PolicyDecision, error: HubError) {
    super(decision.reason)
    this.decision = decision
    this.error = error
  }
}

/** The rules ask: a person may admit it. */
export class Asked extends Denial {}

const builtIn = (reason: string): PolicyDecision =>
  Object.freeze({ id: 'built-in', effect: 'allow', reason, rule: 'built-in', revision: 'built-in', memoised: true })
/** For what the hub records after the fact: the rules are not asked about what has already happened. */
const HAPPENED = builtIn('the hub writes down what has happened')
const TAKEN_BACK = builtIn('whoever asked may take its question back')

export interface Checks {
  requireReach(call: Call, row: Operation): void
  /** Nonce, generation and mode: what comes before the policy. */
  checkFirst(call: Call, row: Operation): void
  /** Throws a Denial for any answer but yes; `Asked` where a person may be asked. */
  decide(call: Call, row: Operation, ask?: Decisions['decide']): PolicyDecision
  /** What comes before the policy, and the policy. Where a person may be asked, it answers that instead of throwing it. */
  judgeOrAsk(call: Call, row: Operation): Asked | { decision: PolicyDecision }
}

export function createChecks(parts: {
  modes: Modes
  decisions: Decisions
  nonces: Nonces
  meters: Pick<GuardMeters, 'decisions'> | undefined
  tracer: Tracer | undefined
}): Checks {
  const { modes, decisions, nonces, meters, tracer } = parts

  function requireReach(call: Call, row: Operation): void {
    if (!row.reach.includes(call.principal.kind)) {
      throw new HubError('forbidden', `${call.principal.kind} may not use ${call.operation}`)
    }
    // The rules are not asked about stopping (I6), so the rights of a bearer are checked here.
    if (row.standing === 'stop' && !mayStop(call.principal, call.operation))
      throw new HubError('forbidden', `${principalText(call.principal)} was not given ${call.operation}`)
  }

  function checkFirst(call: Call, row: Operation): void {
    requireReach(call, row)
    if (call.burn !== undefined) nonces.burn(call.burn)
    const changed = call.recheck?.()
    if (changed !== undefined) throw changed
    const mode = call.mends === undefined ? modes.current() : modes.without(call.mends)
    if (!permits(mode, call.restricts === true ? 'mending' : row.standing)) {
      const names = modes.active().map((condition) => condition.name)
      throw new HubError(refusalOf(mode), `the hub is ${mode}: ${names.join(', ')}`, { facts: { conditions: names } })
    }
  }

  function decide(call: Call, row: Operation, ask: Decisions['decide'] = decisions.decide): PolicyDecision {
    if (row.standing === 'record') return HAPPENED
    if (call.takesBack === true) return TAKEN_BACK
    const { operation, principal } = call
    // The row of a denial follows with its record, if it gets a record of its own.
    const parent = tracer?.current()
    const span = parent && tracer?.begin('orch.policy.decide', { parent, ids: { operation } })
    const answered = ask({ operation, principal, resource: { ...call.facts }, mode: modes.current() }, true)
    const decision =
      call.mustAsk === undefined || answered.effect !== 'allow'
        ? answered
        : { ...answered, ...call.mustAsk, effect: 'ask' as const }
    span?.end(undefined, { decision: decision.id, answer: decision.effect })
    meters?.decisions.add(operation, decision.effect)
    const mayAsk = call.repeats === true || call.asksItself === true
    if (decision.effect === 'allow' || (decision.effect === 'ask' && mayAsk)) return decision
    const facts = { decisionId: decision.id }
    if (decision.effect === 'deny')
      throw new Denial(decision, new HubError(decision.code ?? 'policy_denied', decision.reason, { facts }))
    if (mayBeAsked(operation))
      throw new Asked(
        decision,
        new HubError('needs_approval', `a person has to agree first: ${decision.reason}`, { facts }),
      )
    const detail = `a rule asks a person about it, but about ${operation} nobody can be asked, so it is refused: ${decision.reason}`
    throw new Denial(decision, new HubError('policy_denied', detail, { facts }))
  }

  function judgeOrAsk(call: Call, row: Operation): Asked | { decision: PolicyDecision } {
    try {
      checkFirst(call, row)
      return { decision: decide(call, row) }
    } catch (thrown) {
      if (thrown instanceof Asked) return thrown
      throw thrown
    }
  }

  return { requireReach, checkFirst, decide, judgeOrAsk }
}
