/** The single steps that tasks.ts is made of: one table, one conditional update, listeners told after the commit. Only for tasks.ts. */
import type { Clock } from '../../base/clock.ts'
import { type ErrorCode, HubError } from '../../base/errors.ts'
import type { Machine } from '../../base/machine.ts'
import type { Redaction } from '../../base/redaction.ts'
import {
  type AttemptState,
  attemptMachine,
  type ExitReason,
  type SessionState,
  sessionMachine,
  type TaskOutcome,
  type TaskState,
  taskMachine,
} from '../../protocol/task.ts'
import type { Store } from '../../store/database.ts'
import { createMove } from '../../store/move.ts'
import { holdRows, sealRow } from './row-checks.ts'
import { type SessionRow, type TaskRow, type TaskRows, unreadableError } from './rows.ts'

export type TaskEnd = {
  state: Exclude<TaskState, 'queued' | 'running'>
  outcome?: TaskOutcome
  error?: { code: string; detail: string }
}

export interface TaskListener {
  /** Once for each task, before anything else is told of it. */
  taskMade?(task: TaskRow): void
  taskChanged?(task: TaskRow): void
  sessionChanged?(session: SessionRow): void
  /** Called within the transaction, before the step, with the reason. */
  recycling?(session: SessionRow, reason: ExitReason): void
  /** Called within the transaction in which it ends for good, after that step. */
  ending?(task: TaskRow): void
}

export interface LossFacts {
  reason: ExitReason
  exitCode: number | null
  oomKilled: boolean
  detail: string
  /** Of a start that failed. */
  code?: ErrorCode
}
/** The operations that may end a task by force. */
export const STOPS = [
  'task.cancel',
  'session.stop',
  'session.revoke',
  'session.quarantine',
  'session.close',
  'session.reap',
  'hub.shutdown',
  'run.reap',
] as const
type Table = 'task' | 'attempt' | 'session'
export const jsonOrNull = (value: unknown): string | null =>
  value === undefined || value === null ? null : JSON.stringify(value)

export function createMoves(parts: {
  store: Store
  /** The steady clock: retention judges ages by these times. */
  steady: Pick<Clock, 'wallMs'>
  rows: TaskRows
  /** They hear in this order. */
  listeners: readonly TaskListener[]
  redaction: Redaction
}) {
  const { store, steady, rows, listeners, redaction } = parts

  function need<Row>(row: Row | undefined, code: 'unknown_task' | 'unknown_session', id: string): Row {
    if (row === undefined)
      throw new HubError(code, `${code === 'unknown_task' ? 'task' : 'session'} ${id} is not known`)
    return row
  }
  const theTask = (id: string) => need(rows.task(id), 'unknown_task', id)
  const theSession = (id: string) => need(rows.session(id), 'unknown_session', id)

  const seal = (table: Table, id: string) => sealRow(store, table, id)

  const step = createMove(store)
  /** A step of a row, and its check anew. */
  function move<State extends string>(
    table: Table,
    machine: Machine<State>,
    row: { id: string; state: State; unreadable: string | null },
    to: State,
    set: Record<string, unknown> = {},
  ) {
    // The state of a damaged row is not known. It is only ever moved to its end.
    const isWhole = row.unreadable === null
    step(machine, { table, key: { id: row.id }, state: row.state, isWhole }, to, set)
    // A session ends in two separate steps. Other damaged rows stay marked as damaged (row-checks.ts).
    if (isWhole || table === 'session') seal(table, row.id)
  }

  const tellTask = (id: string) =>
    store.afterCommit(() => {
      const task = theTask(id)
      for (const listener of listeners) listener.taskChanged?.(task)
    })
  const tellMade = (id: string) =>
    store.afterCommit(() => {
      const task = theTask(id)
      for (const listener of listeners) listener.taskMade?.(task)
    })
  const tellSession = (id: string) =>
    store.afterCommit(() => {
      const session = theSession(id)
      for (const listener of listeners) listener.sessionChanged?.(session)
    })

  function moveSession(session: SessionRow, to: SessionState, set: Record<string, unknown> = {}): void {
    move('session', sessionMachine, session, to, set)
    tellSession(session.id)
  }

  const attemptOf = (session: SessionRow) => rows.attempts(session.task).find((row) => row.id === session.attempt)

  /** A damaged attempt, or one in another state, is left as it is. */
  function stepAttempt(session: SessionRow, from: AttemptState, to: AttemptState): void {
    const attempt = attemptOf(session)
    if (attempt?.unreadable === null && attempt.state === from) move('attempt', attemptMachine, attempt, to)
  }

  function closeAttempt(session: SessionRow, to: 'settled' | 'lost' | 'stopped', facts?: LossFacts): void {
    const attempt = attemptOf(session)
    if (attempt === undefined || attemptMachine.isTerminal(attempt.state)) return
    const exit = {
      exit_code: facts?.exitCode ?? null,
      oom_killed: facts === undefined ? null : Number(facts.oomKilled),
    }
    move('attempt', attemptMachine, attempt, to, { ended_at_ms: steady.wallMs(), ...exit })
  }

  /** Recycling raises the generation, so every token of the session becomes invalid. */
  function beginRecycling(session: SessionRow, reason: ExitReason, detail = '', code?: ErrorCode): void {
    if (session.state === 'recycling' || session.state === 'recycled') return
    for (const listener of listeners) listener.recycling?.(session, reason)
    const why = { exit_reason: reason, detail: redaction.text(detail), error_code: code ?? null }
    moveSession(session, 'recycling', { ...why, generation: session.generation + 1 })
  }

  function endTask(task: TaskRow, end: TaskEnd): void {
    const { state, outcome, error } =
      task.unreadable !== null && end.state === 'succeeded'
        ? ({ state: 'failed', error: unreadableError(task.unreadable) } as TaskEnd)
        : end
    const set = {
      outcome: jsonOrNull(redaction.value(outcome)),
      error: jsonOrNull(redaction.value(error)),
      ended_at_ms: steady.wallMs(),
      held: 0,
    }
    move('task', taskMachine, task, state, set)
    for (const listener of listeners) listener.ending?.(task)
    tellTask(task.id)
    endChildren(task, 'its parent ended')
  }

  function endChildren(task: TaskRow, detail: string): void {
    for (const child of rows.children(task.id)) {
      if (!taskMachine.isTerminal(child.state))
        stopTask(child, { state: 'cancelled', error: { code: 'cancelled', detail } }, 'cancelled')
    }
  }

  function stopTask(task: TaskRow, end: TaskEnd, reason: ExitReason): void {
    if (taskMachine.isTerminal(task.state)) throw new HubError('already_resolved', `the task is already ${task.state}`)
    const session = rows.sessionOfTask(task.id)
    if (session !== undefined) {
      closeAttempt(session, 'stopped')
      beginRecycling(session, reason, end.error?.detail)
    }
    endTask(task, end)
  }

  function holdUnfinished(states: "'queued'" | "'queued', 'running'", only: string | null = null): number {
    const ids = holdRows(store, states, only)
    for (const id of ids) tellTask(id)
    return ids.length
  }

  /** The next attempt delegates again; children of the lost one would have nobody to answer (T44). */
  function requeue(task: TaskRow, set: Record<string, unknown>): void {
    if (task.unreadable !== null) {
      endTask(task, { state: 'failed', error: unreadableError(task.unreadable) })
      return
    }
    // It was held while it ran: everything was stopped, and that outweighs what is known of this one.
    move('task', taskMachine, task, 'queued', task.held ? { ...set, held: 1 } : set)
    tellTask(task.id)
    endChildren(task, "its parent's session ended")
  }

  return {
    theTask,
    theSession,
    move,
    seal,
    moveSession,
    stepAttempt,
    closeAttempt,
    beginRecycling,
    endTask,
    stopTask,
    requeue,
    holdUnfinished,
    tellMade,
    tellTask,
  }
}
