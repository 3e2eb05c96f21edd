/** Mail of the hub that money runs low, to each session of a tree of tasks (S2-30). */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { newUuid, type Random } from '../../base/random.ts'
import { BUDGET_LOW_TYPE, type BudgetLowBody } from '../../protocol/budget.ts'
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
