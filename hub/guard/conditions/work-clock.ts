/**
 * The clock that waits of people are measured by: it runs only while new work is permitted (D-R9, S2-27). So time in which the hub was
 * safe, degraded or down uses up nobody's wait, and nothing has to be rewritten when the mode changes.
 *
 * W1. Monotonic time between two looks counts if new work was permitted at the first of them. Every change of the mode is a look.
 * W2. It is written at most once a minute and at the end. A crash loses what came since, which only lengthens a wait. A store that fails
 *     keeps it in memory.
 */
import type { Clock } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import { judgeStoreFault } from '../../store/database.ts'
import type { Meta } from '../../store/meta.ts'
import { type Modes, permits } from '../modes.ts'

const SAVED_EVERY_MS = 60_000

export interface WorkClock {
  /** Milliseconds in which new work was permitted, over all runs of this home. */
  now(): number
  /** The mode may have changed. */
  look(): void
  /** Writes it if a minute has passed since it was last written; with `all`, in any case. Throws nothing of the store. */
  save(all?: boolean): void
}

export function createWorkClock(parts: {
  meta: Meta
  modes: Pick<Modes, 'current'>
  clock: Pick<Clock, 'monotonicMs'>
}): WorkClock {
  const { meta, modes, clock } = parts
  const stored = Number(meta.get('worked_ms') ?? 0)
  let worked = Number.isFinite(stored) && stored > 0 ? stored : 0
  let saved = worked
  let lookedMs = clock.monotonicMs()
  let savedMs = lookedMs
  let runs = permits(modes.current(), 'new_work')

  function look(): void {
    const nowMs = clock.monotonicMs()
    if (runs) worked += nowMs - lookedMs
    lookedMs = nowMs
    runs = permits(modes.current(), 'new_work')
  }
  const now = (): number => {
    look()
    return Math.floor(worked)
  }

  return {
    now,
    look,
    save(all = false) {
      const value = now()
      if (value === saved || (!all && clock.monotonicMs() - savedMs < SAVED_EVERY_MS)) return
      try {
        meta.set('worked_ms', String(value))
      } catch (thrown) {
        if (judgeStoreFault(thrown) === undefined && toHubError(thrown).code !== 'store_unavailable') throw thrown
        return
      }
      saved = value
      savedMs = clock.monotonicMs()
    },
  }
}
