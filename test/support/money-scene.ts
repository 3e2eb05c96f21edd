/** The account of money over a real database, with a fake clock, and without a gateway before it: calls are reserved and settled by hand. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach } from 'vitest'
import { toHubError } from '../../hub/base/errors.ts'
import type { Grant } from '../../hub/guard/grant.ts'
import { hubPrincipal, type Principal } from '../../hub/guard/principal.ts'
import { type BudgetLowBody, budgetShape } from '../../hub/protocol/budget.ts'
import type { OperationName } from '../../hub/protocol/operations.ts'
import type { MeteredCall } from '../../hub/work/egress/money/budget.ts'
import { noTokens } from '../../hub/work/egress/money/cost.ts'
import type { Ending } from '../../hub/work/egress/money/settlement.ts'
import { createMoney, type Money } from '../../hub/work/egress/money.ts'
import { type GuardHome, openGuardHome } from './guard-home.ts'
import { shippedPolicies } from './policy-fixture.ts'
import { createSeededRandom } from './seeded-random.ts'

export const HOUR = 3_600_000
export const uuid = (name: string) =>
  `00000000-0000-4000-8000-${Buffer.from(name).toString('hex').padEnd(12, '0').slice(0, 12)}`
export const [ROOT, CHILD, OTHER] = [uuid('root'), uuid('child'), uuid('other')]
const ROOTS: Readonly<Record<string, string>> = { [ROOT]: ROOT, [CHILD]: ROOT, [OTHER]: OTHER }

/** At worst 2024 tokens in at 1.25 dollars for a million (a cache is written), 1000 out at 5: 2530 + 5000 = 7530 millionths. */
export const WORST = 7530
export const call = (given: Partial<MeteredCall> = {}): MeteredCall => ({
  ...{ session: 's1', attempt: 'a1', task: ROOT, root: ROOT, agent: 'lead', rootAgent: 'lead', upstream: 'anthropic' },
  ...{ shape: 'messages', model: 'claude-haiku-4-5', inputBytes: 1000, prefixes: [] },
  ...{ askedOutput: 1000, maxOutput: 32_000, choices: 1, surcharges: [], free: false },
  media: { images: 0, documents: 0, audios: 0, videos: 0 },
  ...given,
})
export const measured = (
  input: number,
  output: number,
  model = 'claude-haiku-4-5-20251001',
): Ending & { kind: 'measured' } => ({
  ...{ kind: 'measured', model, surcharges: [], denied: [] },
  tokens: { ...noTokens(), input, output },
})
/** Costs exactly so many millionths: a thousand tokens out at most, each at five of them, and the rest tokens in at one. */
export const costs = (usd: number): Ending => {
  const output = Math.min(1000, Math.floor(usd / 5))
  return measured(usd - 5 * output, output)
}
/** `ok`, or the code of what it throws. */
export const code = (work: () => unknown): string => {
  try {
    work()
    return 'ok'
  } catch (thrown) {
    return toHubError(thrown).code
  }
}
/** Limits that are in nobody's way. */
export const wide = (more: object = {}) => ({
  attempt: { calls: 10_000 },
  hour: { input: 20_000_000, output: 4_000_000 },
  call: { tokens: 1_000_000 },
  ...more,
})

/** For the tests of one file: registers its hooks. Each test begins without calls, prices of its own and limits other than the shipped. */
export function createMoneyScene() {
  let home: GuardHome
  let money: Money
  let settings: object = {}
  /** `agents` of policy/data.json; the shipped ones if there are none. */
  let rows: object | undefined
  let questions: string[] = []
  /** What runs. */
  let sessions: { agent: string; task: string; attempt: string }[] = []
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
    sessions = []
    open({})
  })
  afterAll(() => home[Symbol.dispose]())

  /** As a start of the hub makes it. */
  function open(given: object = settings): Money {
    settings = given
    const tasks = {
      task: (id: string) => ({ id, agent: 'lead' }),
      rootOf: (id: string) => ({ root: ROOTS[id] ?? id, rootAgent: 'lead' }),
      sessionsBrief: () => sessions,
    }
    const upstreams = [{ name: 'anthropic' }]
    const options = { upstreams, home: home.folder, bundleFolder: shippedPolicies, alerts: { zone: 'Europe/Berlin' } }
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

  const by = (
    operation: OperationName,
    work: (grant: Grant) => unknown,
    principal: Principal = hubPrincipal('egress'),
  ) => home.guard.gate.admit({ principal, operation, resource: 'test' }, work as (grant: Grant) => never) as unknown

  return {
    open,
    by,
    reserve: (given?: Partial<MeteredCall>) =>
      by('egress.settle', (grant) => money.reserve(grant, call(given))) as ReturnType<Money['reserve']>,
    /** As the gateway does: what was judged when its turn came goes on to the reserve. */
    atTurn(given: Partial<MeteredCall>, signal: AbortSignal = new AbortController().signal) {
      const own = call(given)
      return money.atTurn(
        own,
        (verdict) => by('egress.settle', (grant) => money.reserve(grant, own, verdict)) as ReturnType<Money['reserve']>,
        signal,
      )
    },
    settle: (id: string, ending: Ending) =>
      by('egress.settle', (grant) => money.settle(grant, id, ending)) as NonNullable<ReturnType<Money['settle']>>,
    scopeOf: (scope: string, task = ROOT) => money.show({ task }).accounts.find((each) => each.scope === scope),
    day: () => money.show({}).accounts[0],
    /** In another home until it is disposed of. */
    at(other: GuardHome): Disposable {
      const before = home
      home = other
      return {
        [Symbol.dispose]() {
          home = before
        },
      }
    },
    get home() {
      return home
    },
    get money() {
      return money
    },
    get mails() {
      return mails
    },
    get questions() {
      return questions
    },
    set sessions(given: typeof sessions) {
      sessions = given
    },
    set rows(given: object | undefined) {
      rows = given
    },
  }
}
