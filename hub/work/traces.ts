/** The spans of tasks, of starts and of waits for a person (S0-11), from the steps that tasks.ts and approvals.ts tell. */
import type { Clock } from '../base/clock.ts'
import type { Example } from '../base/meters.ts'
import { outcomeOf } from '../guard/operator/approval-words.ts'
import type { ApprovalListener } from '../guard/operator/approvals.ts'
import { type Place, placeOfTask, type Span, type Tracer } from '../protocol/traces.ts'
import type { TaskListener } from './dispatch/moves.ts'
import type { TaskRow, TaskRows } from './dispatch/rows.ts'

/** Places of tasks that are remembered: each is worked out again from a few rows. */
const KNOWN_MAX = 1024
/** Deeper than any tree grows. */
const DEPTH_MAX = 32

export interface TaskTraces {
  readonly tracer: Tracer
  placeOf(task: string): Place
  /** By what a time of this task can be found; undefined if its trace is not kept. */
  exampleOf(task: string): Example | undefined
  readonly listener: TaskListener
  readonly approvals: ApprovalListener
}

export function createTaskTraces(tracer: Tracer, parts: { clock: Clock; rows: Pick<TaskRows, 'task'> }): TaskTraces {
  const { clock, rows } = parts
  const known = new Map<string, Place>()
  /** Starts that have not joined. */
  const starting = new Map<string, { spawn: Span; join: Span }>()

  function rootOf(task: string): string {
    let root = task
    for (let depth = 0; depth < DEPTH_MAX; depth += 1) {
      const parent = rows.task(root)?.parent
      if (typeof parent !== 'string') break
      root = parent
    }
    return root
  }

  function placeOf(task: string): Place {
    const seen = known.get(task)
    if (seen !== undefined) return seen
    const place = placeOfTask(rootOf(task), task)
    if (known.size >= KNOWN_MAX) known.clear()
    known.set(task, place)
    return place
  }

  function made({ id, parent, agent }: TaskRow): void {
    const ids = { task: id, ...(agent === null ? {} : { agent }), ...(parent === null ? {} : { parent }) }
    const above = parent === null ? undefined : placeOf(parent)
    tracer.begin('orch.task.submit', { parent: above, own: placeOf(id), link: tracer.current(), ids }).end()
  }

  return {
    tracer,
    placeOf,
    approvals: {
      // Made at its end, from the times that are stored, so a restart in between loses nothing.
      ended(approval) {
        const { id, task, session, agent, kind, operation, askedAtMs, endedAtMs } = approval
        if (task === null) return
        const whose = { ...(session === null ? {} : { session }), ...(agent === null ? {} : { agent }) }
        const ids = { task, ...whose, approval: id, kind, ...(operation === null ? {} : { operation }) }
        tracer
          .begin('orch.approval.wait', { parent: placeOf(task), ids, fromMs: askedAtMs })
          .end(undefined, { answer: outcomeOf(approval) }, endedAtMs ?? clock.wallMs())
      },
    },
    exampleOf: (task) => tracer.example(placeOf(task)),
    listener: {
      taskMade: made,
      sessionChanged({ id, task, agent, state, createdAtMs, publicKey, exitReason, errorCode }) {
        const under = starting.get(id)
        const ids = { task, session: id, agent }
        if (state === 'starting') {
          const spawn = tracer.begin('orch.agent.spawn', { parent: placeOf(task), ids, fromMs: createdAtMs })
          tracer.begin('orch.agent.create', { parent: spawn.place, ids, fromMs: createdAtMs }).end()
          starting.set(id, {
            spawn,
            join: tracer.begin('orch.agent.join', { parent: spawn.place, ids, fromMs: clock.wallMs() }),
          })
          return
        }
        starting.delete(id)
        const code = state === 'recycling' ? (errorCode ?? exitReason ?? 'failed') : undefined
        under?.join.end(code)
        under?.spawn.end(code)
        // It came to nothing before there was a container.
        if (under === undefined && state === 'recycling' && publicKey === null)
          tracer.begin('orch.agent.spawn', { parent: placeOf(task), ids, fromMs: createdAtMs }).end(code)
      },
    },
  }
}
