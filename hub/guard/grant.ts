/**
 * Proof that one caller was admitted to one action on one resource. Everything that changes something in `work/` needs one.
 *
 * G1. Only the gate mints (a house test reads the imports).
 * G2. Types are erased at run time, so the minted objects are remembered, and look-alikes are refused.
 * G3. A `StopGrant` permits stopping and nothing else; the policy was not asked for it (I6).
 * G4. An `AskGrant` permits opening an approval and nothing else: whoever asked was let through to nothing.
 */
import { HubError } from '../base/errors.ts'
import type { OperationName } from '../protocol/operations.ts'
import type { Kept } from './operator/stop-wishes.ts'
import type { Principal } from './principal.ts'

interface Proof {
  readonly operation: OperationName
  readonly principal: Principal
  readonly resource: string
}

export interface Grant extends Proof {
  readonly kind: 'grant'
  readonly decisionId: string
  /** What the policy narrowed the request to, if it did. */
  readonly narrow: {
    readonly capabilities?: readonly string[]
    readonly ttlMs?: number
    readonly egress?: readonly string[]
    readonly relax?: readonly string[]
    readonly agents?: readonly string[]
  }
  /** The rules ask a person about it: only where the effect does that by itself, or a person has agreed. */
  readonly asks?: { readonly reason: string; readonly rule: string }
  /** Sequence number of the audit record that names this grant. */
  readonly auditSeq: number
}

export interface StopGrant extends Proof {
  readonly kind: 'stop'
  /** Where the wish waits while the store cannot be written; absent in a transaction. */
  readonly unwritten?: Kept
}

/** The rules asked about this act; a person may be asked. */
export interface AskGrant extends Proof {
  readonly kind: 'ask'
}

const minted = new WeakSet<object>()

/** For guard/gate.ts alone. */
export function mintGrant(facts: Omit<Grant, 'kind'>): Grant {
  const grant: Grant = Object.freeze({ kind: 'grant', ...facts })
  minted.add(grant)
  return grant
}

/** For guard/gate.ts alone. */
export function mintStopGrant(facts: Omit<StopGrant, 'kind'>): StopGrant {
  const grant: StopGrant = Object.freeze({ kind: 'stop', ...facts })
  minted.add(grant)
  return grant
}

/** For guard/gate.ts alone. */
export function mintAskGrant(facts: Omit<AskGrant, 'kind'>): AskGrant {
  const grant: AskGrant = Object.freeze({ kind: 'ask', ...facts })
  minted.add(grant)
  return grant
}

/** Throws `internal` unless the gate minted this grant for one of the operations (any, if none is named). */
export function assertGrant(grant: Grant, ...operations: OperationName[]): void {
  assertProof(grant, 'grant', operations)
}

/** Throws `internal` unless the gate minted this stop grant. */
export function assertStopGrant(grant: StopGrant, ...operations: OperationName[]): void {
  assertProof(grant, 'stop', operations)
}

/** Throws `internal` unless the gate minted this grant because the rules asked. */
export function assertAskGrant(grant: AskGrant): void {
  assertProof(grant, 'ask', [])
}

function assertProof(
  grant: Grant | StopGrant | AskGrant,
  kind: 'grant' | 'stop' | 'ask',
  operations: OperationName[],
): void {
  if (!minted.has(grant) || grant.kind !== kind)
    throw new HubError('internal', '', { reason: 'a grant that the gate did not mint' })
  if (operations.length > 0 && !operations.includes(grant.operation)) {
    throw new HubError('internal', '', {
      reason: `a grant for ${grant.operation} was used for ${operations.join(' or ')}`,
    })
  }
}
