/**
 * A program takes back what it asked a person: whether it may use a tool (`tool.permit`), or a question (`task.ask`). Nothing is decided by that, so the
 * rules are not asked, and every mode permits it.
 */
import { assertGrant, type Grant } from '../../guard/grant.ts'
import { recordEffect } from '../../guard/operator/approval-words.ts'
import type { Approvals } from '../../guard/operator/approvals.ts'
import { type Envelope, withdrawBodyShape } from '../../protocol/envelope.ts'
import { parseShape } from '../../protocol/parse.ts'
import type { SessionRow } from '../dispatch/rows.ts'
import type { Tasks } from '../dispatch/tasks.ts'

/** The question that this message takes back; undefined for any other message. Throws `schema_invalid`. */
export const withdrawnBy = ({ kind, body }: Pick<Envelope, 'kind' | 'body'>): string | undefined =>
  (kind === 'permit' || kind === 'ask') && Object.hasOwn(body, 'withdraw')
    ? parseShape(withdrawBodyShape, body, 'body').withdraw
    : undefined

interface Withdrawing {
  approvals: Pick<Approvals, 'withdraw' | 'openOf'>
  tasks: Pick<Tasks, 'resumed'>
}
interface Withdrawn {
  auditEffect: string
}

/** Only a question of this session, and of the kind of this message. Answers what the record says. */
export function withdraw(
  grant: Grant,
  sender: Pick<SessionRow, 'id' | 'task'>,
  askId: string,
  parts: Withdrawing,
): Withdrawn {
  assertGrant(grant, 'tool.permit', 'task.ask')
  const { approvals, tasks } = parts
  const gone = approvals.withdraw(grant, sender.id, askId)
  if (gone !== undefined && approvals.openOf(sender.id) === 0) tasks.resumed(grant, sender.id)
  const what = gone === undefined ? 'it did not wait' : `approval:${gone.id}`
  return { auditEffect: recordEffect({ id: '', task: sender.task }, `takes its question back, ${what}`) }
}
