/** Tokens of the last hour, by agent: sums over the accounts of its minutes. */
import type { Account, Accounts } from './accounts.ts'
import { SLOTS_OF_AN_HOUR } from './days.ts'

/** Of an agent, or of all, two hours are kept. */
const SLOTS_MAX = 2000

type Hour = Pick<Account, 'spentUsd' | 'heldUsd' | 'calls' | 'input' | 'output' | 'heldInput' | 'heldOutput'>

function sumOf(slots: readonly Account[]): Hour {
  const sum = (of: (account: Account) => number) => slots.reduce((all, each) => all + of(each), 0)
  return {
    ...{ spentUsd: 0, heldUsd: 0, calls: 0, input: sum(({ input }) => input), output: sum(({ output }) => output) },
    ...{ heldInput: sum(({ heldInput }) => heldInput), heldOutput: sum(({ heldOutput }) => heldOutput) },
  }
}

/** The last hour of an agent, in one. `slot`: the one that has begun. */
export const hourOf = (accounts: Pick<Accounts, 'slots'>, agent: string, slot: number): Hour =>
  sumOf(accounts.slots(agent, slot - SLOTS_OF_AN_HOUR + 1, slot))

/** The last hour of each agent that called anything in it. */
export function hoursOf(accounts: Pick<Accounts, 'list'>, slot: number): Map<string, Hour> {
  const byAgent = new Map<string, Account[]>()
  for (const account of accounts.list('slot', '', SLOTS_MAX)) {
    const [agent = '', at] = account.key.split(' ')
    if (Number(at) <= slot - SLOTS_OF_AN_HOUR || Number(at) > slot) continue
    byAgent.set(agent, [...(byAgent.get(agent) ?? []), account])
  }
  return new Map([...byAgent].map(([agent, slots]) => [agent, sumOf(slots)]))
}
