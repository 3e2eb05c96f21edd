/**
 * Faces: the row of `task` that a run shows itself as (kind run). What is done to any task is done to it: it is held, released, stopped, ends with its
 * parent, is counted, listed, waited for, and answered to the agent that asked for it. Its steps are tasks below it.
 *
 * F1. A face never has an attempt or a session. It moves here alone: queued -> running when its run begins, and to its end.
 * F2. Nothing of a run starts while its face, or one above it, is held. Whoever holds a face holds those below it; whoever releases it releases all
 *     that waits below it.
 * F3. A step's task is tried once. A loss ends it, unless its agent never had it; what follows is for its run to decide, and nobody else's to repeat.
 * F4. What a run ends with goes to all that is below it, in the same transaction (T44).
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { assertGrant, assertStopGrant, type Grant, type StopGrant } from '../../guard/grant.ts'
import { taskMachine } from '../../protocol/task.ts'
import type { Store } from '../../store/database.ts'
import type { createMoves, TaskEnd } from './moves.ts'
import { setHeld as setHeldRow } from './row-checks.ts'
import { type TaskRow, type TaskRows, unreadableError } from './rows.ts'
import { isStep } from './tree-rows.ts'

export interface Faces {
  /** Its run begins: queued -> running. */
  begun(grant: Grant, face: string): void
  /** Its run is over; what still is open below it ends too. */
  ended(grant: Grant, face: string, end: TaskEnd): void
  /** Nothing more of it starts until it is released. Answers how many were not held before; what works goes on. */
  runHeld(grant: StopGrant, face: string): number
  /** It goes on, and all that waits below it. */
  runReleased(grant: Grant, face: string): TaskRow
}

/** Throws `conflict`, with the word to use, for a run and for a step of one. */
export function requireNoPartOfRun(task: TaskRow, word: 'release' | 'retry'): void {
  const [ofRun, ofStep] = word === 'release' ? ['release', 'release'] : ['rerun', 'retry']
  if (task.kind === 'run') throw new HubError('conflict', `it is a run: \`hub run ${ofRun} ${task.id}\``)
  if (isStep(task))
    throw new HubError('conflict', `it is a step of run ${task.parent}: \`hub run ${ofStep} ${task.parent}\``)
}

/** Throws `conflict` unless a step of this run may begin. */
export function requireUnderWay({ id, kind, state, held, unreadable }: TaskRow): void {
  if (unreadable !== null) throw new HubError('unreadable', unreadableError(unreadable).detail)
  if (kind !== 'run' || state !== 'running' || held)
    throw new HubError('conflict', `run ${id} is ${held ? 'held' : state}; no step of it begins`)
}

/** The end of a step that was lost: nobody knows what its agent did. */
export const lostStep = (how: string): TaskEnd & { state: 'failed' } => ({
  state: 'failed',
  error: { code: 'ended_early', detail: `it ended without a result: ${how}` },
})

export function createFaces(parts: {
  store: Store
  steady: Pick<Clock, 'wallMs'>
  rows: TaskRows
  moves: ReturnType<typeof createMoves>
}): Faces {
  const { store, steady, rows, moves } = parts

  function theFace(id: string): TaskRow {
    const face = moves.theTask(id)
    if (face.kind !== 'run') throw new HubError('unknown_task', `task ${id} is no run`)
    return face
  }
  function openFace(id: string): TaskRow {
    const face = theFace(id)
    if (taskMachine.isTerminal(face.state)) throw new HubError('already_resolved', `the run is already ${face.state}`)
    if (face.unreadable !== null) throw new HubError('unreadable', unreadableError(face.unreadable).detail)
    return face
  }
  const isOpen = ({ state, unreadable }: TaskRow) => !taskMachine.isTerminal(state) && unreadable === null
  const withAllBelow = (task: TaskRow): TaskRow[] => [
    task,
    ...rows.children(task.id).filter(isOpen).flatMap(withAllBelow),
  ]
  function setHeld({ id }: TaskRow, held: boolean): void {
    setHeldRow(store, id, held)
    moves.tellTask(id)
  }

  return {
    begun(grant, id) {
      assertGrant(grant, 'run.observe')
      moves.move('task', taskMachine, openFace(id), 'running', { started_at_ms: steady.wallMs() })
      moves.tellTask(id)
    },
    ended(grant, id, end) {
      assertGrant(grant, 'run.observe')
      moves.endTask(theFace(id), end)
    },
    runHeld(grant, id) {
      assertStopGrant(grant, 'run.hold')
      const faces = withAllBelow(openFace(id)).filter(({ kind, held }) => kind === 'run' && !held)
      for (const each of faces) setHeld(each, true)
      return faces.length
    },
    runReleased(grant, id) {
      assertGrant(grant, 'run.release')
      for (const each of withAllBelow(openFace(id))) if (each.held) setHeld(each, false)
      return theFace(id)
    },
  }
}
