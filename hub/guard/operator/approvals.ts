/**
 * Questions and acts that wait for a person (X10, S2-26, S2-27, S2-28): who is asked, what an answer means, and when a wait is over.
 *
 * Q1. Silence never says yes. What nobody answers in time ends as a no, or is asked again, as the limits of its tier say. It ends too with
 *     what it was for: the session that asked, or the task that was to start.
 * Q2. Each is an alert of its own, with its text and the commands that answer it, until it is over (fault C1). It is raised once the row is
 *     committed, and ended once its end is; if a crash comes in between, the next run makes up for it. If more than `TOLD_MAX` wait at once, the rest share one alert: an
 *     agent that asks without end causes no flood of messages.
 * Q3. An answer to one that is over says whose it was and how it ended. The first answer counts, by one conditional update.
 * Q4. An approved act is used once, inside the savepoint of its effect: an effect that throws gives it back. It is used only by exactly the
 *     act that was asked about (acts.ts). If the rules or what it stands on changed, it ends as superseded, and the act is asked about
 *     anew, with what changed and with the time that was left.
 * Q5. A no, or a wait that ran out, holds for the same act of a session, a token or the hub. People may ask again.
 */
import { digestOf, sha256Hex } from '../../base/canonical.ts'
import type { Clock } from '../../base/clock.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import type { Redaction } from '../../base/redaction.ts'
import { type ApprovalState, approvalMachine, limitOf, TIER_LIMITS, type TierLimits } from '../../protocol/approval.ts'
import type { Store } from '../../store/database.ts'
import { type Act, actOf, changedParts, tierOf } from '../acts.ts'
import type { Alerts } from '../alerts/alerts.ts'
import type { Call } from '../checks.ts'
import type { SteadyClock } from '../conditions/steady-clock.ts'
import { type AskGrant, assertAskGrant, assertGrant, type Grant } from '../grant.ts'
import type { PolicyDecision } from '../policy/engine.ts'
import { principalText } from '../principal.ts'
import {
  type Approval,
  type AskedDispatch,
  type AskedTool,
  createApprovalRows,
  type NewApproval,
} from './approval-rows.ts'
import { answeredText, endText, noText, overText, partsOf, waitingText } from './approval-words.ts'

/** For the gate. */
export interface Asks {
  /** Uses the approval of exactly this act, once; undefined if there is none. */
  take(grant: Grant, call: Call, decision: PolicyDecision): Pick<Approval, 'id' | 'answeredBy'> | undefined
  /** Whether `take` would use one now. */
  isApproved(call: Call, decision: PolicyDecision): boolean
  /**
   * Asks about this act, or finds that it is asked about already. Throws `approval_refused` if a person said no to it or nobody answered,
   * `rate_limited` if the caller has too many open.
   */
  open(grant: AskGrant, call: Call, decision: PolicyDecision): { id: string }
}

/** Hears of each approval once the step is committed. */
export interface ApprovalListener {
  /** It began to wait for a person. */
  asked?(approval: Approval): void
  /** It waits no more: it has its answer, or ended without one. */
  ended?(approval: Approval): void
}

export interface Approvals extends Asks {
  /**
   * Writes the question down. A repeat of the same ask answers the existing row, and is not `isNew`. Throws `rate_limited` at 16 open ones of
   * a session, `already_resolved` where the id was used for another. `tool`: it asks whether it may use one.
   */
  ask(
    grant: Grant,
    question: { task: string; session: string; askId: string; text: string; tool?: AskedTool },
  ): Approval & { isNew: boolean }
  /** Ends a question about a tool that the session takes back, and answers it; undefined if it does not wait. */
  withdraw(grant: Grant, session: string, askId: string): Approval | undefined
  /** Whether the session asked this question before: a repeat of it only gets its answer again. */
  isAsked(session: string, askId: string): boolean
  /** Open questions of a session. */
  openOf(session: string): number
  /**
   * Asks whether a tree of tasks may spend more. Answers its id; undefined if that is asked already, or a no holds for the tree. `facts` are kept
   * for whoever carries out a yes.
   */
  askMoney(
    grant: Grant,
    asked: { task: string; agent: string | null; question: string; facts: Readonly<Record<string, unknown>> },
  ): string | undefined
  /** Throws `already_resolved`, with the reason, unless it still waits, and what it is for is still there. */
  answer(grant: Grant, id: string, approved: boolean, text: string): Approval
  /** What is over, superseded or out of time; of many some. */
  due(): Approval[]
  /** Ends one of these, and answers it if somebody has to hear of it. What is asked again only gets a new end. */
  expire(grant: Grant, id: string): Approval | undefined
  /** Ends one whose act is no longer as it was asked about. */
  supersede(grant: Grant, id: string): void
  list(all: boolean): Approval[]
  find(id: string): Approval | undefined
  /** Time of the work clock that is left, in ms; null once it is over. */
  leftMs(approval: Approval): number | null
  /** Hears of each act of a session that waits no more, once that is committed: of each once. Not of one whose session has ended. */
  onDecided(listener: (approval: Approval) => void): void
  listen(listener: ApprovalListener): void
  /** The newest acts of a session that wait no more and were not used since: what it may not have heard of. Oldest first. */
  decidedOf(session: string): Approval[]
  /** Raises the alert of each that waits and has none; the first time, it also ends those whose end a crash or a restore left untold. */
  tell(): void
  /** The open one about the start of this task. */
  openOfTask(task: string): Approval | undefined
  /** Every start of a task that waits for a person, or was approved and not used. */
  dispatches(): AskedDispatch[]
  /** Whether this call is still exactly the act that was asked about. */
  isStill(asked: Pick<Approval, 'act'>, call: Call): boolean
  /**
   * A secret for a link that answers what this alert is about; undefined if nothing waits there, or it cannot be written down. Only its
   * digest is kept. It is good for this one, until that is over.
   */
  linkOf(cause: string): string | undefined
  /** What such a secret is for, also if that is over; undefined for any other text. */
  linked(secret: string): Approval | undefined
  /** A digest of the rules in force and of `things`: while it is the same, so is every act that stands on nothing else. */
  stamp(things: unknown): string
}

const OPEN_MAX = 16
const TOLD_MAX = 50
const MANY = 'questions_waiting'
const DEFERRED_MAX = 30
/** How long a no holds for a token or the hub; for a session it holds as long as that lives. */
const NO_HOLDS_MS = 24 * 3_600_000
/** An act without task and session is kept this long after its end. */
const KEPT_MS = 90 * 24 * 3_600_000
/** What was nearly out of time when it changed still gets this long. */
const LEFT_MIN_MS = 60_000
const ENDED_ALERT_MS = 24 * 3_600_000

const CAUSE = /^(?:question|approval):([\da-f-]{36})$/
const causeOf = ({ id, kind }: Pick<Approval, 'id' | 'kind'>) =>
  `${kind === 'ask_user' ? 'question' : 'approval'}:${id}` as const
/** Belongs to neither session nor task, whose end would end it. */
const isFree = ({ task, session }: Approval): boolean => task === null && session === null

export interface ApprovalParts {
  store: Store
  clock: Clock
  /** What is old is judged by it: a wall clock that jumped ahead, or that nobody has confirmed, deletes nothing. */
  steady: Pick<SteadyClock, 'wallMs' | 'isUnproven'>
  random: Random
  alerts: Pick<Alerts, 'raise' | 'resolve' | 'repeat' | 'isOpen' | 'list'>
  /** The work clock's now. */
  workedMs: () => number
  /** Of the rules and the data in force. */
  revision: () => string
  /** How long each tier may wait; the shipped ones without. */
  limits?: TierLimits | undefined
  /** Masks what is written down. */
  redaction?: Pick<Redaction, 'text' | 'value'>
}

export function createApprovals(parts: ApprovalParts): Approvals {
  const { store, clock, alerts, workedMs, revision, limits = TIER_LIMITS } = parts
  const rows = createApprovalRows(parts)
  const listeners: ApprovalListener[] = []
  const tellAll = (what: keyof ApprovalListener, approval: Approval): void => {
    for (const listener of listeners) listener[what]?.(approval)
  }
  const move: typeof rows.move = (one, to, set) => {
    const moved = rows.move(one, to, set)
    if (one.state === 'asked') store.afterCommit(() => tellAll('ended', moved))
    return moved
  }
  /** The yes to exactly this act that was not used and is not over. */
  function approvedOf(act: Act): Approval | undefined {
    const found = rows.approvedOf(act)
    return found !== undefined && isFree(found) && workedMs() >= found.dueMs ? undefined : found
  }
  const leftOf = ({ dueMs }: Approval): number => Math.max(0, dueMs - workedMs())

  function tellOf(approval: Approval): void {
    const cause = causeOf(approval)
    if (alerts.isOpen(cause)) return
    if (rows.waitingCount() > TOLD_MAX)
      alerts.raise(MANY, 'warning', `More than ${TOLD_MAX} questions wait for you: hub approval list.`)
    else alerts.raise(cause, 'warning', waitingText(approval, leftOf(approval)))
  }
  let decided: (approval: Approval) => void = () => undefined
  /** `was`: its state before. Of one that was answered before and ends now, its session has heard. */
  const over = (approval: Approval, how: string, was: ApprovalState = 'asked'): void =>
    store.afterCommit(() => {
      alerts.resolve(causeOf(approval), how)
      if (approval.kind === 'act' && approval.session !== null && approval.ending !== 'over' && was === 'asked')
        decided(approval)
    })

  let hasSwept = false
  /** A run before this one, or the hub that a backup is of, raised them; what they ask about was over before they were ended. */
  function endLeftAlerts(): void {
    for (const { cause } of alerts.list()) {
      const id = CAUSE.exec(cause)?.[1]
      if (id !== undefined && rows.find(id)?.state !== 'asked')
        alerts.resolve(cause, 'It is over; there is nothing left to answer.')
    }
    hasSwept = true
  }

  function insert(row: Omit<NewApproval, 'dueMs' | 'waitMs' | 'onTimeout'>, leftMs?: number | null): Approval {
    const { firstMs, waitMs, onTimeout } = limitOf(limits, { ...row, running: row.session !== null })
    const dueMs = workedMs() + Math.min(firstMs, Math.max(LEFT_MIN_MS, leftMs ?? firstMs))
    const asked = rows.insert({ ...row, dueMs, waitMs, onTimeout })
    // If it was answered in the same transaction, there is nothing to tell.
    store.afterCommit(() => rows.find(asked.id)?.state === 'asked' && tellOf(asked))
    store.afterCommit(() => tellAll('asked', asked))
    return asked
  }

  /** Ends it because it is about something that has changed; the next of its place gets the time that is left. */
  function endSuperseded(one: Approval): void {
    const gone = move(one, 'expired', { ending: 'superseded', left_ms: leftOf(one), ended_at_ms: clock.wallMs() })
    over(gone, 'What it was about has changed meanwhile; if it is still wanted, it is asked anew.', one.state)
  }

  /** What a no or a wait that ran out means for whoever tries the same act again (Q5). */
  function requireNoNo(before: Approval, act: Act, kind: Call['principal']['kind']): void {
    const isNo = before.state === 'refused' || (before.ending === 'timed_out' && before.answeredBy === null)
    if (!isNo || before.act !== act.act || kind === 'operator' || kind === 'device') return
    if (before.session === null && clock.wallMs() - (before.endedAtMs ?? 0) >= NO_HOLDS_MS) return
    throw new HubError('approval_refused', noText(before), { facts: { approval: before.id } })
  }

  /** The newest of this place, ended if it is not about this act, or was not used in time. */
  function beforeOf(act: Act) {
    const before = rows.latest(act.slot)
    if (before === undefined || !approvalMachine.may(before.state, 'expired')) return before
    if (before.act !== act.act) endSuperseded(before)
    else if (before.state === 'approved') move(before, 'expired', { ending: 'timed_out', ended_at_ms: clock.wallMs() })
    return rows.latest(act.slot)
  }

  return {
    ask(grant, { task, session, askId, text, tool }) {
      assertGrant(grant, tool === undefined ? 'task.ask' : 'tool.permit')
      const kind = tool === undefined ? 'ask_user' : 'tool'
      const known = rows.byAsk(session, askId)
      if (known !== undefined && (known.kind !== kind || partsOf(known.bound).use !== tool?.parts.use))
        throw new HubError('already_resolved', `id: ${askId} was used for another question; take a new one`)
      if (known !== undefined) return { ...known, isNew: false }
      if (rows.openOf(session) >= OPEN_MAX)
        throw new HubError('rate_limited', `${OPEN_MAX} questions of this session are already waiting`)
      const { principal } = grant
      const who = { task, session, agent: principal.agent ?? null, principal: principalText(principal) }
      return { ...insert({ ...who, kind, askId, question: text, tier: 'execute', ...tool }), isNew: true }
    },
    withdraw(grant, session, askId) {
      assertGrant(grant, 'tool.permit', 'task.ask')
      const found = rows.byAsk(session, askId)
      const kind = grant.operation === 'task.ask' ? 'ask_user' : 'tool'
      if (found?.kind !== kind || found.state !== 'asked') return undefined
      const answered_by = principalText(grant.principal)
      const gone = move(found, 'expired', { ending: 'over', answered_by, ended_at_ms: clock.wallMs() })
      over(gone, endText(gone, 'asked'))
      return gone
    },
    isAsked: (session, askId) => rows.byAsk(session, askId) !== undefined,
    openOf: rows.openOf,

    open(grant, call, decision) {
      assertAskGrant(grant)
      const { principal, operation } = call
      const act = actOf(call, decision.revision)
      const before = beforeOf(act)
      if (before?.state === 'asked') return { id: before.id }
      if (before !== undefined) requireNoNo(before, act, principal.kind)
      const by = principalText(principal)
      if (principal.kind !== 'operator' && principal.kind !== 'hub' && rows.openBy(by) >= OPEN_MAX)
        throw new HubError('rate_limited', `${OPEN_MAX} acts of yours already wait for a person`)
      const earlier = before?.ending === 'superseded' ? before : undefined
      const changed = earlier === undefined ? '' : changedParts(partsOf(earlier.bound), act.parts)
      const session = principal.session ?? null
      const asked = insert(
        {
          ...{ kind: 'act', session, principal: by, tier: tierOf(operation) },
          task: rows.taskOf(session, operation, act.resource),
          agent: principal.agent ?? act.parts.agent ?? null,
          question: `${decision.reason}${changed === '' ? '' : ` (asked anew, because this changed: ${changed})`}`,
          act: { operation, of: act, rule: decision.rule, revision: decision.revision },
        },
        earlier?.leftMs,
      )
      return { id: asked.id }
    },

    isApproved: (call, decision) => approvedOf(actOf(call, decision.revision)) !== undefined,

    take(grant, call, decision) {
      assertGrant(grant, call.operation)
      const { together } = call
      const act = actOf(call, decision.revision)
      if (together?.used?.act === act.act) return together.used
      const found = approvedOf(act)
      if (found === undefined) return undefined
      const used = move(found, 'used', { used_at_ms: clock.wallMs() })
      if (together !== undefined) {
        together.used = used
        store.onRollback(() => {
          together.used = undefined
        })
      }
      return used
    },

    askMoney(grant, asked) {
      assertGrant(grant, 'egress.settle')
      if (rows.isMoneyAsked(asked.task)) return undefined
      const principal = principalText(grant.principal)
      return insert({ ...asked, kind: 'budget', session: null, principal, tier: 'external' }).id
    },

    answer(grant, id, approved, text) {
      assertGrant(grant, 'approval.answer')
      const found = rows.find(id)
      if (found === undefined)
        throw new HubError('conflict', `nothing that waits has the id ${id}; see \`hub approval list\``)
      if (found.state !== 'asked') throw new HubError('already_resolved', overText(found))
      const ended = { ...found, state: 'expired' as const }
      if (rows.isGone(id)) throw new HubError('already_resolved', overText(ended))
      if (found.revision !== null && found.revision !== revision())
        throw new HubError('already_resolved', overText({ ...ended, ending: 'superseded' }))
      if (leftOf(found) === 0 && found.onTimeout !== 'defer')
        throw new HubError('already_resolved', overText({ ...ended, ending: 'timed_out' }))
      const answered = move(found, approved ? 'approved' : 'refused', {
        answer: text,
        answered_by: principalText(grant.principal),
        ended_at_ms: clock.wallMs(),
        // Unused, an approval of a person's own act ends as well.
        due_ms: Math.max(found.dueMs, workedMs() + limits[found.tier].waitMs),
      })
      over(answered, answeredText(answered))
      return answered
    },

    expire(grant, id) {
      assertGrant(grant, 'approval.expire')
      const one = rows.dueOne(id, revision(), workedMs())
      if (!parts.steady.isUnproven()) rows.forget(parts.steady.wallMs() - KEPT_MS)
      if (one === undefined) return undefined
      const { state, onTimeout } = one
      if (one.isGone === 0 && one.isChanged === 1) {
        endSuperseded(one)
        return undefined
      }
      if (one.isGone === 0 && state === 'asked' && onTimeout === 'defer' && one.deferred < DEFERRED_MAX) {
        const again = rows.askAgain(id, workedMs() + one.waitMs)
        const text = `Nobody has answered yet. ${waitingText(again, one.waitMs)}`
        store.afterCommit(() => alerts.repeat(causeOf(again), text))
        return undefined
      }
      const ending = one.isGone === 1 ? 'over' : 'timed_out'
      const gone = move(one, 'expired', { ending, ended_at_ms: clock.wallMs() })
      const how = endText(gone, state)
      over(gone, how, state)
      if (ending === 'timed_out' && state === 'asked' && (onTimeout === 'notify' || one.kind === 'budget'))
        store.afterCommit(() => alerts.raise(`unanswered:${id}`, 'warning', how, ENDED_ALERT_MS))
      return gone
    },
    due: () => rows.due(revision(), workedMs()),
    supersede(grant, id) {
      assertGrant(grant, 'approval.expire')
      const found = rows.find(id)
      if (found !== undefined && approvalMachine.may(found.state, 'expired')) endSuperseded(found)
    },
    list: rows.list,
    find: rows.find,
    leftMs: (approval) => (approval.state === 'asked' ? leftOf(approval) : null),
    onDecided(listener) {
      decided = listener
    },
    listen: (listener) => void listeners.push(listener),
    decidedOf: rows.decidedOf,
    tell() {
      if (!hasSwept) endLeftAlerts()
      const all = rows.waiting()
      if (all.length <= TOLD_MAX) alerts.resolve(MANY, `${TOLD_MAX} questions or fewer wait now.`)
      for (const one of all) tellOf(one)
    },
    openOfTask: rows.ofTask,
    dispatches: rows.dispatches,
    linkOf(cause) {
      const id = CAUSE.exec(cause)?.[1] ?? ''
      if (rows.find(id)?.state !== 'asked') return undefined
      const secret = `${id}.${parts.random.bytes(32).toString('base64url')}`
      try {
        store.transaction(() => rows.addLink(id, sha256Hex(secret)))
        return secret
      } catch (thrown) {
        if (toHubError(thrown).code !== 'store_unavailable') throw thrown
        return undefined
      }
    },
    linked(secret) {
      const [id = ''] = secret.split('.', 1)
      return rows.hasLink(id, sha256Hex(secret)) ? rows.find(id) : undefined
    },
    stamp: (things) => digestOf('hub-stamp-v1', { revision: revision(), things }),
    isStill: ({ act }, call) => act === actOf(call, revision()).act,
  }
}
