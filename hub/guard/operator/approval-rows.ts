/**
 * The rows of what waits for a person. Owns the table `approval`, and every step of a row is made here: one update that names the old
 * state, in an open transaction. What may be asked, answered and ended is decided in approvals.ts.
 */
import type { Clock } from '../../base/clock.ts'
import { newUuid, type Random } from '../../base/random.ts'
import { hideUnknown, type Redaction } from '../../base/redaction.ts'
import {
  type ApprovalEnding,
  type ApprovalKind,
  type ApprovalState,
  approvalMachine,
  type OnTimeout,
  type Tier,
} from '../../protocol/approval.ts'
import type { OperationName } from '../../protocol/operations.ts'
import type { Store } from '../../store/database.ts'
import { createMove } from '../../store/move.ts'
import type { Act } from '../acts.ts'

export interface Approval {
  id: string
  kind: ApprovalKind
  state: ApprovalState
  /** What it was for; null for an act that belongs to no task or session. */
  task: string | null
  session: string | null
  agent: string | null
  /** Message id of the `ask` or `permit`: the answer's correlation id. Null for an act. */
  askId: string | null
  /** The agent's words, why the rules ask, or what the hub asks. */
  question: string
  answer: string
  answeredBy: string | null
  principal: string
  operation: OperationName | null
  resource: string | null
  /** Digest of the exact act. */
  act: string | null
  /** What the act is made of, or the amounts of a question about money, as JSON. */
  bound: string | null
  rule: string | null
  revision: string | null
  tier: Tier
  /** Instant of the work clock at which the wait ends. */
  dueMs: number
  onTimeout: OnTimeout
  ending: ApprovalEnding | null
  askedAtMs: number
  usedAtMs: number | null
  endedAtMs: number | null
}

/** A dispatch that waits, or may start once. */
export type AskedDispatch = Pick<Approval, 'id' | 'task' | 'agent' | 'act'> & { state: 'asked' | 'approved' }

/** What ends now, or is asked again. */
export type DueApproval = Approval & { waitMs: number; deferred: number; isGone: 0 | 1; isChanged: 0 | 1 }

/** A tool that a session asks about: what it can do, the digest of exactly this use of it (`parts.use`), and what a person is shown. */
export type AskedTool = Required<Pick<NewApproval, 'tier' | 'parts' | 'facts'>>

export interface NewApproval {
  kind: ApprovalKind
  session: string | null
  task: string | null
  agent: string | null
  askId?: string
  question: string
  principal: string
  tier: Tier
  dueMs: number
  waitMs: number
  onTimeout: OnTimeout
  act?: { operation: OperationName; of: Act; rule: string; revision: string }
  /** Of what is no act: what it is about, for a person and for whoever carries out the answer. */
  facts?: Readonly<Record<string, unknown>>
  /** Of the same: digests of what it stands on. */
  parts?: Act['parts']
}

/** Twice as many as may wait at once. */
const DECIDED_MAX = 32
/** Each is an act of its own, with a record. */
const DUE_MAX = 256
/** One for each message that was sent about it. */
const LINKS_MAX = 16
const KEPT_LINKS = `case when json_array_length(links) < ${LINKS_MAX} then links else json_remove(links, '$[0]') end`
const ADD_LINK = `update approval set links = json_insert(${KEPT_LINKS}, '$[#]', ?) where id = ?`
const HAS_LINK = 'select 1 from approval, json_each(approval.links) where approval.id = ? and json_each.value = ?'
/** Of what the act is made of, kept for a person to read. */
const BOUND_BYTES_MAX = 8192
const COLUMNS = `id, kind, state, task, session, agent, ask_id as askId, question, answer, answered_by as answeredBy, principal, operation,
  resource, act, bound, rule, revision, tier, due_ms as dueMs, on_timeout as onTimeout, ending, asked_at_ms as askedAtMs,
  used_at_ms as usedAtMs, ended_at_ms as endedAtMs`
const LIVE_ACT = `act is not null and state in ('asked', 'approved')`
/** What it was for is over. */
const GONE = `(exists (select 1 from session where session.id = approval.session and session.state in ('recycling', 'recycled'))
  or (approval.session is null and exists (select 1 from task where task.id = approval.task and (task.state not in ('queued', 'running')
    or (approval.operation = 'task.dispatch' and task.state <> 'queued')))))`

function boundText({ parts, facts }: Pick<Act, 'parts' | 'facts'>): string {
  const text = JSON.stringify({ parts, facts })
  return Buffer.byteLength(text) <= BOUND_BYTES_MAX ? text : JSON.stringify({ parts, facts: 'too long to keep' })
}

function boundOf({ kind, act, facts, parts = {} }: NewApproval, redaction: Pick<Redaction, 'value'>): string | null {
  if (act !== undefined) return boundText(redaction.value(act.of))
  return facts === undefined ? null : boundText({ parts, facts: kind === 'tool' ? redaction.value(facts) : facts })
}

/** For a database from a backup: no act of it is open or approved any more, as if nobody had been asked. In an open transaction. */
export function endActs(store: Pick<Store, 'prepare'>, nowMs: number): void {
  store.prepare(`update approval set state = 'expired', ending = 'over', ended_at_ms = ? where ${LIVE_ACT}`).run(nowMs)
}

function createLinks(store: Store) {
  const hasLink = store.prepare(HAS_LINK)
  const addLink = store.prepare(ADD_LINK)
  return {
    /** Remembers the digest of a link; the oldest beyond `LINKS_MAX` is good no more. */
    addLink: (id: string, hash: string) => void addLink.run(hash, id),
    hasLink: (id: string, hash: string) => hasLink.get(id, hash) !== undefined,
  }
}

function createTold(store: Store) {
  const decidedOf = store.prepare(
    `select ${COLUMNS} from approval where session = ? and kind = 'act' and state in ('approved', 'refused', 'expired')
       and ending is not 'over' order by ended_at_ms desc, rowid desc limit ${DECIDED_MAX}`,
  )
  return {
    /** The newest acts of a session that wait no more and were not used, oldest first. */
    decidedOf: (session: string) => (decidedOf.all(session) as Approval[]).reverse(),
  }
}

function createMoneyAsked(store: Store) {
  const found = store.prepare(
    `select 1 from approval where task = ? and kind = 'budget' and (state in ('asked', 'refused') or ending = 'timed_out')`,
  )
  return {
    /** Whether more money for this tree is asked for, or a no holds. */
    isMoneyAsked: (task: string) => found.get(task) !== undefined,
  }
}

export type ApprovalRows = ReturnType<typeof createApprovalRows>

interface RowParts {
  store: Store
  clock: Clock
  random: Random
  redaction?: Pick<Redaction, 'text' | 'value'>
}

/** What is over, changed or out of time: of all of them some, and one. */
function dueOf(store: Store) {
  const among = (which: string) =>
    store.prepare(
      `select * from (
         select ${COLUMNS}, wait_ms as waitMs, deferred, ${GONE} as isGone, (revision is not null and revision <> ?) as isChanged from approval
         where ${which})
       where isGone or isChanged or (state = 'asked' and dueMs <= ?) or (task is null and session is null and dueMs <= ?)
       limit ${DUE_MAX}`,
    )
  return {
    due: among(`id in (select id from approval where state = 'asked' union select id from approval where ${LIVE_ACT})`),
    dueOne: among(`id = ? and (state = 'asked' or ${LIVE_ACT})`),
  }
}

export function createApprovalRows({ store, clock, random, redaction = hideUnknown() }: RowParts) {
  const byId = store.prepare(`select ${COLUMNS} from approval where id = ?`)
  const byAsk = store.prepare(`select ${COLUMNS} from approval where session = ? and ask_id = ?`)
  const openOf = store
    .prepare(`select count(*) from approval where session = ? and kind in ('ask_user', 'tool') and state = 'asked'`)
    .pluck()
  const openBy = store
    .prepare(`select count(*) from approval where ${LIVE_ACT} and principal = ? and state = 'asked'`)
    .pluck()
  const gone = store.prepare(`select 1 from approval where id = ? and ${GONE}`)
  const listOf = (where: string, end: string) =>
    store.prepare(`select ${COLUMNS} from approval where ${where} order by asked_at_ms ${end}`)
  const waiting = listOf(`state = 'asked'`, '')
  const waitingCount = store.prepare(`select count(*) from approval where state = 'asked'`).pluck()
  const ofTask = store.prepare(
    `select ${COLUMNS} from approval where task = ? and operation = 'task.dispatch' and state = 'asked'`,
  )
  const dispatches = store.prepare(
    `select id, task, agent, act, state from approval where ${LIVE_ACT} and operation = 'task.dispatch'`,
  )
  const approvedOf = store.prepare(`select ${COLUMNS} from approval where slot = ? and act = ? and state = 'approved'`)
  const latest = store.prepare(
    `select ${COLUMNS}, left_ms as leftMs from approval where slot = ? order by rowid desc limit 1`,
  )
  const taskOf = store.prepare('select task from session where id = ?').pluck()
  const isTask = store.prepare('select 1 from task where id = ?')
  const { due, dueOne } = dueOf(store)
  const askAgain = store.prepare('update approval set due_ms = ?, deferred = deferred + 1 where id = ?')
  const forget = store.prepare(
    `delete from approval where task is null and session is null and state not in ('asked', 'approved') and ended_at_ms < ?`,
  )
  const insert = store.prepare(
    `insert into approval (id, kind, state, task, session, ask_id, agent, question, principal, operation, resource, act, slot, bound, rule,
       revision, tier, due_ms, wait_ms, on_timeout, asked_at_ms)
     values (?, ?, 'asked', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  )
  const find = (id: string) => byId.get(id) as Approval | undefined
  const step = createMove(store)

  return {
    ...createLinks(store),
    ...createTold(store),
    ...createMoneyAsked(store),
    find,
    byAsk: (session: string, askId: string) => byAsk.get(session, askId) as Approval | undefined,
    /** Open questions of a session. */
    openOf: (session: string) => openOf.get(session) as number,
    /** Open acts of a principal. */
    openBy: (principal: string) => openBy.get(principal) as number,
    isGone: (id: string) => gone.get(id) !== undefined,
    waiting: () => waiting.all() as Approval[],
    waitingCount: () => waitingCount.get() as number,
    ofTask: (task: string) => ofTask.get(task) as Approval | undefined,
    dispatches: () => dispatches.all() as AskedDispatch[],
    approvedOf: ({ slot, act }: Act) => approvedOf.get(slot, act) as Approval | undefined,
    /** The newest of a place, and what was left when it was superseded. */
    latest: (slot: string) => latest.get(slot) as (Approval & { leftMs: number | null }) | undefined,
    /** What ends or is asked again, by the rules in force and the work clock. */
    /** Which of them end or are asked again now; of many some, the rest with the next call. */
    due: (revision: string, workedMs: number) => due.all(revision, workedMs, workedMs) as DueApproval[],
    dueOne: (id: string, revision: string, workedMs: number) =>
      dueOne.get(revision, id, workedMs, workedMs) as DueApproval | undefined,
    list: (all: boolean) => listOf(all ? '1' : `state = 'asked'`, 'desc limit 100').all() as Approval[],

    /** The task that an act belongs to: of the session that asks, or the one that it is about to start. */
    taskOf(session: string | null, operation: OperationName, resource: string): string | null {
      if (session !== null) return (taskOf.get(session) as string | undefined) ?? null
      const id = resource.startsWith('task:') ? resource.slice('task:'.length) : ''
      return (operation === 'task.dispatch' || operation === 'task.release') && isTask.get(id) !== undefined ? id : null
    },

    /** Every step of every row. Throws `conflict` if it is no longer in that state. */
    move(
      { id, state }: Pick<Approval, 'id' | 'state'>,
      to: ApprovalState,
      set: Record<string, string | number | null> = {},
    ): Approval {
      step(approvalMachine, { table: 'approval', key: { id }, state }, to, set)
      return find(id) as Approval
    },

    insert(row: NewApproval): Approval {
      const id = newUuid(random, clock.wallMs())
      const { act } = row
      insert.run(
        ...[
          id,
          row.kind,
          row.task,
          row.session,
          row.askId ?? null,
          row.agent,
          redaction.text(row.question),
          row.principal,
        ],
        ...[
          act?.operation ?? null,
          act === undefined ? null : redaction.text(act.of.resource),
          act?.of.act ?? null,
          act?.of.slot ?? null,
        ],
        ...[boundOf(row, redaction), act?.rule ?? null, act?.revision ?? null],
        ...[row.tier, row.dueMs, row.waitMs, row.onTimeout, clock.wallMs()],
      )
      return find(id) as Approval
    },

    /** It waits once more, until this instant of the work clock. */
    askAgain(id: string, dueMs: number): Approval {
      askAgain.run(dueMs, id)
      return find(id) as Approval
    },

    /** Deletes ended acts that belong to no task, so that no deletion of tasks takes them. */
    forget: (beforeMs: number) => void forget.run(beforeMs),
  }
}
