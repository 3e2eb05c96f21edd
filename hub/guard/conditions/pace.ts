/**
 * Whether this process kept pace with the clocks: a sleep of the machine, and a loop that stood still (docs/safety.md 9; T73, T75).
 *
 * P1. Sleep is the time that boot time counted and monotonic time did not. It is looked for before anything is admitted, not only at the
 *     next tick: after a resume the timer may still be a second away, and what ran out in sleep must end before any message is taken.
 * P2. A stall is a tick that came more than five seconds late. What arrived meanwhile could not be read. Until the next tick its deadlines
 *     are judged by the earliest time it may have come (`heldBackMs`, at most the clock skew allowed to a signed request, so that its nonce
 *     is still remembered).
 * P3. Owner of `loop_lagging`: raised at a stall, cleared after ten ticks in time.
 */
import type { Clock } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import type { Spread } from '../../base/meters.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Modes } from '../modes.ts'

export const TICK_MS = 1000
const ASLEEP_MS = 2000
const STALL_MS = 5000
const HELD_BACK_MS_MAX = 30_000
const CALM_TICKS = 10

export interface Instant {
  bootMs: number
  monotonicMs: number
}

/** Pure: how long the machine slept between two instants, and how much later than due the second came; 0 below the marks. */
export function judgeGap(last: Instant, now: Instant, dueMs: number): { asleepMs: number; stalledMs: number } {
  const ran = now.monotonicMs - last.monotonicMs
  const asleep = now.bootMs - last.bootMs - ran
  const late = ran - dueMs
  return { asleepMs: asleep > ASLEEP_MS ? asleep : 0, stalledMs: late > STALL_MS ? late : 0 }
}

export interface Pace {
  /** Before anything is admitted. Cheap. */
  look(): void
  /** Every `TICK_MS`. */
  tick(): void
  /** How much earlier than now the work at hand may have arrived. */
  heldBackMs(): number
  /** Called with how long the machine slept, before any traffic, to end what is past its time. In the order of registration. */
  onResume(listener: (asleepMs: number) => void): void
}

export function createPace(parts: {
  clock: Clock
  log: Log
  modes: Pick<Modes, 'raise' | 'clear' | 'has'>
  /** Records it in the audit log. */
  note: (what: string, text: string) => void
  /** Gets how late each tick came. */
  lag?: Spread
}): Pace {
  const { clock, log, modes, note, lag } = parts
  const listeners: ((asleepMs: number) => void)[] = []
  let last: Instant | undefined
  let heldBack = 0
  let calm = 0
  const read = (): Instant => ({ bootMs: clock.bootMs(), monotonicMs: clock.monotonicMs() })

  function look(): void {
    if (last === undefined) return
    const { asleepMs } = judgeGap(last, read(), TICK_MS)
    if (asleepMs === 0) return
    // Before anything else, because what follows may call this function again.
    last = { ...last, bootMs: last.bootMs + asleepMs }
    for (const listener of listeners) {
      try {
        listener(asleepMs)
      } catch (thrown) {
        log.error({ reason: toHubError(thrown).reason }, 'a step after the machine slept failed')
      }
    }
    note('suspend', `the machine slept for ${Math.round(asleepMs / 1000)} s`)
  }

  return {
    look,
    tick() {
      look()
      const now = read()
      if (last !== undefined) lag?.add(Math.max(0, now.monotonicMs - last.monotonicMs - TICK_MS) / 1000)
      const stalledMs = last === undefined ? 0 : judgeGap(last, now, TICK_MS).stalledMs
      last = now
      heldBack = Math.min(stalledMs, HELD_BACK_MS_MAX)
      if (stalledMs > 0) {
        calm = 0
        const text = `the work loop stood still for ${Math.round(stalledMs / 1000)} s`
        modes.raise('loop_lagging', text)
        note('stall', text)
        return
      }
      calm += 1
      if (calm >= CALM_TICKS && modes.has('loop_lagging')) modes.clear('loop_lagging')
    },
    heldBackMs: () => heldBack,
    onResume: (listener) => void listeners.push(listener),
  }
}
