/** Builds what carries messages between sessions, and the delegation of tasks from one to the next. */
import type { Clock } from '../base/clock.ts'
import { newUuid, type Random } from '../base/random.ts'
import type { Log } from '../base/telemetry.ts'
import type { Guard } from '../guard/guard.ts'
import type { BudgetSettings } from '../protocol/budget.ts'
import { taskMachine } from '../protocol/task.ts'
import type { Tracer } from '../protocol/traces.ts'
import type { Catalogue } from './catalogue.ts'
import type { Losses } from './dispatch/losses.ts'
import type { SessionRow, TaskRow } from './dispatch/rows.ts'
import type { Tasks } from './dispatch/tasks.ts'
import { createDecideAgain, TOLD_MAX } from './messages/decided-again.ts'
import { createDelegation } from './messages/delegation.ts'
import { createDelivered } from './messages/delivered.ts'
import { createMailboxes } from './messages/mailboxes.ts'
import { createOutcomes } from './messages/outcomes.ts'
import { createPermits } from './messages/permits.ts'
import { createQuotas } from './messages/quotas.ts'
import { createReplies } from './messages/replies.ts'
import { createRouter } from './messages/router.ts'
import { createTargets } from './messages/targets.ts'
import { createTopics } from './messages/topics.ts'
import { createMessageMeters } from './meters.ts'
import { createOwnMail, OWN_MAILS_MAX } from './own-mail.ts'

export interface MessagingOptions {
  /** Sessions at once. */
  sessions: number
  tasksPerTree: number
  messagesPerSecond: number
  budget: Pick<BudgetSettings, 'delegations'>
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
    tracer?: Tracer | undefined
  },
) {
  const { clock, random, log, guard, catalogue, tasks, losses, tracer } = parts
  const { store, gate, events, approvals, audit, epoch, host, flags } = guard
  const { registry, sessionCards: cards, artifacts, journal } = catalogue
  const meters = createMessageMeters()
  const mailboxes = createMailboxes({
    epoch,
    get ownMax() {
      return options.tasksPerTree + 1 + TOLD_MAX + OWN_MAILS_MAX
    },
    get sessions() {
      return options.sessions
    },
    nowMs: clock.monotonicMs,
    waited: meters.deliverySeconds,
    exampleOf: tracer && ((place) => tracer.example(place)),
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
      get delegationsMax() {
        return options.budget.delegations
      },
    },
    {
      store,
      clock,
      random,
      tasks,
      registry,
      mailboxes,
      artifacts,
      flags,
      redaction: guard.redaction,
      requireModel: catalogue.requireModel,
    },
  )
  tasks.listen({
    taskChanged(task) {
      if (taskMachine.isTerminal(task.state)) delegation.answer(task)
    },
  })
  const { turns, answers, tellBudget, tellSilence } = createOwnMail({ clock, random, guard, tasks, cards, mailboxes })
  const delivered = createDelivered({ audit, nowMs: clock.wallMs, log })
  const targets = createTargets({ rows: tasks, cards, mailboxes, delivered })
  const permits = createPermits({ cards, approvals, tasks, clock })
  const router = createRouter({
    ...{ store, clock, random, tasks, cards, mailboxes, replies, topics },
    ...{ delegation, journal, events, approvals, permits, losses, artifacts, turns, late: catalogue.late },
  })

  return {
    meters,
    mailboxes,
    replies,
    topics,
    outcomes,
    quotas,
    delegation,
    turns,
    delivered,
    targets,
    permits,
    router,
    decideAgain: createDecideAgain({ gate, rows: tasks, mailboxes, topics, targets, clock, random, log }),
    /** Releases everything that the session had here. */
    close(session: string) {
      mailboxes.close(session)
      for (const part of [replies, topics, outcomes, permits, quotas]) part.forget(session)
    },
    tellFinish(session: string, graceMs: number) {
      const sentAtMs = clock.wallMs()
      try {
        mailboxes.put(session, { kind: 'finish', id: newUuid(random, sentAtMs), sentAtMs, body: { graceMs } })
      } catch {
        // Without a mailbox, or with a full one, the SIGTERM that follows says the same.
      }
    },
    tellBudget,
    tellSilence,
    settleApproval: answers.settle,
    /** After a restart, for a session that was taken over: what it may not have heard of its children, its acts and its turns. */
    tellAgain(session: SessionRow, children: readonly TaskRow[]) {
      for (const child of children) delegation.answer(child)
      answers.tellAgain(session.id)
      turns.redeliver(session.id)
    },
    /** Ends what nobody waits for any more; tells of what nobody was told of. */
    expireApprovals() {
      answers.expire()
      approvals.tell()
    },
  }
}
export type Messaging = ReturnType<typeof createMessaging>
