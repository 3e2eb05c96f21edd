/** The shape of a definition: every key of it, its limit and its default. What the keys mean together is judged by definition.ts. */
import { z } from 'zod'
import { didYouMean } from '../../base/nearest.ts'
import { LIMIT_CEILINGS } from '../agent.ts'
import { ON_TIMEOUT, TIERS } from '../approval.ts'
import { nameShape } from '../ids.ts'
import { dollarsShape } from '../money.ts'
import { spanShape, spanWritten } from '../spans.ts'
import type { Need, NeedOf, StepKind } from './plan.ts'

/** So many steps at most; each may name every one before it, so a plan has at most 19 900 edges. */
const STEPS_MAX = 200
/** Tries of one run, over all of its steps and whatever they are for. */
const TASKS_MAX = 600
const RUN_MS_MAX = 30 * 86_400_000
const DAY_MS = 86_400_000
const RETRY_MS = 2000
/** The least that a retry waits. */
const RETRY_MS_MIN = 250

/** What this version can run. */
const KINDS = [
  'agent',
  'research',
  'review',
  'implement',
  'execute',
  'test',
  'subrun',
  'plan-text',
] as const satisfies readonly StepKind[]
/** What a step can be, and this version cannot run yet. */
const LATER: ReadonlySet<unknown> = new Set(['shell', 'notify', 'collect'] satisfies StepKind[])

const kindShape = z.enum(KINDS, {
  error: ({ input }) => {
    const there = `there are ${KINDS.join(', ')}`
    if (LATER.has(input)) return `${input} is a kind that this version cannot run yet; ${there}`
    return typeof input === 'string' ? `there is no kind ${input}; ${there}${didYouMean(input, KINDS)}` : undefined
  },
})

const later = (what: string) => z.never({ error: `${what} comes with a later version; take it out` }).optional()
const span = (most: number) =>
  spanShape
    .refine((ms) => ms <= most, {
      error: ({ input }) => `is ${spanWritten(input as number)}, at most ${spanWritten(most)}`,
    })
    .meta({ unit: 'span', most: spanWritten(most) })

const NEED = /^([a-z0-9-]{1,63})(?:\.([a-z0-9-]{1,63}))?$/
const ENDS = ['failed', 'ended']
const FORMS = 'is the id of a step, alone (it completed) or with .failed or .ended'

/** `edit`, `edit.failed`, `edit.ended`. */
const needShape = z.unknown().transform((given, context): Need => {
  const [, step, end] = (typeof given === 'string' ? NEED.exec(given) : null) ?? []
  if (step !== undefined && (end === undefined || ENDS.includes(end)))
    return { step, of: (end ?? 'completed') as NeedOf }
  const message =
    step === undefined || end === undefined
      ? `must be a text that ${FORMS}`
      : `${step}.${end}: what is waited for ${FORMS}${didYouMean(end, ENDS)}`
  context.addIssue({ code: 'custom', message })
  return z.NEVER
})
const needsShape = z.array(needShape).max(STEPS_MAX)
const anyShape = z.strictObject({ any: needsShape.min(1) })

/** A list, of which all are needed; or a map `any`, of which the first is enough. */
const afterShape = z
  .unknown()
  .transform((given, context): { join: 'all' | 'any'; needs: Need[] } => {
    const isList = Array.isArray(given)
    const parsed = isList ? needsShape.safeParse(given) : anyShape.safeParse(given)
    if (parsed.success)
      return Array.isArray(parsed.data) ? { join: 'all', needs: parsed.data } : { join: 'any', needs: parsed.data.any }
    const said = parsed.error.issues.filter(({ code }) => code === 'custom')
    for (const { path, message } of said) context.addIssue({ code: 'custom', path, message })
    if (said.length === 0)
      context.addIssue({
        code: 'custom',
        message: 'must be a list of steps, or a map with the one key any: {any: [a, b]}',
      })
    return z.NEVER
  })
  .meta({ unit: 'list of steps, or `{any: [..]}`', usual: '[]' })

const paramName = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/, 'a parameter begins with a letter and has letters, digits, _ and -')
const agentParams = z.record(z.string().min(1).max(64), z.unknown()).default({})

const PARAM_TYPES = ['text', 'number', 'boolean', 'list', 'map'] as const
const paramShape = z.strictObject({
  type: z.enum(PARAM_TYPES).describe('what its value must be'),
  default: z.unknown().optional().describe('its value where a run gives none; without it, each run must give one'),
  choices: z
    .array(z.union([z.string().max(1000), z.number()]))
    .min(1)
    .max(100)
    .optional()
    .describe('the only values that are accepted; of a text or a number'),
  description: z.string().min(1).max(500).optional().describe('for people'),
})

const stepShape = z.strictObject({
  id: nameShape.describe('its name within the definition'),
  kind: kindShape.default('agent').describe('what it is; see below'),
  agent: nameShape.optional().describe('the agent that does it'),
  needs: z
    .array(nameShape)
    .min(1)
    .max(16)
    .optional()
    .describe('instead of `agent`: capabilities that the agent must have'),
  params: agentParams.describe('what the agent is given; texts may hold templates'),
  run: z
    .array(z.string().min(1).max(4096))
    .min(1)
    .max(64)
    .optional()
    .describe('of `execute` and `test`: the program and its arguments; no shell reads them'),
  definition: nameShape.optional().describe('of `subrun`: the definition that is run'),
  text: z.string().max(65_536).optional().describe('of `plan-text`: the text that is its result'),
  after: afterShape.optional().describe('steps that it waits for; see below'),
  optional: z.boolean().default(false).describe('its failure does not fail the run; who reads its value gets null'),
  ifMissing: z
    .enum(['noop'])
    .optional()
    .describe('where no agent can do it: it completes and is marked `noop`; without this the run is refused'),
  tier: z.enum(TIERS).optional().meta({
    usual: 'what kind and card imply',
    description: 'how much it can do; it may raise what its kind and the card of its agent imply, and never lower it',
  }),
  timeout: span(LIMIT_CEILINGS.ttlMs).optional().describe('of one try, from the start of its session'),
  onUnknown: z.enum(['rerun', 'ask', 'fail']).optional().meta({
    usual: 'ask',
    description:
      'what follows a try that ended without a result, so that nobody knows what it did: try again, ask a person, or give it up. Where the tier is `read` and the card says `repeatable: true`, the default is `rerun`. `destructive` and `external` take only `ask` and `fail`',
  }),
  retry: z
    .strictObject({
      max: z.int().min(1).max(10).describe('retries after the first try'),
      delay: span(DAY_MS)
        .refine((ms) => ms >= RETRY_MS_MIN, `must be at least ${RETRY_MS_MIN}ms`)
        .default(RETRY_MS)
        .describe('before the first retry; twice as long before each further one'),
      repair: z
        .strictObject({
          agent: nameShape.describe('an agent that works before each retry, and whose files go on to it'),
          params: agentParams.describe('what it is given; `{{ error }}` is why the try before it failed'),
        })
        .optional()
        .describe('what is done before each retry'),
    })
    .optional()
    .describe('what follows a try that failed'),
  fallback: z
    .array(nameShape)
    .max(8)
    .default([])
    .describe('agents that each try it once, in this order, when the retries are used up'),
  checkpoint: z
    .strictObject({
      ask: z.string().min(1).max(2000).describe('what a person is asked when it has its result, before that counts'),
      timeout: span(RUN_MS_MAX).optional().describe('how long the question waits'),
      onTimeout: z.enum(ON_TIMEOUT).optional().describe('what follows then; silence is never a yes'),
    })
    .optional()
    .describe('a person looks at its result'),
  rollback: z
    .string()
    .min(1)
    .max(2000)
    .optional()
    .describe('what would undo it, for people; the hub never does it by itself'),
  cache: later('a cache of results'),
  session: later('a step in a session of another step'),
})

export const definitionShape = z.strictObject({
  definition: nameShape.describe('its name'),
  description: z.string().min(1).max(500).describe('what it does, for people'),
  params: z.record(paramName, paramShape).default({}).describe('values that each run is given; see below'),
  inputs: z
    .enum(['folder'])
    .optional()
    .describe('a run is given a folder; steps that wait for no other find it in `/workspace/in`'),
  limits: z
    .strictObject({
      time: span(RUN_MS_MAX)
        .default(DAY_MS)
        .describe('of the whole run; it counts while something of it works or is queued'),
      tasks: z
        .int()
        .min(1)
        .max(TASKS_MAX)
        .optional()
        .meta({ usual: 'three times its steps', description: 'tries of the whole run, retries and repairs included' }),
      usd: dollarsShape.optional().describe('money of the whole run'),
    })
    .prefault({})
    .describe('of the whole run'),
  maxParallel: z.int().min(1).max(STEPS_MAX).optional().describe('steps that work at once'),
  overlap: z.enum(['queue', 'refuse', 'replace']).optional().meta({
    usual: 'runs go on side by side',
    description: 'what a second run of the same key does: wait, be refused, or end the first',
  }),
  key: z.string().min(1).max(500).optional().meta({
    usual: 'one key for all',
    description: 'with `overlap`: which runs count as the same; templates of parameters',
  }),
  onFailure: z.enum(['pause', 'fail']).optional().meta({
    usual: '`pause` for a run that a person started, else `fail`',
    description: 'when nothing is left to try: a person is asked (retry, skip, abort), or the step fails',
  }),
  steps: z.array(stepShape).min(1).max(STEPS_MAX).describe('what is done; see below'),
  output: z.unknown().optional().describe('the value of the run; texts may hold templates of every step'),
  replan: later('a plan that changes while it runs'),
  memory: later('a memory of earlier runs'),
})

export type Definition = z.output<typeof definitionShape>
export type DefinitionStep = z.output<typeof stepShape>
export type DefinitionParam = z.output<typeof paramShape>
