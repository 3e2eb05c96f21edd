/**
 * The operator's presence as a pure function of elapsed time (docs/safety.md 2 and 3); heartbeat.ts has what a person says to it.
 * P1 time here is the presence clock: elapsed spans added up, so steps, restarts and reboots neither shorten nor reset a deadline.
 * P2 it stands still only while `paused`. P3 safe mode and the unattended stop are entered here and left only by a strong heartbeat.
 * P4 a weak heartbeat carries at most `weakMaxMs` past the last strong one and never ends anything.
 * P5 a deadline that passed asleep is safe mode at once; the contact and the stop wait `wakeGraceMs`, once per heartbeat period.
 * P6 a planned absence moves safe mode to its end and the grace; the ceiling counts from there. After the stop nothing more is entered.
 */
import type { Reading } from '../base/clock.ts'
import { planReminderAt } from '../base/quiet-hours.ts'
import type { Config } from '../config/config.ts'

/** A planned absence that runs. */
export interface Absence {
  readonly sinceMs: number
  readonly untilMs: number
  readonly keepWorking: boolean
  /** For both people; at most 200 bytes, the state has to fit its slot. */
  readonly note: string
}

/** Every `...Ms` that is no span is an instant of the presence clock. */
export interface Presence {
  readonly nowMs: number
  readonly strongAtMs: number
  readonly weakAtMs: number | null
  /** With `heartbeat.due: daily` when the next heartbeat is due, fixed when the last one came; null: by the span. */
  readonly dueAtMs: number | null
  /** Entry into safe mode (`heartbeat_missed`), sticky. */
  readonly safeSinceMs: number | null
  /** Where the unattended ceiling counts from; fixed at the entry into safe mode. */
  readonly ceilingFromMs: number | null
  /** The unattended stop, sticky. */
  readonly stoppedSinceMs: number | null
  /** `hub up` was said since the stop: the next strong heartbeat ends it. */
  readonly upSaid: boolean
  /** What became of its containers; null until the stop has ended, so that one cut short is made again. */
  readonly stopReport: { readonly gone: number; readonly failed: number } | null
  readonly wakeUntilMs: number | null
  readonly away: Absence | null
  /** Reminders of this period that are due or were told: before safe mode, and in it. They never go back. */
  readonly reminded: { readonly due: number; readonly safe: number }
  readonly paused: boolean
}

export interface Gap {
  readonly elapsedMs: number
  /** How much of it the machine slept or was off; 0 if it was awake. */
  readonly sleptMs: number
}

/** Below this the difference of boot and monotonic clock is noise, above it the machine was suspended. */
const SUSPEND_MS = 2_000

/** The time between two readings: boot time within one boot; else the difference of the wall clock, but at least the age of the new boot (P1). */
export function elapsedBetween(mark: Reading, now: Reading): Gap {
  if (mark.bootId !== now.bootId) {
    const elapsedMs = Math.max(0, now.wallMs - mark.wallMs, now.bootMs)
    return { elapsedMs, sleptMs: elapsedMs }
  }
  const elapsedMs = Math.max(0, now.bootMs - mark.bootMs)
  const sleptMs = elapsedMs - (now.monotonicMs - mark.monotonicMs)
  return { elapsedMs, sleptMs: sleptMs > SUSPEND_MS ? Math.min(sleptMs, elapsedMs) : 0 }
}

/** A presence that begins with a strong heartbeat now. */
export function firstPresence(): Presence {
  return {
    nowMs: 0,
    strongAtMs: 0,
    weakAtMs: null,
    dueAtMs: null,
    safeSinceMs: null,
    ceilingFromMs: null,
    stoppedSinceMs: null,
    upSaid: false,
    stopReport: null,
    wakeUntilMs: null,
    away: null,
    reminded: { due: 0, safe: 0 },
    paused: false,
  }
}

/** The presence to start with when the memory was lost: safe until a strong heartbeat (fail closed). */
export const lostPresence = (): Presence => ({ ...firstPresence(), safeSinceMs: 0, ceilingFromMs: 0 })

/** Instants of the presence clock at which the next steps fall. */
export function planDeadlines(p: Presence, config: Config) {
  const carriedMs = p.strongAtMs + config.weakMaxMs - config.missedMs
  const baseMs = p.away?.untilMs ?? Math.max(p.strongAtMs, Math.min(p.weakAtMs ?? p.strongAtMs, carriedMs))
  const dueAtMs = p.away?.untilMs ?? p.dueAtMs ?? baseMs + config.missedMs
  const safeAtMs = p.safeSinceMs ?? dueAtMs + config.missedGraceMs
  const fromMs = p.ceilingFromMs ?? (config.unattendedFrom === 'last_heartbeat' ? baseMs : safeAtMs)
  return { baseMs, dueAtMs, safeAtMs, fromMs, stopAtMs: fromMs + config.unattendedMs }
}

/** The presence after a gap: moves the clock, then enters what became due (P1-P3, P5, P6). Pure. */
export function planPresence(before: Presence, gap: Gap, config: Config): Presence {
  if (before.paused) return before
  let p: Presence = { ...before, nowMs: before.nowMs + gap.elapsedMs }
  if (p.stoppedSinceMs !== null) return p
  const passedAsleep = (atMs: number) => gap.sleptMs > 0 && atMs > before.nowMs && atMs <= p.nowMs
  const grace = () => (p.wakeUntilMs === null ? p.nowMs + config.wakeGraceMs : p.wakeUntilMs)

  const plan = planDeadlines(p, config)
  const enterAtMs = Math.min(plan.safeAtMs, plan.stopAtMs)
  if (p.safeSinceMs === null && p.nowMs >= enterAtMs) {
    const asleep = passedAsleep(enterAtMs)
    // Nothing ran unattended in sleep, so the ceiling counts from the waking.
    const sinceMs = asleep ? p.nowMs : enterAtMs
    const ceilingFromMs = config.unattendedFrom === 'last_heartbeat' ? plan.baseMs : sinceMs
    p = { ...p, away: null, safeSinceMs: sinceMs, ceilingFromMs, wakeUntilMs: asleep ? grace() : p.wakeUntilMs }
  }
  if (p.safeSinceMs !== null) {
    const { stopAtMs } = planDeadlines(p, config)
    if (p.nowMs >= stopAtMs) {
      if (passedAsleep(stopAtMs)) p = { ...p, wakeUntilMs: grace() }
      if (p.nowMs >= (p.wakeUntilMs ?? 0)) p = { ...p, stoppedSinceMs: p.nowMs }
    }
  }
  return p
}

// Reminders: before the deadline to the operator, in safe mode to both (docs/safety.md 3), moved out of the operator's quiet hours.
// Pure. A reminder once reached stays reached until its span begins again, whatever the wall clock does.

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
