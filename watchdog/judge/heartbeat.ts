/**
 * What a person may say to the presence clock: heartbeat, away, back, up (docs/safety.md 1 to 3). Pure; the presence was moved to now
 * before (`planPresence`), so a word never changes the past, and no time that a caller gives is believed.
 * B1 a strong heartbeat ends safe mode, and after `hub up` the unattended stop too. B2 before its end a planned absence is ended
 * only by `hub back`: a heartbeat from the road does not start the agents again. B3 a weak heartbeat ends nothing.
 */

import { nextLocalTime } from '../base/local-time.ts'
import type { Config } from '../config/config.ts'
import { firstPresence, type Presence, planDeadlines } from './timeline.ts'

const HOUR_MS = 3_600_000
/** `daily`: a heartbeat shortly before the chosen time is already the one of that day. */
const DAILY_LEAST_MS = 8 * HOUR_MS
export const AWAY_MAX_MS = 21 * 24 * HOUR_MS
/** In the state. */
const NOTE_BYTES_MAX = 200

/** How long after a heartbeat at this wall instant the next is due, if that is a matter of local times. */
function dailyInMs(wallMs: number, { due, operator }: Config): number | null {
  return due.kind === 'rolling' ? null : nextLocalTime(wallMs + DAILY_LEAST_MS, due.minutes, operator.zone) - wallMs
}

/** A presence that begins with a strong heartbeat at its present instant. */
function renewed(p: Presence, wallMs: number, config: Config): Presence {
  const inMs = dailyInMs(wallMs, config)
  return { ...firstPresence(), nowMs: p.nowMs, strongAtMs: p.nowMs, dueAtMs: inMs === null ? null : p.nowMs + inMs }
}

function planStrong(p: Presence, wallMs: number, config: Config): Presence {
  if (p.away !== null && p.nowMs < p.away.untilMs) return { ...p, strongAtMs: p.nowMs }
  if (p.stoppedSinceMs === null || p.upSaid) return renewed(p, wallMs, config)
  return { ...renewed(p, wallMs, config), stoppedSinceMs: p.stoppedSinceMs, stopReport: p.stopReport }
}

function planWeak(p: Presence, wallMs: number, config: Config): Presence {
  if (p.stoppedSinceMs !== null || p.away !== null) return p
  const untilMs = p.strongAtMs + config.weakMaxMs
  if (p.safeSinceMs !== null && p.ceilingFromMs !== null) {
    // It is a sign of life and resumes nothing: it only restarts the ceiling, under the same limit.
    const ceilingFromMs = Math.max(p.ceilingFromMs, Math.min(p.nowMs, untilMs))
    const moved = ceilingFromMs > p.ceilingFromMs
    return { ...p, weakAtMs: p.nowMs, ceilingFromMs, reminded: moved ? { ...p.reminded, safe: 0 } : p.reminded }
  }
  const inMs = dailyInMs(wallMs, config)
  const knownMs = planDeadlines(p, config).dueAtMs
  // With the span it follows from `weakAtMs`; a fixed instant only moves forward.
  const isFixed = inMs !== null || p.dueAtMs !== null
  const dueAtMs = isFixed ? Math.max(knownMs, Math.min(p.nowMs + (inMs ?? config.missedMs), untilMs)) : null
  const next = { ...p, weakAtMs: p.nowMs, dueAtMs }
  const moved = planDeadlines(next, config).dueAtMs > knownMs
  return moved ? { ...next, reminded: { ...p.reminded, due: 0 } } : next
}

/** The presence after a heartbeat at its present instant (B1-B3). `wallMs`: the wall clock then, for due times of the day. */
export function planHeartbeat(p: Presence, strong: boolean, wallMs: number, config: Config): Presence {
  return strong ? planStrong(p, wallMs, config) : planWeak(p, wallMs, config)
}

/** `hub back`: ends a planned absence and is a strong heartbeat. */
export const planBack = (p: Presence, wallMs: number, config: Config): Presence =>
  planStrong({ ...p, away: null }, wallMs, config)

/** `hub up`: it ends nothing by itself. */
export const planUp = (p: Presence): Presence => (p.stoppedSinceMs === null ? p : { ...p, upSaid: true })

export interface AwayRequest {
  readonly untilInMs: number
  readonly keepWorking: boolean
  readonly note: string
}

/**
 * A planned absence from now, or why not. `held`: the conditions that keep the hub from normal mode. Leaving is an act of the
 * operator, so it counts as a strong heartbeat.
 */
export function decideAway(
  p: Presence,
  { untilInMs, keepWorking, note }: AwayRequest,
  held: readonly string[],
  config: Config,
): Presence | string {
  const hours = (ms: number) => `${Math.floor(ms / HOUR_MS)} h`
  if (p.away !== null) return 'an absence is planned already; end it first: hub back'
  if (held.length > 0) return `an absence can begin only in normal mode; now there is ${held.join(', ')}`
  if (!(untilInMs > 0)) return 'until must be later than now'
  if (untilInMs > AWAY_MAX_MS) return 'until is too far: an absence lasts at most 21 days'
  if (keepWorking && config.awayWorkMaxMs === 0)
    return 'keepWorking is off: away.workMax in watchdog/config.yaml is 0; without it nothing new starts while you are away'
  if (keepWorking && untilInMs > config.awayWorkMaxMs)
    return `until is too far for keepWorking: away.workMax in watchdog/config.yaml allows ${hours(config.awayWorkMaxMs)}`
  if (Buffer.byteLength(JSON.stringify(note)) > NOTE_BYTES_MAX)
    return `note must have at most ${NOTE_BYTES_MAX - 2} bytes`
  const away = { sinceMs: p.nowMs, untilMs: p.nowMs + untilInMs, keepWorking, note }
  return { ...firstPresence(), nowMs: p.nowMs, strongAtMs: p.nowMs, away }
}
