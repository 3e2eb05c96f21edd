/**
 * What the gate does while the store cannot be written (D3, S1-18). For gate.ts alone.
 *
 * U1. Only routing between sessions that are already open goes on, and what a session says of its own task: nothing of it needs a row.
 *     A signed request needs one for its nonce, which forgotten would be a replay, so it is refused; frames have their sequence instead.
 * U2. The order is the gate's: generation, mode, policy, effect in memory, record into the bounded buffer, and only then is anybody told.
 *     No room in the buffer undoes the effect (I1).
 * U3. Refusals are kept as well, the true one where it is known.
 * U4. Stopping: principal and entrance decide, whether it can be recorded does not (I6).
 */
import { ERRORS, HubError, toHubError } from '../base/errors.ts'
import type { Operation, OperationName } from '../protocol/operations.ts'
import { judgeStoreFault, type Store } from '../store/database.ts'
import { effectText, entryOf } from './audit/entry.ts'
import type { AuditLog } from './audit/log.ts'
import type { Call } from './call.ts'
import { Denial } from './denial.ts'
import type { Grant } from './grant.ts'
import type { PolicyDecision } from './policy/engine.ts'

/** What needs no row. */
const ROUTED: ReadonlySet<OperationName> = new Set(['message.send', 'message.reply', 'task.progress', 'task.log'])

export interface Unstored {
  admit<Result>(call: Call, row: Operation, effect: (grant: Grant) => Result): Result
  stop<Result>(call: Call, row: Operation, effect: () => Result): Result
  /** What a call that failed with the store is refused with; kept in the buffer. `known` is what had refused it before the store did. */
  refused(call: Call, row: Operation, thrown: unknown, known: HubError | undefined): unknown
  /** Keeps a refusal, if there is room. */
  keep(call: Call, error: HubError, decision?: PolicyDecision): void
}

export const isUnrecordable = ({ code }: HubError): boolean =>
  code === 'store_unavailable' || code === 'audit_unavailable'

const needsRow = (why: string) => new HubError('store_unavailable', '', { reason: why })

export function createUnstored(parts: {
  store: Store
  audit: AuditLog
  requireReach: (call: Call, row: Operation) => void
  checkFirst: (call: Call, row: Operation) => void
  decide: (call: Call, row: Operation) => PolicyDecision
  /** The gate's own: nobody else mints. */
  mint: (call: Call, decision: PolicyDecision, auditSeq: number) => Grant
  onRefused?: (call: Call, error: HubError) => void
}): Unstored {
  const { store, audit, requireReach, checkFirst, decide, mint, onRefused } = parts

  function keep(call: Call, error: HubError, decision?: PolicyDecision): void {
    const outcome = ERRORS[error.code].kind === 'fault' ? 'failed' : 'refused'
    try {
      const reason = `${error.code}: ${error.reason}`
      audit.buffer({ ...entryOf(call, decision), outcome, reason, effect: '' }, 'refusal')
    } catch {
      // No room: five thousand refusals already say it.
    }
    onRefused?.(call, error)
  }

  function errorOf(thrown: unknown): HubError {
    const fault = judgeStoreFault(thrown)
    if (fault !== undefined) return new HubError('store_unavailable', '', { reason: fault.reason, cause: thrown })
    return thrown instanceof Denial ? thrown.error : toHubError(thrown)
  }

  /** Whether it would have been refused with the store whole, as far as that can be told without a row. */
  function firstRefusal(call: Call, row: Operation): HubError | undefined {
    try {
      checkFirst(call, row)
      return undefined
    } catch (thrown) {
      return errorOf(thrown)
    }
  }

  return {
    keep,
    admit(call, row, effect) {
      try {
        return store.unwritten(() => {
          if (call.burn !== undefined) throw needsRow('its nonce needs a row')
          checkFirst(call, row)
          if (!ROUTED.has(call.operation)) throw needsRow(`${call.operation} needs a row`)
          const decision = decide(call, row)
          const result = effect(mint(call, decision, audit.head().size + audit.bufferState().size + 1))
          const entry = { ...entryOf(call, decision), reason: decision.reason, effect: effectText(result) }
          audit.buffer({ ...entry, outcome: 'ok' }, 'effect')
          return result
        })
      } catch (thrown) {
        const error = errorOf(thrown)
        keep(call, error, thrown instanceof Denial ? thrown.decision : undefined)
        throw error
      }
    },

    stop(call, row, effect) {
      const note = (outcome: 'ok' | 'refused' | 'failed', reason: string, text: string) => {
        try {
          audit.buffer({ ...entryOf(call, undefined), outcome, reason, effect: text }, 'stop')
        } catch {
          // No room in the buffer: ten thousand records already say that the store is failing.
        }
      }
      try {
        requireReach(call, row)
        const result = effect()
        note('ok', 'stopped while the store could not be written', effectText(result))
        return result
      } catch (thrown) {
        const error = toHubError(thrown)
        note(error.code === 'forbidden' ? 'refused' : 'failed', `${error.code}: ${error.reason}`, '')
        throw error
      }
    },

    refused(call, row, thrown, known) {
      const error = errorOf(thrown)
      if (!isUnrecordable(error) || row.standing === 'stop') return thrown
      // A signed request would be repeatable: its nonce is not burned. It hears of the store, whatever else stood against it.
      const told = call.burn === undefined ? (known ?? firstRefusal(call, row) ?? error) : error
      if (row.standing !== 'read' || !isUnrecordable(told)) keep(call, told)
      return told
    },
  }
}
