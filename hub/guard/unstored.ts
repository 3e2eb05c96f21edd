/**
 * What the gate does while the store cannot be written (S1-18). Only for gate.ts.
 *
 * U1. Only routing between open sessions goes on, and what a session says about its own task: none of that needs a row.
 *     A signed request needs a row for its nonce, since a forgotten nonce allows a replay, so it is refused; frames have their sequence instead.
 * U2. The order is the gate's: generation, mode, policy, effect in memory, record into the bounded buffer, and only then is anybody told.
 *     No room in the buffer undoes the effect (I1).
 * U3. Refusals are kept as well, with the true reason if it is known.
 * U4. Principal and entrance decide about a stop, whether or not it can be recorded (I6). A stop that must hold is kept in the home before it
 *     is carried out (stop-wishes.ts). It is the first thing written once the store works again, also after a restart: everything that could
 *     start the stopped thing again comes through the gate, and finds it stopped.
 */
import { ERRORS, type ErrorCode, HubError, toHubError } from '../base/errors.ts'
import type { Operation, OperationName } from '../protocol/operations.ts'
import { judgeStoreFault, type Store } from '../store/database.ts'
import { effectText, entryOf } from './audit/entry.ts'
import type { AuditLog } from './audit/log.ts'
import type { Call } from './checks.ts'
import { Asked, Denial } from './checks.ts'
import type { Grant, StopGrant } from './grant.ts'
import type { Modes } from './modes.ts'
import type { Kept, StopWish, StopWishes } from './operator/stop-wishes.ts'
import type { PolicyDecision } from './policy/engine.ts'
import { hubPrincipal } from './principal.ts'
import type { RefusalSum, Refusals } from './refusals.ts'

/** What needs no row. */
const ROUTED: ReadonlySet<OperationName> = new Set([
  'message.send',
  'message.reply',
  'task.progress',
  'task.log',
  'session.frame',
])

export interface Unstored {
  admit<Result>(call: Call, row: Operation, effect: (grant: Grant) => Result): Result
  stop<Result>(call: Call, row: Operation, effect: (grant: StopGrant) => Result): Result
  /** Whether stops wait to be written. */
  hasWishes(): boolean
  /** Within the transaction that writes what waited: carries the wishes out. */
  writeWishes(): void
  /** At a start whose store cannot be written either: repeats the stops. */
  stopAgain(): void
  /** The refusal of a call that failed with the store; kept in the buffer. `known`: an earlier reason to refuse it. */
  refused(call: Call, row: Operation, thrown: unknown, known: HubError | undefined): unknown
  /** Keeps a refusal, if there is room. */
  keep(call: Call, error: HubError, decision?: PolicyDecision): void
  /** Keeps what was counted; false if there is no room, and it stays counted. */
  keepSum(sum: RefusalSum): boolean
}

export const isUnrecordable = ({ code }: HubError): boolean =>
  code === 'store_unavailable' || code === 'audit_unavailable'

const STOPPED = 'stopped while the store could not be written'

/** Carries out a wish; handed in by the owner of the handlers. */
export type CarryOut = (grant: StopGrant, wish: Pick<StopWish, 'operation' | 'principal' | 'request'>) => unknown

/** A wish that has come true by itself, or has nothing left to stop. */
const COME_TRUE: ReadonlySet<ErrorCode> = new Set(['already_resolved', 'unknown_task', 'unknown_session', 'conflict'])
const STOPPER = hubPrincipal('stop-wishes')
/** What is stopped if not every wish could be kept. */
const EVERYTHING = {
  principal: STOPPER,
  operation: 'hub.shutdown',
  resource: 'tasks',
  request: { drain: false, emergency: false, exit: 'shutdown', reason: '' },
} as const

const LOST = { principal: STOPPER, operation: 'hub.observe', resource: 'stop-wishes' } as const

const needsRow = (why: string) => new HubError('store_unavailable', '', { reason: why })

export function createUnstored(parts: {
  store: Store
  audit: AuditLog
  requireReach: (call: Call, row: Operation) => void
  checkFirst: (call: Call, row: Operation) => void
  decide: (call: Call, row: Operation) => PolicyDecision
  /** The gate's own: nobody else mints. */
  mint: (call: Call, decision: PolicyDecision, auditSeq: number) => Grant
  mintStop: (call: Pick<Call, 'operation' | 'principal' | 'resource'>, unwritten?: Kept) => StopGrant
  onRefused?: (call: Call, error: HubError) => void
  refusals: Pick<Refusals, 'take'>
  /** Keeps the row of a denial that is a record of its own. */
  writeDenied: (decision: PolicyDecision) => void
  modes: Pick<Modes, 'raise'>
  wishes: StopWishes | undefined
  carryOut: () => CarryOut | undefined
  nowMs: () => number
  /** Within the transaction: all wishes up to this number are carried out. */
  wishesDone: (serial: number) => void
}): Unstored {
  const {
    store,
    audit,
    requireReach,
    checkFirst,
    decide,
    mint,
    mintStop,
    onRefused,
    refusals,
    modes,
    wishes,
    carryOut,
    nowMs,
  } = parts

  function keep(call: Call, error: HubError, decision?: PolicyDecision): void {
    if (!refusals.take(call.principal, call.operation, error).isOwn) return
    const outcome = ERRORS[error.code].kind === 'fault' ? 'failed' : 'refused'
    try {
      const reason = `${error.code}: ${error.reason}`
      if (decision !== undefined) parts.writeDenied(decision)
      audit.buffer({ ...entryOf(call, decision), outcome, reason, effect: '' }, 'refusal')
    } catch {
      // No room: the five thousand refusals in the buffer are enough.
    }
    onRefused?.(call, error)
  }

  function errorOf(thrown: unknown): HubError {
    const fault = judgeStoreFault(thrown)
    if (fault !== undefined) return new HubError('store_unavailable', '', { reason: fault.reason, cause: thrown })
    if (thrown instanceof Asked) {
      const detail = `while the database cannot be written, no person can be asked: ${thrown.decision.reason}`
      return new HubError('needs_approval', detail, { facts: thrown.error.facts })
    }
    return thrown instanceof Denial ? thrown.error : toHubError(thrown)
  }

  /** Whether it would be refused with a working store too, as far as that can be told without a row. */
  function firstRefusal(call: Call, row: Operation): HubError | undefined {
    try {
      checkFirst(call, row)
      return undefined
    } catch (thrown) {
      return errorOf(thrown)
    }
  }

  function keepWish(call: Call): ReturnType<StopWishes['keep']> | undefined {
    const { principal, operation, resource, payloadHash, wish: request } = call
    if (wishes === undefined || request === undefined) return undefined
    const { kind, id } = principal
    const hash = payloadHash === undefined ? {} : { payloadHash }
    const kept = wishes.keep({ atMs: nowMs(), principal: { kind, id }, operation, resource, request, ...hash })
    if (wishes.allHeld) modes.raise('operator_request', 'more stops than could be kept while the store fails')
    return kept
  }

  /** A wish that fails for an unforeseen reason leaves a record, and nothing new starts until somebody has looked. */
  function carryOutOne(wish: Pick<StopWish, 'operation' | 'principal' | 'resource' | 'request'>): void {
    try {
      store.savepoint(() => carryOut()?.(mintStop(wish), wish))
    } catch (thrown) {
      const error = errorOf(thrown)
      if (isUnrecordable(error)) throw thrown
      if (COME_TRUE.has(error.code)) return
      const reason = `a stop that waited for the store failed: ${error.code}: ${error.reason}`
      audit.append({ ...entryOf(wish, undefined), outcome: 'failed', reason, effect: '' })
      modes.raise('operator_request', reason)
    }
  }

  // A stop from before the restart gets its record, with the time of the stop.
  for (const wish of wishes?.waiting() ?? [])
    audit.buffer({ ...entryOf(wish, undefined), outcome: 'ok', reason: STOPPED, effect: '' }, 'stop', wish.atMs)

  return {
    keep,
    keepSum({ entry }) {
      try {
        audit.buffer(entry, 'refusal')
        return true
      } catch {
        return false
      }
    },
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
      let kept: ReturnType<StopWishes['keep']> | undefined
      const note = (outcome: 'ok' | 'refused' | 'failed', reason: string, text: string) => {
        try {
          audit.buffer({ ...entryOf(call, undefined), outcome, reason, effect: text }, 'stop')
        } catch {
          // No room in the buffer: ten thousand records already say that the store is failing.
        }
      }
      try {
        requireReach(call, row)
        kept = keepWish(call)
        const result = effect(mintStop(call, kept?.kept ?? 'memory'))
        note('ok', STOPPED, effectText(result))
        return result
      } catch (thrown) {
        const error = toHubError(thrown)
        // Refused for its own sake. If the store cannot even be read, the wish still waits.
        if (kept?.isNew && ERRORS[error.code].kind === 'refused') wishes?.drop(kept.serial)
        note(error.code === 'forbidden' ? 'refused' : 'failed', `${error.code}: ${error.reason}`, '')
        throw error
      }
    },

    hasWishes: () => wishes !== undefined && (wishes.allHeld || wishes.waiting().length > 0),
    writeWishes() {
      if (wishes === undefined) return
      for (const wish of wishes.waiting()) carryOutOne(wish)
      if (wishes.allHeld) {
        modes.raise('operator_request', 'more stops than could be kept while the store failed; everything is held')
        carryOutOne(EVERYTHING)
      }
      if (wishes.lostRecords > 0) {
        const reason = `${wishes.lostRecords} more stops were accepted before the restart; their records did not survive it`
        audit.append({ ...entryOf(LOST, undefined), outcome: 'failed', reason, effect: '' })
      }
      parts.wishesDone(wishes.lastSerial())
      store.afterCommit(wishes.clear)
    },
    stopAgain() {
      for (const wish of wishes?.waiting() ?? []) {
        try {
          carryOut()?.(mintStop(wish, 'file'), wish)
        } catch {
          // It has happened meanwhile, or cannot be read: the wish waits.
        }
      }
    },

    refused(call, row, thrown, known) {
      const error = errorOf(thrown)
      if (!isUnrecordable(error) || row.standing === 'stop') return thrown
      // A signed request can be repeated, because its nonce is not burned. It is told about the store, whatever else is wrong with it.
      const told = call.burn === undefined ? (known ?? firstRefusal(call, row) ?? error) : error
      if (row.standing !== 'read' || !isUnrecordable(told)) keep(call, told)
      return told
    },
  }
}
