/**
 * Jobs of the calendar, ticking in UTC (safety.md section 3). An hour that passed while the machine was asleep is made up for once the last
 * look is a day and a half old: a laptop that sleeps each night would else never look (fault C28).
 */
import { schedule as cron } from 'node-cron'
import type { Clock } from '../base/clock.ts'
import { toHubError } from '../base/errors.ts'
import type { Log } from '../base/telemetry.ts'
import type { Guard } from './guard.ts'

/** Runs `job` whenever the cron expression matches, in UTC and never twice at once; answers how to stop. */
export type Schedule = (expression: string, job: () => Promise<void>) => () => void

/** Node-cron as a `Schedule`. */
export const cronSchedule: Schedule = (expression, job) => {
  const task = cron(expression, job, { timezone: 'Etc/UTC', noOverlap: true, suppressMissedWarning: true })
  return () => void task.destroy()
}

/** At an hour when few people are at work anywhere near the prime meridian, and at no round minute. */
const AUDIT_NIGHTLY = '17 3 * * *'

const OVERDUE_MS = 36 * 3_600_000
/** One that failed is tried again after so long. */
const AGAIN_MS = 3_600_000

export function createCalendar(parts: {
  schedule: Schedule
  guard: Guard
  log: Log
  clock: Pick<Clock, 'monotonicMs'>
  turn: () => Promise<void>
  /** Ends a look with the hub. */
  signal: AbortSignal
}) {
  const { schedule, guard, log, clock, turn, signal } = parts
  let triedAtMs = Number.NEGATIVE_INFINITY
  async function verifyAudit(): Promise<void> {
    triedAtMs = clock.monotonicMs()
    try {
      await guard.verifier.look(turn, signal)
    } catch (thrown) {
      if (signal.aborted) return
      log.error({ reason: toHubError(thrown).reason }, 'the nightly look through the audit log failed')
    }
  }
  return {
    start: () => schedule(AUDIT_NIGHTLY, verifyAudit),
    /** For a loop: looks now where the last look is too old, and none is under way. */
    async catchUp() {
      const lookedAtMs = guard.lookedAtMs()
      if (lookedAtMs === undefined || guard.footing.steady.wallMs() - lookedAtMs <= OVERDUE_MS) return
      if (!guard.verifier.isWalking() && clock.monotonicMs() - triedAtMs >= AGAIN_MS) await verifyAudit()
    },
  }
}
