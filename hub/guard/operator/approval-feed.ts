/** Tells the event feed what a rule asks a person, and what came of it and of each question. */
import type { Events } from '../events.ts'
import { outcomeOf } from './approval-words.ts'
import type { ApprovalListener } from './approvals.ts'

export const approvalFeed = (events: Events): ApprovalListener => ({
  asked({ id, kind, task, agent, operation, resource, question }) {
    // A question of an agent is told as such (hub.task.asked.v1).
    if (kind === 'budget')
      events.publish('hub.approval.asked.v1', `approval:${id}`, {
        ...{ approval: id, task, agent, operation: 'budget.raise', resource: `task:${task}` },
        text: question,
      })
    if (kind === 'tool')
      events.publish('hub.approval.asked.v1', `approval:${id}`, {
        ...{ approval: id, task, agent, operation: 'tool.permit', resource: `task:${task}` },
        text: question,
      })
    if (kind === 'act')
      events.publish('hub.approval.asked.v1', `approval:${id}`, {
        ...{ approval: id, task, agent, operation, resource },
        text: question,
      })
  },
  ended(approval) {
    const { id, kind, task, agent, answer, answeredBy } = approval
    events.publish('hub.approval.answered.v1', `approval:${id}`, {
      ...{ approval: id, kind, task, agent, answer: outcomeOf(approval) },
      ...{ by: answeredBy, text: answer },
    })
  },
})
