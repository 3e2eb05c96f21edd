/** Operations on sessions; those on their turns stand in turns.ts. */
import { HubError } from '../../base/errors.ts'
import type { DenyList } from '../../guard/identity/deny-list.ts'
import type { Artifacts } from '../../work/artifacts.ts'
import type { Late } from '../../work/dispatch/late.ts'
import type { Quarantine } from '../../work/dispatch/quarantine.ts'
import type { SessionRow } from '../../work/dispatch/rows.ts'
import type { Turns } from '../../work/dispatch/turns.ts'
import type { Hardening } from '../../work/sandbox/hardening.ts'
import { type Handlers, handler, stopHandler } from '../serve.ts'
import { sessionView, type ViewParts } from '../views.ts'
import { shownTurns } from './turns.ts'

export interface Page {
  limit: number
  cursor?: string
}
type Ref = { id: string }

/** The cursor of the next page; null at the end. */
export const nextOf = <Row>(rows: Row[], limit: number, cursor: (row: Row) => string | number): string | null => {
  const last = rows[rows.length - 1]
  return rows.length < limit || last === undefined ? null : String(cursor(last))
}

export function sessionHandlers(
  parts: Pick<ViewParts, 'tasks' | 'mailboxes' | 'vitals' | 'clock'> & {
    turns: Turns
    artifacts: Pick<Artifacts, 'withhold'>
    late: Pick<Late, 'shut' | 'hurry'>
    containerLogs: (session: string) => Promise<string>
    quarantine: Pick<Quarantine, 'examine'>
    /** Throws `conflict` if nothing runs for it. */
    hardening: (session: SessionRow) => Promise<Hardening>
    denyList: DenyList
    /** Ends its fast session, which a token opened. The socket stays until the container is gone. */
    cutFrames: (session: string) => void
  },
): Handlers {
  const { tasks, turns, artifacts, late, containerLogs, quarantine, hardening, denyList, cutFrames } = parts
  const theSession = (id: string) => {
    const session = tasks.session(id)
    if (session === undefined) throw new HubError('unknown_session', `there is no session with the id ${id}`)
    return session
  }
  const sessionResource = ({ id }: Ref) => `session:${id}`

  return {
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
        turns: shownTurns(turns, session.id),
        closing: turns.closing(session.id)?.why ?? null,
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
        else late.hurry(session.id)
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
