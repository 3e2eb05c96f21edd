/** Which limits hold for a call, whose money it is, and when a day begins. Over a real database, with a fake clock. */
import { describe, expect, test } from 'vitest'
import { OPERATOR } from '../../../../../hub/guard/principal.ts'
import { budgetShape } from '../../../../../hub/protocol/budget.ts'
import { noTokens } from '../../../../../hub/work/egress/money/cost.ts'
import { createDays } from '../../../../../hub/work/egress/money/days.ts'
import { limitsOf } from '../../../../../hub/work/egress/money/limits.ts'
import type { Ending } from '../../../../../hub/work/egress/money/settlement.ts'
import { openGuardHome } from '../../../../support/guard-home.ts'
import {
  CHILD,
  call,
  code,
  costs,
  createMoneyScene,
  HOUR,
  measured,
  OTHER,
  ROOT,
  wide,
} from '../../../../support/money-scene.ts'

const scene = createMoneyScene()
const { reserve, settle, open, by, scopeOf } = scene

describe('E16: whose money it is', () => {
  test('S4-30: all sessions of a tree spend one sum; retries, other agents and a restart begin nothing anew', () => {
    open(wide({ tree: { usd: '0.02 USD' } }))
    settle(reserve().id, costs(7000))
    settle(reserve({ session: 's2', attempt: 'a2', task: CHILD, agent: 'reader' }).id, costs(7000))
    scene.home.reopen()
    open()
    for (const given of [
      {},
      { session: 's3', attempt: 'a3' },
      { session: 's4', attempt: 'a4', task: CHILD, agent: 'b' },
    ])
      expect(code(() => reserve(given))).toBe('budget_exceeded')
    expect(scopeOf('tree')).toMatchObject({ spentUsd: 14_000, limitUsd: 20_000, calls: 2 })
    expect(code(() => reserve({ task: OTHER, root: OTHER }))).toBe('ok')
  })

  test('more for a tree comes from the operator alone, and never above the ceiling', () => {
    open(wide({ tree: { usd: '0.005 USD' }, ceiling: { tree: { usd: '0.02 USD' } } }))
    const raise = (usd: number) => by('budget.raise', (grant) => scene.money.raise(grant, { id: CHILD, usd }), OPERATOR)
    expect(code(() => reserve())).toBe('budget_exceeded')
    expect(raise(5000)).toMatchObject({ root: ROOT, limitUsd: 10_000 })
    settle(reserve().id, costs(7000))
    expect(code(() => reserve())).toBe('budget_exceeded')
    expect(code(() => raise(10_001))).toBe('limit_exceeded')
    raise(10_000)
    expect(code(() => reserve())).toBe('ok')
    expect(code(() => by('budget.raise', (grant) => scene.money.raise(grant, { id: ROOT, usd: 1 })))).toBe('forbidden')
  })

  test('the row of an agent sets its own limits, that of a descendant can only lower those of the tree, the ceiling holds', () => {
    const usual = budgetShape.parse({
      tree: { usd: '2 USD' },
      ceiling: { tree: { usd: '8 USD' }, call: { tokens: 60_000 } },
    })
    const tree = (usd: number) => ({ tree: { usd } })
    const limit = (own: object | undefined, root: object | undefined, raised = 0) =>
      limitsOf(usual, 'tree', { own, root }, raised).usd
    expect(limit(undefined, undefined)).toBe(2_000_000)
    expect(limit(undefined, tree(5_000_000))).toBe(5_000_000)
    expect(limit(undefined, tree(5_000_000), 1_000_000)).toBe(6_000_000)
    expect(limit(undefined, tree(5_000_000), 9_000_000)).toBe(8_000_000)
    expect(limit(tree(7_000_000), undefined)).toBe(2_000_000)
    expect(limit(tree(1_000_000), tree(5_000_000), 1_000_000)).toBe(1_000_000)
    expect(limitsOf(usual, 'call', { own: { call: { tokens: 400_000 } }, root: undefined }).tokens).toBe(60_000)
    expect(limitsOf(usual, 'day', { own: { day: { usd: 1 } } as object, root: undefined }).usd).toBe(10_000_000)
  })
})

describe('E18: days', () => {
  test('a clock step gives no second budget; midnight of the operator does', () => {
    using fresh = openGuardHome()
    using _ = scene.at(fresh)
    open(wide({ day: { usd: '0.01 USD', soft: '0.005 USD' } }))
    settle(reserve().id, costs(7000))
    const today = scene.money.show({}).day
    expect(code(() => reserve())).toBe('budget_exceeded')
    for (const step of [48 * HOUR, -72 * HOUR, 24 * HOUR]) {
      scene.home.clock.stepWall(step)
      expect(
        code(() => reserve()),
        `${step / HOUR} h`,
      ).toBe('budget_exceeded')
    }
    expect(scene.money.show({}).day).toBe(today)
    // From 9:00 UTC until midnight in Berlin, which is 23:00 UTC.
    scene.home.clock.jump(14 * HOUR - 1000)
    expect(code(() => reserve())).toBe('budget_exceeded')
    scene.home.clock.jump(2000)
    expect(code(() => reserve())).toBe('ok')
  })

  test('while nobody has said that the clock of a new boot is right, the last day goes on', () => {
    const steady = { isUnproven: () => true, wallMs: () => Date.UTC(2027, 0, 1) }
    expect(createDays(steady, { zone: 'UTC' }).now(() => '2026-12-01')).toBe('2026-12-01')
    expect(createDays({ ...steady, isUnproven: () => false }, { zone: 'UTC' }).now(() => '2026-12-01')).toBe(
      '2027-01-01',
    )
  })
})

describe('limits', () => {
  test('S2-31: ship as stated', () => {
    const { call: one, attempt, tree, day: ofDay, hour, delegations, keyRefusals } = budgetShape.parse({})
    expect({ one, attempt, tree, ofDay, hour, delegations, keyRefusals }).toEqual({
      ...{ one: { tokens: 50_000 }, attempt: { calls: 200 }, tree: { usd: 2_000_000 } },
      ofDay: { soft: 5_000_000, usd: 10_000_000 },
      ...{ hour: { input: 500_000, output: 100_000 }, delegations: 20, keyRefusals: 3 },
    })
  })

  test('above their ceiling are refused by name', () => {
    const faults = (given: object) =>
      budgetShape.safeParse(given).error?.issues.map(({ path, message }) => `${path.join('.')} ${message}`)
    expect(faults({ call: { tokens: 2_000_000 } })).toEqual([
      expect.stringMatching(/^call\.tokens is 2000000, and budget\.ceiling\.call\.tokens is 1000000/),
    ])
    expect(faults({ tree: { usd: '60 USD' } })).toEqual([expect.stringMatching(/^tree\.usd is 60\.00 USD/)])
  })

  test('where only the bound of the input exceeds one, a count decides; where counting is of no use, it is refused', () => {
    const long = { inputBytes: 60_000 }
    expect(scene.money.judge(call(long)).kind).toBe('count')
    expect(code(() => reserve(long))).toBe('budget_exceeded')
    expect(code(() => reserve({ ...long, counted: 20_000 }))).toBe('ok')
    expect(scene.money.judge(call({ ...long, counted: 60_000 })).kind).toBe('refused')
    expect(scene.money.judge(call({ ...long, shape: 'chat', model: 'gpt-5-nano' })).kind).toBe('refused')
    // With an output cap above the limit nothing that is counted helps.
    expect(scene.money.judge(call({ askedOutput: 55_000, maxOutput: 60_000 })).kind).toBe('refused')
  })

  test('of calls and of tokens in an hour hold, also where nothing costs money; reads of a cache are no tokens', () => {
    open({ attempt: { calls: 3 }, hour: { input: 5000, output: 4000 } })
    const free = { free: true, model: 'llama' }
    settle(reserve(free).id, measured(100, 100, 'llama'))
    expect(code(() => reserve({ ...free, askedOutput: 3950 }))).toBe('budget_exceeded')
    const cached: Ending = {
      kind: 'measured',
      model: 'claude-haiku-4-5',
      ...{ surcharges: [], denied: [] },
      tokens: { ...noTokens(), cacheRead: 1900 },
    }
    settle(reserve().id, cached)
    settle(reserve().id, cached)
    expect(code(() => reserve())).toBe('budget_exceeded')
    expect(code(() => reserve({ attempt: 'a2' }))).toBe('ok')
    scene.home.clock.jump(66 * 60_000)
    expect(code(() => reserve({ ...free, attempt: 'a2', askedOutput: 3950 }))).toBe('ok')
  })

  test('on money do not stop what is free, and at all of a budget it goes on', () => {
    open(wide({ tree: { usd: '0.008 USD' } }))
    settle(reserve().id, costs(7500))
    expect(code(() => reserve())).toBe('budget_exceeded')
    const { id, reservedUsd } = reserve({ free: true, model: 'llama' })
    expect(reservedUsd).toBe(0)
    expect(settle(id, measured(10, 10, 'llama'))).toMatchObject({
      state: 'measured',
      usd: 0,
      tokens: { input: 10, output: 10 },
    })
  })

  test('refusals of the key in a row are known over a restart, of each session and upstream', () => {
    open(wide())
    const refusals = (session = 's1', upstream = 'anthropic') => scene.money.keyRefusals.before(session, upstream)
    for (const [status, inARow] of [
      [401, 1],
      [403, 2],
      [200, 0],
      [403, 1],
      [401, 2],
      [403, 3],
    ] as const) {
      settle(reserve().id, status === 200 ? costs(1) : { kind: 'failed_before', status })
      scene.home.clock.jump(1000)
      open()
      expect(refusals()).toEqual({ inARow, agoMs: 1000 })
    }
    expect(refusals('s2').inARow).toBe(0)
    expect(refusals('s1', 'other').inARow).toBe(0)
  })

  test('a count that was too low is believed no more for a day, of that upstream [E10]', () => {
    const long = { inputBytes: 60_000 }
    const { id } = reserve({ ...long, counted: 20_000 })
    // 20000, a twentieth more and 64 were allowed.
    expect(settle(id, measured(21_064, 1))).toMatchObject({ isAbove: false })
    expect(scene.money.judge(call(long)).kind).toBe('count')
    expect(settle(reserve({ ...long, counted: 20_000 }).id, measured(21_065, 1))).toMatchObject({ isAbove: true })
    open()
    const verdict = scene.money.judge(call(long))
    expect(verdict).toMatchObject({ kind: 'refused', error: { message: expect.stringMatching(/counted too little/) } })
    expect(code(() => reserve({ ...long, counted: 20_000 }))).toBe('budget_exceeded')
    expect(scene.money.judge(call({ ...long, upstream: 'other' })).kind).toBe('count')
    scene.home.clock.jump(24 * HOUR + 1)
    expect(scene.money.judge(call(long)).kind).toBe('count')
  })
})
