/**
 * Reminders: before the deadline to the operator, in safe mode to both (safety.md section 3), moved out of the operator's quiet hours.
 * Pure. A reminder once reached stays reached until its span begins anew, whatever the wall clock does.
 */
import type { Config } from './config.ts'
import { planReminderAt } from './quiet.ts'
import { type Presence, planDeadlines } from './timeline.ts'

/** The presence with the reminders that are reached at this wall instant. */
export function planReminders(p: Presence, wallMs: number, config: Config): Presence {
  if (p.away !== null || p.stoppedSinceMs !== null || p.paused) return p
  const plan = planDeadlines(p, config)
  const wallOf = (presenceMs: number) => wallMs + presenceMs - p.nowMs
  const reached = (atMs: readonly number[], sinceMs: number, deadlineMs: number) => {
    const bounds = { sinceMs: wallOf(sinceMs), deadlineMs: wallOf(deadlineMs) }
    return atMs.findLastIndex((one) => (planReminderAt(wallOf(one), bounds, config.operator) ?? Infinity) <= wallMs) + 1
  }
  if (p.safeSinceMs === null) {
    const before = [config.missedMs - config.remindFirstMs, config.missedMs - config.remindLastMs]
    const due = reached(
      before.map((ms) => plan.dueAtMs - ms),
      plan.baseMs,
      plan.dueAtMs,
    )
    return due > p.reminded.due ? { ...p, reminded: { ...p.reminded, due } } : p
  }
  // A weak heartbeat moves the ceiling on and the reminders with it; a ceiling from the last heartbeat began before safe mode did.
  const fromMs = Math.max(plan.fromMs, p.safeSinceMs)
  const after = [config.safeRemindFirstMs, config.safeRemindLastMs].map((ms) => fromMs + ms)
  const safe = reached(after, fromMs, plan.stopAtMs)
  return safe > p.reminded.safe ? { ...p, reminded: { ...p.reminded, safe } } : p
}
