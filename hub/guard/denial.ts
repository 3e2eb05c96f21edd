/** What a no of the rules becomes, and the yes that needs no rules. For gate.ts alone. */
import type { HubError } from '../base/errors.ts'
import type { PolicyDecision } from './policy/engine.ts'

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

/** For what the hub writes down after the fact: the rules are not asked whether it may have happened. */
export const BUILT_IN: PolicyDecision = Object.freeze({
  id: 'built-in',
  effect: 'allow',
  reason: 'the hub writes down what has happened',
  rule: 'built-in',
  revision: 'built-in',
  memoised: true,
})

const NARROWER_CODES = [
  'delegation_depth',
  'delegation_cycle',
  'delegation_wider',
  'limit_exceeded',
  'policy_unavailable',
  'no_capable_agent',
] as const
/** The code of a denial: the rules begin the reason with it where it is a narrower one than `policy_denied`. */
export const codeOfDenial = (reason: string) =>
  NARROWER_CODES.find((code) => reason.startsWith(code)) ?? 'policy_denied'
