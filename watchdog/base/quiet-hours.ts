/**
 * Quiet hours: when a reminder is sent, and when a channel may be loud again (docs/safety.md 3). Pure; all instants are wall time.
 * Q1 a reminder moves, a deadline never does. Q2 what is critical never waits. Q3 quiet hours last 12 h at most (people.ts).
 */
import { instantOf, localDay } from './local-time.ts'

export interface QuietHours {
  /** Minutes after midnight, local; past midnight if `toMinute` is the smaller. */
  readonly fromMinute: number
  readonly toMinute: number
}

/** What the configuration says of one person's times. */
export interface PersonTimes {
  /** IANA zone; '' = the machine's. */
  readonly zone: string
  readonly quiet: QuietHours | null
}

/** A reminder waits for the end of quiet hours only if this much time is left before the deadline. */
const BEFORE_DEADLINE_MS = 3_600_000
/** Otherwise it comes this long before quiet hours begin. */
const BEFORE_QUIET_MS = 1_800_000

/** The quiet hours that hold this instant (from inclusive, to exclusive), or null. */
export function quietSpanAt(wallMs: number, { zone, quiet }: PersonTimes): { fromMs: number; toMs: number } | null {
  if (quiet === null) return null
  const nights = quiet.toMinute <= quiet.fromMinute ? 1 : 0
  const today = localDay(wallMs, zone)
  for (const day of [today - 1, today]) {
    const fromMs = instantOf(day, quiet.fromMinute, zone)
    const toMs = instantOf(day + nights, quiet.toMinute, zone)
    if (fromMs <= wallMs && wallMs < toMs) return { fromMs, toMs }
  }
  return null
}

/**
 * When a reminder for `atMs` is sent: then, or moved out of the person's quiet hours. `sinceMs` is where its span began (the
 * last heartbeat, the entry into safe mode): no reminder comes before that. Null if no time is left; the deadline's own alert follows.
 */
export function planReminderAt(
  atMs: number,
  { sinceMs, deadlineMs }: { sinceMs: number; deadlineMs: number },
  person: PersonTimes,
): number | null {
  const span = quietSpanAt(atMs, person)
  if (span === null) return atMs
  if (span.toMs <= deadlineMs - BEFORE_DEADLINE_MS) return span.toMs
  const earlierMs = span.fromMs - BEFORE_QUIET_MS
  if (earlierMs > sinceMs) return earlierMs
  return span.toMs < deadlineMs ? span.toMs : null
}

/**
 * From when loud channels (push, call) may carry this to the person: now if it is critical or no quiet hours are on, else their end.
 * E-mail and files are never asked about: they go at once. For the backup contact and for the operator alike (Q2).
 */
export function planLoudAt(wallMs: number, severity: 'warning' | 'critical', person: PersonTimes): number {
  return severity === 'critical' ? wallMs : (quietSpanAt(wallMs, person)?.toMs ?? wallMs)
}
