/** Agent card: what an agent is, can do, and may ask for (protocol.md section 10). What a card asks for is a wish; policy grants or narrows it. */
import { z } from 'zod'
import { nameShape, typeShape } from './names.ts'
import { sizeShape, sizeWritten, spanShape, spanWritten } from './spans.ts'

/** Limits of one session, in the units the engine wants. Every one is finite (sandbox.md section 5). */
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

/** Below 24 MiB the shim does not get as far as its join (measured): it lives, hangs, and says nothing. */
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
    .optional()
}

/** The limits of one session, in a card and in hub.yaml alike. */
export const sessionLimitShapes = {
  ttl: limit(spanShape, 'ttlMs'),
  memory: limit(sizeShape, 'memoryBytes', MEMORY_BYTES_MIN),
  cpus: limit(z.number().positive(), 'cpus'),
  pids: limit(z.int().positive(), 'pids'),
  tmp: limit(sizeShape, 'tmpBytes'),
  workspace: limit(sizeShape, 'workspaceBytes'),
  openFiles: limit(z.int().positive(), 'openFiles'),
}

const limitsShape = z.strictObject({
  ...sessionLimitShapes,
  /** Sessions of this agent at once. */
  sessions: z.int().positive().max(256).optional(),
  /** Of one session and of all of them together; only lowers what is configured. */
  messagesPerSecond: z.int().positive().max(50_000).optional(),
})

const schemaPath = z
  .string()
  .max(200)
  .regex(/^[A-Za-z0-9_./-]+\.json$/, 'a schema is a path of a .json file beside the card')
const looksSecret = /(secret|token|passw|api_?key|credential|private)/i

/** The agent of canary sessions, in label and ledger. What bears it is no session and is ended by each canary, so no card may. */
export const CANARY_AGENT = 'runtime-probe'

/** Of a card and of an agent's row in policy/data.json. Nothing outside can be reached, so whoever asks for it is told at once. */
export const noEgress = z
  .array(z.string().max(253))
  .max(64)
  .refine(
    (hosts) => hosts.length === 0,
    'there is no egress yet: no agent reaches anything outside; take these hosts out',
  )
  .default([])

/** What `hub agent try` adds to a name for its own card, image and grant. */
export const TRIAL_SUFFIX = '--dev'

/** Words that mean something to the language itself: as a key of an object they are there before anybody writes them. */
const LANGUAGE_WORDS = new Set([...Object.getOwnPropertyNames(Object.prototype), 'prototype'])

/** Why no agent may bear this name, or undefined. */
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

export const agentCardShape = z.strictObject({
  name: agentNameShape,
  description: z.string().min(1).max(500),
  image: z
    .string()
    .max(200)
    .regex(/^[a-z0-9][a-z0-9._/-]*(:[A-Za-z0-9._-]+)?$/, 'an image is a local name, such as hub/reader'),
  driver: z.enum(['sdk', 'json-lines', 'command']).default('sdk'),
  /** The image holds a shell: recorded and shown; it widens nothing (sandbox.md section 8). */
  shell: z.boolean().default(false),
  run: z.array(z.string().min(1).max(4096)).min(1).max(64),
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
      'env looks secret; name it under may.secrets instead',
    ),
  repeatable: z.boolean().default(false),
  stallAfter: spanShape.default(600_000),
  onStall: z.enum(['alert', 'recycle']).default('alert'),
  capabilities: z.array(nameShape).max(64).default([]),
  mode: z
    .enum(['task', 'service'], {
      error: ({ input }) =>
        input === 'chat' ? 'chat is not there yet; use task, or service for a session that always runs' : undefined,
    })
    .default('task'),
  limits: limitsShape.default({}),
  restarts: z.int().min(0).max(10).default(3),
  /** Not there yet, and refused by name: nothing that a card asks for is accepted and then ignored (fault C4). */
  relax: z
    .never({
      error:
        'exceptions (exec, shm) are not there yet; the workspace is not executable and has no /dev/shm: take the key out',
    })
    .optional(),
  shellException: z
    .never({ error: 'there is no such exception; say shell: true where the image holds a shell' })
    .optional(),
  messages: z
    .strictObject({
      sends: z.record(typeShape, schemaPath.nullable()).default({}),
      receives: z.record(typeShape, schemaPath.nullable()).default({}),
    })
    .default({ sends: {}, receives: {} }),
  may: z
    .strictObject({
      message: z.array(nameShape).max(64).default([]),
      delegate: z.array(nameShape).max(64).default([]),
      topics: z.array(nameShape).max(64).default([]),
      egress: noEgress,
      secrets: z.array(nameShape).max(64).default([]),
    })
    .default({ message: [], delegate: [], topics: [], egress: [], secrets: [] }),
})

export type AgentCard = z.output<typeof agentCardShape>
