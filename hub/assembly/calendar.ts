/**
 * Jobs of the calendar, ticking in UTC; spans are measured by clocks and never here (safety.md section 3). An hour that passed while the
 * hub was down or the machine asleep is skipped: the next night looks through the whole log anyway.
 */
import { schedule as cron } from 'node-cron'
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

export function createCalendar(parts: { schedule: Schedule; guard: Guard; log: Log; turn: () => Promise<void> }) {
  const { schedule, guard, log, turn } = parts
  async function verifyAudit(): Promise<void> {
    try {
      await guard.verifier.look(turn)
    } catch (thrown) {
      log.error({ reason: toHubError(thrown).reason }, 'the nightly look through the audit log failed')
    }
  }
  return {
    start: () => schedule(AUDIT_NIGHTLY, verifyAudit),
  }
}
