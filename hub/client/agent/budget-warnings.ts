/**
 * Warnings that money runs low (docs/egress.md 4): to the one handler of the program. What came before there was one is kept for it: the newest 16,
 * which are all marks of all limits of money.
 */
import type { BudgetLowBody } from '../../protocol/budget.ts'

export type BudgetLowHandler = (low: BudgetLowBody) => unknown

const KEPT_MAX = 16

/** `onFault`: what the handler threw, which changes nothing else. */
export function createBudgetWarnings(onFault: (thrown: unknown) => void) {
  const kept: BudgetLowBody[] = []
  let handler: BudgetLowHandler | undefined

  async function hand(low: BudgetLowBody): Promise<void> {
    try {
      await handler?.(low)
    } catch (thrown) {
      onFault(thrown)
    }
  }

  return {
    hear(low: BudgetLowBody): void {
      if (handler !== undefined) return void hand(low)
      kept.push(low)
      if (kept.length > KEPT_MAX) kept.shift()
    },
    /** A later handler takes the place of an earlier one. */
    on(given: BudgetLowHandler): void {
      handler = given
      for (const low of kept.splice(0)) void hand(low)
    },
  }
}
