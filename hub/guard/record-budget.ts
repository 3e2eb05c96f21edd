/**
 * How many audit records a session gets for what it is admitted to (fault F2). A session that uses its whole message quota, hour after hour,
 * must not fill the disk. Pure bookkeeping in memory; gate.ts writes.
 *
 * B1. A session has the budget of an hour at once, and it refills evenly. Within it, everything admitted is a record each time.
 * B2. Beyond it, what concerns only the session itself (a log line, progress, text of a turn, a look for mail) goes on, and one record a minute says how
 *     many there were; a summed record is the record of each of them.
 * B3. Beyond it, what reaches others or the disk, and subscriptions (a sum would not name the topics), is refused as `rate_limited`, with
 *     the time to come back. What a session needs to live and to end (join, renewal, opening a line, its turns, its result) is never refused: there are
 *     few of these.
 * B4. Only sessions of agents have a budget: people, the hub's own steps and the watchdog are recorded each time.
 */
import { HubError } from '../base/errors.ts'
import type { AuditEntry } from '../protocol/audit-chain.ts'
import type { OperationName } from '../protocol/operations.ts'
import { type Principal, principalText } from './principal.ts'

const HOUR_MS = 3_600_000
export const SUM_EVERY_MS = 60_000
const SUMMED: ReadonlySet<OperationName> = new Set(['task.log', 'task.progress', 'message.receive', 'session.frame'])
const UPKEEP: ReadonlySet<OperationName> = new Set([
  'session.join',
  'session.renew',
  'session.open',
  'session.turn',
  'task.result',
])

/** What was admitted and counted, for its summed record. */
export interface AdmittedSum {
  readonly key: string
  readonly entry: AuditEntry
  readonly count: number
}

export interface RecordBudget {
  /**
   * Takes one. True if it gets a record of its own, false if it is counted. `undo` takes it back, for a transaction that did not commit.
   * Throws `rate_limited` with `retryAfterMs` (B3).
   */
  take(principal: Principal, operation: OperationName): { isOwn: boolean; undo: () => void }
  /** What is counted and not written yet, once a minute; with `all`, all of it. */
  due(all?: boolean): AdmittedSum[]
  /** The sum is in the log. */
  written(sum: AdmittedSum): void
}

interface Account {
  readonly principal: string
  readonly session: string
  level: number
  atMs: number
  counted: Map<OperationName, number>
  toldMs: number
}

const NEVER = { isOwn: true, undo: () => undefined }
const sumOf = (counts: ReadonlyMap<string, number>) => [...counts.values()].reduce((sum, one) => sum + one, 0)

/** `perHourNow`: own records of one session, as configured now. */
export function createRecordBudget(perHourNow: number | (() => number), nowMs: () => number): RecordBudget {
  const accounts = new Map<string, Account>()
  const hourly = () => (typeof perHourNow === 'number' ? perHourNow : perHourNow())

  function fill(account: Account): void {
    const [now, perHour] = [nowMs(), hourly()]
    account.level = Math.min(perHour, account.level + ((now - account.atMs) / HOUR_MS) * perHour)
    account.atMs = now
  }
  function accountOf(principal: Principal, session: string): Account {
    const known = accounts.get(session)
    if (known !== undefined) {
      fill(known)
      return known
    }
    const now = nowMs()
    const made: Account = {
      principal: principalText(principal),
      session,
      level: hourly(),
      atMs: now,
      counted: new Map(),
      toldMs: now,
    }
    accounts.set(session, made)
    return made
  }

  return {
    take(principal, operation) {
      const { kind, session } = principal
      if (kind !== 'agent' || session === undefined) return NEVER
      const account = accountOf(principal, session)
      if (account.level >= 1 || UPKEEP.has(operation)) {
        account.level -= 1
        return {
          isOwn: true,
          undo() {
            account.level += 1
          },
        }
      }
      if (!SUMMED.has(operation)) {
        const perHour = hourly()
        const retryAfterMs = Math.max(1, Math.ceil(((1 - account.level) / perHour) * HOUR_MS))
        const text = `more than ${perHour} records an hour (limits.messages.recordsPerHour)`
        throw new HubError('rate_limited', text, { facts: { retryAfterMs } })
      }
      account.counted.set(operation, (account.counted.get(operation) ?? 0) + 1)
      return {
        isOwn: false,
        undo() {
          const left = (account.counted.get(operation) ?? 1) - 1
          if (left > 0) account.counted.set(operation, left)
          else account.counted.delete(operation)
        },
      }
    },
    due(all = false) {
      const sums: AdmittedSum[] = []
      for (const [key, account] of accounts) {
        const count = sumOf(account.counted)
        if (count === 0) {
          fill(account)
          // A session that has ended, or was quiet for long, begins again.
          if (account.level >= hourly()) accounts.delete(key)
        } else if (all || nowMs() - account.toldMs >= SUM_EVERY_MS)
          sums.push({ key, count, entry: entryOf(account, count) })
      }
      return sums
    },
    written({ key, count }) {
      const account = accounts.get(key)
      // Nothing is counted in between, because the sum is taken and written in one turn.
      if (account === undefined || sumOf(account.counted) !== count) return
      account.counted = new Map()
      account.toldMs = nowMs()
    },
  }
}

function entryOf({ principal, session, counted }: Account, count: number): AuditEntry {
  return {
    principal,
    action: 'gate.admitted',
    resource: `session:${session}`,
    decisionId: null,
    policyRevision: null,
    payloadHash: null,
    outcome: 'ok',
    reason: `summed: ${count} more admitted: ${[...counted].map(([operation, many]) => `${many} ${operation}`).join(', ')}`,
    effect: '',
  }
}
