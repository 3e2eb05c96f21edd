/** Operations on tasks. */
import { HubError } from '../../base/errors.ts'
import { mayReadTasks, type Principal } from '../../guard/principal.ts'
import type { SubmitRequest } from '../../protocol/submit.ts'
import type { Asking } from '../../work/dispatch/asking.ts'
import type { Late } from '../../work/dispatch/late.ts'
import type { TaskRow } from '../../work/dispatch/rows.ts'
import type { Turns } from '../../work/dispatch/turns.ts'
import type { Money } from '../../work/egress/money.ts'
import { type Handlers, handler, stopHandler } from '../serve.ts'
import { taskView, type ViewParts } from '../views.ts'
import { nextOf, type Page } from './sessions.ts'
import { shownTurns, TURNS_SHOWN } from './turns.ts'

type Ref = { id: string }

export function taskHandlers(
  parts: ViewParts & {
    asking: Asking
    turns: Turns
    late: Late
    /** What a task and its tree cost so far. */
    costOf: Money['costOf']
  },
): Handlers {
  const { tasks, turns, asking, late, journal, costOf } = parts
  const theTask = (id: string) => {
    const task = tasks.task(id)
    if (task === undefined) throw new HubError('unknown_task', `there is no task with the id ${id}`)
    return task
  }
  const view = (id: string) => taskView(theTask(id), parts)
  /** A task as those see it who changed it. Its input and result are only for those who may read it. */
  const answered = (principal: Principal, task: TaskRow) => {
    const whole = taskView(task, parts)
    if (mayReadTasks(principal)) return whole
    return { ...whole, params: {}, outcome: null, error: null, artifacts: [], progress: null }
  }
  /** The newest of its sessions that had any. */
  const turnsOfTask = (id: string) =>
    tasks
      .attempts(id)
      .flatMap(({ session }) => (session === null ? [] : shownTurns(turns, session)))
      .slice(-TURNS_SHOWN)
  const taskResource = ({ id }: Ref) => `task:${id}`

  return {
    'task.submit': handler({
      resource: (request: SubmitRequest) =>
        request.agent === undefined ? `needs:${request.needs.join(',')}` : `agent:${request.agent}`,
      facts: (request: SubmitRequest, principal) => asking.submitFacts(principal, request),
      effect: (grant, request: SubmitRequest, { idempotencyKey }) => {
        const task = asking.submit(grant, request, idempotencyKey)
        return { task: taskView(task, parts), auditEffect: `task:${task.id}` }
      },
      after: ({ task }) => ({ task }),
    }),
    'task.list': handler({
      effect: (
        _grant,
        { limit, cursor, ...of }: Page & { state?: string; parent?: string; part?: string; held?: boolean },
      ) => {
        const rows = tasks.tasks({ limit, ...(cursor && { before: cursor }), ...of })
        return { tasks: rows.map((row) => taskView(row, parts)), next: nextOf(rows, limit, (row) => row.id) }
      },
    }),
    'task.show': handler({
      resource: taskResource,
      effect: (_grant, { id }: Ref) => {
        const task = view(id)
        const attempts = tasks
          .attempts(id)
          .map(({ id: attempt, state, session, startedAtMs, endedAtMs, exitCode, oomKilled, unreadable }) => {
            const exit = session === null ? null : (tasks.session(session)?.exitReason ?? null)
            return {
              attempt,
              state,
              session,
              startedAtMs,
              endedAtMs,
              exit,
              exitCode,
              oomKilled: oomKilled === 1,
              unreadable,
            }
          })
        const came = late.of(id)
        const heard = came.length === 0 ? {} : { late: came }
        return { task, attempts, money: costOf(id), turns: turnsOfTask(id), ...heard }
      },
    }),
    'task.logs': handler({
      resource: taskResource,
      effect: (_grant, { id }: Ref) => ({ lines: journal.linesOf(view(id).id) }),
    }),
    'task.cancel': stopHandler({
      resource: taskResource,
      effect: (grant, { id }: Ref) =>
        tasks.stop(
          grant,
          id,
          { state: 'cancelled', error: { code: 'cancelled', detail: 'cancelled by the operator' } },
          'cancelled',
        ),
      after: (_result, { id }, { principal }) => ({ task: answered(principal, theTask(id)) }),
    }),
    'task.release': handler({
      resource: taskResource,
      facts: ({ id }: Ref) => asking.releaseFacts(id),
      effect: (grant, { id }: Ref) => ({ task: answered(grant.principal, asking.release(grant, id)) }),
    }),
    'task.accept': handler({
      resource: taskResource,
      effect: (grant, { id }: Ref) => {
        const made = late.accept(grant, theTask(id))
        return { task: answered(grant.principal, made), auditEffect: `task:${made.id}` }
      },
      after: ({ task }) => ({ task }),
    }),
    'task.retry': handler({
      resource: taskResource,
      facts: ({ id }: Ref, principal) => asking.retryFacts(principal, id),
      effect: (grant, { id }: Ref, { idempotencyKey }) => {
        const task = asking.retry(grant, id, idempotencyKey)
        return { task: answered(grant.principal, task), auditEffect: `task:${task.id}` }
      },
      after: ({ task }) => ({ task }),
    }),
  }
}
