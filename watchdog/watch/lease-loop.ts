/**
 * The lease has a loop of its own, apart from the engine and from work on containers (fault A11): a round that waits for the engine sends
 * no lease, and without one the hub goes into safe mode after three intervals. While rounds come in time, this loop sends none.
 * It does not speak for rounds that have stopped: if no round has ended, and nothing was done to a container, for `stuckMs`, it stops
 * sending, and the hub goes into safe mode.
 */
import type { Clock } from '../base/clock.ts'
import type { HubLine } from '../observe/hub-line.ts'

/** Part of the interval: later than a round in time, and early enough to replace one lost lease. */
const LATE_FACTOR = 1.5
const WAIT_MS_MIN = 10

/** Milliseconds until a lease has to be sent although no round did; 0: now. Pure. */
export const leaseDueInMs = (sentAtMs: number, nowMs: number, intervalMs: number): number =>
  Math.max(0, sentAtMs + LATE_FACTOR * intervalMs - nowMs)

export interface KeptLine extends HubLine {
  /** Boot milliseconds at which the last lease went out; at first those at which this was made. */
  sentAtMs(): number
}

/** One lease at a time: if a later one overtook an earlier one, the hub would refuse the earlier one as old (T92). */
export function keepLine(line: HubLine, clock: Clock): KeptLine {
  let last: Promise<unknown> = Promise.resolve()
  let sentAtMs = clock.read().bootMs
  return {
    ...line,
    lease(lease) {
      const mine = last.then(() => {
        sentAtMs = clock.read().bootMs
        return line.lease(lease)
      })
      last = mine.catch(() => undefined)
      return mine
    },
    sentAtMs: () => sentAtMs,
  }
}

/** Calls `renew` whenever a lease is due and the rounds are not stuck; returns how to end it. `quietMs`: time since the last round or act. */
export function startLeaseLoop(
  options: { intervalMs: number; stuckMs: number },
  parts: { clock: Clock; sentAtMs: () => number; quietMs: () => number; renew: () => Promise<void> },
): () => void {
  const { clock, sentAtMs, quietMs, renew } = parts
  let isOver = false
  let cancel = () => {}
  const dueInMs = () => leaseDueInMs(sentAtMs(), clock.read().bootMs, options.intervalMs)
  async function turn(): Promise<void> {
    const isStuck = quietMs() > options.stuckMs
    if (!isStuck && dueInMs() === 0) await renew()
    const waitMs = isStuck ? options.intervalMs : Math.max(WAIT_MS_MIN, dueInMs())
    if (!isOver) cancel = clock.after(waitMs, () => void turn())
  }
  void turn()
  return () => {
    isOver = true
    cancel()
  }
}
