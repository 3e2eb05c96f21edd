/** Questions of agents and acts that the rules ask about, and the operator's answers. */
import { HubError } from '../../base/errors.ts'
import type { Grant } from '../../guard/grant.ts'
import type { Approval } from '../../guard/operator/approval-rows.ts'
import { recordEffect } from '../../guard/operator/approval-words.ts'
import type { Approvals } from '../../guard/operator/approvals.ts'
import type { ApprovalView } from '../../protocol/views.ts'
import type { Tasks } from '../../work/dispatch/tasks.ts'
import { type Handlers, handler } from '../serve.ts'

type Answer = { id: string; approve: boolean; text: string }

export function approvalHandlers(parts: {
  approvals: Approvals
  tasks: Tasks
  /** What follows from an answer, in its transaction; further words for the record. */
  settleApproval: (grant: Grant, approval: Approval) => string
}): Handlers {
  const { approvals, tasks, settleApproval } = parts
  const view = (approval: Approval): ApprovalView => {
    const { dueMs: _, bound, ...shown } = approval
    const { task } = approval
    return {
      ...shown,
      leftMs: approvals.leftMs(approval),
      about: bound === null ? null : (JSON.parse(bound) as ApprovalView['about']),
      // The tree it belongs to: whoever waits for the task at the top is asked by every task below it.
      root: task === null ? null : (tasks.rootOf(task)?.root ?? null),
    }
  }
  return {
    'approval.list': handler({
      effect: (_grant, { all }: { all: boolean }) => ({ approvals: approvals.list(all).map(view) }),
    }),
    'approval.show': handler({
      resource: ({ id }: { id: string }) => `approval:${id}`,
      effect: (_grant, { id }: { id: string }) => {
        const found = approvals.find(id)
        if (found === undefined)
          throw new HubError('conflict', `nothing that waits has the id ${id}; see \`hub approval list\``)
        return { approval: view(found) }
      },
    }),
    'approval.answer': handler({
      resource: ({ id }: Answer) => `approval:${id}`,
      restricts: ({ approve }) => !approve,
      effect: (grant, { id, approve, text }: Answer) => {
        const approval = approvals.answer(grant, id, approve, text)
        const follows = settleApproval(grant, approval)
        return { approval, auditEffect: recordEffect(approval, follows) }
      },
      after: ({ approval }) => ({ approval: view(approval) }),
    }),
  }
}
