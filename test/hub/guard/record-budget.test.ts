/** How many records of its own a session gets, and that none is lost from the counts (fault F2). */
import { expect, it } from 'vitest'
import { HubError } from '../../../hub/base/errors.ts'
import { OPERATOR } from '../../../hub/guard/principal.ts'
import { createRecordBudget, SUM_EVERY_MS } from '../../../hub/guard/record-budget.ts'
import { OPERATIONS, type OperationName } from '../../../hub/protocol/operations.ts'
import { agentPrincipal } from '../../support/policy-fixture.ts'

const agent = agentPrincipal('echo')
const HOUR_MS = 3_600_000

function started(perHour: number) {
  let now = 0
  const budget = createRecordBudget(perHour, () => now)
  const pass = (ms: number) => {
    now += ms
  }
  return { budget, pass }
}

it('fault F2: within its budget a session has a record each time, beyond it lines are counted and messages refused until it comes back', () => {
  const { budget, pass } = started(100)
  const lines = Array.from({ length: 130 }, () => budget.take(agent, 'task.log'))
  expect(lines.filter(({ isOwn }) => isOwn)).toHaveLength(100)
  const send = () => budget.take(agent, 'message.send')
  const refusal = () => {
    try {
      send()
    } catch (thrown) {
      return thrown as HubError
    }
  }
  expect(refusal()).toMatchObject({ code: 'rate_limited', facts: { retryAfterMs: HOUR_MS / 100 } })
  pass(HOUR_MS / 100 - 1)
  expect(refusal()?.facts.retryAfterMs).toBe(1)
  pass(1)
  expect(send().isOwn).toBe(true)
  // Of another session nothing is taken.
  expect(budget.take(agentPrincipal('two'), 'message.send').isOwn).toBe(true)
  const [sum, ...more] = budget.due(true)
  expect(more).toEqual([])
  expect(sum).toMatchObject({
    count: 30,
    entry: {
      action: 'gate.admitted',
      outcome: 'ok',
      resource: 'session:s-echo',
      reason: 'summed: 30 more admitted: 30 task.log',
    },
  })
})

it('fault F2: an hour at twice the budget is twice the budget of the first hour at most, and then the budget', () => {
  const { budget, pass } = started(1000)
  const own = () => {
    let count = 0
    for (let nth = 0; nth < 20_000; nth += 1) {
      if (budget.take(agent, 'task.progress').isOwn) count += 1
      pass(HOUR_MS / 20_000)
    }
    return count
  }
  expect(own()).toBeLessThanOrEqual(2000)
  expect(own()).toBeLessThanOrEqual(1001)
  expect(own()).toBeGreaterThanOrEqual(999)
})

it('fault F2: sums come once a minute, again until they are written, and a rollback takes back what it was', () => {
  const { budget, pass } = started(100)
  for (let nth = 0; nth < 100; nth += 1) budget.take(agent, 'task.log')
  const taken = [1, 2, 3].map(() => budget.take(agent, 'task.log'))
  taken[0]?.undo()
  expect(budget.due()).toEqual([])
  pass(SUM_EVERY_MS)
  expect(budget.due()).toMatchObject([{ count: 2 }])
  const [sum] = budget.due()
  if (sum !== undefined) budget.written(sum)
  expect(budget.due(true)).toEqual([])
})

it('what a session needs to live and to end is never refused, and people have no budget', () => {
  const { budget } = started(100)
  for (let nth = 0; nth < 500; nth += 1) budget.take(agent, 'session.renew')
  expect(budget.take(agent, 'task.result').isOwn).toBe(true)
  expect(() => budget.take(agent, 'message.send')).toThrow(HubError)
  for (let nth = 0; nth < 500; nth += 1) expect(budget.take(OPERATOR, 'task.submit').isOwn).toBe(true)
})

it('fault F2: no session spends its budget on lines to do unseen what others are concerned in', () => {
  const { budget } = started(100)
  for (let nth = 0; nth < 200; nth += 1) budget.take(agent, 'task.log')
  const own: OperationName[] = ['task.log', 'task.progress', 'session.frame', 'message.receive']
  const upkeep: OperationName[] = ['session.join', 'session.renew', 'session.open', 'task.result']
  const unseen = Object.keys(OPERATIONS).filter((name) => {
    try {
      return !budget.take(agent, name as OperationName).isOwn
    } catch {
      return false
    }
  })
  expect(unseen.sort()).toEqual(own.sort())
  for (const name of upkeep) expect(budget.take(agent, name).isOwn).toBe(true)
  expect(() => budget.take(agent, 'message.subscribe')).toThrow(/records an hour/)
})
