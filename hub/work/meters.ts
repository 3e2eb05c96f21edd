/** What the work ring counts (S0-12): messages, how long they wait, how long a task needs until its session works, and what the engine takes. */
import type { Clock } from '../base/clock.ts'
import { createGrid, createSpread, createTally, type Example, type Spread } from '../base/meters.ts'
import { MESSAGE_KINDS } from '../protocol/envelope.ts'
import type { TaskState } from '../protocol/task.ts'
import type { TaskListener } from './dispatch/moves.ts'
import type { TaskRow } from './dispatch/rows.ts'
import { ENGINE_VERBS, type EngineVerb } from './sandbox/engine-timing.ts'

/** From a waiting recipient, which answers within a millisecond, to one that is busy for minutes. */
const WAIT_S = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120, 600]
/** Of a container: half a second is usual, and two minutes the most that joining may take. */
const START_S = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 600, 3600]
/** From a list of a few containers to a stop that waits out its grace; a call of 20 s has failed, as shipped. */
const CALL_S = [0.002_5, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60]

/** What a task waits for, in this order. */
export const DISPATCH_PHASES = ['queue', 'create', 'join'] as const
export type DispatchPhase = (typeof DISPATCH_PHASES)[number]
const ENDS = ['succeeded', 'failed', 'cancelled', 'timed_out'] as const satisfies readonly TaskState[]

export const createMessageMeters = () => ({
  /** Envelopes of agents by kind, and whether they were accepted. */
  messages: createGrid(MESSAGE_KINDS, ['accepted', 'refused']),
  /** From the commit of a delivery until its recipient has confirmed it. */
  deliverySeconds: createSpread(WAIT_S),
})

/** Calls of the engine by verb. */
export const createEngineMeters = () => ({
  engineSeconds: Object.fromEntries(ENGINE_VERBS.map((verb) => [verb, createSpread(CALL_S)])) as Record<
    EngineVerb,
    Spread
  >,
})

export const createTaskMeters = () => ({
  dispatchSeconds: {
    queue: createSpread(START_S),
    create: createSpread(START_S),
    join: createSpread(START_S),
  } satisfies Record<DispatchPhase, unknown>,
  ended: createTally(ENDS),
})

/**
 * Times each step of a start: `queue` from the request to the session's row, of a first attempt; `create` until the container is to be
 * started; `join` until its program has joined. A step that is not reached leaves no time. `exampleOf`: by what a task's times can be found.
 */
export function taskTimes(
  meters: ReturnType<typeof createTaskMeters>,
  {
    clock,
    taskOf,
    exampleOf,
  }: { clock: Clock; taskOf: (id: string) => TaskRow | undefined; exampleOf: (task: string) => Example | undefined },
): TaskListener {
  /** When a session's container was to be started, monotonic; only of sessions that have not joined. */
  const startedAt = new Map<string, number>()
  const { queue, create, join } = meters.dispatchSeconds
  return {
    taskChanged({ state }) {
      const end = ENDS.find((each) => each === state)
      if (end !== undefined) meters.ended.add(end)
    },
    sessionChanged({ id, task, state, createdAtMs }) {
      const from = startedAt.get(id)
      startedAt.delete(id)
      if (state === 'starting') {
        startedAt.set(id, clock.monotonicMs())
        create.add((clock.wallMs() - createdAtMs) / 1000, exampleOf(task))
        const whole = taskOf(task)
        if (whole?.attempts === 1) queue.add((createdAtMs - whole.createdAtMs) / 1000, exampleOf(task))
      }
      // A chat rests in ready.
      if ((state === 'working' || state === 'ready') && from !== undefined)
        join.add((clock.monotonicMs() - from) / 1000, exampleOf(task))
    },
  }
}
