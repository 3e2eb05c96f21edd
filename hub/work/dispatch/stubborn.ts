/**
 * Containers that do not go (T93): tried again with back-off, and once that has been in vain for a minute, an alarm with the words that
 * end them on the host. Kept in memory: after a restart the count begins anew, the open alarm stands until the container is gone.
 */
import type { Clock } from '../../base/clock.ts'
import { type Remains, wayOut } from '../../base/container-processes.ts'
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
  failed(container: string, reason: string, facts: { isEngineAway: boolean; remains?: Remains }): void
  gone(container: string): void
  /** All that did not go when it was last tried, oldest first. */
  list(): Stuck[]
}

/** A container that does not go, as `hub status` shows it until it is gone. */
export interface Stuck {
  container: string
  reason: string
  remains: Remains
  forMs: number
}

/** A kill that nobody confirms is critical. With the engine away nothing can be confirmed, and that ends by itself; of what shows no process any more nothing can do harm. Pure. */
export const stuckSeverity = (isEngineAway: boolean, remains: Remains): 'warning' | 'critical' =>
  isEngineAway || remains.kind === 'nothing' ? 'warning' : 'critical'

export function createStubborn(parts: { clock: Clock; alerts: Pick<Alerts, 'raise' | 'resolve'> }): Stubborn {
  const { clock, alerts } = parts
  const known = new Map<
    string,
    { failures: number; firstAt: number; againAt: number; reason: string; remains: Remains }
  >()
  const causeOf = (container: string) => `kill_unconfirmed:${container}`
  return {
    mayTry: (container) => clock.monotonicMs() >= (known.get(container)?.againAt ?? 0),
    failed(container, reason, { isEngineAway, remains = { kind: 'unknown' } }) {
      const now = clock.monotonicMs()
      const { failures, firstAt } = known.get(container) ?? { failures: 0, firstAt: now }
      known.set(container, {
        failures: failures + 1,
        firstAt,
        againAt: now + retryWaitMs(failures + 1),
        reason,
        remains,
      })
      if (!isAlarming(failures + 1, now - firstAt)) return
      const text = `Container ${container} does not go (${reason}). ${wayOut(container, reason, remains)}`
      alerts.raise(causeOf(container), stuckSeverity(isEngineAway, remains), text)
    },
    list: () =>
      [...known].map(([container, { reason, remains, firstAt }]) => ({
        container,
        reason,
        remains,
        forMs: Math.round(clock.monotonicMs() - firstAt),
      })),
    gone(container) {
      known.delete(container)
      alerts.resolve(causeOf(container), 'the container is gone')
    },
  }
}
