/**
 * The operator's presence as a pure function of elapsed time (safety.md sections 2 and 3).
 * P1 time here is the presence clock: elapsed spans added up, so steps, restarts and reboots neither shorten nor reset a deadline.
 * P2 it stands still only while `paused`. P3 safe mode and the unattended stop are entered here and left only by a strong heartbeat.
 * P4 a weak heartbeat carries at most `weakMaxMs` past the last strong one and never ends anything.
 * P5 a deadline that passed asleep is safe mode at once; the contact and the stop wait `wakeGraceMs`, once per heartbeat period.
 */
import type { Reading } from './clock.ts'
import type { Config } from './config.ts'

export interface Presence {
  readonly nowMs: number
  readonly strongAtMs: number
  readonly weakAtMs: number | null
  /** Entry into safe mode (`heartbeat_missed`), sticky. */
  readonly safeSinceMs: number | null
  /** Where the unattended ceiling counts from. */
  readonly ceilingFromMs: number | null
  /** The unattended stop, sticky. */
  readonly stoppedSinceMs: number | null
  readonly wakeUntilMs: number | null
  readonly paused: boolean
}

export type PresenceConfig = Pick<
  Config,
  'missedMs' | 'missedGraceMs' | 'weakMaxMs' | 'unattendedMs' | 'wakeGraceMs' | 'unattendedFrom'
>

export interface Gap {
  readonly elapsedMs: number
  /** How much of it the machine slept or was off; 0 if it was awake. */
  readonly sleptMs: number
}

/** Below this the difference of boot and monotonic clock is noise, above it the machine was suspended (section 7). */
const SUSPEND_MS = 2_000

/** What passed between two readings: boot time within one boot, else the wall's difference, never negative (P1). */
export function elapsedBetween(mark: Reading, now: Reading): Gap {
  if (mark.bootId !== now.bootId) {
    const elapsedMs = Math.max(0, now.wallMs - mark.wallMs)
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
    safeSinceMs: null,
    ceilingFromMs: null,
    stoppedSinceMs: null,
    wakeUntilMs: null,
    paused: false,
  }
}

/** The presence to start with when the memory was lost: safe until a strong heartbeat (fail closed). */
export const lostPresence = (): Presence => ({ ...firstPresence(), safeSinceMs: 0, ceilingFromMs: 0 })

/** Instants of the presence clock at which the next steps fall. */
export function planDeadlines(p: Presence, config: PresenceConfig) {
  const carriedMs = p.strongAtMs + config.weakMaxMs - config.missedMs
  const baseMs = Math.max(p.strongAtMs, Math.min(p.weakAtMs ?? p.strongAtMs, carriedMs))
  const dueAtMs = baseMs + config.missedMs
  const safeAtMs = p.safeSinceMs ?? dueAtMs + config.missedGraceMs
  const fromMs = config.unattendedFrom === 'last_heartbeat' ? baseMs : (p.ceilingFromMs ?? safeAtMs)
  return { baseMs, dueAtMs, safeAtMs, stopAtMs: fromMs + config.unattendedMs }
}

/** The presence after a gap: moves the clock, then enters what became due (P1-P3, P5). Pure. */
export function planPresence(before: Presence, gap: Gap, config: PresenceConfig): Presence {
  if (before.paused) return before
  let p: Presence = { ...before, nowMs: before.nowMs + gap.elapsedMs }
  const passedAsleep = (atMs: number) => gap.sleptMs > 0 && atMs > before.nowMs && atMs <= p.nowMs
  const grace = () => (p.wakeUntilMs === null ? p.nowMs + config.wakeGraceMs : p.wakeUntilMs)

  const plan = planDeadlines(p, config)
  const enterAtMs = Math.min(plan.safeAtMs, plan.stopAtMs)
  if (p.safeSinceMs === null && p.nowMs >= enterAtMs) {
    const asleep = passedAsleep(enterAtMs)
    // Nothing ran unattended while it slept, so the ceiling then counts from the waking.
    const sinceMs = asleep ? p.nowMs : enterAtMs
    p = { ...p, safeSinceMs: sinceMs, ceilingFromMs: sinceMs, wakeUntilMs: asleep ? grace() : p.wakeUntilMs }
  }
  if (p.safeSinceMs !== null && p.stoppedSinceMs === null) {
    const { stopAtMs } = planDeadlines(p, config)
    if (p.nowMs >= stopAtMs) {
      if (passedAsleep(stopAtMs)) p = { ...p, wakeUntilMs: grace() }
      if (p.nowMs >= (p.wakeUntilMs ?? 0)) p = { ...p, stoppedSinceMs: p.nowMs }
    }
  }
  return p
}

/** The presence after a heartbeat at its present instant (P3, P4). Pure. */
export function planHeartbeat(p: Presence, strong: boolean, config: PresenceConfig): Presence {
  if (strong) return { ...firstPresence(), nowMs: p.nowMs, strongAtMs: p.nowMs }
  if (p.stoppedSinceMs !== null) return p
  const weak = { ...p, weakAtMs: p.nowMs }
  if (p.safeSinceMs === null || p.ceilingFromMs === null) return weak
  // In safe mode it proves life and resumes nothing: only the ceiling starts again, under the same limit.
  const carriedMs = Math.min(p.nowMs, p.strongAtMs + config.weakMaxMs)
  return { ...weak, ceilingFromMs: Math.max(p.ceilingFromMs, carriedMs) }
}
