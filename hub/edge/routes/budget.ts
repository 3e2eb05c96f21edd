/** Money of models: what was spent, more for a tree of tasks, what a call cost in truth, and prices. */
import type { BudgetRaiseRequest, BudgetSettleRequest, BudgetShowRequest } from '../../protocol/operations.ts'
import type { Money } from '../../work/egress/money.ts'
import { type Handlers, handler } from '../serve.ts'

export function budgetHandlers({ money }: { money: Money }): Handlers {
  return {
    'budget.show': handler({
      resource: () => 'budget',
      // Within the gate, so that what it refuses leaves a record.
      effect: (_, request: BudgetShowRequest) => money.show(request),
      after: (view) => view,
    }),
    'budget.raise': handler({
      resource: ({ id }: BudgetRaiseRequest) => `task:${id}`,
      effect: (grant, request: BudgetRaiseRequest) => money.raise(grant, request),
      after: ({ root, raisedUsd, limitUsd }) => ({ root, raisedUsd, limitUsd }),
    }),
    'budget.settle': handler({
      resource: ({ id }: BudgetSettleRequest) => `call:${id}`,
      effect: (grant, request: BudgetSettleRequest) => money.correct(grant, request),
      after: ({ call }) => ({ call }),
    }),
    'upstream.price': handler({
      resource: ({ name }: { name: string }) => `upstream:${name}`,
      effect: (_, { name, model }: { name: string; model: string }) => ({ price: money.price(name, model) }),
      after: (answer) => answer,
    }),
  }
}
