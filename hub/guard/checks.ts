/** The steps of the gate that come before an effect, in their order: reach, nonce, generation and socket, mode, policy. For the gate alone. */
import { HubError } from '../base/errors.ts'
import type { Operation } from '../protocol/operations.ts'
import type { Call } from './call.ts'
import { BUILT_IN, codeOfDenial, Denial } from './denial.ts'
import type { Nonces } from './identity/nonces.ts'
import { type Modes, permits, refusalOf } from './modes.ts'
import type { Decisions } from './policy/decisions.ts'
import type { PolicyDecision } from './policy/engine.ts'
import { mayStop, principalText } from './principal.ts'

export interface Checks {
  requireReach(call: Call, row: Operation): void
  /** Nonce, generation and mode: what comes before the policy. */
  checkFirst(call: Call, row: Operation): void
  /** Throws a Denial for any answer but yes. */
  decide(call: Call, row: Operation, ask?: Decisions['decide']): PolicyDecision
}

export function createChecks(parts: { modes: Modes; decisions: Decisions; nonces: Nonces }): Checks {
  const { modes, decisions, nonces } = parts

  function requireReach(call: Call, row: Operation): void {
    if (!row.reach.includes(call.principal.kind)) {
      throw new HubError('forbidden', `${call.principal.kind} may not use ${call.operation}`)
    }
    // The rules are not asked about stopping (I6), so what a bearer was given is looked at here.
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
    if (row.standing === 'record') return BUILT_IN
    const { operation, principal } = call
    // The row of a no follows with its record, where it gets one of its own.
    const decision = ask({ operation, principal, resource: { ...call.facts }, mode: modes.current() }, true)
    if (decision.effect === 'allow') return decision
    const code = decision.effect === 'ask' ? 'needs_approval' : codeOfDenial(decision.reason)
    throw new Denial(decision, new HubError(code, decision.reason, { facts: { decisionId: decision.id } }))
  }

  return { requireReach, checkFirst, decide }
}
