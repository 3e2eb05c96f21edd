/** Half, four fifths and all of a limit on money: who is told, once each, and on which limit the marks stand (S2-30). Over a real database, with a fake clock. */
import { expect, test } from 'vitest'
import { OPERATOR } from '../../../../../hub/guard/principal.ts'
import type { MeteredCall } from '../../../../../hub/work/egress/money/budget.ts'
import { CHILD, call, code, costs, createMoneyScene, ROOT, wide } from '../../../../support/money-scene.ts'

const scene = createMoneyScene()
const { reserve, settle, open, by } = scene

test('S2-30: half, four fifths and all of a limit are told once each, and the soft limit of a day', async () => {
  open(wide({ tree: { usd: '0.02 USD' }, day: { usd: '1 USD', soft: '0.015 USD' } }))
  const marks = (usd: number) => settle(reserve().id, costs(usd)).crossings.map(({ scope, mark }) => `${scope} ${mark}`)
  expect(marks(7000)).toEqual([])
  expect(marks(3000)).toEqual(['tree 50'])
  expect(marks(0)).toEqual([])
  expect(marks(6000)).toEqual(['tree 80', 'day soft'])
  expect(scene.mails.map(({ root, of, mark }) => [root, of, mark])).toEqual([
    [ROOT, 'tree', 50],
    [ROOT, 'tree', 80],
    [ROOT, 'day', 'soft'],
  ])
  expect(scene.questions).toEqual([`Task ${ROOT.slice(-8)} has spent 0.016 of 0.02 USD. May it spend 0.02 more?`])
  // Spent money seldom reaches a limit exactly: a refusal for want of it says that it is used up.
  const refusal = async (more: Partial<MeteredCall> = {}) => {
    const asked = call(more)
    const admit = () => by('egress.settle', (grant) => scene.money.reserve(grant, asked))
    const before = scene.home.records().length
    await expect(scene.money.atTurn(asked, admit, new AbortController().signal)).rejects.toThrow('budget')
    return scene.home.records().length - before
  }
  expect(await refusal({ inputBytes: 60_000, askedOutput: 0 })).toBe(2)
  expect(scene.mails.at(-1)).toEqual({ root: ROOT, of: 'tree', mark: 100, limitUsd: 20_000, spentUsd: 16_000 })
  const told = [50, 80, 100].map((mark) => scene.home.guard.alerts.isOpen(`budget_low:${ROOT}:${mark}`))
  expect([...told, scene.home.guard.alerts.isOpen('budget_low:day:soft')]).toEqual([true, true, true, true])
  // Once: the next refusal has the record of its refusal alone.
  expect(await refusal()).toBe(1)
  expect(scene.mails).toHaveLength(4)
})

test('S2-30: the marks of a tree stand on the limit that holds for it, that of the agent at its root, also when its hub was killed', () => {
  scene.rows = { lead: { budget: { tree: { usd: 100_000 } } } }
  open(wide({ tree: { usd: '0.01 USD' } }))
  expect(settle(reserve().id, costs(7000)).crossings).toEqual([])
  reserve({ askedOutput: 10_000 })
  scene.money.recover()
  expect(scene.mails.map(({ of, mark, limitUsd }) => [of, mark, limitUsd])).toEqual([['tree', 50, 100_000]])
})

test('S2-30: the lower limit of a descendant is no mark of its tree, and leaves those of the tree to be told', async () => {
  scene.rows = { lead: { budget: { tree: { usd: 26_000 } } }, reader: { budget: { tree: { usd: 9000 } } } }
  open(wide({ tree: { usd: '0.005 USD' } }))
  const marks = (usd: number, agent = 'lead') =>
    settle(reserve({ agent }).id, costs(usd)).crossings.map(({ mark, limitUsd }) => `${mark} of ${limitUsd}`)
  expect(marks(7000, 'reader')).toEqual([])
  const asked = call({ agent: 'reader' })
  const admit = () => by('egress.settle', (grant) => scene.money.reserve(grant, asked))
  await expect(scene.money.atTurn(asked, admit, new AbortController().signal)).rejects.toThrow('budget')
  expect(scene.mails).toEqual([])
  expect(marks(6000)).toEqual(['50 of 26000'])
})

test('what a tree was given more counts for its own agent whose row has a limit; the lower row of a child says nothing of the tree', () => {
  scene.rows = { lead: { budget: { tree: { usd: 10_000 } } }, child: { budget: { tree: { usd: 5000 } } } }
  open(wide())
  // 3030 are more than half of what the child may use of it, and less than a third of all.
  expect(settle(reserve({ agent: 'child', task: CHILD, askedOutput: 100 }).id, { kind: 'lost' }).usd).toBe(3030)
  expect(scene.mails).toEqual([])
  expect(code(() => reserve())).toBe('budget_exceeded')
  by('budget.raise', (grant) => scene.money.raise(grant, { id: ROOT, usd: 10_000 }), OPERATOR)
  expect(code(() => reserve())).toBe('ok')
})
