/**
 * The one door. Every request from every entrance, and every step of the hub's own loops, passes here.
 *
 * G1. The order is fixed: (authenticated by the entrance) reach -> [one transaction: burn nonce, generation and socket once more,
 *     mode, policy, decision, effect under a savepoint, audit record] -> answer. No await in between.
 * G2. The effect runs only with a grant, and commits only together with its audit record (I1). If it throws, it alone is undone
 *     and the refusal commits.
 * G3. A refusal is recorded too, with the true reason; the nonce stays burned.
 * G4. Stopping is never refused for the store's sake (I6): principal and entrance decide, the policy is not asked, and the record
 *     waits in the audit buffer if it must.
 * G5. An admitted read that discloses no content leaves no record: it changes nothing, and polling would bury the log.
 */
import { ERRORS, HubError, toHubError } from '../base/errors.ts'
import { OPERATIONS, type Operation, type OperationName } from '../protocol/operations.ts'
import { judgeStoreFault, type Store } from '../store/database.ts'
import type { AuditEntry } from './audit/chain.ts'
import { effectText, entryOf } from './audit/entry.ts'
import type { AuditLog } from './audit/log.ts'
import type { Call } from './call.ts'
import { BUILT_IN, codeOfDenial, Denial } from './denial.ts'
import { type Grant, mintGrant, mintStopGrant, type StopGrant } from './grant.ts'
import type { Nonces } from './identity/nonces.ts'
import { type Modes, permits, refusalOf } from './modes.ts'
import type { Decisions } from './policy/decisions.ts'
import type { PolicyDecision } from './policy/engine.ts'

export type { Call } from './call.ts'

export interface Gate {
  /** Admits the call and runs its effect; throws the HubError that refused it. Not for stopping operations. */
  admit<Result>(call: Call, effect: (grant: Grant) => Result): Result
  /** Admits a stopping operation by its built-in rule. The effect may be retried outside a transaction when the store fails. */
  admitStop<Result>(call: Call, effect: (grant: StopGrant) => Result): Result
  /**
   * Runs many `admit` calls in one transaction, each still under its own savepoint: one commit for all (group commit, threats.md section 8).
   * Only a store error fails the group; `work` must let it through.
   */
  group(work: () => void): void
  /** Records a refusal that happened before a call could be formed (bad signature, schema). Never throws. */
  refuse(call: Call, error: HubError): void
}

export interface GateParts {
  store: Store
  audit: AuditLog
  modes: Modes
  decisions: Decisions
  nonces: Nonces
  /** Hears every refusal after it was recorded, for events and counters. */
  onRefused?: (call: Call, error: HubError) => void
}

const proofOf = ({ operation, principal, resource }: Call) => ({ operation, principal, resource })

/** Reads that disclose the content of someone's work, and so are recorded. */
const DISCLOSING: ReadonlySet<OperationName> = new Set(['artifact.get', 'task.logs', 'session.logs'])

export function createGate(parts: GateParts): Gate {
  const { store, audit, modes, decisions, nonces, onRefused } = parts

  function requireReach(call: Call, row: Operation): void {
    if (!row.reach.includes(call.principal.kind)) {
      throw new HubError('forbidden', `${call.principal.kind} may not use ${call.operation}`)
    }
  }

  /** Nonce, generation and mode: what comes before the policy. */
  function checkFirst(call: Call, row: Operation): void {
    requireReach(call, row)
    if (call.burn !== undefined) nonces.burn(call.burn)
    const changed = call.recheck?.()
    if (changed !== undefined) throw changed
    const mode = modes.current()
    if (!permits(mode, row.standing)) {
      const names = modes.active().map((condition) => condition.name)
      throw new HubError(refusalOf(mode), `the hub is ${mode}: ${names.join(', ')}`, { facts: { conditions: names } })
    }
  }

  function decide(call: Call, row: Operation): PolicyDecision {
    if (row.standing === 'record') return BUILT_IN
    const decision = decisions.decide({
      operation: call.operation,
      principal: call.principal,
      resource: { ...call.facts },
      mode: modes.current(),
    })
    if (decision.effect === 'allow') return decision
    const code = decision.effect === 'ask' ? 'needs_approval' : codeOfDenial(decision.reason)
    throw new Denial(decision, new HubError(code, decision.reason, { facts: { decisionId: decision.id } }))
  }

  let grouping = false

  function inTransaction<Result>(call: Call, work: () => Result): Result {
    let refusal: HubError | undefined
    let result: Result | undefined
    const step = () => {
      try {
        result = work()
      } catch (thrown) {
        const denied = thrown instanceof Denial ? thrown : undefined
        const fault = judgeStoreFault(thrown)
        // Never a refusal to be recorded: after it SQLite may have ended the transaction, and the store has to latch (S3).
        if (fault !== undefined) throw new HubError('store_unavailable', '', { reason: fault.reason, cause: thrown })
        refusal = denied?.error ?? toHubError(thrown)
        if (refusal.code === 'store_unavailable' || refusal.code === 'audit_unavailable') throw refusal
        const outcome = ERRORS[refusal.code].kind === 'fault' ? 'failed' : 'refused'
        audit.append({
          ...entryOf(call, denied?.decision),
          outcome,
          reason: `${refusal.code}: ${refusal.reason}`,
          effect: '',
        })
      }
    }
    if (grouping) step()
    else {
      // What waited while the store failed comes before anything new.
      audit.flush()
      whole(step)
    }
    if (refusal !== undefined) {
      const told = refusal
      store.afterCommit(() => onRefused?.(call, told))
      throw refusal
    }
    return result as Result
  }

  /** The store failed, perhaps before anything was checked: who may stop is still asked, whether it can be recorded is not (I6). */
  function stopUnstored<Result>(call: Call, row: Operation, effect: () => Result): Result {
    const keep = (outcome: AuditEntry['outcome'], reason: string, text: string) => {
      try {
        audit.buffer({ ...entryOf(call, undefined), outcome, reason, effect: text })
      } catch {
        // No room in the buffer: ten thousand records already say that the store is failing.
      }
    }
    try {
      requireReach(call, row)
      const result = effect()
      keep('ok', 'stopped while the store could not be written', effectText(result))
      return result
    } catch (thrown) {
      const error = toHubError(thrown)
      keep(error.code === 'forbidden' ? 'refused' : 'failed', `${error.code}: ${error.reason}`, '')
      throw error
    }
  }

  function whole(work: () => void): void {
    try {
      store.transaction(work)
    } catch (thrown) {
      audit.reload()
      decisions.forget()
      throw thrown
    }
  }

  return {
    admit(call, effect) {
      const row: Operation = OPERATIONS[call.operation]
      if (row.standing === 'stop')
        throw new HubError('internal', '', { reason: `${call.operation} stops; it takes admitStop` })
      const admitted = () =>
        inTransaction(call, () => {
          checkFirst(call, row)
          const decision = decide(call, row)
          // The record's number is known before it is written: one transaction at a time, and a failed effect appends nothing.
          const auditSeq = audit.head().size + 1
          const grant = mintGrant({
            ...proofOf(call),
            decisionId: decision.id,
            narrow: decision.narrow ?? {},
            auditSeq,
          })
          const result = store.savepoint(() => effect(grant))
          if (row.standing !== 'read' || DISCLOSING.has(call.operation)) {
            audit.append({
              ...entryOf(call, decision),
              outcome: 'ok',
              reason: decision.reason,
              effect: effectText(result),
            })
          }
          return result
        })
      if (row.standing !== 'read' || DISCLOSING.has(call.operation)) return admitted()
      try {
        return admitted()
      } catch (thrown) {
        // A store that cannot be written does not blind the operator: reading changes nothing (safety.md section 1).
        if (toHubError(thrown).code !== 'store_unavailable' || call.principal.kind !== 'operator') throw thrown
        requireReach(call, row)
        return effect(mintGrant({ ...proofOf(call), decisionId: 'built-in', narrow: {}, auditSeq: 0 }))
      }
    },

    admitStop(call, effect) {
      const row: Operation = OPERATIONS[call.operation]
      if (row.standing !== 'stop')
        throw new HubError('internal', '', { reason: `${call.operation} does not stop; it takes admit` })
      const grant = mintStopGrant(proofOf(call))
      try {
        return inTransaction(call, () => {
          checkFirst(call, row)
          const result = store.savepoint(() => effect(grant))
          audit.append({
            ...entryOf(call, undefined),
            outcome: 'ok',
            reason: 'stopping is always permitted to this principal',
            effect: effectText(result),
          })
          return result
        })
      } catch (thrown) {
        const error = toHubError(thrown)
        if (error.code !== 'store_unavailable' && error.code !== 'audit_unavailable') throw thrown
        return stopUnstored(call, row, () => effect(grant))
      }
    },

    group(work) {
      grouping = true
      try {
        whole(work)
      } finally {
        grouping = false
      }
    },

    refuse(call, error) {
      try {
        inTransaction(call, () => {
          // A faulty body of an authenticated caller burns its nonce too (architecture.md section 4.2).
          if (call.burn !== undefined) nonces.burn(call.burn)
          throw error
        })
      } catch {
        // The refusal is what the caller gets in any case; without a store it cannot be recorded, and `store_failing` says so.
      }
    },
  }
}
