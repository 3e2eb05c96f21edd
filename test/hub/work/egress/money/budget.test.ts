/** Money is reserved before it is spent: limits, calls at once, crashes, clocks, figures that lie. Over a real database, with a fake clock. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { toHubError } from '../../../../../hub/base/errors.ts'
import type { Grant } from '../../../../../hub/guard/grant.ts'
import { hubPrincipal, OPERATOR, type Principal } from '../../../../../hub/guard/principal.ts'
import { type BudgetLowBody, budgetShape } from '../../../../../hub/protocol/budget.ts'
import type { OperationName } from '../../../../../hub/protocol/operations.ts'
import type { Ending, MeteredCall } from '../../../../../hub/work/egress/money/budget.ts'
import { noTokens } from '../../../../../hub/work/egress/money/cost.ts'
import { createDays } from '../../../../../hub/work/egress/money/days.ts'
import { limitsOf } from '../../../../../hub/work/egress/money/limits.ts'
import { createMoney, type Money } from '../../../../../hub/work/egress/money.ts'
import { createOldTasks } from '../../../../../hub/work/retention/old-tasks.ts'
import { type GuardHome, openGuardHome } from '../../../../support/guard-home.ts'
import { shippedPolicies } from '../../../../support/policy-fixture.ts'
import { createSeededRandom } from '../../../../support/seeded-random.ts'

const HOUR = 3_600_000
const uuid = (name: string) =>
  `00000000-0000-4000-8000-${Buffer.from(name).toString('hex').padEnd(12, '0').slice(0, 12)}`
const [ROOT, CHILD, OTHER] = [uuid('root'), uuid('child'), uuid('other')]
const ROOTS: Readonly<Record<string, string>> = { [ROOT]: ROOT, [CHILD]: ROOT, [OTHER]: OTHER }

let home: GuardHome
let money: Money
let settings: object = {}
/** `agents` of policy/data.json; the shipped ones if there are none. */
let rows: object | undefined
let questions: string[] = []
let mails: (BudgetLowBody & { root: string })[] = []
beforeAll(() => {
  home = openGuardHome()
})
/** One home for all: opening one takes longer than any of the tests. */
beforeEach(() => {
  for (const table of ['egress_reservation', 'egress_account']) home.guard.store.prepare(`delete from ${table}`).run()
  rmSync(join(home.folder, 'prices.yaml'), { force: true })
  mails = []
  questions = []
  rows = undefined
  open({})
})
afterAll(() => home[Symbol.dispose]())

/** As a start of the hub makes it. */
function open(given: object = settings): Money {
  settings = given
  const tasks = {
    task: (id: string) => ({ id, agent: 'lead' }),
    tree: (id: string) => ({ root: ROOTS[id] ?? id, size: 1 }),
  }
  const options = { home: home.folder, bundleFolder: shippedPolicies, alerts: { zone: 'Europe/Berlin' } }
  const { clock, guard } = home
  guard.modes.clear('lease_pending')
  const policy = rows === undefined ? guard.policy : { ...guard.policy, active: () => ({ data: { agents: rows } }) }
  money = createMoney(
    { ...options, budget: budgetShape.parse(given) },
    {
      clock,
      random: createSeededRandom(`money ${home.records().length}`),
      guard: {
        ...guard,
        policy: policy as never,
        approvals: { ...guard.approvals, askMoney: (_, asked) => void questions.push(asked.question) },
      },
      tasks: tasks as never,
      mail: (root, body) => mails.push({ root, ...body }),
    },
  )
  return money
}

/** At worst 2024 tokens in at 1.25 dollars for a million (a cache is written), 1000 out at 5: 2530 + 5000 = 7530 millionths. */
const WORST = 7530
const call = (given: Partial<MeteredCall> = {}): MeteredCall => ({
  ...{ session: 's1', attempt: 'a1', task: ROOT, root: ROOT, agent: 'lead', rootAgent: 'lead', upstream: 'anthropic' },
  ...{
    shape: 'messages',
    model: 'claude-haiku-4-5',
    inputBytes: 1000,
    prefixes: [],
    askedOutput: 1000,
    maxOutput: 32_000,
  },
  ...{ choices: 1, media: { images: 0, documents: 0, audios: 0, videos: 0 }, surcharges: [], free: false },
  ...given,
})
const by = (operation: OperationName, work: (grant: Grant) => unknown, principal: Principal = hubPrincipal('egress')) =>
  home.guard.gate.admit({ principal, operation, resource: 'test' }, work as (grant: Grant) => never) as unknown
const reserve = (given?: Partial<MeteredCall>) =>
  by('egress.settle', (grant) => money.reserve(grant, call(given))) as ReturnType<Money['reserve']>
const settle = (id: string, ending: Ending) =>
  by('egress.settle', (grant) => money.settle(grant, id, ending)) as NonNullable<ReturnType<Money['settle']>>
const measured = (
  input: number,
  output: number,
  model = 'claude-haiku-4-5-20251001',
): Ending & { kind: 'measured' } => ({
  ...{ kind: 'measured', model, surcharges: [], denied: [] },
  tokens: { ...noTokens(), input, output },
})
/** Costs exactly so many millionths: a thousand tokens out at most, each at five of them, and the rest tokens in at one. */
const costs = (usd: number): Ending => {
  const output = Math.min(1000, Math.floor(usd / 5))
  return measured(usd - 5 * output, output)
}
const code = (work: () => unknown): string => {
  try {
    work()
    return 'ok'
  } catch (thrown) {
    return toHubError(thrown).code
  }
}
const scopeOf = (scope: string, task = ROOT) => money.show({ task }).accounts.find((each) => each.scope === scope)
const day = () => money.show({}).accounts[0]

/** Limits that are in nobody's way. */
const wide = (more: object = {}) => ({
  attempt: { calls: 10_000 },
  hour: { input: 20_000_000, output: 4_000_000 },
  call: { tokens: 1_000_000 },
  ...more,
})

describe('a reserve', () => {
  test('is the worst case, and what was measured takes its place, once', () => {
    const { id, cap, reservedUsd, model } = reserve({ model: 'claude-haiku-4-5-20251001' })
    expect({ cap, reservedUsd, model }).toEqual({ cap: 1000, reservedUsd: WORST, model: 'claude-haiku-4-5' })
    expect(day()).toMatchObject({ heldUsd: WORST, spentUsd: 0, calls: 1 })
    expect(settle(id, costs(1234))).toMatchObject({ state: 'measured', usd: 1234, odd: undefined })
    // Whoever settles again changes nothing, whatever they say.
    for (const ending of [costs(1), { kind: 'lost' } as const, { kind: 'failed_before' } as const])
      expect(settle(id, ending)).toMatchObject({ state: 'measured', usd: 1234, crossings: [] })
    expect(day()).toMatchObject({ heldUsd: 0, spentUsd: 1234, estimatedUsd: 0, calls: 1 })
  })

  test('has the output cap of the row, of the model and of the agent, whichever is least', () => {
    open(wide({ tree: { usd: '50 USD' }, day: { usd: '50 USD' } }))
    expect(reserve({ askedOutput: undefined }).cap).toBe(32_000)
    expect(reserve({ askedOutput: 128_000, maxOutput: 100_000 }).cap).toBe(64_000)
    expect(reserve({ askedOutput: 7 }).cap).toBe(7)
    expect(reserve({ shape: 'embeddings', model: 'text-embedding-3-small' }).cap).toBe(0)
  })

  test('counts choices, media, surcharges and tools at the provider at their most, and refuses what has no price', () => {
    open(wide({ tree: { usd: '50 USD' }, day: { usd: '50 USD' } }))
    const usd = (given: Partial<MeteredCall>) => reserve(given).reservedUsd
    expect(usd({ choices: 3 })).toBe(2530 + 3 * 5000)
    // One hour of cache is 2 dollars for a million.
    expect(usd({ surcharges: ['cache_write_1h'] })).toBe(2024 * 2 + 5000)
    expect(usd({ media: { images: 2, documents: 0, audios: 0, videos: 0 } })).toBe((12_024 * 125) / 100 + 5000)
    // A document may be as much as the model takes: 200000 tokens.
    expect(usd({ media: { images: 0, documents: 1, audios: 0, videos: 0 } })).toBe(250_000 + 5000)
    // Opus: 2024 x 6.25 + 1000 x 25 = 37650; fast is twice that.
    expect(usd({ model: 'claude-opus-4-8', surcharges: ['speed:fast'] })).toBe(75_300)
    for (const surcharge of [
      'speed:fast',
      'tier:ultra',
      'audio_output',
      'image_output',
      'server_tools',
      'server_tools:2',
    ])
      expect(
        code(() => reserve({ surcharges: [surcharge] })),
        surcharge,
      ).toBe('model_unknown')
    expect(code(() => reserve({ model: 'claude-haiku-9' }))).toBe('model_unknown')
    // Above 1000 tokens an hour of cache has no price of its own, but up to there it may be billed, and is the dearest.
    writeFileSync(
      join(home.folder, 'prices.yaml'),
      `models: { own: { input: 1000000, output: 0, cacheWrite1h: 9000000, above: { tokens: 1000, input: 2000000, output: 0 } } }`,
    )
    expect(usd({ model: 'own', surcharges: ['cache_write_1h'] })).toBe(2024 * 9)
  })

  test('of a document is all that a long context takes, where the request asks for one', () => {
    const tokens = { call: { tokens: 2_000_000 } }
    open(wide({ ...tokens, ceiling: tokens, tree: { usd: '50 USD' }, day: { usd: '50 USD' } }))
    const asked = {
      ...{ model: 'claude-sonnet-4-5', media: { images: 0, documents: 1, audios: 0, videos: 0 } },
      surcharges: ['long_context'],
    }
    const { id, reservedUsd } = reserve(asked)
    // 1000000 at 7.50 (written to a cache, above the tier) and 1000 at 22.50.
    expect(reservedUsd).toBe(7_500_000 + 22_500)
    // 900000 at 6 and 1 at 22.50.
    expect(settle(id, measured(900_000, 1, 'claude-sonnet-4-5'))).toMatchObject({ state: 'measured', usd: 5_400_023 })
  })

  test('of what begins with an earlier request is what that took, and the bytes that came after', () => {
    const first = reserve({ inputBytes: 40_000, prefixes: [{ hash: 'h1', restBytes: 0 }] })
    settle(first.id, measured(9000, 10))
    const next = {
      inputBytes: 42_000,
      prefixes: [
        { hash: 'h2', restBytes: 0 },
        { hash: 'h1', restBytes: 2000 },
      ],
    }
    // 9000 + 2000 + 1024 tokens at 1.25, and not 43024.
    expect(reserve(next).reservedUsd).toBe((12_024 * 125) / 100 + 5000)
    // Of another upstream neither: a model of one's own may have the same name and say that the input was nothing [E10].
    expect(reserve({ ...next, upstream: 'other' }).reservedUsd).toBe((43_024 * 125) / 100 + 5000)
    // Of another session, or for another model, it says nothing: 43024 at 1.25, and at 6.25 with 1000 at 25.
    expect(reserve({ ...next, session: 's2' }).reservedUsd).toBe((43_024 * 125) / 100 + 5000)
    expect(reserve({ ...next, model: 'claude-opus-4-8' }).reservedUsd).toBe((43_024 * 625) / 100 + 25_000)
  })
})

describe('E8: calls at once', () => {
  test('twenty on money for one: one is made, nineteen are refused, nothing is overspent', async () => {
    open(wide({ tree: { usd: '0.008 USD' } }))
    const made: string[] = []
    const refused: string[] = []
    const tries = Array.from({ length: 20 }, (_, at) =>
      money
        .atTurn(call({ session: `s${at}` }), () => reserve({ session: `s${at}` }), new AbortController().signal)
        .then(({ id }) => made.push(id))
        .catch((thrown) => refused.push(toHubError(thrown).code)),
    )
    await home.clock.advance(1)
    expect([made.length, refused.length]).toEqual([1, 0])
    expect(money.show({}).waiting).toBe(19)
    settle(made[0] ?? '', costs(7500))
    await Promise.all(tries)
    expect(made).toHaveLength(1)
    expect(refused).toEqual(Array(19).fill('budget_exceeded'))
    expect(scopeOf('tree')).toMatchObject({ spentUsd: 7500, heldUsd: 0 })
  })

  test('twenty at a time use at least 95 % of a budget and never more than all of it', async () => {
    const limit = 1_000_000
    open(wide({ tree: { usd: '1 USD' } }))
    const random = createSeededRandom('twenty at a time')
    const running: string[] = []
    let most = 0
    let refused = 0
    const signal = new AbortController().signal
    const client = async (at: number) => {
      for (;;) {
        const own = { session: `s${at}` }
        try {
          const { id } = await money.atTurn(call(own), () => reserve(own), signal)
          running.push(id)
        } catch (thrown) {
          expect(toHubError(thrown).code).toBe('budget_exceeded')
          refused += 1
          return
        }
        await new Promise<void>((resolve) => ended.set(running.at(-1) ?? '', resolve))
      }
    }
    const ended = new Map<string, () => void>()
    const clients = Array.from({ length: 20 }, (_, at) => client(at))
    while (refused < 20) {
      await home.clock.advance(1)
      const { spentUsd = 0, heldUsd = 0 } = scopeOf('tree') ?? {}
      most = Math.max(most, spentUsd + heldUsd)
      const [pick = 0] = random.bytes(1)
      const [id] = running.splice(pick % Math.max(1, running.length), 1)
      if (id === undefined) continue
      settle(id, costs(3000 + (random.bytes(2).readUInt16BE() % 4500)))
      ended.get(id)?.()
    }
    await Promise.all(clients)
    expect(most).toBeLessThanOrEqual(limit)
    const { spentUsd = 0, heldUsd } = scopeOf('tree') ?? {}
    expect(heldUsd).toBe(0)
    expect(spentUsd / limit).toBeGreaterThanOrEqual(0.95)
  })

  test('wait in the order in which they came, two minutes at most, and only behind those that need the same', async () => {
    open(wide({ tree: { usd: '0.016 USD' } }))
    const [first, second] = [reserve(), reserve()]
    const order: string[] = []
    const signal = new AbortController().signal
    const wait = (name: string, given: Partial<MeteredCall>) =>
      money
        .atTurn(call(given), () => reserve(given), signal)
        .then(
          () => order.push(name),
          (thrown) => order.push(`${name} ${toHubError(thrown).code}`),
        )
    void wait('large', { askedOutput: 2000 })
    void wait('small', { askedOutput: 10 })
    // Another tree needs nothing of what these wait for.
    void wait('other', { task: OTHER, root: OTHER })
    await home.clock.advance(1)
    expect(order).toEqual(['other'])
    // Enough for the small one is free, and it came second.
    settle(first.id, costs(3000))
    await home.clock.advance(1)
    expect(order).toEqual(['other'])
    settle(second.id, costs(100))
    await home.clock.advance(1)
    expect(order).toEqual(['other', 'large'])
    await home.clock.advance(119_000)
    expect(order).toHaveLength(2)
    await home.clock.advance(1000)
    expect(order).toEqual(['other', 'large', 'small budget_busy'])
    // Who leaves while it waits takes nothing, and holds up nobody.
    const leaving = new AbortController()
    const left = money.atTurn(call({ askedOutput: 10 }), () => reserve({ askedOutput: 10 }), leaving.signal)
    leaving.abort()
    await expect(left).rejects.toMatchObject({ code: 'cancelled' })
    expect(money.show({}).waiting).toBe(0)
  })
})

describe('E9: an answer that nobody has', () => {
  test('settles at the reserve, apart from what was measured, and the operator can say what it was', () => {
    for (const ending of [{ kind: 'lost' }, { kind: 'none' }, { kind: 'odd', why: 'x' }] as const) {
      const { id } = reserve()
      expect(settle(id, ending)).toMatchObject({ state: 'estimated', usd: WORST })
      by('budget.settle', (grant) => money.correct(grant, { id, usd: 10 }), OPERATOR)
      expect(code(() => by('budget.settle', (grant) => money.correct(grant, { id, usd: 20 }), OPERATOR))).toBe('ok')
    }
    expect(day()).toMatchObject({ spentUsd: 60, estimatedUsd: 0, heldUsd: 0 })
    const { id } = reserve()
    expect(code(() => by('budget.settle', (grant) => money.correct(grant, { id, usd: 1 }), OPERATOR))).toBe('conflict')
    expect(settle(id, { kind: 'failed_before', status: 500 })).toMatchObject({ state: 'released', usd: 0 })
    expect(day()).toMatchObject({ spentUsd: 60, heldUsd: 0, calls: 4 })
  })

  test('because the hub ended settles once at the next start, with a record', () => {
    const [done, , open1] = [reserve(), reserve(), reserve({ task: OTHER, root: OTHER })]
    settle(done.id, costs(100))
    home.reopen()
    open()
    expect(day()).toMatchObject({ spentUsd: 100, heldUsd: 2 * WORST })
    money.recover()
    money.recover()
    expect(day()).toMatchObject({ spentUsd: 100 + 2 * WORST, estimatedUsd: 2 * WORST, heldUsd: 0 })
    // The answer comes after all: it changes nothing any more.
    expect(settle(open1.id, costs(1))).toMatchObject({ state: 'estimated', usd: WORST })
    expect(home.records().filter(({ effect }) => effect.includes('2 metered calls were under way'))).toHaveLength(1)
  })
})

const one = measured(1, 1)

describe('E10: figures that lie', () => {
  const lies: readonly [string, Ending, RegExp][] = [
    [
      'another model',
      measured(1, 1, 'claude-opus-4-8'),
      /"claude-opus-4-8", which has not the price of claude-haiku-4-5/,
    ],
    ['a model that nobody knows', measured(1, 1, 'x'), /"x"/],
    ['more output than was asked for', measured(1, 1001), /more output/],
    ['more input than the model takes', measured(200_001, 1), /more input/],
    ['a tier that nobody asked for', { ...one, surcharges: ['priority'] }, /priority/],
    ['a tool without a price', { ...one, tokens: { ...noTokens(), uses: { web_search: 1 } } }, /web_search/],
  ]
  test('settle at the reserve, and say why', () => {
    for (const [name, ending, why] of lies) {
      const settled = settle(reserve().id, ending)
      expect(settled, name).toMatchObject({ state: 'estimated', usd: WORST })
      expect(settled.odd).toMatch(why)
      expect(settled.text).toMatch(/estimated: model claude-haiku-4-5/)
    }
  })
})

describe('E16: whose money it is', () => {
  test('S4-30: all sessions of a tree spend one sum; retries, other agents and a restart begin nothing anew', () => {
    open(wide({ tree: { usd: '0.02 USD' } }))
    settle(reserve().id, costs(7000))
    settle(reserve({ session: 's2', attempt: 'a2', task: CHILD, agent: 'reader' }).id, costs(7000))
    home.reopen()
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
    const raise = (usd: number) => by('budget.raise', (grant) => money.raise(grant, { id: CHILD, usd }), OPERATOR)
    expect(code(() => reserve())).toBe('budget_exceeded')
    expect(raise(5000)).toMatchObject({ root: ROOT, limitUsd: 10_000 })
    settle(reserve().id, costs(7000))
    expect(code(() => reserve())).toBe('budget_exceeded')
    expect(code(() => raise(10_001))).toBe('limit_exceeded')
    raise(10_000)
    expect(code(() => reserve())).toBe('ok')
    expect(code(() => by('budget.raise', (grant) => money.raise(grant, { id: ROOT, usd: 1 })))).toBe('forbidden')
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

test('E17: a price that is edited in the middle changes no call that is under way', () => {
  const write = (input: number) =>
    writeFileSync(join(home.folder, 'prices.yaml'), `models: { own: { input: ${input}, output: ${input} } }\n`)
  write(1_000_000)
  const { id, priceVersion } = reserve({ model: 'own' })
  write(90_000_000)
  home.reopen()
  open()
  expect(settle(id, measured(1000, 500, 'own'))).toMatchObject({ state: 'measured', usd: 1500 })
  expect(reserve({ model: 'own' }).priceVersion).not.toBe(priceVersion)
})

test('E17: a file of prices that has a fault, or other names, by then holds up no settlement', () => {
  const write = (text: string) => writeFileSync(join(home.folder, 'prices.yaml'), text)
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
    join(home.folder, 'prices.yaml'),
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

describe('E18: days', () => {
  test('a clock step gives no second budget; midnight of the operator does', () => {
    using fresh = openGuardHome()
    const shared = home
    home = fresh
    open(wide({ day: { usd: '0.01 USD', soft: '0.005 USD' } }))
    settle(reserve().id, costs(7000))
    const today = money.show({}).day
    expect(code(() => reserve())).toBe('budget_exceeded')
    for (const step of [48 * HOUR, -72 * HOUR, 24 * HOUR]) {
      home.clock.stepWall(step)
      expect(
        code(() => reserve()),
        `${step / HOUR} h`,
      ).toBe('budget_exceeded')
    }
    expect(money.show({}).day).toBe(today)
    // From 9:00 UTC until midnight in Berlin, which is 23:00 UTC.
    home.clock.jump(14 * HOUR - 1000)
    expect(code(() => reserve())).toBe('budget_exceeded')
    home.clock.jump(2000)
    expect(code(() => reserve())).toBe('ok')
    home = shared
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
    expect(money.judge(call(long)).kind).toBe('count')
    expect(code(() => reserve(long))).toBe('budget_exceeded')
    expect(code(() => reserve({ ...long, counted: 20_000 }))).toBe('ok')
    expect(money.judge(call({ ...long, counted: 60_000 })).kind).toBe('refused')
    expect(money.judge(call({ ...long, shape: 'chat', model: 'gpt-5-nano' })).kind).toBe('refused')
    // With an output cap above the limit nothing that is counted helps.
    expect(money.judge(call({ askedOutput: 55_000, maxOutput: 60_000 })).kind).toBe('refused')
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
    home.clock.jump(66 * 60_000)
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

  test('an upstream that does not accept the key three times in a row is left alone for ten minutes', () => {
    open(wide())
    for (const status of [401, 200, 403, 401, 403]) {
      const { id } = reserve()
      settle(id, status === 200 ? costs(1) : { kind: 'failed_before', status })
      home.clock.jump(1000)
    }
    expect(code(() => reserve())).toBe('upstream_failed')
    expect(code(() => reserve({ upstream: 'other' }))).toBe('ok')
    expect(code(() => reserve({ session: 's2' }))).toBe('ok')
    home.clock.jump(600_000)
    expect(code(() => reserve())).toBe('ok')
  })
})

test('S2-30: half, four fifths and all of a limit are told once each, and the soft limit of a day', async () => {
  open(wide({ tree: { usd: '0.02 USD' }, day: { usd: '1 USD', soft: '0.015 USD' } }))
  const marks = (usd: number) => settle(reserve().id, costs(usd)).crossings.map(({ scope, mark }) => `${scope} ${mark}`)
  expect(marks(7000)).toEqual([])
  expect(marks(3000)).toEqual(['tree 50'])
  expect(marks(0)).toEqual([])
  expect(marks(6000)).toEqual(['tree 80', 'day soft'])
  expect(mails.map(({ root, of, mark }) => [root, of, mark])).toEqual([
    [ROOT, 'tree', 50],
    [ROOT, 'tree', 80],
    [ROOT, 'day', 'soft'],
  ])
  expect(questions).toEqual([`Task ${ROOT.slice(-8)} has spent 0.016 of 0.02 USD. May it spend 0.02 more?`])
  // Spent money seldom reaches a limit exactly: a refusal for want of it says that it is used up.
  const refusal = async (more: Partial<MeteredCall> = {}) => {
    const asked = call(more)
    const admit = () => by('egress.settle', (grant) => money.reserve(grant, asked))
    const before = home.records().length
    await expect(money.atTurn(asked, admit, new AbortController().signal)).rejects.toThrow('budget')
    return home.records().length - before
  }
  expect(await refusal({ inputBytes: 60_000, askedOutput: 0 })).toBe(2)
  expect(mails.at(-1)).toEqual({ root: ROOT, of: 'tree', mark: 100, limitUsd: 20_000, spentUsd: 16_000 })
  const told = [50, 80, 100].map((mark) => home.guard.alerts.isOpen(`budget_low:${ROOT}:${mark}`))
  expect([...told, home.guard.alerts.isOpen('budget_low:day:soft')]).toEqual([true, true, true, true])
  // Once: the next refusal has the record of its refusal alone.
  expect(await refusal()).toBe(1)
  expect(mails).toHaveLength(4)
})

test('S2-30: the marks of a tree stand on the limit that holds for it, that of the agent at its root, also when its hub was killed', () => {
  rows = { lead: { budget: { tree: { usd: 100_000 } } } }
  open(wide({ tree: { usd: '0.01 USD' } }))
  expect(settle(reserve().id, costs(7000)).crossings).toEqual([])
  reserve({ askedOutput: 10_000 })
  money.recover()
  expect(mails.map(({ of, mark, limitUsd }) => [of, mark, limitUsd])).toEqual([['tree', 50, 100_000]])
})

test('S2-30: the lower limit of a descendant is no mark of its tree, and leaves those of the tree to be told', async () => {
  rows = { lead: { budget: { tree: { usd: 26_000 } } }, reader: { budget: { tree: { usd: 9000 } } } }
  open(wide({ tree: { usd: '0.005 USD' } }))
  const marks = (usd: number, agent = 'lead') =>
    settle(reserve({ agent }).id, costs(usd)).crossings.map(({ mark, limitUsd }) => `${mark} of ${limitUsd}`)
  expect(marks(7000, 'reader')).toEqual([])
  const asked = call({ agent: 'reader' })
  const admit = () => by('egress.settle', (grant) => money.reserve(grant, asked))
  await expect(money.atTurn(asked, admit, new AbortController().signal)).rejects.toThrow('budget')
  expect(mails).toEqual([])
  expect(marks(6000)).toEqual(['50 of 26000'])
})

test('what a tree was given more counts for its own agent whose row has a limit; the lower row of a child says nothing of the tree', () => {
  rows = { lead: { budget: { tree: { usd: 10_000 } } }, child: { budget: { tree: { usd: 5000 } } } }
  open(wide())
  // 3030 are more than half of what the child may use of it, and less than a third of all.
  expect(settle(reserve({ agent: 'child', task: CHILD, askedOutput: 100 }).id, { kind: 'lost' }).usd).toBe(3030)
  expect(mails).toEqual([])
  expect(code(() => reserve())).toBe('budget_exceeded')
  by('budget.raise', (grant) => money.raise(grant, { id: ROOT, usd: 10_000 }), OPERATOR)
  expect(code(() => reserve())).toBe('ok')
})

test('an account that was damaged is added up again from its calls, and the operator hears of it', () => {
  settle(reserve().id, costs(100))
  reserve()
  home.guard.store.prepare(`update egress_account set spent_usd = 0 where scope = 'tree'`).run()
  expect(scopeOf('tree')).toMatchObject({ spentUsd: 100, heldUsd: WORST, calls: 2 })
  settle(reserve().id, costs(50))
  expect(scopeOf('tree')).toMatchObject({ spentUsd: 150, heldUsd: WORST, calls: 3 })
  expect(home.guard.alerts.isOpen('budget_damaged')).toBe(true)
})

test('a reserve that was damaged settles at what it shows, whatever the upstream says', () => {
  const { id } = reserve()
  home.guard.store.prepare('update egress_reservation set reserved_usd = 9999').run()
  expect(settle(id, costs(1))).toMatchObject({ state: 'estimated', usd: 9999 })
  for (const scope of ['day', 'tree', 'task']) expect(scopeOf(scope)).toMatchObject({ spentUsd: 9999, heldUsd: 0 })
})

test('calls and accounts go with their task, those of minutes by themselves; the day keeps its sum', () => {
  settle(reserve().id, costs(100))
  settle(reserve({ task: OTHER, root: OTHER }).id, costs(10))
  const prune = createOldTasks(home.guard.store)
  by('retention.turn', (grant) => prune.remove(grant, [ROOT]), hubPrincipal('retention'))
  const rows = (sql: string) => home.guard.store.prepare(sql).pluck().all()
  expect(rows('select distinct task from egress_reservation')).toEqual([OTHER])
  expect(rows('select distinct task from egress_account where task is not null')).toEqual([OTHER])
  expect(day()).toMatchObject({ spentUsd: 110, calls: 2 })
  home.clock.jump(5 * HOUR)
  reserve({ agent: 'other' })
  expect(rows(`select count(*) from egress_account where scope = 'slot'`)).toEqual([1])
})

test('whatever comes in whatever order, accounts are the sums that a model of them tells, and no limit is passed', () => {
  const LIMIT = 60_000
  let run = 0
  const step = fc.oneof(
    fc.record({ do: fc.constant('reserve' as const), tree: fc.nat(1), output: fc.integer({ min: 1, max: 3000 }) }),
    fc.record({
      do: fc.constant('settle' as const),
      at: fc.nat(20),
      kind: fc.nat(4),
      part: fc.integer({ min: 0, max: 100 }),
    }),
    fc.record({ do: fc.constant('crash' as const) }),
    fc.record({ do: fc.constant('correct' as const), at: fc.nat(20), usd: fc.nat(3000) }),
  )
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 40 }), (steps) => {
      run += 1
      const trees = [uuid(`a${run}`), uuid(`b${run}`)]
      open(wide({ tree: { usd: '0.06 USD' } }))
      /** What each call holds or has cost, by its id. */
      const known = new Map<string, { tree: string; held: number; spent: number; estimated: number }>()
      const ids: string[] = []
      let corrected = false
      for (const each of steps) {
        const id = 'at' in each ? ids[each.at % Math.max(1, ids.length)] : undefined
        const entry = known.get(id ?? '')
        if (each.do === 'reserve') {
          const tree = trees[each.tree] ?? ROOT
          try {
            const made = reserve({ task: tree, root: tree, askedOutput: each.output, session: tree, attempt: tree })
            ids.push(made.id)
            known.set(made.id, { tree, held: made.reservedUsd, spent: 0, estimated: 0 })
          } catch (thrown) {
            expect(['budget_exceeded', 'budget_busy']).toContain(toHubError(thrown).code)
          }
        } else if (each.do === 'settle' && id !== undefined && entry !== undefined) {
          const output = Math.floor(((entry.held - 2530) / 5) * (each.part / 100))
          const endings: Ending[] = [
            measured(1000, Math.max(0, output)),
            { kind: 'lost' },
            { kind: 'none' },
            { kind: 'failed_before' },
            { kind: 'odd', why: 'x' },
          ]
          const settled = settle(id, endings[each.kind] ?? { kind: 'lost' })
          if (entry.held > 0) {
            entry.spent = each.kind === 0 ? 1000 + 5 * Math.max(0, output) : each.kind === 3 ? 0 : entry.held
            entry.estimated = each.kind === 0 || each.kind === 3 ? 0 : entry.held
            entry.held = 0
          }
          expect(settled.usd).toBe(entry.spent)
        } else if (each.do === 'crash') {
          open()
          money.recover()
          for (const one of known.values()) {
            if (one.held === 0) continue
            Object.assign(one, { spent: one.held, estimated: one.held, held: 0 })
          }
        } else if (each.do === 'correct' && id !== undefined && entry !== undefined && entry.held === 0) {
          by('budget.settle', (grant) => money.correct(grant, { id, usd: each.usd }), OPERATOR)
          corrected ||= each.usd > entry.spent
          Object.assign(entry, { spent: each.usd, estimated: 0 })
        }
        for (const tree of trees) {
          const all = [...known.values()].filter((one) => one.tree === tree)
          const sum = (of: (one: (typeof all)[number]) => number) => all.reduce((total, one) => total + of(one), 0)
          const expected = {
            heldUsd: sum(({ held }) => held),
            spentUsd: sum(({ spent }) => spent),
            estimatedUsd: sum(({ estimated }) => estimated),
            calls: all.length,
          }
          expect(scopeOf('tree', tree)).toMatchObject(expected)
          if (!corrected) expect(expected.heldUsd + expected.spentUsd).toBeLessThanOrEqual(LIMIT)
        }
      }
    }),
    { numRuns: 40 },
  )
})
