/**
 * Containers that do not go (T93): tried again with back-off, and once that has been in vain for a minute, an alarm with the words that
 * end them on the host. Kept in memory: after a restart the count begins anew, the open alarm stands until the container is gone.
 */
import type { Clock } from '../../base/clock.ts'
import type { Alerts } from '../../guard/alerts/alerts.ts'

const FIRST_WAIT_MS = 1000
const WAIT_MS_MAX = 15_000
/** A restart of the engine is over by then. */
const ALARM_AFTER_MS = 60_000
const TRIES_MIN = 3

/** Milliseconds until the next try, after so many in vain. Pure. */
export const retryWaitMs = (failures: number): number =>
  Math.min(FIRST_WAIT_MS * 2 ** Math.max(0, failures - 1), WAIT_MS_MAX)

/** A kill that nobody confirms is an alarm; an engine that is away for a moment is none. Pure. */
export const isAlarming = (failures: number, sinceMs: number): boolean =>
  failures >= TRIES_MIN && sinceMs >= ALARM_AFTER_MS

export interface Stubborn {
  /** Whether it is time for another try. */
  mayTry(container: string): boolean
  /** Another try was in vain. */
  failed(container: string, reason: string, isEngineAway: boolean): void
  gone(container: string): void
}

export function createStubborn(parts: { clock: Clock; alerts: Pick<Alerts, 'raise' | 'resolve'> }): Stubborn {
  const { clock, alerts } = parts
  const known = new Map<string, { failures: number; firstAt: number; againAt: number }>()
  const causeOf = (container: string) => `kill_unconfirmed:${container}`
  return {
    mayTry: (container) => clock.monotonicMs() >= (known.get(container)?.againAt ?? 0),
    failed(container, reason, isEngineAway) {
      const now = clock.monotonicMs()
      const { failures, firstAt } = known.get(container) ?? { failures: 0, firstAt: now }
      known.set(container, { failures: failures + 1, firstAt, againAt: now + retryWaitMs(failures + 1) })
      if (!isAlarming(failures + 1, now - firstAt)) return
      const text = `Container ${container} does not go (${reason}). On the host run: docker rm -f ${container}; if the engine does not answer, restart it`
      // With the engine away nothing can be confirmed, and that ends by itself; one that answers and does not kill is another matter.
      alerts.raise(causeOf(container), isEngineAway ? 'warning' : 'critical', text)
    },
    gone(container) {
      known.delete(container)
      alerts.resolve(causeOf(container), 'the container is gone')
    },
  }
}
