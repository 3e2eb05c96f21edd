/** Mail of the hub itself: that money runs low (S2-30), and to the shim of a session whose program says nothing (S1-49). */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { newUuid, type Random } from '../../base/random.ts'
import { BUDGET_LOW_TYPE, type BudgetLowBody } from '../../protocol/budget.ts'
import { SILENCE_TYPE, type SilenceBody } from '../../protocol/silence.ts'
import type { Tasks } from '../dispatch/tasks.ts'
import type { Mailboxes } from './mailboxes.ts'

/** Places in a mailbox for it: four marks of each of four accounts. */
export const BUDGET_MAILS_MAX = 16

export function createBudgetMail(parts: {
  clock: Clock
  random: Random
  tasks: Pick<Tasks, 'sessionsOpen' | 'rootOf'>
  mailboxes: Pick<Mailboxes, 'isOpen' | 'put'>
}) {
  const { clock, random, tasks, mailboxes } = parts
  return (root: string, body: BudgetLowBody): void => {
    for (const { id, task } of tasks.sessionsOpen()) {
      if (!mailboxes.isOpen(id) || tasks.rootOf(task)?.root !== root) continue
      const sentAtMs = clock.wallMs()
      try {
        mailboxes.put(id, {
          ...{ kind: 'message', id: newUuid(random, sentAtMs), messageKind: 'event', type: BUDGET_LOW_TYPE, sentAtMs },
          body: { ...body },
        })
      } catch (thrown) {
        // Whoever does not read its mail hears of it when a call is refused.
        if (!(thrown instanceof HubError) || thrown.code !== 'mailbox_full') throw thrown
      }
    }
  }
}

/** Places in a mailbox for it: a question, and the end. */
export const SILENCE_MAILS_MAX = 2

/** Where its mailbox takes no more, its shim is not asked: it is ended from outside at the end (dispatch/silence.ts). */
export function createSilenceMail(parts: {
  clock: Clock
  random: Random
  mailboxes: Pick<Mailboxes, 'isOpen' | 'put'>
}): (session: string, body: SilenceBody) => void {
  const { clock, random, mailboxes } = parts
  return (session, body) => {
    if (!mailboxes.isOpen(session)) return
    const sentAtMs = clock.wallMs()
    const about = { kind: 'message', id: newUuid(random, sentAtMs), messageKind: 'event', type: SILENCE_TYPE } as const
    try {
      mailboxes.put(session, { ...about, sentAtMs, body: { ...body } })
    } catch (thrown) {
      if (!(thrown instanceof HubError) || thrown.code !== 'mailbox_full') throw thrown
    }
  }
}
