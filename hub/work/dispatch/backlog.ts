/**
 * The backlog after a long rest (docs/safety.md 3, S1-12). If the hub was safe or stopped for more than `staleAfter`, tasks queued before
 * that come back held and wait for the operator's word. A heartbeat alone must not start last week's work.
 *
 * B1. The rest is measured from the last moment at which the hub might have dispatched. That moment is saved at most a minute late, so a
 *     rest is never measured too short. Within one boot it is measured by boot time, across boots by the wall clock (base/span.ts).
 * B2. This runs before each round of the dispatcher, so no old task starts in between.
 */

import type { Clock } from '../../base/clock.ts'
import { countOf } from '../../base/shown-text.ts'
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
  const { clock, log, gate, modes, meta, tasks } = parts
  const text = meta.get('rest_mark')
  let saved = readText<Mark | undefined>(text, isObject, undefined)
  let mark = saved

  const rests = () => ['safe', 'draining'].includes(modes.current()) || modes.has('lease_pending')

  function hold(restMs: number): void {
    const hours = Math.floor(restMs / 3_600_000)
    const held = gate.admit({ principal: BACKLOG, operation: 'backlog.hold', resource: 'tasks' }, (grant) => {
      const count = tasks.holdAll(grant)
      return { count, auditEffect: `${countOf(count, 'task')} held after ${hours} h at rest` }
    }).count
    if (held > 0) log.warn({ held, hours }, 'tasks from before a long rest are held: `hub task release --all`')
  }

  return {
    round() {
      // If nothing can be written, nothing starts either.
      if (modes.has('store_failing')) return
      const restMs = mark === undefined ? 0 : elapsedMs(mark, clock)
      const isStale = restMs > options.staleAfterMs
      // They are held during the rest too: the heartbeat that ends it says how many there are.
      if (isStale && tasks.hasUnheld()) hold(restMs)
      if (rests()) return
      mark = markOf(clock)
      if (saved !== undefined && !isStale && elapsedMs(saved, clock) < SAVE_EVERY_MS) return
      meta.set('rest_mark', JSON.stringify(mark))
      saved = mark
    },
  }
}
