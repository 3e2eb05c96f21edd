/** Builds what carries messages between sessions, and the delegation of tasks from one to the next. */
import type { Clock } from '../base/clock.ts'
import { newUuid, type Random } from '../base/random.ts'
import type { Log } from '../base/telemetry.ts'
import type { Grant } from '../guard/grant.ts'
import type { Guard } from '../guard/guard.ts'
import type { Approval } from '../guard/operator/approval-rows.ts'
import { noText } from '../guard/operator/approval-words.ts'
import { hubPrincipal } from '../guard/principal.ts'
import { taskMachine } from '../protocol/task.ts'
import type { Catalogue } from './catalogue.ts'
import type { Losses } from './dispatch/losses.ts'
import type { Tasks } from './dispatch/tasks.ts'
import { createDecideAgain } from './messages/decided-again.ts'
import { createDelegation } from './messages/delegation.ts'
import { createDelivered } from './messages/delivered.ts'
import { createMailboxes } from './messages/mailboxes.ts'
import { createOutcomes } from './messages/outcomes.ts'
import { createQuotas } from './messages/quotas.ts'
import { createReplies } from './messages/replies.ts'
import { createRouter } from './messages/router.ts'
import { createTargets } from './messages/targets.ts'
import { createTopics } from './messages/topics.ts'
import { createMessageMeters } from './meters.ts'

export interface MessagingOptions {
  /** Sessions at once. */
  sessions: number
  tasksPerTree: number
  messagesPerSecond: number
}

export function createMessaging(
  options: MessagingOptions,
  parts: {
    clock: Clock
    random: Random
    log: Log
    guard: Guard
    catalogue: Catalogue
    tasks: Tasks
    losses: Pick<Losses, 'stopped'>
  },
) {
  const { clock, random, log, guard, catalogue, tasks, losses } = parts
  const { store, gate, events, approvals, audit, epoch, host, flags } = guard
  const { registry, sessionCards: cards, artifacts, journal } = catalogue
  const meters = createMessageMeters()
  const mailboxes = createMailboxes({
    epoch,
    get ownMax() {
      return options.tasksPerTree + 1
    },
    get sessions() {
      return options.sessions
    },
    nowMs: clock.monotonicMs,
    waited: meters.deliverySeconds,
  })
  const replies = createReplies(clock, host.pace.heldBackMs)
  const topics = createTopics()
  const outcomes = createOutcomes(store)
  const perSecondOf = (id: string, agent: string) => cards.of({ id, agent })?.card.limits.messagesPerSecond
  const quotas = createQuotas(
    {
      get perSecond() {
        return options.messagesPerSecond
      },
      perSecondOf,
    },
    clock,
  )
  const delegation = createDelegation(
    {
      get tasksPerTreeMax() {
        return options.tasksPerTree
      },
    },
    { store, clock, random, tasks, registry, mailboxes, artifacts, flags, redaction: guard.redaction },
  )
  tasks.listen({
    taskChanged(task) {
      if (taskMachine.isTerminal(task.state)) delegation.answer(task)
    },
  })
  const delivered = createDelivered({ audit, nowMs: clock.wallMs, log })
  const targets = createTargets({ rows: tasks, cards, mailboxes, delivered })
  const router = createRouter({
    ...{ store, clock, random, tasks, cards, mailboxes, replies, topics },
    ...{ delegation, journal, events, approvals, losses },
  })

  /** What follows for whoever waits, in the transaction that ended the wait: the answer as mail, or the end of a task that may not start. */
  function settleApproval(grant: Grant, approval: Approval): void {
    const { kind, state, ending, session, askId, task, operation } = approval
    if (ending === 'over') return
    if (kind === 'ask_user' && session !== null && askId !== null) {
      if (approvals.openOf(session) === 0) tasks.resumed(grant, session)
      const text = state === 'expired' ? noText(approval) : approval.answer
      store.afterCommit(() => answerMail(session, askId, { approved: state === 'approved', text }))
    }
    if (operation === 'task.dispatch' && task !== null && state !== 'approved')
      tasks.failed(grant, task, { code: 'approval_refused', detail: noText(approval) })
  }
  function answerMail(session: string, askId: string, body: { approved: boolean; text: string }): void {
    // In a session that has ended meanwhile, nobody waits.
    if (!mailboxes.isOpen(session)) return
    const sentAtMs = clock.wallMs()
    mailboxes.put(session, { kind: 'reply', id: newUuid(random, sentAtMs), correlationId: askId, sentAtMs, body })
  }

  return {
    meters,
    mailboxes,
    replies,
    topics,
    outcomes,
    quotas,
    delegation,
    delivered,
    targets,
    router,
    decideAgain: createDecideAgain({ gate, rows: tasks, mailboxes, topics, targets, log }),
    /** Releases everything that the session had here. */
    close(session: string) {
      mailboxes.close(session)
      for (const part of [replies, topics, outcomes, quotas]) part.forget(session)
    },
    tellFinish(session: string, graceMs: number) {
      const sentAtMs = clock.wallMs()
      try {
        mailboxes.put(session, { kind: 'finish', id: newUuid(random, sentAtMs), sentAtMs, body: { graceMs } })
      } catch {
        // Without a mailbox, or with a full one, the SIGTERM that follows says the same.
      }
    },
    settleApproval,
    /** Ends what waited too long for a person, and what waits for nothing any more; tells of what nobody was told of. */
    expireApprovals() {
      const call = {
        principal: hubPrincipal('approvals'),
        operation: 'approval.expire',
        resource: 'approvals',
      } as const
      if (approvals.hasDue())
        gate.admit(call, (grant) => {
          for (const ended of approvals.expire(grant)) settleApproval(grant, ended)
        })
      approvals.tell()
    },
  }
}
export type Messaging = ReturnType<typeof createMessaging>
