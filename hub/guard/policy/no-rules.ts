/**
 * What holds while no rules could be loaded at a start (S1-16, S1-60): the operator reads, says that they are there, and mends; the
 * watchdog speaks; what the hub only writes down needs no rules anyway, and neither does a stop (I6). All else is refused.
 */
import { OPERATIONS, type OperationName } from '../../protocol/operations.ts'
import type { Engine, Verdict } from './engine.ts'

/** What the operator may do besides reading, so that rules can come back and less goes on meanwhile. */
const MENDING: ReadonlySet<string> = new Set(['policy.reload', 'agent.reload', 'agent.suspend', 'mode.resume'])
const RULE = 'hub.guard.no_rules'

/** `why`: what keeps the rules from being loaded. Memory is not needed: nothing here depends on anything but the question. */
export const noRules = (why: string): Engine => ({
  evaluate(inputText): Verdict {
    const { operation, principal } = JSON.parse(inputText) as { operation: string; principal: { kind: string } }
    const standing = Object.hasOwn(OPERATIONS, operation) ? OPERATIONS[operation as OperationName].standing : undefined
    const isPlain = standing === 'read' || standing === 'presence'
    const isAllowed =
      (principal.kind === 'operator' && (isPlain || MENDING.has(operation))) ||
      (principal.kind === 'watchdog' && isPlain)
    return isAllowed
      ? { effect: 'allow', reason: 'no rules are in force; this is always permitted', rule: RULE, fault: false }
      : { effect: 'deny', reason: `policy_unavailable: no rules are in force: ${why}`, rule: RULE, fault: false }
  },
})
