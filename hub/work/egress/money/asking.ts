/**
 * More money for a tree of tasks, after a yes of a person (S2-30).
 *
 * M1. It is asked once four fifths of the limit of a tree are used, so that the answer can come before a call is refused. One question of a tree is open at a
 *     time, and a no holds for it, also one by silence.
 * M2. A yes raises the limit of this tree by the amount that was asked for, once: by the limit itself, and never above the ceiling of hub.yaml.
 *     At four fifths of the new limit it is asked anew.
 */
import { HubError } from '../../../base/errors.ts'
import type { Grant } from '../../../guard/grant.ts'
import type { Approval } from '../../../guard/operator/approval-rows.ts'
import type { Approvals } from '../../../guard/operator/approvals.ts'
import { dollarsText, usdWritten } from '../../../protocol/dollars.ts'
import type { Corrections } from './corrections.ts'
import type { Crossing } from './limits.ts'

/** What the question was about, kept with it. In millionths of a US dollar. */
interface Asked {
  spentUsd: number
  limitUsd: number
  moreUsd: number
}

interface MoneyAsking {
  /** Asks, if this mark is one to ask at. Answers words for the record; empty if nothing was asked. Within the transaction of the mark. */
  ask(grant: Grant, crossing: Crossing): string
  /** What follows from an answer, in its transaction, in words for the record. Throws `limit_exceeded` if the ceiling leaves no room any more. */
  settle(grant: Grant, approval: Approval): string
}

export interface MoneyAskingParts {
  approvals: Pick<Approvals, 'askMoney'>
  corrections: Pick<Corrections, 'raise' | 'room'>
  agentOf: (task: string) => string | null
}

export function createMoneyAsking(parts: MoneyAskingParts): MoneyAsking {
  const { approvals, corrections, agentOf } = parts
  return {
    ask(grant, { scope, mark, root, limitUsd, spentUsd }) {
      if (scope !== 'tree' || (mark !== 80 && mark !== 100)) return ''
      const agent = agentOf(root)
      const moreUsd = Math.min(limitUsd, corrections.room({ root, agent }))
      if (moreUsd <= 0) return ''
      const question = `Task ${root.slice(-8)} has spent ${dollarsText(spentUsd)} of ${usdWritten(limitUsd)}. May it spend ${dollarsText(moreUsd)} more?`
      const facts: Asked = { spentUsd, limitUsd, moreUsd }
      const id = approvals.askMoney(grant, { task: root, agent, question, facts: { ...facts } })
      return id === undefined ? '' : `a person is asked for ${usdWritten(moreUsd)} more (approval:${id})`
    },
    settle(grant, { kind, state, task, bound }) {
      if (kind !== 'budget' || state !== 'approved' || task === null) return ''
      const { facts } = JSON.parse(bound ?? '{}') as { facts?: Asked }
      if (facts === undefined) throw new HubError('internal', '', { reason: 'a question about money holds no amount' })
      const tree = { root: task, agent: agentOf(task) }
      const room = corrections.room(tree)
      // Somebody may have raised it meanwhile: what is left below the ceiling, or else the refusal that names it.
      const usd = room > 0 ? Math.min(facts.moreUsd, room) : facts.moreUsd
      const { limitUsd } = corrections.raise(grant, { ...tree, usd })
      return `the tree has ${usdWritten(usd)} more: ${usdWritten(limitUsd)} in all`
    },
  }
}
