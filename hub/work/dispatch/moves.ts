/** The single steps that tasks.ts is made of: one table, one conditional update, told after the commit. For tasks.ts alone. */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { Machine } from '../../base/machine.ts'
import {
  attemptMachine,
  type ExitReason,
  type SessionState,
  sessionMachine,
  type TaskState,
  taskMachine,
} from '../../protocol/task.ts'
import type { Store } from '../../store/database.ts'
import type { SessionRow, TaskOutcome, TaskRow, TaskRows } from './rows.ts'

export type TaskEnd = {
  state: Exclude<TaskState, 'queued' | 'running'>
  outcome?: TaskOutcome
  error?: { code: string; detail: string }
}

export interface TaskListener {
  taskChanged(task: TaskRow): void
  sessionChanged(session: SessionRow): void
  /** Within the transaction, before the step: why it is taken away. */
  recycling(session: SessionRow, reason: ExitReason): void
}

export interface LossFacts {
  reason: ExitReason
  exitCode: number | null
  oomKilled: boolean
  detail: string
}
/** The operations that may end a task by force. */
export const STOPS = [
  'task.cancel',
  'session.stop',
  'session.revoke',
  'session.quarantine',
  'session.reap',
  'hub.shutdown',
] as const
export const jsonOrNull = (value: unknown): string | null =>
  value === undefined || value === null ? null : JSON.stringify(value)

export function createMoves(parts: { store: Store; clock: Clock; rows: TaskRows; listener: TaskListener }) {
  const { store, clock, rows, listener } = parts

  function need<Row>(row: Row | undefined, code: 'unknown_task' | 'unknown_session', id: string): Row {
    if (row === undefined)
      throw new HubError(code, `${code === 'unknown_task' ? 'task' : 'session'} ${id} is not known`)
    return row
  }
  const theTask = (id: string) => need(rows.task(id), 'unknown_task', id)
  const theSession = (id: string) => need(rows.session(id), 'unknown_session', id)

  /** One conditional update; `set` are further columns. */
  function move<State extends string>(
    table: string,
    machine: Machine<State>,
    row: { id: string; state: State },
    to: State,
    set: Record<string, unknown> = {},
  ) {
    machine.require(row.state, to)
    const columns = Object.keys(set).map((column) => `, ${column} = ?`)
    const statement = store.prepare(`update ${table} set state = ?${columns.join('')} where id = ? and state = ?`)
    const { changes } = statement.run(to, ...Object.values(set), row.id, row.state)
    if (changes !== 1) throw new HubError('conflict', `the ${machine.name} ${row.id} is no longer ${row.state}`)
  }

  const tellTask = (id: string) => store.afterCommit(() => listener.taskChanged(theTask(id)))
  const tellSession = (id: string) => store.afterCommit(() => listener.sessionChanged(theSession(id)))

  function moveSession(session: SessionRow, to: SessionState, set: Record<string, unknown> = {}): void {
    move('session', sessionMachine, session, to, set)
    tellSession(session.id)
  }

  function closeAttempt(session: SessionRow, to: 'settled' | 'lost' | 'stopped', facts?: LossFacts): void {
    const attempt = rows.attempts(session.task).find((row) => row.id === session.attempt)
    if (attempt === undefined || attemptMachine.isTerminal(attempt.state)) return
    const exit = {
      exit_code: facts?.exitCode ?? null,
      oom_killed: facts === undefined ? null : Number(facts.oomKilled),
    }
    move('attempt', attemptMachine, attempt, to, { ended_at_ms: clock.wallMs(), ...exit })
  }

  /** Recycling bumps the generation: every token of the session dies with it. */
  function beginRecycling(session: SessionRow, reason: ExitReason, detail = ''): void {
    if (session.state === 'recycling' || session.state === 'recycled') return
    listener.recycling(session, reason)
    moveSession(session, 'recycling', { exit_reason: reason, detail, generation: session.generation + 1 })
  }

  function endTask(task: TaskRow, end: TaskEnd): void {
    const set = { outcome: jsonOrNull(end.outcome), error: jsonOrNull(end.error), ended_at_ms: clock.wallMs(), held: 0 }
    move('task', taskMachine, task, end.state, set)
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
      beginRecycling(session, reason)
    }
    endTask(task, end)
  }

  function holdUnfinished(states: "'queued'" | "'queued', 'running'", only: string | null = null): number {
    const open = `state in (${states}) and held = 0 and id = coalesce(?, id)`
    const ids = store.prepare(`select id from task where ${open}`).pluck().all(only) as string[]
    store.prepare(`update task set held = 1 where ${open}`).run(only)
    for (const id of ids) tellTask(id)
    return ids.length
  }

  /** The next attempt delegates anew; children of the lost one would answer nobody (T44). */
  function requeue(task: TaskRow, set: Record<string, unknown>): void {
    // Held while it ran: everything was stopped, and that outweighs what is known of this one.
    move('task', taskMachine, task, 'queued', task.held ? { ...set, held: 1 } : set)
    tellTask(task.id)
    endChildren(task, "its parent's session ended")
  }

  return {
    theTask,
    theSession,
    move,
    moveSession,
    closeAttempt,
    beginRecycling,
    endTask,
    stopTask,
    requeue,
    holdUnfinished,
    tellTask,
  }
}
