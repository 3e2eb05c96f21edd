/** What a call counts with in the end: measured, lost, lied about, corrected, damaged. Over a real database, with a fake clock. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { OPERATOR } from '../../../../../hub/guard/principal.ts'
import { noTokens } from '../../../../../hub/work/egress/money/cost.ts'
import type { Ending } from '../../../../../hub/work/egress/money/settlement.ts'
import { code, costs, createMoneyScene, measured, OTHER, ROOT, WORST, wide } from '../../../../support/money-scene.ts'

const scene = createMoneyScene()
const { reserve, settle, open, by, scopeOf, day } = scene

describe('E9: an answer that nobody has', () => {
  test('settles at the reserve, apart from what was measured, and the operator can say what it was', () => {
    for (const ending of [{ kind: 'lost' }, { kind: 'none' }, { kind: 'odd', why: 'x' }] as const) {
      const { id } = reserve()
      expect(settle(id, ending)).toMatchObject({ state: 'estimated', usd: WORST })
      by('budget.settle', (grant) => scene.money.correct(grant, { id, usd: 10 }), OPERATOR)
      expect(code(() => by('budget.settle', (grant) => scene.money.correct(grant, { id, usd: 20 }), OPERATOR))).toBe(
        'ok',
      )
    }
    expect(day()).toMatchObject({ spentUsd: 60, estimatedUsd: 0, heldUsd: 0 })
    const { id } = reserve()
    expect(code(() => by('budget.settle', (grant) => scene.money.correct(grant, { id, usd: 1 }), OPERATOR))).toBe(
      'conflict',
    )
    expect(settle(id, { kind: 'failed_before', status: 500 })).toMatchObject({ state: 'released', usd: 0 })
    expect(day()).toMatchObject({ spentUsd: 60, heldUsd: 0, calls: 4 })
  })

  test('because the hub ended settles once at the next start, with a record', () => {
    const [done, , open1] = [reserve(), reserve(), reserve({ task: OTHER, root: OTHER })]
    settle(done.id, costs(100))
    scene.home.reopen()
    open()
    expect(day()).toMatchObject({ spentUsd: 100, heldUsd: 2 * WORST })
    scene.money.recover()
    scene.money.recover()
    expect(day()).toMatchObject({ spentUsd: 100 + 2 * WORST, estimatedUsd: 2 * WORST, heldUsd: 0 })
    // The answer comes after all: it changes nothing any more.
    expect(settle(open1.id, costs(1))).toMatchObject({ state: 'estimated', usd: WORST })
    expect(scene.home.records().filter(({ effect }) => effect.includes('2 metered calls were under way'))).toHaveLength(
      1,
    )
  })
})

const one = measured(1, 1)

describe('E10: figures that lie', () => {
  const lies: readonly [string, Ending, RegExp, usd?: number][] = [
    [
      'another model',
      measured(1, 1, 'claude-opus-4-8'),
      /"claude-opus-4-8", which has not the price of claude-haiku-4-5/,
    ],
    ['a model that nobody knows', measured(1, 1, 'x'), /"x"/],
    ['more output than was asked for', measured(1, 1001), /more output/],
    ['more input than the model takes', measured(200_001, 1), /more input/, 200_006],
    ['a tier that nobody asked for', { ...one, surcharges: ['priority'] }, /priority/],
    ['a tool without a price', { ...one, tokens: { ...noTokens(), uses: { web_search: 1 } } }, /web_search/],
  ]
  test('settle at no less than the reserve, and say why', () => {
    for (const [name, ending, why, usd = WORST] of lies) {
      const settled = settle(reserve().id, ending)
      expect(settled, name).toMatchObject({ state: 'estimated', usd, isAbove: false })
      expect(settled.odd).toMatch(why)
      expect(settled.text).toMatch(/estimated: model claude-haiku-4-5/)
    }
  })

  test('above the reserve use up the budget, which stops; the operator can say what it was', () => {
    open(wide({ tree: { usd: '0.5 USD' } }))
    const { id } = reserve()
    // 50000 x 5 and 1 x 1: nobody asked for so much, and it may be billed all the same.
    expect(settle(id, measured(1, 50_000))).toMatchObject({ state: 'estimated', usd: 250_001 })
    expect(scopeOf('tree')).toMatchObject({ spentUsd: 250_001, estimatedUsd: 250_001, output: 50_000 })
    settle(reserve().id, measured(1, 50_000))
    expect(code(() => reserve())).toBe('budget_exceeded')
    by('budget.settle', (grant) => scene.money.correct(grant, { id, usd: 10 }), OPERATOR)
    expect(code(() => reserve())).toBe('ok')
  })

  test('are counted up to a million dollars, so that sums stay exact', () => {
    const most = 1_000_000_000_000
    const settled = settle(reserve().id, measured(most, most))
    expect(settled).toMatchObject({ usd: most, tokens: { input: 1_000_000_000, output: 1_000_000_000 } })
    expect(day()).toMatchObject({ spentUsd: most })
  })

  test('that the model can take are measured, in full, also above the reserve', () => {
    const settled = settle(reserve().id, measured(10_000, 0))
    expect(settled).toMatchObject({ state: 'measured', usd: 10_000, odd: undefined, isAbove: true })
    expect(day()).toMatchObject({ spentUsd: 10_000, estimatedUsd: 0 })
    expect(settle(reserve().id, measured(2024, 1000))).toMatchObject({ state: 'measured', isAbove: false })
  })

  test('of what the upstream itself bills count, if they are more than the tokens cost', () => {
    const billed = (usd: number) => settle(reserve().id, { ...measured(1000, 100), billedUsd: usd })
    expect(billed(1499)).toMatchObject({ state: 'measured', usd: 1500, isAbove: false })
    expect(billed(1501)).toMatchObject({ state: 'measured', usd: 1501, isAbove: false })
    expect(billed(9000)).toMatchObject({ state: 'measured', usd: 9000, isAbove: true })
  })
})

test('E17: a price that is edited in the middle changes no call that is under way', () => {
  const write = (input: number) =>
    writeFileSync(join(scene.home.folder, 'prices.yaml'), `models: { own: { input: ${input}, output: ${input} } }\n`)
  write(1_000_000)
  const { id, priceVersion } = reserve({ model: 'own' })
  write(90_000_000)
  scene.home.reopen()
  open()
  expect(settle(id, measured(1000, 500, 'own'))).toMatchObject({ state: 'measured', usd: 1500 })
  expect(reserve({ model: 'own' }).priceVersion).not.toBe(priceVersion)
})

test('E17: a file of prices that has a fault, or other names, by then holds up no settlement', () => {
  const write = (text: string) => writeFileSync(join(scene.home.folder, 'prices.yaml'), text)
  for (const after of ['models: [', 'models: {}', 'models: { new: { input: 9, output: 9 } }']) {
    write('models: { own: { input: 1000000, output: 1000000, aliases: [new] } }')
    const { id } = reserve({ model: 'own' })
    write(after)
    expect(settle(id, measured(1000, 500, 'new')), after).toMatchObject({ state: 'measured', usd: 1500 })
  }
})

test('an answer that does not say which tier or tools it had costs what was reserved for them [E10]', () => {
  open(wide({ tree: { usd: '50 USD' }, day: { usd: '50 USD' } }))
  const priority = (told: object) =>
    settle(reserve({ model: 'gpt-5.5', shape: 'chat', surcharges: ['tier:priority'] }).id, {
      ...measured(1000, 0, 'gpt-5.5'),
      ...told,
    }).usd
  expect(priority({})).toBe(10_000)
  expect(priority({ denied: ['priority'] })).toBe(5000)
  // Only Messages tells how often its tools ran: here each of three costs 10000, and 1000 tokens cost 1000.
  writeFileSync(
    join(scene.home.folder, 'prices.yaml'),
    'models: { own: { input: 1000000, output: 1000000, maxInput: 10000, uses: { web_search: 10000 } } }',
  )
  for (const [shape, usd] of [
    ['responses', 31_000],
    ['messages', 1000],
  ] as const) {
    const { id } = reserve({ model: 'own', shape, askedOutput: 10, surcharges: ['server_tools:3'] })
    expect(settle(id, measured(1000, 0, 'own'))).toMatchObject({ state: 'measured', usd })
  }
})

test('an account that was damaged is added up again from its calls, and the operator hears of it', () => {
  settle(reserve().id, costs(100))
  reserve()
  scene.home.guard.store.prepare(`update egress_account set spent_usd = 0 where scope = 'tree'`).run()
  expect(scopeOf('tree')).toMatchObject({ spentUsd: 100, heldUsd: WORST, calls: 2 })
  settle(reserve().id, costs(50))
  expect(scopeOf('tree')).toMatchObject({ spentUsd: 150, heldUsd: WORST, calls: 3 })
  expect(scene.home.guard.alerts.isOpen('budget_damaged')).toBe(true)
})

test('the day of the hub that was damaged is added up from the days of its agents, which outlive the calls of old tasks', () => {
  settle(reserve().id, costs(100))
  settle(reserve({ agent: 'reader' }).id, costs(10))
  scene.home.guard.store.prepare('delete from egress_reservation').run()
  scene.home.guard.store.prepare(`update egress_account set spent_usd = 0 where scope = 'day'`).run()
  expect(day()).toMatchObject({ spentUsd: 110, calls: 2 })
  settle(reserve().id, costs(1))
  expect(day()).toMatchObject({ spentUsd: 111, heldUsd: 0, calls: 3 })
  // With one of these damaged too, the calls that are there decide.
  scene.home.guard.store.prepare(`update egress_account set spent_usd = 0 where scope in ('day', 'agent_day')`).run()
  expect(day()).toMatchObject({ spentUsd: 1, calls: 1 })
})

describe('the row of a call that was damaged', () => {
  const damage = (id: string, set: string) =>
    scene.home.guard.store.prepare(`update egress_reservation set ${set} where id = ?`).run(id)
  const correct = (id: string, usd: number) =>
    by('budget.settle', (grant) => scene.money.correct(grant, { id, usd }), OPERATOR)
  const shown = (id: string) => scene.money.show({ task: ROOT }).calls.find((each) => each.id === id)
  const SCOPES = ['day', 'agentDay', 'tree', 'task']

  test('settles at the largest that it shows, whatever the upstream says', () => {
    const { id } = reserve()
    damage(id, 'reserved_usd = 9999')
    expect(settle(id, costs(1))).toMatchObject({ state: 'estimated', usd: 9999 })
    for (const scope of SCOPES) expect(scopeOf(scope)).toMatchObject({ spentUsd: 9999, heldUsd: 0 })
    expect(shown(id)?.why).toMatch(/damaged \(it is not as it was written\)/)
  })

  test('holds nothing after the next start, whichever column it is, and counts with what the operator says', () => {
    for (const set of [
      `state = 'opem'`,
      `price = '{'`,
      `surcharges = 'x'`,
      'reserved_usd = -1',
      `root = 'x'`,
      'day = 1',
    ]) {
      const { id } = reserve()
      damage(id, set)
      open()
      scene.money.recover()
      for (const scope of SCOPES) expect(scopeOf(scope)?.heldUsd, `${set}, ${scope}`).toBe(0)
      expect(scene.home.guard.alerts.isOpen('budget_damaged'), set).toBe(true)
      expect(scene.home.records().some(({ effect }) => effect.includes(`damaged: ${id}`))).toBe(true)
      correct(id, 5)
      expect(shown(id)).toMatchObject({ state: 'corrected', usd: 5, why: expect.stringMatching(/was damaged/) })
      if (!/root|day/.test(set)) for (const scope of SCOPES) expect(scopeOf(scope)?.spentUsd, set).toBe(5)
      scene.home.guard.store.prepare('delete from egress_reservation').run()
      scene.home.guard.store.prepare('delete from egress_account').run()
    }
  })

  test('is settled by the operator although it says that it is under way; what its answer tells later changes nothing', () => {
    const { id } = reserve()
    damage(id, `state = 'opem'`)
    correct(id, 5)
    expect(settle(id, costs(100))).toMatchObject({ state: 'corrected', usd: 5 })
    for (const scope of SCOPES) expect(scopeOf(scope)).toMatchObject({ spentUsd: 5, heldUsd: 0 })
  })
})
