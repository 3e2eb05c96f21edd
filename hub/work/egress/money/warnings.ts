/**
 * Who hears that a limit on money is half, four fifths or wholly used (S2-30): the operator by an alert, the sessions of the tree by mail.
 *
 * W1. Each mark of an account is told once; the marks stand in the account (limits.ts). A raise lets those that it takes away be told again.
 * W2. Mail comes through the inbox, from the hub itself. No body of a model's answer is ever changed to say it.
 */
import type { Alerts } from '../../../guard/alerts/alerts.ts'
import type { BudgetLowBody } from '../../../protocol/budget.ts'
import { dollarsText } from '../../../protocol/dollars.ts'
import type { Crossing } from './limits.ts'

/** These alerts have no natural end: each is over if it has not happened again for so long. */
const LASTS_MS = 3_600_000

export interface WarningParts {
  alerts: Pick<Alerts, 'raise'>
  afterCommit: (fn: () => void) => void
  /** Puts it into the inbox of every session of the tree with this root. */
  mail: (root: string, body: BudgetLowBody) => void
}

/** What the alert is about, and in words. */
function ofText({ scope, root, agent, task }: Crossing): [subject: string, words: string] {
  if (scope === 'tree') return [root, `Task ${root} and everything below it`]
  if (scope === 'agentDay') return [agent, `Agent ${agent} today`]
  if (scope === 'attempt') return [task, `This attempt of task ${task}`]
  return [scope, 'This hub today']
}

/** Within the transaction that settled or refused the call. */
export function createWarnings({ alerts, afterCommit, mail }: WarningParts) {
  return (crossing: Crossing): void => {
    const { scope, mark, limitUsd, spentUsd, root, agent, task } = crossing
    const [subject, of] = ofText(crossing)
    const share = mark === 'soft' ? 'its soft limit' : `${mark} %`
    const spent =
      mark === 100 && spentUsd < limitUsd
        ? `what is left of ${dollarsText(limitUsd)} USD is too little for the next call, and it was refused`
        : `${share} of ${dollarsText(limitUsd)} USD ${mark === 'soft' ? 'for a day ' : ''}is spent`
    alerts.raise(
      `budget_low:${subject}:${mark}`,
      'warning',
      `${of}: ${spent} (${dollarsText(spentUsd)} USD so far), last by task ${task} of agent ${agent}. \`hub budget show\` says where it went.`,
      LASTS_MS,
    )
    const body: BudgetLowBody = { of: scope, mark, limitUsd, spentUsd }
    afterCommit(() => mail(root, body))
  }
}
