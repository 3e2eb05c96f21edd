/** Counts what the sessions of a task send outward, and tells the operator of the one that may send no more (E15). */
import type { HubError } from '../../base/errors.ts'
import type { Guard } from '../../guard/guard.ts'
import { createOutflow, type KeptSums, sumsIn } from '../../work/egress/outflow.ts'
import type { Work } from '../../work/work.ts'
import { EGRESS_ALERT_LASTS_MS } from './metering.ts'

export interface SentBytes {
  /** Counts so many more bytes of a session, or only asks about them. Answers what keeps them here. */
  count(session: string, bytes: number, isAsked?: boolean): HubError | undefined
  /** Keeps the sum of this session's tree. Within a transaction. */
  keep(session: string): void
}

export function createSentBytes(parts: {
  tasks: Pick<Work['tasks'], 'session' | 'rootOf'>
  alerts: Pick<Guard['alerts'], 'raise'>
  store: Guard['store']
  /** In the place of the store. */
  sums: KeptSums | undefined
  limit: () => number
}): SentBytes {
  const { tasks, alerts, store, limit } = parts
  const outflow = createOutflow({
    ...{ sums: parts.sums ?? sumsIn(store), limit },
    rootOf(session) {
      const row = tasks.session(session)
      return row === undefined ? undefined : tasks.rootOf(row.task)?.root
    },
  })
  return {
    keep: outflow.keep,
    count(session, bytes, isAsked = false) {
      const refused = isAsked ? outflow.whyNot(session, bytes) : outflow.take(session, bytes)
      if (refused === undefined) return undefined
      const agent = tasks.session(session)?.agent ?? 'unknown'
      alerts.raise(
        `egress_bytes:${agent}`,
        'warning',
        `Session ${session} of agent ${agent} may send nothing more outward: ${refused.message}. Look at what it sends; if that is its work, raise the limit.`,
        EGRESS_ALERT_LASTS_MS,
      )
      return refused
    },
  }
}
