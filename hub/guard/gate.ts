/**
 * The one door. Every request from every entrance, and every step of the hub's own loops, passes here.
 *
 * G1. The order is fixed: (authenticated by the entrance) reach -> [one transaction: burn nonce, generation and socket once more,
 *     mode, policy, decision, effect under a savepoint, audit record] -> answer. No await in between.
 * G2. The effect runs only with a grant, and commits only together with its audit record (I1). If it throws, it alone is undone
 *     and the refusal commits.
 * G3. A refusal is recorded too, with the true reason; the nonce stays burned. If a caller is refused again and again, further refusals are
 *     counted, and the counts are recorded (refusals.ts): a summed record is the record of each of them. The same goes for what a session
 *     is admitted beyond its budget, if it changes nothing but memory (record-budget.ts).
 * G4. Stopping is never refused for the store's sake (I6): principal and entrance decide, the policy is not asked, and the record
 *     waits in the audit buffer if it must.
 * G5. An admitted read that discloses no content leaves no record: it changes nothing, and polling would bury the log.
 * G6. Where the rules ask, a person decides (docs/safety.md 11). Without an approval of exactly this act one is opened under a savepoint of
 *     its own, and the refusal that names it commits with it. With one, it is used inside the savepoint of the effect.
 * G7. While the store cannot be written, routing between open sessions goes on beside it (unstored.ts), and a refusal is kept like a stop.
 */
import { ERRORS, HubError, toHubError } from '../base/errors.ts'
import { OPERATIONS, type Operation, type OperationName } from '../protocol/operations.ts'
import type { Tracer } from '../protocol/traces.ts'
import { judgeStoreFault, type Store } from '../store/database.ts'
import { effectText, entryOf } from './audit/entry.ts'
import type { AuditLog } from './audit/log.ts'
import type { Call } from './checks.ts'
import { Asked, createChecks, Denial } from './checks.ts'
import { type Grant, mintAskGrant, mintGrant, mintStopGrant, type StopGrant } from './grant.ts'
import type { Nonces } from './identity/nonces.ts'
import type { GuardMeters } from './meters.ts'
import type { Modes } from './modes.ts'
import type { Asks } from './operator/approvals.ts'
import type { StopWishes } from './operator/stop-wishes.ts'
import type { Decisions } from './policy/decisions.ts'
import type { PolicyDecision } from './policy/engine.ts'
import type { RecordBudget } from './record-budget.ts'
import { type RefusalSum, type Refusals, recipientOf } from './refusals.ts'
import { type CarryOut, createUnstored, isUnrecordable } from './unstored.ts'

export type { Call } from './checks.ts'

export interface Gate {
  /** Admits the call and runs its effect; throws the HubError that refused it. Not for stopping operations. */
  admit<Result>(call: Call, effect: (grant: Grant) => Result): Result
  /**
   * Refuses and records what `admit` would refuse now, before any work is done; else says what the rules would narrow it to. It allows
   * nothing: the effect needs its own `admit`. Where the rules ask, that is a refusal too, unless `asks` is true: then the answer says so,
   * and `admit` asks. `isApproved`: it would not, since a person has agreed to exactly this already.
   */
  foresee(call: Call, asks?: boolean): Grant['narrow'] & { asks?: NonNullable<Call['mustAsk']>; isApproved?: boolean }
  /**
   * Admits a stopping operation by its built-in rule. The effect may be retried outside a transaction when the store fails; its grant then
   * says where the wish waits.
   */
  admitStop<Result>(call: Call, effect: (grant: StopGrant) => Result): Result
  /**
   * Runs many `admit` calls in one transaction, each still under its own savepoint: one commit for all (group commit, docs/threats.md 7).
   * Only a store error fails the group; `work` must let it through.
   */
  group(work: () => void): void
  /** Whether messages are not durable now because the store fails. */
  isStoreFailing(): boolean
  /** Runs `admit` calls of `work` while the store fails, each by itself: its record is in the audit buffer before anybody is told of the effect (S1-18). */
  unstored(work: () => void): void
  /** Writes what waited while the store failed, stops among it. Throws `store_unavailable` while it still does. */
  flush(): void
  /** Repeats stops from before a restart that still cannot be written. */
  stopAgain(): void
  /** Sets how a stop that waited is carried out. */
  onCarryOut(carryOut: CarryOut): void
  /** Records a refusal that happened before a call could be formed (bad signature, schema). Throws nothing but, in a group, a store error. */
  refuse(call: Call, error: HubError): void
  /** Only counts a refusal, without a transaction: for a flood. */
  countRefused(call: Call, error: HubError): void
  /** Records what was counted in past minutes, and with `all` in the current one. What cannot be recorded yet stays counted. */
  sumRefusals(all?: boolean): void
  /** Records in the same way what was admitted beyond the budgets of sessions. */
  sumAdmitted(all?: boolean): void
}

export interface GateParts {
  store: Store
  audit: AuditLog
  modes: Modes
  decisions: Decisions
  nonces: Nonces
  /** Before anything is admitted: whether the machine slept since (pace.ts P1). */
  look?: () => void
  /** Gives room to a stop on a full disk, once; false if there is none to give. */
  makeRoom?: (call: Call) => boolean
  /** Stops that wait for the store; without it none survives a restart. */
  wishes?: { kept: StopWishes; nowMs: () => number; done: (serial: number) => void }
  refusals: Refusals
  meters?: Pick<GuardMeters, 'decisions'>
  /** What waits for a person; without it, where the rules ask is a refusal. */
  asks?: Asks
  tracer?: Tracer | undefined
  /** How many records a session gets; without it each is recorded. */
  budget?: RecordBudget
  /** Hears every refusal that is a record of its own, after it was recorded, for log and events. */
  onRefused?: (call: Call, error: HubError) => void
  /** Hears of every record that sums. */
  onSummed?: (sum: RefusalSum) => void
}

function throwStoreFault(thrown: unknown): void {
  const fault = judgeStoreFault(thrown)
  if (fault !== undefined) throw new HubError('store_unavailable', '', { reason: fault.reason, cause: thrown })
}

const proofOf = ({ operation, principal, resource }: Pick<Call, 'operation' | 'principal' | 'resource'>) => ({
  operation,
  principal,
  resource,
})

const mint = (call: Call, { id, narrow = {}, effect, reason, rule }: PolicyDecision, auditSeq: number): Grant =>
  mintGrant({ ...proofOf(call), decisionId: id, narrow, auditSeq, ...(effect === 'ask' && { asks: { reason, rule } }) })

/** Reads that disclose the content of someone's work, and so are recorded. */
const DISCLOSING: ReadonlySet<OperationName> = new Set(['artifact.get', 'task.logs', 'session.logs', 'session.turns'])

export function createGate(parts: GateParts): Gate {
  const { store, audit, modes, decisions, nonces, refusals, asks, budget, onRefused, onSummed } = parts
  const { look = () => undefined, makeRoom = () => false } = parts

  const { requireReach, checkFirst, decide, judgeOrAsk } = createChecks({
    modes,
    decisions,
    nonces,
    meters: parts.meters,
    tracer: parts.tracer,
  })
  let grouping = false
  let aside = false
  let carryOut: CarryOut | undefined
  const beside = createUnstored({
    store,
    audit,
    requireReach,
    checkFirst,
    decide: (call, row) => decide(call, row, decisions.decideUnwritten),
    mint,
    mintStop: (call, unwritten) => mintStopGrant({ ...proofOf(call), ...(unwritten && { unwritten }) }),
    modes,
    wishes: parts.wishes?.kept,
    carryOut: () => carryOut,
    nowMs: parts.wishes?.nowMs ?? (() => 0),
    wishesDone: (serial) => parts.wishes?.done(serial),
    refusals,
    writeDenied: (decision) => decisions.writeDenied(decision, true),
    ...(onRefused === undefined ? {} : { onRefused }),
  })

  /** What waited while the store failed comes before anything new. */
  function flush(): void {
    const hasWishes = beside.hasWishes()
    // A record that says "stopped" is never written without the stop.
    if (hasWishes && carryOut === undefined) return
    audit.flush(decisions.hasWaiting() ? decisions.writeWaiting : undefined, hasWishes ? beside.writeWishes : undefined)
    decisions.written()
  }

  function inTransaction<Result>(call: Call, work: () => Result): Result {
    let refusal: HubError | undefined
    let result: Result | undefined
    let isOwn = true
    const step = () => {
      try {
        result = work()
      } catch (thrown) {
        const denied = thrown instanceof Denial ? thrown : undefined
        // Not a refusal to record: SQLite may have ended the transaction, and the store has to latch (database.ts S3).
        throwStoreFault(thrown)
        const asked = thrown instanceof Asked ? ask(call, thrown) : undefined
        refusal = asked?.error ?? denied?.error ?? toHubError(thrown)
        if (isUnrecordable(refusal)) throw refusal
        const taken = refusals.take(call.principal, call.operation, refusal, recipientOf(call))
        store.onRollback(taken.undo)
        isOwn = taken.isOwn
        if (isOwn) appendRefusal(call, refusal, denied?.decision, asked?.effect)
      }
    }
    if (grouping) step()
    else {
      try {
        flush()
        whole(step)
      } catch (thrown) {
        throw beside.refused(call, OPERATIONS[call.operation], thrown, refusal)
      }
    }
    if (refusal !== undefined) {
      const told = refusal
      if (isOwn) store.afterCommit(() => onRefused?.(call, told))
      throw refusal
    }
    return result as Result
  }

  /** Asks a person about it, or finds that one is asked; the refusal names the approval. */
  function ask(call: Call, { decision, error }: Asked): { error: HubError; effect: string } {
    if (asks === undefined) return { error, effect: '' }
    try {
      const { id } = store.savepoint(() => asks.open(mintAskGrant(proofOf(call)), call, decision))
      const detail = `a person has to agree first (approval ${id}): ${decision.reason}`
      const facts = { ...error.facts, approval: id }
      return { error: new HubError('needs_approval', detail, { facts }), effect: `approval:${id}` }
    } catch (thrown) {
      throwStoreFault(thrown)
      return { error: toHubError(thrown), effect: '' }
    }
  }

  /** The decision of an act that a person has admitted; throws what asks for one. */
  function useApproval(grant: Grant, call: Call, { decision, error }: Asked) {
    const used = asks?.take(grant, call, decision)
    if (used === undefined) throw new Asked(decision, error)
    return used
  }

  function appendRefusal(call: Call, error: HubError, decision: PolicyDecision | undefined, effect = ''): void {
    if (decision !== undefined) decisions.writeDenied(decision)
    const outcome = ERRORS[error.code].kind === 'fault' ? 'failed' : 'refused'
    audit.append({ ...entryOf(call, decision), outcome, reason: `${error.code}: ${error.reason}`, effect })
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
      const isRecorded = call.recordedLater !== true && (row.standing !== 'read' || DISCLOSING.has(call.operation))
      if (row.standing === 'stop')
        throw new HubError('internal', '', { reason: `${call.operation} is a stop; call admitStop` })
      if (aside) return beside.admit(call, row, effect)
      if (!grouping) look()
      const admitted = () =>
        inTransaction(call, () => {
          const asked = judgeOrAsk(call, row)
          const { decision } = asked
          // The record's number is known before it is written: one transaction at a time, and a failed effect appends nothing.
          const auditSeq = audit.head().size + 1
          const grant = mint(call, decision, auditSeq)
          const taken = isRecorded ? budget?.take(call.principal, call.operation) : undefined
          let used: ReturnType<typeof useApproval> | undefined
          const result = store.savepoint(() => {
            if (taken !== undefined) store.onRollback(taken.undo)
            if (asked instanceof Asked) used = useApproval(grant, call, asked)
            return effect(grant)
          })
          if (decision.effect !== 'allow') decisions.writeDenied(decision)
          if (used !== undefined || (isRecorded && taken?.isOwn !== false)) {
            const by = used === undefined ? '' : `; approval ${used.id} by ${used.answeredBy}`
            audit.append({
              ...entryOf(call, decision),
              outcome: 'ok',
              reason: `${decision.reason}${by}`,
              effect: effectText(result),
            })
          }
          return result
        })
      if (isRecorded) return admitted()
      try {
        return admitted()
      } catch (thrown) {
        // The operator can read even if the store cannot be written: reading changes nothing (docs/safety.md 1).
        if (!isUnrecordable(toHubError(thrown)) || call.principal.kind !== 'operator') throw thrown
        requireReach(call, row)
        return effect(mintGrant({ ...proofOf(call), decisionId: 'built-in', narrow: {}, auditSeq: 0 }))
      }
    },

    admitStop(call, effect) {
      const row: Operation = OPERATIONS[call.operation]
      if (row.standing !== 'stop')
        throw new HubError('internal', '', { reason: `${call.operation} is no stop; call admit` })
      const grant = mintStopGrant(proofOf(call))
      const stored = () =>
        inTransaction(call, () => {
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
      for (;;) {
        try {
          return stored()
        } catch (thrown) {
          if (!isUnrecordable(toHubError(thrown))) throw thrown
          if (!makeRoom(call)) return beside.stop(call, row, effect)
        }
      }
    },

    flush,
    stopAgain: beside.stopAgain,
    onCarryOut(hears) {
      carryOut = hears
    },
    foresee(call, tellsAsk = false) {
      return inTransaction(call, () => {
        const asked = judgeOrAsk(call, OPERATIONS[call.operation])
        if (!(asked instanceof Asked)) return asked.decision.narrow ?? {}
        if (!tellsAsk) throw new Denial(asked.decision, asked.error)
        const { reason, rule, narrow } = asked.decision
        const isApproved = asks?.isApproved(call, asked.decision) === true
        return { ...narrow, asks: { reason, rule }, ...(isApproved && { isApproved }) }
      })
    },
    isStoreFailing: () => store.failure() !== undefined,

    unstored(work) {
      look()
      aside = true
      try {
        work()
      } finally {
        aside = false
      }
    },

    group(work) {
      look()
      flush()
      grouping = true
      try {
        whole(work)
      } finally {
        grouping = false
      }
    },

    refuse(call, error) {
      if (aside) return beside.keep(call, error)
      try {
        inTransaction(call, () => {
          // A faulty body of an authenticated caller burns its nonce too.
          if (call.burn !== undefined) nonces.burn(call.burn)
          throw error
        })
      } catch (thrown) {
        // A store that failed may have ended the group's transaction, so the whole group must hear of it. Outside a group the caller gets the
        // refusal in any case, and its record waits in the buffer.
        if (grouping && isUnrecordable(toHubError(thrown))) throw thrown
      }
    },

    countRefused: ({ principal, operation }, error) => refusals.count(principal, operation, error),

    sumAdmitted(all) {
      for (const sum of budget?.due(all) ?? []) {
        try {
          flush()
          whole(() => void audit.append(sum.entry))
        } catch (thrown) {
          if (!isUnrecordable(toHubError(thrown)) && judgeStoreFault(thrown) === undefined) throw thrown
          // It stays counted.
          return
        }
        budget?.written(sum)
      }
    },

    sumRefusals(all) {
      for (const sum of refusals.due(all)) {
        try {
          flush()
          whole(() => void audit.append(sum.entry))
        } catch (thrown) {
          if (!isUnrecordable(toHubError(thrown)) && judgeStoreFault(thrown) === undefined) throw thrown
          if (!beside.keepSum(sum)) return
        }
        refusals.written(sum)
        onSummed?.(sum)
      }
    },
  }
}
