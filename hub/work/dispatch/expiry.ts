/** When a session ends, as boot time: a stepped wall clock neither kills nor prolongs it (T71). Written `<boot id>:<boot ms>`. */
import type { Clock } from '../../base/clock.ts'

export const expiryAfter = (clock: Clock, ttlMs: number): string => `${clock.bootId}:${clock.bootMs() + ttlMs}`

export function readExpiry(text: string): { bootId: string; bootMs: number } {
  const cut = text.lastIndexOf(':')
  return { bootId: text.slice(0, cut), bootMs: Number(text.slice(cut + 1)) }
}

/** What is left of it in milliseconds; nothing for one of another boot, which cannot still run. */
export function leftMs(text: string, clock: Clock): number {
  const { bootId, bootMs } = readExpiry(text)
  return bootId === clock.bootId ? Math.max(0, bootMs - clock.bootMs()) : 0
}
