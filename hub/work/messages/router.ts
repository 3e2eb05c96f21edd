/**
 * Routing: from an admitted envelope to mailboxes, replies, the sender's own task or a child task.
 *
 * R1. The session is the sender; no field of the envelope names it (T11).
 * R2. Mail is put into mailboxes only after the commit. The room for it is checked and reserved before, and nothing runs in between.
 * R3. A reply goes to the one open request that it matches, once (T46). A repeat of a message id gets the first outcome.
 * R4. Bodies are only in memory; their hash is in the audit record, but for restricted ones: what is short can be guessed from its hash (S1-63).
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { newUuid, type Random } from '../../base/random.ts'
import type { Events } from '../../guard/events.ts'
import { assertGrant, type Grant } from '../../guard/grant.ts'
import { noText } from '../../guard/operator/approval-words.ts'
import type { Approvals } from '../../guard/operator/approvals.ts'
import { classFact } from '../../protocol/data-class.ts'
import {
  askBodyShape,
  type Envelope,
  logBodyShape,
  type MessageKind,
  progressBodyShape,
  resultBodyShape,
} from '../../protocol/envelope.ts'
import type { OperationName } from '../../protocol/operations.ts'
import { parseShape } from '../../protocol/parse.ts'
import type { TaskOutcome } from '../../protocol/task.ts'
import { frameBodyShape, turnBodyShape } from '../../protocol/turn.ts'
import type { Store } from '../../store/database.ts'
import type { Artifacts } from '../artifacts.ts'
import type { Late } from '../dispatch/late.ts'
import type { Losses } from '../dispatch/losses.ts'
import type { SessionRow } from '../dispatch/rows.ts'
import type { Tasks } from '../dispatch/tasks.ts'
import type { Turns } from '../dispatch/turns.ts'
import type { Journal } from '../journal.ts'
import type { SessionCards } from '../session-cards.ts'
import type { Delegation } from './delegation.ts'
import { effectOfRequest } from './delivered.ts'
import type { Content, Mailboxes } from './mailboxes.ts'
import type { Permits } from './permits.ts'
import type { Replies } from './replies.ts'
import type { Target } from './targets.ts'
import type { Topics } from './topics.ts'
import { withdraw, withdrawnBy } from './withdrawals.ts'

export const OPERATION_OF_KIND: Record<MessageKind, OperationName> = {
  request: 'message.send',
  event: 'message.send',
  broadcast: 'message.send',
  reply: 'message.reply',
  delegate: 'task.delegate',
  result: 'task.result',
  progress: 'task.progress',
  log: 'task.log',
  ask: 'task.ask',
  turn: 'session.turn',
  frame: 'session.frame',
  permit: 'tool.permit',
}

/** What the record says of it beside the envelope's hash. */
export interface Routed {
  auditEffect: string
}

export interface Router {
  /** Carries out one admitted envelope for one target. */
  route(grant: Grant, sender: SessionRow, envelope: Envelope, target: Target): Routed | undefined
}

export function createRouter(parts: {
  store: Store
  clock: Clock
  random: Random
  tasks: Tasks
  cards: Pick<SessionCards, 'checkBody'>
  mailboxes: Mailboxes
  replies: Replies
  topics: Topics
  delegation: Delegation
  journal: Journal
  events: Events
  approvals: Approvals
  permits: Pick<Permits, 'decide'>
  /** What becomes of a task whose program was stopped before it was done. */
  losses: Pick<Losses, 'stopped'>
  turns: Pick<Turns, 'told' | 'framed'>
  /** Takes away what was kept meanwhile, once a task has succeeded. */
  artifacts: Pick<Artifacts, 'succeeded'>
  /** Keeps what comes after the end of a task. */
  late: Pick<Late, 'keep'>
}): Router {
  const {
    store,
    clock,
    random,
    tasks,
    cards,
    mailboxes,
    replies,
    topics,
    delegation,
    journal,
    events,
    approvals,
    turns,
  } = parts

  const deliveryOf = (sender: SessionRow, envelope: Envelope, kind: 'message' | 'reply', topic?: string): Content => ({
    kind,
    id: kind === 'message' ? envelope.id : newUuid(random, clock.wallMs()),
    from: { agent: sender.agent, session: sender.id },
    messageKind: envelope.kind,
    type: envelope.type,
    ...(topic === undefined ? {} : { topic }),
    ...(envelope.correlationId === undefined ? {} : { correlationId: envelope.correlationId }),
    ...(envelope.traceparent === undefined ? {} : { traceparent: envelope.traceparent }),
    ...classFact(envelope.dataClass),
    ...(envelope.repeated === true ? { redelivered: true } : {}),
    sentAtMs: clock.wallMs(),
    body: envelope.body,
  })

  const answerOf = (askId: string, state: 'approved' | 'refused', text: string | null): Content => ({
    kind: 'reply',
    id: newUuid(random, clock.wallMs()),
    correlationId: askId,
    sentAtMs: clock.wallMs(),
    body: { approved: state === 'approved', text },
  })

  function deliver(session: string, sender: SessionRow, delivery: Content): void {
    const place = mailboxes.reserve(session, sender.id, delivery)
    store.onRollback(place.letGo)
    store.afterCommit(place.put)
  }

  function toSession(
    sender: SessionRow,
    envelope: Envelope,
    { recipient, redelivered }: Target & { kind: 'session' },
  ): Routed | undefined {
    if (recipient === undefined)
      throw new HubError('inbox_closed', `${envelope.to.replace(':', ' ')} has no running session`)
    cards.checkBody(recipient, 'receives', envelope)
    if (envelope.kind === 'request') {
      const { id, timeoutMs } = envelope
      if (replies.expect({ id, requester: sender.id, responder: recipient.id, timeoutMs })) {
        store.onRollback(() => replies.withdraw(id, recipient.id))
      }
    }
    const delivery = deliveryOf(sender, envelope, 'message')
    deliver(recipient.id, sender, redelivered ? { ...delivery, redelivered } : delivery)
    return envelope.kind === 'request' ? { auditEffect: effectOfRequest(envelope.id) } : undefined
  }

  function reply(sender: SessionRow, envelope: Envelope): void {
    if (envelope.correlationId === undefined)
      throw new HubError('schema_invalid', 'correlationId: a reply must name the request that it answers')
    const { correlationId } = envelope
    const open = replies.settle(correlationId, sender.id)
    store.onRollback(() => replies.reopen(correlationId, sender.id, open))
    deliver(open.requester, sender, deliveryOf(sender, envelope, 'reply'))
  }

  /** A subscriber whose mailbox is full misses the event, and the counter of its mailbox tells it so. The others get it. */
  function publish(sender: SessionRow, envelope: Envelope, topic: string): void {
    const subscribers = topics
      .subscribers(topic)
      .filter((session) => session !== sender.id && mailboxes.isOpen(session))
    for (const session of subscribers) {
      try {
        deliver(session, sender, deliveryOf(sender, envelope, 'message', topic))
      } catch (thrown) {
        if (!(thrown instanceof HubError) || thrown.code !== 'mailbox_full') throw thrown
        store.afterCommit(() =>
          events.publish('hub.message.refused.v1', `session:${session}`, { code: 'mailbox_full', topic }),
        )
      }
    }
  }

  function aboutTurn(grant: Grant, sender: SessionRow, { kind, body }: Envelope): void {
    if (kind === 'turn') {
      turns.told(grant, sender, parseShape(turnBodyShape, body, 'body'))
      return
    }
    const frame = parseShape(frameBodyShape, body, 'body')
    turns.framed(grant, sender, frame)
    const { tool } = frame
    if (tool === undefined) return
    const text = tool.text === undefined ? tool.name : `${tool.name}: ${tool.text}`
    store.afterCommit(() => {
      const { atMs: _, ...said } = journal.progress(sender.task, { text })
      events.publish('hub.task.progress.v1', `task:${sender.task}`, {
        ...{ agent: sender.agent, session: sender.id },
        ...said,
      })
    })
  }

  function aboutOwnTask(grant: Grant, sender: SessionRow, envelope: Envelope): void {
    const subject = `task:${sender.task}`
    if (envelope.kind === 'result') {
      const { outcome, value, error, stopped, code, stopReason } = parseShape(resultBodyShape, envelope.body, 'body')
      if (stopped === true && outcome === 'failed')
        parts.losses.stopped(grant, sender, error ?? 'stopped before it was done')
      else {
        if (outcome === 'succeeded') parts.artifacts.succeeded(grant, sender.task)
        tasks.settled(grant, sender.id, {
          outcome,
          ...(value === undefined ? {} : { value }),
          ...(error === undefined ? {} : { error }),
          ...(code === undefined ? {} : { code }),
          ...(stopReason === undefined ? {} : { stopReason }),
        })
      }
    } else if (envelope.kind === 'progress') {
      const { text, done, total } = parseShape(progressBodyShape, envelope.body, 'body')
      const progress = {
        ...(text === undefined ? {} : { text }),
        ...(done === undefined ? {} : { done }),
        ...(total === undefined ? {} : { total }),
      }
      store.afterCommit(() => {
        const { atMs: _, ...said } = journal.progress(sender.task, progress)
        events.publish('hub.task.progress.v1', subject, { agent: sender.agent, session: sender.id, ...said })
      })
    } else if (envelope.kind === 'log') {
      const line = parseShape(logBodyShape, envelope.body, 'body')
      store.afterCommit(() => {
        const { level, text } = journal.log(sender.task, line)
        events.publish('hub.task.log.v1', subject, { agent: sender.agent, session: sender.id, level, text })
      })
    } else if (envelope.kind === 'turn' || envelope.kind === 'frame') {
      aboutTurn(grant, sender, envelope)
    } else {
      const { text } = parseShape(askBodyShape, envelope.body, 'body')
      const question = { task: sender.task, session: sender.id, askId: envelope.id, text }
      const asked = approvals.ask(grant, question)
      const { id, state, answer, isNew } = asked
      // A repeat: the answer may have been lost with an earlier hub, so it is told again, as a child's is.
      if (state === 'approved' || state === 'refused') deliver(sender.id, sender, answerOf(envelope.id, state, answer))
      if (asked.ending === 'timed_out') deliver(sender.id, sender, answerOf(envelope.id, 'refused', noText(asked)))
      if (asked.ending === 'over')
        deliver(sender.id, sender, answerOf(envelope.id, 'refused', 'the question was taken back'))
      if (!isNew || state !== 'asked') return
      tasks.waiting(grant, sender.id)
      store.afterCommit(() => events.publish('hub.task.asked.v1', subject, { agent: sender.agent, approval: id, text }))
    }
  }

  /** Only a result comes here (edge/agents/routes.ts). */
  function afterItsEnd(grant: Grant, sender: SessionRow, envelope: Envelope): Routed {
    const { stopped: _, ...outcome } = parseShape(resultBodyShape, envelope.body, 'body')
    return parts.late.keep(grant, sender, outcome as TaskOutcome)
  }

  return {
    route(grant, sender, envelope, target) {
      assertGrant(grant, OPERATION_OF_KIND[envelope.kind])
      if (target.kind === 'session') return toSession(sender, envelope, target)
      if (target.kind === 'reply') reply(sender, envelope)
      else if (target.kind === 'topic') publish(sender, envelope, target.topic)
      else if (envelope.kind === 'delegate') delegation.delegate(grant, sender, envelope)
      else if (envelope.kind === 'permit')
        return parts.permits.decide(grant, sender, envelope, ({ approved, text }) =>
          deliver(sender.id, sender, answerOf(envelope.id, approved ? 'approved' : 'refused', text)),
        )
      else if (withdrawnBy(envelope) !== undefined)
        return withdraw(grant, sender, withdrawnBy(envelope) ?? '', { approvals, tasks })
      else if (sender.state === 'recycling') return afterItsEnd(grant, sender, envelope)
      else aboutOwnTask(grant, sender, envelope)
      return undefined
    },
  }
}
