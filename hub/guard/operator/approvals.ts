/**
 * Questions that wait for a person (X10). Owns the table `approval` and moves its states.
 *
 * Q1. Silence never answers: a question ends with the session that asked it, as expired.
 * Q2. Each question is an alert of its own, with its text and the commands that answer it, until it is answered or expired (fault C1). It is
 *     raised once the question is committed; if a crash comes in between, the next look tells it.
 *     If more than `TOLD_MAX` wait at once, the rest share one alert: an agent that asks without end causes no flood of messages.
 * Q3. An answer to a question that is over says whose question it was and how it ended.
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { createMachine } from '../../base/machine.ts'
import { newUuid, type Random } from '../../base/random.ts'
import { type Hide, hideUnknown } from '../../base/redaction.ts'
import type { Store } from '../../store/database.ts'
import type { Alerts } from '../alerts/alerts.ts'
import { assertGrant, type Grant } from '../grant.ts'

export type ApprovalState = 'asked' | 'approved' | 'refused' | 'expired'
const approvalMachine = createMachine<ApprovalState>('approval', {
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
  agent: string | null
  /** Message id of the `ask`: the answer's correlation id. */
  askId: string
  question: string
  answer: string
  askedAtMs: number
  endedAtMs: number | null
}

const OPEN_PER_SESSION_MAX = 16
const TOLD_MAX = 50
const MANY = 'questions_waiting'
const COLUMNS = `id, kind, state, task, session, (select agent from session where session.id = approval.session) as agent, ask_id as askId,
  question, answer, asked_at_ms as askedAtMs, ended_at_ms as endedAtMs`
const GONE = `exists (select 1 from session where session.id = approval.session and session.state in ('recycling', 'recycled'))`
const causeOf = (id: string): string => `question:${id}`

/** The agent's own words, each line marked, so that none looks like a line of the hub, such as a command that answers. */
const quoted = (text: string): string =>
  text
    .split(/\r\n|[\n\r\v\f\u0085\u2028\u2029]/)
    .map((line) => `> ${line}`)
    .join('\n')

/** Why a question no longer takes an answer. */
function overText({ agent, state, answer }: Approval): string {
  const who = `agent ${agent ?? 'that asked'}`
  if (state === 'expired') return `${who} has ended; nobody waits for this answer any more`
  const said = answer === '' ? '' : `, with ${JSON.stringify(answer.slice(0, 200))}`
  return `the question of ${who} was already ${state}${said}; the first answer counts`
}

export interface Approvals {
  /** Writes the question down. A repeat of the same ask answers the existing row, and is not `isNew`. Throws `rate_limited` at 16 open ones of a session. */
  ask(
    grant: Grant,
    question: { task: string; session: string; askId: string; text: string },
  ): Approval & { isNew: boolean }
  /** Throws `already_resolved`, with the reason, unless the question still waits and its agent is still there. */
  answer(grant: Grant, id: string, approved: boolean, text: string): Approval
  /** Ends the open questions of sessions that have ended; answers how many. */
  expire(grant: Grant): number
  list(all: boolean): Approval[]
  /** Raises the alert of each question that waits and has none. */
  tell(): void
  openOf(session: string): number
}

export function createApprovals(parts: {
  store: Store
  clock: Clock
  random: Random
  alerts: Pick<Alerts, 'raise' | 'resolve' | 'isOpen'>
  hide?: Hide
}): Approvals {
  const { store, clock, random, alerts, hide = hideUnknown().text } = parts
  const byId = store.prepare(`select ${COLUMNS} from approval where id = ?`)
  const byAsk = store.prepare(`select ${COLUMNS} from approval where session = ? and ask_id = ?`)
  const open = store.prepare(`select count(*) from approval where session = ? and state = 'asked'`).pluck()
  const gone = store.prepare(`select 1 from approval where id = ? and ${GONE}`)
  const openOf = (session: string) => open.get(session) as number
  const isWaiting = store.prepare(`select 1 from approval where id = ? and state = 'asked'`)
  const waiting = store.prepare(`select ${COLUMNS} from approval where state = 'asked' order by asked_at_ms`)
  const waitingCount = store.prepare(`select count(*) from approval where state = 'asked'`).pluck()

  function tellOf({ id, agent, task, question }: Approval): void {
    const cause = causeOf(id)
    if (alerts.isOpen(cause)) return
    if ((waitingCount.get() as number) > TOLD_MAX) {
      alerts.raise(MANY, 'warning', `More than ${TOLD_MAX} questions of agents wait for you: hub approval list.`)
      return
    }
    const text = [
      `Agent ${agent ?? 'unknown'} asks you, and waits:`,
      quoted(question),
      '',
      `Yes: hub approve ${id}`,
      `No:  hub reject ${id}`,
      `(each with --text "..." to say more; the task: hub task show ${task})`,
    ]
    alerts.raise(cause, 'warning', text.join('\n'))
  }
  const over = (id: string, how: string): void => store.afterCommit(() => alerts.resolve(causeOf(id), how))

  return {
    ask(grant, { task, session, askId, text }) {
      assertGrant(grant, 'task.ask')
      const known = byAsk.get(session, askId) as Approval | undefined
      if (known !== undefined) return { ...known, isNew: false }
      if (openOf(session) >= OPEN_PER_SESSION_MAX)
        throw new HubError('rate_limited', `${OPEN_PER_SESSION_MAX} questions of this session are already waiting`)
      const id = newUuid(random, clock.wallMs())
      store
        .prepare(
          `insert into approval (id, kind, state, task, session, ask_id, question, asked_at_ms) values (?, 'ask_user', 'asked', ?, ?, ?, ?, ?)`,
        )
        .run(id, task, session, askId, hide(text), clock.wallMs())
      const asked = byId.get(id) as Approval
      // If it was answered in the same transaction, there is nothing to tell.
      store.afterCommit(() => isWaiting.get(id) !== undefined && tellOf(asked))
      return { ...asked, isNew: true }
    },
    answer(grant, id, approved, text) {
      assertGrant(grant, 'approval.answer')
      const found = byId.get(id) as Approval | undefined
      if (found === undefined) throw new HubError('conflict', `no question has the id ${id}; see \`hub approval list\``)
      if (approvalMachine.isTerminal(found.state)) throw new HubError('already_resolved', overText(found))
      if (gone.get(id) !== undefined) throw new HubError('already_resolved', overText({ ...found, state: 'expired' }))
      const state = approved ? 'approved' : 'refused'
      const { changes } = store
        .prepare(`update approval set state = ?, answer = ?, ended_at_ms = ? where id = ? and state = 'asked'`)
        .run(state, text, clock.wallMs(), id)
      if (changes !== 1) throw new HubError('conflict', 'something else answered it first')
      const answered = byId.get(id) as Approval
      over(id, `Agent ${answered.agent} has its answer: ${state}${text === '' ? '' : `, ${text}`}.`)
      return answered
    },
    expire(grant) {
      assertGrant(grant, 'approval.expire')
      const due = store.prepare(`select ${COLUMNS} from approval where state = 'asked' and ${GONE}`).all() as Approval[]
      const end = store.prepare(
        `update approval set state = 'expired', ended_at_ms = ? where id = ? and state = 'asked'`,
      )
      for (const { id, agent } of due) {
        end.run(clock.wallMs(), id)
        over(id, `Agent ${agent} has ended without an answer; there is nothing left to answer.`)
      }
      return due.length
    },
    list: (all) =>
      store
        .prepare(`select ${COLUMNS} from approval where ? or state = 'asked' order by asked_at_ms desc limit 100`)
        .all(all ? 1 : 0) as Approval[],
    tell() {
      const all = waiting.all() as Approval[]
      if (all.length <= TOLD_MAX) alerts.resolve(MANY, `${TOLD_MAX} questions or fewer wait now.`)
      for (const one of all) tellOf(one)
    },
    openOf,
  }
}
