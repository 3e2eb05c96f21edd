/**
 * When a session ends, as boot time: setting the wall clock neither kills nor extends it (T71). Written `<boot id>:<boot ms>`.
 *
 * E1. A session has working time, and beside it time in which its questions may wait for a person. While one waits, the working time stands
 *     still and the waiting time is used up (fault C1).
 * E2. Watchdog and reaper know only the labels of its container: the last instant of both times together. It never moves. What a question
 *     has waited is added to the working end and taken from the waiting time.
 */
import type { Clock } from '../../base/clock.ts'
import type { SessionRow } from './rows.ts'

/** No session lives longer than this, its questions included. */
const LIFE_MS_MAX = 24 * 3_600_000

export type Expiry = Pick<SessionRow, 'expiresBoot' | 'waitLeftMs' | 'waitingSince'>
type Both = Expiry & Pick<SessionRow, 'expiresAtMs'>

export const expiryAfter = (clock: Clock, ttlMs: number): string => `${clock.bootId}:${clock.bootMs() + ttlMs}`

export function readExpiry(text: string): { bootId: string; bootMs: number } {
  const cut = text.lastIndexOf(':')
  return { bootId: text.slice(0, cut), bootMs: Number(text.slice(cut + 1)) }
}

/** How long questions of a new session may wait. `aboveMs`: what its parent's labels leave. A child never outlives its parent. */
export const waitFor = (facts: { waitMs: number; ttlMs: number; aboveMs: number }): number =>
  Math.max(0, Math.min(facts.waitMs, LIFE_MS_MAX - facts.ttlMs, facts.aboveMs - facts.ttlMs))

/** How long the open question has stopped the clock; at most the waiting time that is left. */
function waitedMs({ waitLeftMs, waitingSince }: Expiry, clock: Pick<Clock, 'bootMs'>): number {
  if (waitingSince === null) return 0
  return Math.max(0, Math.min(clock.bootMs() - readExpiry(waitingSince).bootMs, waitLeftMs ?? 0))
}

/** The instant of its boot at which its working time ends, if the clock goes on from now. */
export const endsBootMs = (session: Expiry, clock: Pick<Clock, 'bootMs'>): number =>
  readExpiry(session.expiresBoot).bootMs + waitedMs(session, clock)

/** The same by the wall clock, for a person. */
export const endsAtMs = (session: Both, clock: Pick<Clock, 'bootMs'>): number =>
  session.expiresAtMs + waitedMs(session, clock)

/** Working time left, in ms. Zero for a session of another boot, which cannot still run. */
export const leftMs = (session: Expiry, clock: Clock): number =>
  readExpiry(session.expiresBoot).bootId === clock.bootId ? Math.max(0, endsBootMs(session, clock) - clock.bootMs()) : 0

/** What its labels leave, in ms. */
export const mostLeftMs = (session: Expiry, clock: Clock): number => {
  const { bootId, bootMs } = readExpiry(session.expiresBoot)
  return bootId === clock.bootId ? Math.max(0, bootMs + (session.waitLeftMs ?? 0) - clock.bootMs()) : 0
}

/** The last instant by the wall clock. */
const lastAtMs = ({ expiresAtMs, waitLeftMs }: Pick<SessionRow, 'expiresAtMs' | 'waitLeftMs'>): number =>
  expiresAtMs + (waitLeftMs ?? 0)

/** The last instant, as in the labels and the ledger. */
export function lastOf({ expiresAtMs, expiresBoot, waitLeftMs }: Omit<Both, 'waitingSince'>) {
  const { bootId, bootMs } = readExpiry(expiresBoot)
  return {
    expiresAtMs: lastAtMs({ expiresAtMs, waitLeftMs }),
    expiresBoot: { bootId, bootMs: bootMs + (waitLeftMs ?? 0) },
  }
}

export const expiryText = ({ bootId, bootMs }: { bootId: string; bootMs: number }): string => `${bootId}:${bootMs}`

/** The row's columns once no question is open any more. */
export function afterWait(session: Both, clock: Pick<Clock, 'bootMs'>): Record<string, unknown> {
  const waited = waitedMs(session, clock)
  const { bootId, bootMs } = readExpiry(session.expiresBoot)
  return {
    expires_at_ms: session.expiresAtMs + waited,
    expires_boot: expiryText({ bootId, bootMs: bootMs + waited }),
    wait_left_ms: (session.waitLeftMs ?? 0) - waited,
    waiting_since: null,
  }
}
