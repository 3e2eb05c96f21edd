/**
 * Jobs of the calendar, ticking in UTC (docs/safety.md 3). An hour that was missed in sleep is made up for once the last look is a day and
 * a half old: otherwise a laptop that sleeps each night would never look (fault C28).
 */
import { schedule as cron } from 'node-cron'
import type { Clock } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { AuditRecord } from '../record.ts'

/** Runs `job` whenever the cron expression matches, in UTC and never twice at once; answers how to stop. */
export type Schedule = (expression: string, job: () => Promise<void>) => () => void

/** Node-cron as a `Schedule`. */
export const cronSchedule: Schedule = (expression, job) => {
  const task = cron(expression, job, { timezone: 'Etc/UTC', noOverlap: true, suppressMissedWarning: true })
  return () => void task.destroy()
}

/** In the night of the time zones near UTC, and not on a round minute. */
const AUDIT_NIGHTLY = '17 3 * * *'

const OVERDUE_MS = 36 * 3_600_000
/** A look that failed is tried again after this long. */
const AGAIN_MS = 3_600_000

export function createCalendar(parts: {
  schedule: Schedule
  record: Pick<AuditRecord, 'verifier' | 'lookedAtMs'>
  steady: Pick<Clock, 'wallMs'>
  log: Log
  clock: Pick<Clock, 'monotonicMs'>
  turn: () => Promise<void>
  /** Ends a look with the hub. */
  signal: AbortSignal
}) {
  const { schedule, record, steady, log, clock, turn, signal } = parts
  let triedAtMs = Number.NEGATIVE_INFINITY
  async function verifyAudit(): Promise<void> {
    triedAtMs = clock.monotonicMs()
    try {
      await record.verifier.look(turn, signal)
    } catch (thrown) {
      if (signal.aborted) return
      log.error({ reason: toHubError(thrown).reason }, 'the nightly check of the audit log failed')
    }
  }
  return {
    start: () => schedule(AUDIT_NIGHTLY, verifyAudit),
    /** For a loop: looks now where the last look is too old, and none is under way. */
    async catchUp() {
      const lookedAtMs = record.lookedAtMs()
      if (lookedAtMs === undefined || steady.wallMs() - lookedAtMs <= OVERDUE_MS) return
      if (!record.verifier.isWalking() && clock.monotonicMs() - triedAtMs >= AGAIN_MS) await verifyAudit()
    },
  }
}
