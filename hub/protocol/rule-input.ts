/**
 * What a rule sees: the document `input`, strictly. Every scenario checks each question to the rules by it, `hub policy check` refuses an own
 * rule that reads what is not in it, and `docs/reference/rule-input.md` is made from it. Which of `resource` is there depends on the operation.
 */
import { z } from 'zod'
import { TIERS } from './approval.ts'
import { DATA_CLASSES } from './data-class.ts'
import { CLASSES_OF, type EgressClass, type UpstreamKind } from './egress/upstreams.ts'
import { MESSAGE_KINDS } from './envelope.ts'
import { DEVICE_KINDS, DEVICE_RIGHTS } from './holders.ts'
import { OPERATIONS, PRINCIPAL_KINDS } from './operations.ts'
import { PERMISSIONS, TOOL_KINDS } from './tools.ts'

const names = z.array(z.string())
const dataClass = z.enum(DATA_CLASSES).optional()
const operation = z.enum(Object.keys(OPERATIONS) as [string, ...string[]])

const authority = z.strictObject({
  capabilities: names.describe('what it holds'),
  message: names.describe('agents that it may message'),
  delegate: names.describe('agents that it may delegate to'),
  topics: names.describe('topics that it may publish and subscribe to'),
  secrets: names.describe('secrets that it may fetch'),
  egress: names.describe('what it may reach outside, as grants'),
  relax: names.optional().describe('walls of its container that are moved; absent for none'),
  ttlMs: z.number().describe('how long it may live, in milliseconds'),
  depthLeft: z.number().describe('delegations that are allowed below it'),
  tasksLeft: z.number().describe('tasks that its tree may still make'),
})

const principal = z.strictObject({
  kind: z.enum(PRINCIPAL_KINDS).describe('who asks'),
  id: z.string().describe('its name: of a device or token, of the loop of the hub, else its kind or its agent'),
  credential: z.string().optional().describe('the id of the device or token'),
  agent: z.string().optional().describe('of a session: its agent'),
  session: z.string().optional().describe('of a session: its id'),
  generation: z.number().optional().describe('of a session: rises when its tokens are revoked'),
  authority: authority.optional().describe('of a session: what it was given'),
  actions: z.array(operation).optional().describe('of a token: what it lists'),
  rights: z.array(z.enum(DEVICE_RIGHTS)).optional().describe('of a device: what it was given'),
  via: z.literal('console').optional().describe('there for the console page'),
  proven: z.literal(false).optional().describe('there while nothing is signed yet'),
})

const resource = z.strictObject({
  agent: z
    .string()
    .nullable()
    .optional()
    .describe('of a task, a start, a delegation or a prompt: the agent; null where the hub chooses one'),
  needs: names.optional().describe('of the same: capabilities that the agent must have'),
  origin: z
    .strictObject({
      by: z.enum(['people', 'agent', 'services']).describe('who asked for the task'),
      parent: z.string().nullable().describe('the agent whose session delegated it, or null'),
    })
    .optional()
    .describe('of a task or a start: where it comes from'),
  inputs: z.enum(['none', 'own', 'others']).optional().describe('of a task of people: whose bytes its inputs are'),
  sensitivity: dataClass.describe('of a task with a class: the class of its data'),
  owner: z.boolean().optional().describe('of a start: the operator asked for it'),
  depth: z.number().optional().describe('of a start: how many delegations are above it'),
  wanted: z
    .strictObject({
      capabilities: names.describe('what the session would hold'),
      ttlMs: z.number().describe('how long it would live, in milliseconds'),
      egress: names.optional().describe('of a start: what it would reach outside; absent for nothing'),
      relax: names
        .optional()
        .describe('of a start: walls of its container that its card asks to have moved; absent for none'),
      transcripts: z
        .literal(true)
        .optional()
        .describe('of a start: its card asks to have the conversation of its task kept; absent where it does not'),
    })
    .optional()
    .describe('of a start or a delegation: what is asked for'),
  ceiling: z
    .strictObject({
      capabilities: names.nullable().describe('what its parent holds; null without a parent'),
      ttlMs: z.number().describe('how long its parent has left, in milliseconds'),
      relax: names
        .optional()
        .describe('below another session, where the card asks for some: those that the parent holds'),
    })
    .optional()
    .describe('of a start: the most that it can get'),
  chain: names.optional().describe('of a delegation: the agents above the child, the one that asks last'),
  child: z
    .strictObject({
      capabilities: names.describe('of its card'),
      secrets: names.describe('of its card'),
      message: names.describe('of its card'),
      topics: names.describe('of its card'),
      egress: names.describe('of its card'),
      relax: names.optional().describe('of its card; absent for none'),
      image: z.enum(['same', 'other']).describe('whether it runs from the image of the agent that asks'),
      untrusted: z.boolean().describe('its card has `shell: true`'),
    })
    .nullable()
    .optional()
    .describe('of a delegation to a named agent: what would be other for it; null if there is none of the name'),
  depthLeft: z.number().optional().describe('of a delegation: how many are allowed below the session that asks'),
  tasksLeft: z.number().optional().describe('of a delegation: 1 if the tree may have one more task, else 0'),
  kind: z
    .enum([
      ...new Set([
        ...MESSAGE_KINDS,
        ...DEVICE_KINDS,
        ...(Object.keys(CLASSES_OF) as UpstreamKind[]),
        'connect',
        ...TOOL_KINDS,
      ]),
    ])
    .optional()
    .describe(
      'of a message: its kind; of a device that is added: its kind; of a request outward: the kind of its upstream, or connect; of a tool: its kind',
    ),
  tier: z
    .enum(TIERS)
    .optional()
    .describe('of a tool: how much it can do, by its kind or by what the program claims, whichever is more'),
  permissions: z.enum(PERMISSIONS).optional().describe('of a tool: what the card of the agent says, or ask'),
  upstream: z.string().optional().describe('of a request outward: the name of the upstream, or host:port of a line'),
  class: z
    .enum(['connect', ...new Set(Object.values(CLASSES_OF).flat())] satisfies EgressClass[])
    .optional()
    .describe('of a request outward: what it does there'),
  type: z.string().optional().describe('of a message: its type'),
  to: z
    .strictObject({
      agent: z.string().optional().describe('the agent that gets it'),
      session: z.string().optional().describe('the session that gets it'),
      topic: z.string().optional().describe('the topic'),
    })
    .optional()
    .describe('of a message: who gets it'),
  relation: z
    .enum(['parent', 'child', 'none'])
    .optional()
    .describe('of a message: what the recipient is to the sender by delegation'),
  dataClass: dataClass.describe('of a message or an artifact with a class: that class'),
  topic: z.string().optional().describe('of a subscription: the topic'),
  name: z.string().optional().describe('of a secret, a flag, or a device or token that is added: its name'),
  rights: z.array(z.enum(DEVICE_RIGHTS)).optional().describe('of a device that is added: what it gets'),
  actions: names.optional().describe('of a token that is made: what it lists'),
  expiresInMs: z
    .number()
    .nullable()
    .optional()
    .describe('of the same: for how long, in milliseconds; null where nothing was said'),
  value: z.boolean().nullable().optional().describe('of a flag: what it becomes; null for what its profile says'),
  emergency: z.string().nullable().optional().describe('of a flag: the reason of an emergency entry, or null'),
  forMs: z.number().nullable().optional().describe('of a flag: for how long, in milliseconds, or null'),
  own: z.boolean().optional().describe('of an artifact that a session asks for: its own task stored it'),
  transcripts: z.boolean().optional().describe('of the conversation of a task: the card of the session asks for it'),
  inherited: z.boolean().optional().describe('of the same: it is an input of its task, or of a child'),
  body: z
    .record(z.string(), z.unknown())
    .optional()
    .describe('of a container that is made: all that the engine is told'),
  source: z.literal('webhook').optional().describe('of a heartbeat by a webhook'),
  demand: z.unknown().optional().describe('of a lease: what the watchdog asks for'),
})

export const ruleInputShape = z.strictObject({
  operation: operation.describe('what is to be done'),
  principal: principal.describe('who asks, as the entrance has proven it'),
  resource: resource.describe('what it is about'),
  mode: z.enum(['normal', 'degraded', 'safe', 'draining']).describe('the mode of the hub'),
})
