/** Limits on money, tokens and calls, as hub.yaml (`budget:`) and a row of policy/data.json (`budget`) write them. Shapes and figures only. */
import { z } from 'zod'
import { usdWritten } from './dollars.ts'
import { usdShape } from './money.ts'

const USD = 1_000_000
const tokens = z.int().min(1).max(1_000_000_000)
const calls = z.int().min(1).max(1_000_000)

/** Where nothing is said there is no limit, and the ceiling still holds where it says something. */
const usd = (of: string) => usdShape.optional().describe(`money of ${of}`)
const tokensOf = (of: string) => tokens.optional().describe(`tokens in and out of ${of}, without reads of a cache`)
const callsOf = (of: string) => calls.optional().describe(`calls of ${of}`)

const open = (of: string) => ({ usd: usd(of), tokens: tokensOf(of), calls: callsOf(of) })

const CALL = 'one call'
const ATTEMPT = 'one attempt of a task'
const TREE = 'a submitted task and everything below it'
const AGENT = 'one agent in a day'
const DAY = 'this hub in a day'

/** What can have limits. */
const LIMITED = ['call', 'attempt', 'tree', 'agentDay', 'day', 'hour'] as const
export type Limited = (typeof LIMITED)[number]

/** What is limited: money, tokens in and out, calls, tokens in, tokens out. In the order in which limits are judged. */
export const MEASURES = ['usd', 'tokens', 'calls', 'input', 'output'] as const
export type Measure = (typeof MEASURES)[number]

const figure = (key: string, value: number): string => (key === 'usd' ? usdWritten(value) : String(value))

/** The figures that ship (S2-31). */
export const budgetShape = z
  .strictObject({
    call: z
      .strictObject({
        usd: usd(CALL),
        tokens: tokens.default(50_000).describe(`tokens in and out of ${CALL}, at worst`),
      })
      .prefault({})
      .describe(CALL),
    attempt: z
      .strictObject({ ...open(ATTEMPT), calls: calls.default(200).describe(`calls of ${ATTEMPT}`) })
      .prefault({})
      .describe(ATTEMPT),
    tree: z
      .strictObject({ ...open(TREE), usd: usdShape.default(2 * USD).describe(`money of ${TREE}`) })
      .prefault({})
      .describe(TREE),
    agentDay: z.strictObject(open(AGENT)).prefault({}).describe(AGENT),
    day: z
      .strictObject({
        ...open(DAY),
        soft: usdShape.default(5 * USD).describe('money of a day from which on you are told; at `usd` at the latest'),
        usd: usdShape.default(10 * USD).describe(`money of ${DAY}; beyond it nothing that costs money is called`),
      })
      .prefault({})
      .describe(DAY),
    hour: z
      .strictObject({
        input: tokens.default(500_000).describe('tokens that one agent may send in an hour, without reads of a cache'),
        output: tokens.default(100_000).describe('tokens that one agent may get in an hour'),
      })
      .prefault({})
      .describe('one agent in an hour'),
    keyRefusals: z
      .int()
      .min(1)
      .max(100)
      .default(3)
      .describe('answers 401 or 403 of an upstream in a row, after which a session calls it no more for ten minutes'),
    delegations: z.int().min(1).max(10_000).default(20).describe('delegations of one tree of tasks in an hour'),
    ceiling: z
      .strictObject({
        call: z
          .strictObject({ usd: usd(CALL), tokens: tokens.default(1_000_000).describe(`tokens of ${CALL}`) })
          .prefault({})
          .describe(CALL),
        attempt: z
          .strictObject({ ...open(ATTEMPT), calls: calls.default(10_000).describe(`calls of ${ATTEMPT}`) })
          .prefault({})
          .describe(ATTEMPT),
        tree: z
          .strictObject({ ...open(TREE), usd: usdShape.default(50 * USD).describe(`money of ${TREE}`) })
          .prefault({})
          .describe(TREE),
        agentDay: z.strictObject(open(AGENT)).prefault({}).describe(AGENT),
        day: z
          .strictObject({ ...open(DAY), usd: usdShape.default(100 * USD).describe(`money of ${DAY}`) })
          .prefault({})
          .describe(DAY),
        hour: z
          .strictObject({
            input: tokens.default(20_000_000).describe('tokens that one agent may send in an hour'),
            output: tokens.default(4_000_000).describe('tokens that one agent may get in an hour'),
          })
          .prefault({})
          .describe('one agent in an hour'),
      })
      .prefault({})
      .describe('what no row of policy/data.json, no approval and no `hub budget raise` can go beyond'),
  })
  .superRefine(({ ceiling, ...rest }, context) => {
    for (const scope of LIMITED)
      for (const [key, most] of Object.entries(ceiling[scope])) {
        const value = (rest[scope] as Readonly<Record<string, number | undefined>>)[key]
        if (value !== undefined && most !== undefined && value > most)
          context.addIssue({
            code: 'custom',
            path: [scope, key],
            message: `is ${figure(key, value)}, and budget.ceiling.${scope}.${key} is ${figure(key, most)}: lower this, or raise the ceiling`,
          })
      }
  })
export type BudgetSettings = z.output<typeof budgetShape>

const row = (of: string) => z.strictObject(open(of)).optional()

/** Of one agent, in its row: lower or higher than hub.yaml, and never above the ceiling there. The day of the hub is not its own to set. */
export const rowBudgetShape = z.strictObject({
  call: z.strictObject({ usd: usd(CALL), tokens: tokensOf(CALL) }).optional(),
  attempt: row(ATTEMPT),
  /** Of the trees whose root is a task of this agent. */
  tree: row(TREE),
  agentDay: row(AGENT),
  hour: z.strictObject({ input: tokens.optional(), output: tokens.optional() }).optional(),
})
export type RowBudget = z.output<typeof rowBudgetShape>

/** The type of the delivery that says that money runs low, and its body. It comes from the hub itself, so it has no `from`. */
export const BUDGET_LOW_TYPE = 'budget.low'
export interface BudgetLowBody {
  of: Limited
  /** Per cent of the limit; 100 also where a call was refused because what is left is too little for it. `soft`: the soft limit of a day. */
  mark: 50 | 80 | 100 | 'soft'
  /** In millionths of a US dollar. */
  limitUsd: number
  spentUsd: number
}

const micro = z.int().describe('millionths of a US dollar')
const accountShape = z.strictObject({
  scope: z.enum(['day', 'agentDay', 'tree', 'task', 'attempt', 'session']),
  key: z.string().describe('the day, the agent and day, or the id'),
  spentUsd: micro.describe('what was spent, in millionths of a US dollar'),
  estimatedUsd: micro.describe('the part of it that nobody measured'),
  heldUsd: micro.describe('what calls under way have reserved'),
  limitUsd: micro.nullable().describe('null: no limit of money'),
  input: z.int().describe('tokens sent, without reads of a cache'),
  output: z.int().describe('tokens received'),
  calls: z.int(),
})
/** One account as `budget.show` answers it. */
export type AccountView = z.output<typeof accountShape>
const callShape = z.strictObject({
  id: z.string().describe('for `hub budget settle`'),
  state: z.enum(['open', 'measured', 'estimated', 'released', 'corrected']),
  agent: z.string(),
  upstream: z.string(),
  model: z.string(),
  usd: micro.nullable().describe('what it cost; null while it is under way'),
  reservedUsd: micro.describe('what it could cost at worst'),
  input: z.int().nullable(),
  output: z.int().nullable(),
  why: z.string().describe('why it is not measured; empty if it is'),
  atMs: z.int(),
})
export type CallView = z.output<typeof callShape>
const pauseShape = z.strictObject({
  upstream: z.string(),
  untilMs: z.int().describe('when it is looked at again'),
  sinceMs: z.int(),
  why: z.string(),
})
const ofLimit = (what: string) => z.int().nullable().describe(`the limit of ${what}; null: none`)
const hourShape = z.strictObject({
  agent: z.string(),
  input: z.int().describe('tokens sent within the last hour, without reads of a cache'),
  inputLimit: ofLimit('them'),
  output: z.int().describe('tokens received within the last hour'),
  outputLimit: ofLimit('them'),
})
const nearestShape = z.strictObject({
  scope: z.enum(['attempt', 'tree', 'agentDay', 'day', 'hour']),
  key: z.string().describe('the day, the agent, or the task; of a tree the task at its root'),
  measure: z.enum(MEASURES),
  used: z.int().describe('of money in millionths of a US dollar'),
  limit: z.int(),
})
export type Nearest = z.output<typeof nearestShape>
const budgetViewShape = z.strictObject({
  declared: z.array(z.string()).describe('upstreams of hub.yaml; without one nothing costs money'),
  day: z.string().describe('today, or the day that was asked for'),
  accounts: z.array(accountShape),
  calls: z.array(callShape).describe('of the task that was asked for, the newest first'),
  pauses: z.array(pauseShape).describe('upstreams whose quota is used up'),
  waiting: z.int().describe('calls that wait for money that others have reserved'),
  hours: z
    .array(hourShape)
    .describe('agents that sent or received tokens within the last hour, the most used limit first'),
  nearest: nearestShape
    .nullable()
    .describe(
      'the limit of which the largest part is used, of all that is shown here and of what runs; null if nothing is used',
    ),
})
export type BudgetView = z.output<typeof budgetViewShape>
/** What one task cost, as `task.show` answers it. */
export const taskMoneyShape = z
  .strictObject({
    task: accountShape.describe('it alone'),
    tree: accountShape.describe('its whole tree: the task at the top and everything below that, with the limit'),
  })
  .nullable()
  .describe('what it and its tree cost so far; null where nothing is declared outside and nothing was called')
export type TaskMoney = NonNullable<z.output<typeof taskMoneyShape>>

/** Rows of the table of answers (protocol/answers.ts). */
export const BUDGET_ANSWERS = {
  'budget.show': { does: 'What was spent, what is reserved, and the limits.', answer: budgetViewShape },
  'budget.raise': {
    does: 'Gives the tree of a task more money.',
    answer: z.strictObject({ root: z.string(), raisedUsd: micro, limitUsd: micro }),
  },
  'budget.settle': { does: 'Says what a metered call cost.', answer: z.strictObject({ call: callShape }) },
}
