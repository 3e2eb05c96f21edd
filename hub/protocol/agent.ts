/** Agent card: what an agent is, can do, and may ask for (protocol.md section 10). What a card asks for is a wish; policy grants or narrows it. */
import { z } from 'zod'
import { nameShape, typeShape } from './names.ts'
import { sizeShape, spanShape } from './spans.ts'

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

const limitsShape = z.strictObject({
  ttl: spanShape.optional(),
  memory: sizeShape.optional(),
  cpus: z.number().positive().optional(),
  pids: z.int().positive().optional(),
  tmp: sizeShape.optional(),
  workspace: sizeShape.optional(),
  openFiles: z.int().positive().optional(),
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

export const agentCardShape = z.strictObject({
  name: nameShape.refine(
    (name) => name !== CANARY_AGENT,
    `${CANARY_AGENT} is the hub's own name for its canary sessions; choose another`,
  ),
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
        .regex(/^[A-Z][A-Z0-9_]*$/),
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
  mode: z.enum(['task', 'chat', 'service']).default('task'),
  limits: limitsShape.default({}),
  restarts: z.int().min(0).max(10).default(3),
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
      egress: z.array(z.string().max(253)).max(64).default([]),
      secrets: z.array(nameShape).max(64).default([]),
    })
    .default({ message: [], delegate: [], topics: [], egress: [], secrets: [] }),
})

export type AgentCard = z.output<typeof agentCardShape>
