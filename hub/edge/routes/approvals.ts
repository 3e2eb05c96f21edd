/** Questions of agents, and the operator's answers. */
import type { Clock } from '../../base/clock.ts'
import { newUuid, type Random } from '../../base/random.ts'
import type { Approval, Approvals } from '../../guard/operator/approvals.ts'
import type { Tasks } from '../../work/dispatch/tasks.ts'
import type { Mailboxes } from '../../work/messages/mailboxes.ts'
import { type Handlers, handler } from '../serve.ts'

type Answer = { id: string; approve: boolean; text: string }

export function approvalHandlers(parts: {
  approvals: Approvals
  tasks: Tasks
  mailboxes: Mailboxes
  clock: Clock
  random: Random
}): Handlers {
  const { approvals, tasks, mailboxes, clock, random } = parts
  // The tree it belongs to: whoever waits for the task at the top is asked by every task below it.
  const view = (approval: Approval) => ({
    ...approval,
    root: tasks.task(approval.task) === undefined ? null : tasks.tree(approval.task).root,
  })
  return {
    'approval.list': handler({
      effect: (_grant, { all }: { all: boolean }) => ({ approvals: approvals.list(all).map(view) }),
    }),
    'approval.answer': handler({
      resource: ({ id }: Answer) => `approval:${id}`,
      restricts: ({ approve }) => !approve,
      effect: (grant, { id, approve, text }: Answer) => {
        const approval = approvals.answer(grant, id, approve, text)
        if (approvals.openOf(approval.session) === 0) tasks.resumed(grant, approval.session)
        return approval
      },
      after: (approval) => {
        const { session, askId, answer, state } = approval
        const body = { approved: state === 'approved', text: answer }
        // In a session that has ended meanwhile, nobody waits.
        if (mailboxes.isOpen(session)) {
          mailboxes.put(session, {
            kind: 'reply',
            id: newUuid(random, clock.wallMs()),
            correlationId: askId,
            sentAtMs: clock.wallMs(),
            body,
          })
        }
        return { approval: view(approval) }
      },
    }),
  }
}
