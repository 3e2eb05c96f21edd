/**
 * Questions that wait for a person (requirements.md section 2, X10). Owns the table `approval` and moves its states.
 * Silence never answers: a question ends with the session that asked it, as expired.
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { createMachine } from '../../base/machine.ts'
import { newUuid, type Random } from '../../base/random.ts'
import type { Store } from '../../store/database.ts'
import { assertGrant, type Grant } from '../grant.ts'

export type ApprovalState = 'asked' | 'approved' | 'refused' | 'expired'
export const approvalMachine = createMachine<ApprovalState>('approval', {
  asked: ['approved', 'refused', 'expired'],
  approved: [],
  refused: [],
  expired: [],
})

export interface Approval {
  id: string
  kind: 'ask_user'
  state: ApprovalState
  task: string
  session: string
  /** Message id of the `ask`: the answer's correlation id. */
  askId: string
  question: string
  answer: string
  askedAtMs: number
  endedAtMs: number | null
}

const OPEN_PER_SESSION_MAX = 16
const COLUMNS = `id, kind, state, task, session, ask_id as askId, question, answer, asked_at_ms as askedAtMs, ended_at_ms as endedAtMs`

export interface Approvals {
  /** Writes the question down; a repeat of the same ask answers what stands, and is not `isNew`. Throws `rate_limited` at 16 open ones of a session. */
  ask(
    grant: Grant,
    question: { task: string; session: string; askId: string; text: string },
  ): Approval & { isNew: boolean }
  /** Throws `already_resolved` unless it still waits. */
  answer(grant: Grant, id: string, approved: boolean, text: string): Approval
  /** Ends the open questions of sessions that have ended; answers how many. */
  expire(grant: Grant): number
  list(all: boolean): Approval[]
  openOf(session: string): number
}

export function createApprovals(parts: { store: Store; clock: Clock; random: Random }): Approvals {
  const { store, clock, random } = parts
  const byId = store.prepare(`select ${COLUMNS} from approval where id = ?`)
  const byAsk = store.prepare(`select ${COLUMNS} from approval where session = ? and ask_id = ?`)
  const open = store.prepare(`select count(*) from approval where session = ? and state = 'asked'`).pluck()
  const openOf = (session: string) => open.get(session) as number

  return {
    ask(grant, { task, session, askId, text }) {
      assertGrant(grant, 'task.ask')
      const known = byAsk.get(session, askId) as Approval | undefined
      if (known !== undefined) return { ...known, isNew: false }
      if (openOf(session) >= OPEN_PER_SESSION_MAX)
        throw new HubError('rate_limited', `${OPEN_PER_SESSION_MAX} questions of this session wait already`)
      const id = newUuid(random, clock.wallMs())
      store
        .prepare(
          `insert into approval (id, kind, state, task, session, ask_id, question, asked_at_ms) values (?, 'ask_user', 'asked', ?, ?, ?, ?, ?)`,
        )
        .run(id, task, session, askId, text, clock.wallMs())
      return { ...(byId.get(id) as Approval), isNew: true }
    },
    answer(grant, id, approved, text) {
      assertGrant(grant, 'approval.answer')
      const found = byId.get(id) as Approval | undefined
      if (found === undefined) throw new HubError('conflict', `no question has the id ${id}; see \`hub approval list\``)
      if (approvalMachine.isTerminal(found.state))
        throw new HubError('already_resolved', `the question is ${found.state}`)
      const state = approved ? 'approved' : 'refused'
      const { changes } = store
        .prepare(`update approval set state = ?, answer = ?, ended_at_ms = ? where id = ? and state = 'asked'`)
        .run(state, text, clock.wallMs(), id)
      if (changes !== 1) throw new HubError('conflict', 'something else answered it first')
      return byId.get(id) as Approval
    },
    expire(grant) {
      assertGrant(grant, 'approval.expire')
      return store
        .prepare(
          `update approval set state = 'expired', ended_at_ms = ?
           where state = 'asked' and exists
             (select 1 from session where session.id = approval.session and session.state in ('recycling', 'recycled'))`,
        )
        .run(clock.wallMs()).changes
    },
    list: (all) =>
      store
        .prepare(`select ${COLUMNS} from approval where ? or state = 'asked' order by asked_at_ms desc limit 100`)
        .all(all ? 1 : 0) as Approval[],
    openOf,
  }
}
