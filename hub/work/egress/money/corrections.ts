/** What only people do about money: more for a tree of tasks, and what a call cost in truth. */
import { HubError } from '../../../base/errors.ts'
import { assertGrant, type Grant } from '../../../guard/grant.ts'
import type { BudgetSettings, RowBudget } from '../../../protocol/budget.ts'
import { dollarsText } from '../../../protocol/dollars.ts'
import { type Accounts, moveAccounts } from './accounts.ts'
import type { Days } from './days.ts'
import { marksBelow } from './limits.ts'
import type { ReservationRow, Reservations } from './reservations.ts'

/** What was raised in all, and the limit that this makes. */
interface Raised {
  raisedUsd: number
  limitUsd: number
}

/** Its root, and the agent of that. */
interface Tree {
  root: string
  agent: string | null
}

export interface Corrections {
  /** The effect of `budget.settle`; it makes a damaged row whole again. Throws `conflict` for a call that is under way, `unknown_record` for an id that nobody knows. */
  correct(grant: Grant, id: string, usd: number): ReservationRow
  /** Of `budget.raise`, or of a yes to more money. Throws `limit_exceeded` above the ceiling. */
  raise(grant: Grant, tree: Tree & { usd: number }): Raised
  /** By how much the limit of a tree may still rise before it is at the ceiling; in millionths of a US dollar. */
  room(tree: Tree): number
}

export function createCorrections(parts: {
  settings: BudgetSettings
  reservations: Reservations
  accounts: Accounts
  days: Days
  rowOf: (agent: string) => RowBudget | undefined
}): Corrections {
  const { settings, reservations, accounts, days, rowOf } = parts
  const limitOf = ({ root, agent }: Tree): number =>
    ((agent === null ? undefined : rowOf(agent))?.tree?.usd ?? settings.tree.usd) + accounts.get('tree', root).raisedUsd
  return {
    room: (tree) => settings.ceiling.tree.usd - limitOf(tree),
    correct(grant, id, usd) {
      assertGrant(grant, 'budget.settle')
      const row = reservations.find(id)
      if (row === undefined) throw new HubError('unknown_record', `no metered call has the id ${id}`)
      const settledAtMs = days.nowMs()
      const before = row.usd ?? 0
      const { input, output, wholeInput, status } = row
      const damaged = row.unreadable === null ? '' : `, where the row was damaged: ${row.unreadable}`
      const why = `corrected by the operator from ${dollarsText(before)} USD${damaged}`
      const settlement = { state: 'corrected', usd, input, output, wholeInput, status, why, settledAtMs } as const
      if (row.unreadable === null) reservations.settle(id, settlement)
      else reservations.repair(row, settlement)
      const change = { spentUsd: usd - before, estimatedUsd: row.state === 'estimated' ? -before : 0 }
      moveAccounts(accounts, row, change, settledAtMs)
      return { ...row, state: 'corrected', usd, why, unreadable: null }
    },
    raise(grant, { root, agent, usd }) {
      assertGrant(grant, 'budget.raise', 'approval.answer')
      const account = accounts.get('tree', root)
      const raisedUsd = account.raisedUsd + usd
      const limitUsd = limitOf({ root, agent }) + usd
      const most = settings.ceiling.tree.usd
      if (limitUsd > most)
        throw new HubError(
          'limit_exceeded',
          `the tree would have ${dollarsText(limitUsd)} USD; budget.ceiling.tree.usd in hub.yaml is ${dollarsText(most)} USD`,
        )
      // Marks that are not reached any more are told again when they are.
      const told = account.told & marksBelow(account.spentUsd, limitUsd)
      accounts.set({ scope: 'tree', key: root, task: root }, { raisedUsd, told }, days.nowMs())
      return { raisedUsd, limitUsd }
    },
  }
}
