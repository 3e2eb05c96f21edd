/** What the audit log says of one call: who, what, on what, by which decision. */

import type { AuditEntry } from '../../protocol/audit-chain.ts'
import { OPERATIONS, type OperationName } from '../../protocol/operations.ts'
import type { PolicyDecision } from '../policy/engine.ts'
import { type Principal, principalText } from '../principal.ts'

/** The parts of an entry that are known before the outcome. */
export function entryOf(
  call: {
    readonly principal: Principal
    readonly operation: OperationName
    readonly resource: string
    readonly payloadHash?: string
  },
  decision: PolicyDecision | undefined,
): Omit<AuditEntry, 'outcome' | 'reason' | 'effect'> {
  return {
    principal: principalText(call.principal),
    action: OPERATIONS[call.operation].audit,
    resource: call.resource,
    decisionId: decision?.id ?? null,
    policyRevision: decision?.revision ?? null,
    payloadHash: call.payloadHash ?? null,
  }
}

/** The effect an admitted call names by `auditEffect`, such as the id of the row it made. */
export const effectText = (result: unknown): string => {
  const id = (result as { auditEffect?: unknown } | null | undefined)?.auditEffect
  return typeof id === 'string' ? id : ''
}
