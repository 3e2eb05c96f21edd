/** Operations on tasks and sessions. */
import { HubError } from '../../base/errors.ts'
import type { DenyList } from '../../guard/identity/deny-list.ts'
import { mayReadTasks, type Principal } from '../../guard/principal.ts'
import type { SubmitRequest } from '../../protocol/submit.ts'
import type { Artifacts } from '../../work/artifacts.ts'
import type { Asking } from '../../work/dispatch/asking.ts'
import type { Late } from '../../work/dispatch/late.ts'
import type { Quarantine } from '../../work/dispatch/quarantine.ts'
import type { SessionRow, TaskRow } from '../../work/dispatch/rows.ts'
import type { Money } from '../../work/egress/money.ts'
import type { Hardening } from '../../work/sandbox/hardening.ts'
import { type Handlers, handler, stopHandler } from '../serve.ts'
import { sessionView, taskView, type ViewParts } from '../views.ts'

interface Page {
  limit: number
  cursor?: string
}
type Ref = { id: string }

export function taskHandlers(
  parts: ViewParts & {
    asking: Asking
    artifacts: Artifacts
    late: Late
    containerLogs: (session: string) => Promise<string>
    quarantine: Pick<Quarantine, 'examine'>
    /** Throws `conflict` if nothing runs for it. */
    hardening: (session: SessionRow) => Promise<Hardening>
    denyList: DenyList
    /** Ends its fast session, which a token opened. The socket stays until the container is gone. */
    cutFrames: (session: string) => void
    /** What a task and its tree cost so far. */
    costOf: Money['costOf']
  },
): Handlers {
  const { tasks, asking, artifacts, late, journal, containerLogs, quarantine, hardening, denyList, cutFrames, costOf } =
    parts
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
  const theSession = (id: string) => {
    const session = tasks.session(id)
    if (session === undefined) throw new HubError('unknown_session', `there is no session with the id ${id}`)
    return session
  }
  const nextOf = <Row>(rows: Row[], limit: number, cursor: (row: Row) => string | number) => {
    const last = rows[rows.length - 1]
    return rows.length < limit || last === undefined ? null : String(cursor(last))
  }
  const taskResource = ({ id }: Ref) => `task:${id}`
  const sessionResource = ({ id }: Ref) => `session:${id}`

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
      effect: (_grant, { limit, cursor, ...of }: Page & { state?: string; parent?: string; part?: string }) => {
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
        return { task, attempts, money: costOf(id), ...(came.length === 0 ? {} : { late: came }) }
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
    'session.list': handler({
      effect: (_grant, { limit, cursor, all, part }: Page & { all: boolean; part?: string }) => {
        const rows = tasks.sessions({ limit, all, ...(cursor && { before: cursor }), ...(part && { part }) })
        return {
          sessions: rows.map((row) => sessionView(row, parts)),
          next: nextOf(rows, limit, (row) => row.createdAtMs),
        }
      },
    }),
    'session.show': handler({
      resource: sessionResource,
      effect: (_grant, { id }: Ref & { hardening: boolean }) => theSession(id),
      after: async (session, { hardening: isGraded }) => ({
        session: sessionView(session, parts),
        ...(isGraded ? { hardening: await hardening(session) } : {}),
      }),
    }),
    'session.logs': handler({
      resource: sessionResource,
      effect: (_grant, { id }: Ref) => theSession(id),
      after: async (session) => ({ text: await containerLogs(session.containerName) }),
    }),
    'session.stop': stopHandler({
      resource: sessionResource,
      effect: (grant, { id }: Ref) => {
        const session = theSession(id)
        if (session.state === 'recycled') throw new HubError('already_resolved', 'the session has ended')
        const end = {
          state: 'cancelled',
          error: { code: 'cancelled', detail: 'its session was stopped by the operator' },
        } as const
        if (session.state !== 'recycling') tasks.stop(grant, session.task, end, 'operator')
      },
      after: (_result, { id }) => ({ session: sessionView(theSession(id), parts) }),
    }),
    'session.revoke': stopHandler({
      resource: sessionResource,
      effect: (grant, { id, jti }: Ref & { jti?: string }) => {
        const session = theSession(id)
        if (session.state === 'recycled') throw new HubError('already_resolved', 'the session has ended')
        if (jti !== undefined) {
          denyList.deny(grant, jti)
          return { auditEffect: `token:${jti}`, isEnding: false }
        }
        const end = {
          state: 'failed',
          error: { code: 'forbidden', detail: 'its session was revoked by the operator' },
        } as const
        // The generation rises with it, so every token of this session ends here, whatever is still on its way.
        const isEnding = session.state === 'recycling'
        if (!isEnding) tasks.stop(grant, session.task, end, 'security')
        artifacts.withhold(grant, id)
        late.shut(grant, session)
        return { auditEffect: 'every token of the session', isEnding }
      },
      after: ({ isEnding }, { id }) => {
        cutFrames(id)
        // One that is stopped by this is examined before it is destroyed (dispatch/reaper.ts); one that was ending already is not.
        if (isEnding) quarantine.examine(id)
        return { session: sessionView(theSession(id), parts) }
      },
    }),
  }
}
