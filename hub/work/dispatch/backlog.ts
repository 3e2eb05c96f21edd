/**
 * The backlog after a long rest (safety.md section 3, S1-12): what was queued before the hub was safe or stopped for more than `staleAfter`
 * comes back held, and waits for the operator's word. Nobody shall find work of last week begun because a heartbeat was given.
 *
 * B1. The rest is measured from the last moment at which the hub might have dispatched. That moment is persisted, at most a minute late, so
 *     that a rest is never taken for shorter than it was; by boot time within one boot, by the wall over a boot (base/span.ts).
 * B2. Asked before each round of the dispatcher: no task of before starts in between.
 */
import type { Clock } from '../../base/clock.ts'
import { elapsedMs, type Mark, markOf } from '../../base/span.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Gate } from '../../guard/gate.ts'
import type { Modes } from '../../guard/modes.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import type { Meta } from '../../store/meta.ts'
import { isObject, readText } from '../../store/reading.ts'
import type { Tasks } from './tasks.ts'

const BACKLOG = hubPrincipal('backlog')
const SAVE_EVERY_MS = 60_000

export interface Backlog {
  /** Throws `store_unavailable`; then nothing is dispatched either. */
  round(): void
}

export function createBacklog(
  options: { staleAfterMs: number },
  parts: { clock: Clock; log: Log; gate: Gate; modes: Modes; meta: Meta; tasks: Tasks },
): Backlog {
  const { staleAfterMs } = options
  const { clock, log, gate, modes, meta, tasks } = parts
  const text = meta.get('rest_mark')
  let saved = readText<Mark | undefined>(text, isObject, undefined)
  let mark = saved

  const rests = () => ['safe', 'draining'].includes(modes.current()) || modes.has('lease_pending')

  function hold(restMs: number): void {
    const hours = Math.floor(restMs / 3_600_000)
    const held = gate.admit({ principal: BACKLOG, operation: 'backlog.hold', resource: 'tasks' }, (grant) => {
      const count = tasks.holdAll(grant)
      return { count, auditEffect: `${count} tasks held after ${hours} h at rest` }
    }).count
    if (held > 0) log.warn({ held, hours }, 'tasks from before a long rest are held: `hub task release --all`')
  }

  return {
    round() {
      // Nothing can be written down, and nothing starts either.
      if (modes.has('store_failing')) return
      const restMs = mark === undefined ? 0 : elapsedMs(mark, clock)
      const isStale = restMs > staleAfterMs
      // Held while the rest goes on, too: a heartbeat that ends it says how many there are.
      if (isStale && tasks.hasUnheld()) hold(restMs)
      if (rests()) return
      mark = markOf(clock)
      if (saved !== undefined && !isStale && elapsedMs(saved, clock) < SAVE_EVERY_MS) return
      meta.set('rest_mark', JSON.stringify(mark))
      saved = mark
    },
  }
}
