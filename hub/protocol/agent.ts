/** Agent card: what an agent is, can do, and may ask for (docs/protocol.md 10). What a card asks for is a wish; policy grants or narrows it. */
import { z } from 'zod'
import { judgeTranscripts } from './card-transcripts.ts'
import { dataClassShape } from './data-class.ts'
import { canDo, DRIVER_NAMES, driverShape, driversText } from './drivers.ts'
import { grantsShape } from './egress/grants.ts'
import { nameShape, typeShape } from './ids.ts'
import { mcpProblem, mcpShape } from './mcp-ways.ts'
import { relaxShape } from './relax-shape.ts'
import { sizeShape, sizeWritten, spanShape, spanWritten } from './spans.ts'
import { maxTurnsShape, modelShape, systemShape } from './task-spec.ts'
import { DEFAULT_PERMISSIONS, PERMISSION_WORDS, PERMISSIONS } from './tools.ts'

/** Limits of one session, in the units the engine wants. Every one is finite (docs/sandbox.md 5). */
export interface SessionLimits {
  ttlMs: number
  memoryBytes: number
  cpus: number
  pids: number
  tmpBytes: number
  workspaceBytes: number
  openFiles: number
}

export const DEFAULT_LIMITS: SessionLimits = {
  ttlMs: 3_600_000,
  memoryBytes: 512 * 1024 ** 2,
  cpus: 1,
  pids: 128,
  tmpBytes: 64 * 1024 ** 2,
  workspaceBytes: 256 * 1024 ** 2,
  openFiles: 256,
}

/** Ceilings that no configuration passes. */
export const LIMIT_CEILINGS: SessionLimits = {
  ttlMs: 24 * 3_600_000,
  memoryBytes: 8 * 1024 ** 3,
  cpus: 4,
  pids: 1024,
  tmpBytes: 256 * 1024 ** 2,
  workspaceBytes: 4 * 1024 ** 3,
  openFiles: 4096,
}

/** Below 24 MiB the shim never reaches its join (measured): it hangs and says nothing. */
export const MEMORY_BYTES_MIN = 32 * 1024 ** 2

/** Each limit as a person writes it: its key in a card and in hub.yaml, and its value in the unit of that key. */
export const LIMIT_KEYS = {
  ttlMs: { key: 'ttl', written: spanWritten },
  memoryBytes: { key: 'memory', written: sizeWritten },
  cpus: { key: 'cpus', written: String },
  pids: { key: 'pids', written: String },
  tmpBytes: { key: 'tmp', written: sizeWritten },
  workspaceBytes: { key: 'workspace', written: sizeWritten },
  openFiles: { key: 'openFiles', written: String },
} as const satisfies Record<keyof SessionLimits, { key: string; written: (value: number) => string }>

/** Refused above its ceiling, with both figures. */
const limit = <Shape extends z.ZodType<number>>(shape: Shape, name: keyof SessionLimits, least = 0) => {
  const { written } = LIMIT_KEYS[name]
  return shape
    .refine((value) => value <= LIMIT_CEILINGS[name], {
      error: ({ input }) => `is ${written(input as number)}; its ceiling is ${written(LIMIT_CEILINGS[name])}`,
    })
    .refine((value) => value >= least, {
      error: ({ input }) => `is ${written(input as number)}; it must be at least ${written(least)}`,
    })
    .meta({
      most: written(LIMIT_CEILINGS[name]),
      usual: written(DEFAULT_LIMITS[name]),
      ...(least > 0 ? { least: written(least) } : {}),
    })
    .optional()
}

/** The limits of one session, in a card and in hub.yaml alike. */
export const sessionLimitShapes = {
  ttl: limit(spanShape, 'ttlMs').describe('how long one session may work'),
  memory: limit(sizeShape, 'memoryBytes', MEMORY_BYTES_MIN).describe('memory of one session'),
  cpus: limit(z.number().positive(), 'cpus').describe('processors of one session'),
  pids: limit(z.int().positive(), 'pids').describe('processes and threads of one session'),
  tmp: limit(sizeShape, 'tmpBytes').describe('room in `/tmp`'),
  workspace: limit(sizeShape, 'workspaceBytes').describe('room in `/workspace`'),
  openFiles: limit(z.int().positive(), 'openFiles').describe('open files of each process'),
}

const limitsShape = z.strictObject({
  ...sessionLimitShapes,
  /** Sessions of this agent at once. */
  sessions: z
    .int()
    .positive()
    .max(256)
    .optional()
    .describe('sessions of this agent at once, where that is less than hub.yaml says'),
  /** Of one session and of all of them together; only lowers what is configured. */
  messagesPerSecond: z
    .int()
    .positive()
    .max(50_000)
    .optional()
    .describe('of one session, and of all its sessions together; only lowers what hub.yaml says'),
})

const schemaPath = z
  .string()
  .max(200)
  .regex(/^[A-Za-z0-9_./-]+\.json$/, 'a schema is a path of a .json file beside the card')
/** Names of variables whose values are probably keys. */
export const looksSecret = /(secret|token|passw|api_?key|credential|private)/i

/** The agent of canary sessions, in label and ledger. Each canary removes containers of this name, so no card may use it. */
export const CANARY_AGENT = 'runtime-probe'

/** What `hub agent try` adds to a name for its own card, image and grant. */
export const TRIAL_SUFFIX = '--dev'

/** Keys that every object of the programming language already has. */
const LANGUAGE_WORDS = new Set([...Object.getOwnPropertyNames(Object.prototype), 'prototype'])

/** Why no agent may have this name, or undefined. */
export function nameProblem(name: string): string | undefined {
  if (LANGUAGE_WORDS.has(name)) return `${name} is a word of the programming language; choose another name`
  if (name === CANARY_AGENT) return `${CANARY_AGENT} is the hub's own name for its canary sessions; choose another`
  const parsed = nameShape.safeParse(name)
  return parsed.success ? undefined : parsed.error.issues[0]?.message
}

/** The name of an agent, in a card and in policy/data.json. */
export const agentNameShape = z.string().superRefine((name, context) => {
  const message = nameProblem(name)
  if (message !== undefined) context.addIssue({ code: 'custom', message })
})

const DEFAULT_RESTARTS = 3
const DEFAULT_IDLE_MS = 1_800_000

const cardKeysShape = z.strictObject({
  name: agentNameShape.describe('the name of the agent everywhere'),
  description: z.string().min(1).max(500).describe('what it does, for people'),
  image: z
    .string()
    .max(200)
    .regex(/^[a-z0-9][a-z0-9._/-]*(:[A-Za-z0-9._-]+)?$/, 'an image is a local name, such as hub/reader')
    .describe('the local image it runs from; the hub pins its id'),
  driver: driverShape.default('sdk').describe(`how the program is run: ${driversText}`),
  /** The image holds a shell: recorded and shown; it widens nothing (docs/sandbox.md 8). */
  shell: z.boolean().default(false).describe('the image holds a shell: recorded and shown; it widens nothing'),
  run: z
    .array(z.string().min(1).max(4096))
    .min(1)
    .max(64)
    .describe('the program and its arguments; no shell reads them'),
  env: z
    .record(
      z
        .string()
        .max(64)
        .regex(/^[A-Z][A-Z0-9_]*$/, 'a variable is capital letters, digits and _, and begins with a letter'),
      z.string().max(4096),
    )
    .default({})
    .refine(
      (env) => !Object.keys(env).some((key) => looksSecret.test(key)),
      'a name in env looks like a secret; list it under may.secrets instead',
    )
    .describe('variables of the program; nothing secret'),
  /** Absent where it says none, so that such a card is what it was before there were any. */
  defaults: z
    .strictObject({
      model: modelShape.optional().describe('the model, where a task names none'),
      system: systemShape.optional().describe('the system prompt, where a task gives none'),
      maxTurns: maxTurnsShape.optional().describe('the most turns, where a task says none'),
    })
    .optional()
    .describe('what a task of it asks for where it says nothing else'),
  /** Running a task of it again does no harm, so the hub may do that by itself. What is not repeatable never runs twice unasked (fault C34). */
  repeatable: z
    .boolean()
    .default(false)
    .describe('its tasks may run twice: after a crash the hub tries again by itself'),
  stallAfter: spanShape.default(600_000).describe('after this long without a sign of progress it counts as stalled'),
  onStall: z
    .enum(['alert', 'recycle'])
    .default('alert')
    .describe('what happens then: an alert, or the end of the session'),
  /** Absent where it says nothing, so that such a card is what it was before; what then counts is `silentAfterOf`. */
  silentAfter: spanShape.optional().meta({
    usual: '10m for a program of its own',
    description:
      'after this long without a word of its program it is asked, and then ended: SIGTERM, then stop; never while a process that it started lives or a request of it is open at the gateway',
  }),
  capabilities: z
    .array(nameShape)
    .max(64)
    .default([])
    .describe('what it can do, for tasks that name needs and no agent'),
  sensitivity: dataClassShape
    .optional()
    .describe(
      'the highest class of data of tasks that it takes; the rules must grant it too. Without it: only tasks without a class',
    ),
  mode: z
    .enum(['task', 'chat', 'service'])
    .default('task')
    .describe(
      '`task`: a session for each task; `chat`: one that goes on after each turn, until it is closed; `service`: one session that always runs',
    ),
  idleAfter: spanShape
    .optional()
    .meta({ usual: spanWritten(DEFAULT_IDLE_MS) })
    .describe('a chat that nobody speaks to for so long is closed'),
  limits: limitsShape.default({}).describe('what one session may take; never above what hub.yaml allows'),
  /** Only if the card says it; the value in force is `restartsOf`. */
  restarts: z
    .int()
    .min(0)
    .max(10)
    .optional()
    .meta({
      usual: String(DEFAULT_RESTARTS),
      description:
        'how often a session that crashed is started again; once a program has its task, only if `repeatable` is true',
    }),
  /** Absent where it asks for none, so that such a card and what is made from it are what they were before there were any. */
  relax: relaxShape
    .optional()
    .meta({ usual: '[]' })
    .describe(
      'walls of the container that it asks to have moved: `exec`, programs run from `/workspace`; `shm`, a private `/dev/shm` of 64 MiB. The rules must grant each, or none of its sessions begins',
    ),
  /** Absent where it says nothing, as `relax`. */
  permissions: z
    .enum(PERMISSIONS)
    .optional()
    .meta({ usual: DEFAULT_PERMISSIONS })
    .describe(
      `what happens when its program asks whether it may use a tool (docs/permissions.md): ${PERMISSIONS.map((each) => `\`${each}\`, ${PERMISSION_WORDS[each]}`).join('; ')}`,
    ),
  /** Absent where it asks for none, so that such a card and its image are what they were. */
  mcp: mcpShape
    .optional()
    .meta({ usual: '[]' })
    .describe(
      "offers the hub's verbs to the program as tools of MCP: `stdio`, by a program that its CLI starts; `http`, on loopback, only with `may.egress`. The image must be built again",
    ),
  transcripts: z
    .boolean()
    .optional()
    .meta({ usual: 'false' })
    .describe(
      'the conversation of its CLI is kept, unmasked, for the next start of the same task (docs/agents.md); the rules must grant it, or none of its sessions begins',
    ),
  resume: z
    .array(z.string().min(1).max(4096))
    .min(1)
    .max(64)
    .optional()
    .describe('with `transcripts`: the program and its arguments where a start goes on with the conversation'),
  messages: z
    .strictObject({
      sends: z.record(typeShape, schemaPath.nullable()).default({}).describe('type to schema'),
      receives: z.record(typeShape, schemaPath.nullable()).default({}).describe('type to schema'),
    })
    .default({ sends: {}, receives: {} })
    .describe('types of messages it sends and receives, each with a JSON schema beside the card or null'),
  may: z
    .strictObject({
      message: z.array(nameShape).max(64).default([]).describe('agents it wants to send messages to'),
      delegate: z.array(nameShape).max(64).default([]).describe('agents it wants to give tasks to'),
      topics: z.array(nameShape).max(64).default([]).describe('topics it wants to write to or hear'),
      egress: grantsShape
        .default([])
        .describe(
          'what it wants to reach outside: names of `upstreams` in hub.yaml, `NAME:read` or another class, or `host:port` (docs/egress.md 3)',
        ),
      secrets: z.array(nameShape).max(64).default([]).describe('names of the secrets it wants to fetch'),
    })
    .default({ message: [], delegate: [], topics: [], egress: [], secrets: [] })
    .describe('what it asks for; the rules decide'),
})

/** What counts only for a chat, and what a chat needs. */
function judgeChat(
  { mode, driver, idleAfter, limits }: z.output<typeof cardKeysShape>,
  fault: (key: string, message: string) => void,
): void {
  if (mode === 'chat' && !canDo(driver, 'takesPrompts')) {
    const able = DRIVER_NAMES.filter((each) => canDo(each, 'takesPrompts')).join(', ')
    const way = driver === 'stream-json' ? '; a coding CLI holds a chat by acp' : ''
    fault(
      'mode',
      `chat needs a driver that is given prompts while it runs, and ${driver} is not: use one of ${able}${way}`,
    )
  }
  if (idleAfter === undefined) return
  const ttl = limits.ttl ?? DEFAULT_LIMITS.ttlMs
  if (mode !== 'chat') fault('idleAfter', 'counts only for `mode: chat`; leave it out')
  else if (idleAfter > ttl)
    fault('idleAfter', `is ${spanWritten(idleAfter)}, and limits.ttl is ${spanWritten(ttl)}: the session ends before`)
}

/** What only some drivers can do is refused for the others, and so is a key that needs another. */
export const agentCardShape = cardKeysShape.superRefine((card, context) => {
  const { driver, permissions, mcp, may } = card
  const fault = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message })
  const noWay = mcpProblem(mcp, may.egress)
  if (noWay !== undefined) fault('mcp', noWay)
  if (permissions !== undefined && !canDo(driver, 'asksPermission')) {
    const able = DRIVER_NAMES.filter((each) => canDo(each, 'asksPermission')).join(', ')
    fault(
      'permissions',
      `the driver ${driver} asks nothing before it uses a tool, so this would have no effect: take it out, or use one of ${able}`,
    )
  }
  judgeTranscripts(card, fault)
  judgeChat(card, fault)
})

export type AgentCard = z.output<typeof agentCardShape>

/** How long nobody may speak to a chat, in ms. */
export const idleAfterOf = ({ idleAfter }: Pick<AgentCard, 'idleAfter'>): number => idleAfter ?? DEFAULT_IDLE_MS

/** How many crashes an agent may have on one task before it counts as unhealthy (S0-4). */
export const restartsOf = (card: Pick<AgentCard, 'restarts'>): number => card.restarts ?? DEFAULT_RESTARTS

const SILENT_AFTER_MS = 600_000

/** After how long without a word its program is asked; undefined for never. A program in the shim's own process has none by itself. */
export const silentAfterOf = ({ silentAfter, driver }: Pick<AgentCard, 'silentAfter' | 'driver'>): number | undefined =>
  silentAfter ?? (canDo(driver, 'ownProcess') ? SILENT_AFTER_MS : undefined)

/** What a card asks for and does not get, in words; empty if there is nothing of the kind. */
export const cardNote = ({ mode, repeatable, restarts = 0 }: AgentCard): string =>
  mode === 'task' && !repeatable && restarts > 0
    ? `restarts: ${restarts} counts only until the program has its task, since the card does not say \`repeatable: true\`; add it if running a task twice does no harm`
    : ''
