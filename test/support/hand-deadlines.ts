/** The watchdog's clock with timers that run out when they are told to, and never by themselves: no deadline is a question of how fast the machine is. */
import { type Clock, createSystemClock } from '../../watchdog/base/clock.ts'

export function createHandDeadlines(): { readonly clock: Clock; pass(): void } {
  const open = new Set<() => void>()
  return {
    clock: {
      ...createSystemClock(),
      after(_delayMs, fn) {
        const one = () => {
          open.delete(one)
          fn()
        }
        open.add(one)
        return () => void open.delete(one)
      },
    },
    /** All that are open run out now. */
    pass() {
      for (const one of [...open]) one()
    },
  }
}
