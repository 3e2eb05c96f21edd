/**
 * What follows when nobody decides about an approval any more, for whoever waits for it.
 *
 * A1. A question gets its answer as a reply, and the start of a task that may not be ends the task: in the transaction that ended the wait.
 * A2. A session hears of its own act once that is committed: approved, rejected, expired or superseded, and of each act once (S2-26). The
 *     id of that delivery is the approval's. After a restart of the hub what was not used is told again and marked, since nobody knows what
 *     arrived; a client drops an id that it has seen.
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { newUuid, type Random } from '../../base/random.ts'
import type { Gate } from '../../guard/gate.ts'
import type { Grant } from '../../guard/grant.ts'
import type { Approval } from '../../guard/operator/approval-rows.ts'
import { answerOf, noText, outcomeOf, recordEffect, toolText } from '../../guard/operator/approval-words.ts'
import type { Approvals } from '../../guard/operator/approvals.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import { ANSWERED_TYPE, type AnsweredBody } from '../../protocol/approval.ts'
import type { Store } from '../../store/database.ts'
import type { Tasks } from '../dispatch/tasks.ts'
import type { Mailboxes } from './mailboxes.ts'

/** Places in a mailbox for them: as many as one session may have open. */
export const ANSWERS_MAX = 16

const APPROVALS = hubPrincipal('approvals')

export interface Answers {
  /** Words for the record. */
  settle(grant: Grant, approval: Approval): string
  /** Ends what waited too long for a person, and what waits for nothing any more: each by a record that names its task. */
  expire(): void
  /** For a session that was taken over after a restart. */
  tellAgain(session: string): void
}

export function createAnswers(parts: {
  store: Pick<Store, 'afterCommit'>
  clock: Clock
  random: Random
  tasks: Pick<Tasks, 'resumed' | 'failed'>
  mailboxes: Pick<Mailboxes, 'isOpen' | 'put'>
  gate: Pick<Gate, 'admit'>
  approvals: Pick<Approvals, 'openOf' | 'onDecided' | 'decidedOf' | 'due' | 'expire'>
}): Answers {
  const { store, clock, random, tasks, mailboxes, gate, approvals } = parts

  function replyMail(session: string, askId: string, body: { approved: boolean; text: string }): void {
    // In a session that has ended meanwhile, nobody waits.
    if (!mailboxes.isOpen(session)) return
    const sentAtMs = clock.wallMs()
    mailboxes.put(session, { kind: 'reply', id: newUuid(random, sentAtMs), correlationId: askId, sentAtMs, body })
  }

  function tell(approval: Approval, redelivered: boolean): void {
    const { id, session, answer } = approval
    if (session === null || !mailboxes.isOpen(session)) return
    const body: AnsweredBody = { approval: id, answer: answerOf(approval), text: answer }
    try {
      mailboxes.put(session, {
        ...{ kind: 'message', id, messageKind: 'event', type: ANSWERED_TYPE, sentAtMs: clock.wallMs() },
        ...(redelivered ? { redelivered } : {}),
        body: { ...body },
      })
    } catch (thrown) {
      // Whoever does not read its mail may try the act again, and hears it then.
      if (!(thrown instanceof HubError) || thrown.code !== 'mailbox_full') throw thrown
    }
  }
  approvals.onDecided((approval) => tell(approval, false))

  function settle(grant: Grant, approval: Approval): string {
    const { kind, state, ending, session, askId, task, operation } = approval
    const words = kind === 'tool' ? `${outcomeOf(approval)} ${toolText(approval)}` : ''
    if (ending === 'over') return words
    if ((kind === 'ask_user' || kind === 'tool') && session !== null && askId !== null) {
      if (approvals.openOf(session) === 0) tasks.resumed(grant, session)
      const text = state === 'expired' ? noText(approval) : approval.answer
      store.afterCommit(() => replyMail(session, askId, { approved: state === 'approved', text }))
    }
    if (operation === 'task.dispatch' && task !== null && state !== 'approved')
      tasks.failed(grant, task, { code: 'approval_refused', detail: noText(approval) })
    return words
  }

  return {
    settle,
    expire() {
      for (const due of approvals.due())
        gate.admit({ principal: APPROVALS, operation: 'approval.expire', resource: `approval:${due.id}` }, (grant) => {
          const ended = approvals.expire(grant, due.id)
          return { auditEffect: recordEffect(due, ended === undefined ? '' : settle(grant, ended)) }
        })
    },
    tellAgain(session) {
      for (const one of approvals.decidedOf(session)) tell(one, true)
    },
  }
}
