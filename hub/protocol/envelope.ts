/** The message: its shape, kinds and limits (docs/protocol.md 4). The sender is never a field: it is the session that the message came in on. */
import { z } from 'zod'
import { TIERS } from './approval.ts'
import { type DataClass, dataClassShape } from './data-class.ts'
import { nameShape, sessionIdShape, sha256Shape, traceparentShape, typeShape, uuidShape } from './ids.ts'
import { RESULT_FAULTS } from './result-faults.ts'
import { STOP_REASONS } from './stop-reasons.ts'
import { wishesShape } from './task-spec.ts'

export const MESSAGE_KINDS = [
  'request',
  'reply',
  'event',
  'broadcast',
  'delegate',
  'result',
  'progress',
  'log',
  'ask',
  'turn',
  'frame',
  'permit',
] as const
export type MessageKind = (typeof MESSAGE_KINDS)[number]

/** What a message's body may count on (what is refused is the whole envelope: `ENVELOPE_BYTES_MAX` in frame.ts). */
export const BODY_BYTES_MAX = 64 * 1024
export const MAILBOX_MAX = 512
export const REQUEST_TIMEOUT_MS_MAX = 3_600_000

export type Address =
  | { kind: 'agent'; agent: string }
  | { kind: 'session'; session: string }
  | { kind: 'topic'; topic: string }
  | { kind: 'all' }
  | { kind: 'hub' }

/** `agent:<name>`, `session:<id>`, `topic:<name>`, `all` or `hub`; undefined for anything else. */
export function parseAddress(text: string): Address | undefined {
  if (text === 'all' || text === 'hub') return { kind: text }
  const cut = text.indexOf(':')
  const [scheme, name] = [text.slice(0, cut), text.slice(cut + 1)]
  if (scheme === 'session')
    return sessionIdShape.safeParse(name).success ? { kind: 'session', session: name } : undefined
  if (scheme !== 'agent' && scheme !== 'topic') return undefined
  if (!nameShape.safeParse(name).success) return undefined
  return scheme === 'agent' ? { kind: 'agent', agent: name } : { kind: 'topic', topic: name }
}

const bodyShape = z.record(z.string().max(256), z.unknown())

export const envelopeShape = z.strictObject({
  id: uuidShape,
  kind: z.enum(MESSAGE_KINDS),
  to: z.string().max(80).default('hub'),
  type: typeShape.default('hub'),
  correlationId: uuidShape.optional(),
  traceparent: traceparentShape.optional(),
  timeoutMs: z.int().positive().max(REQUEST_TIMEOUT_MS_MAX).optional(),
  /** How far its body may be passed on; the rules see it. Without one it has none, and nothing follows from it. */
  dataClass: dataClassShape.optional(),
  /** Sent before under this id; the sender does not know whether it arrived. */
  repeated: z.literal(true).optional(),
  body: bodyShape.default({}),
})
export type Envelope = z.output<typeof envelopeShape>

/** A folder as two artifacts: the manifest that names every file, and the concatenated contents (S1-68). */
export const folderRefShape = z.strictObject({ manifest: sha256Shape, pack: sha256Shape })
export type FolderRef = z.output<typeof folderRefShape>

/** What a `delegate` asks for. Absent fields inherit the parent's; nothing may widen it. */
export const delegateBodyShape = z.strictObject({
  agent: nameShape.optional(),
  needs: z.array(nameShape).max(16).default([]),
  params: bodyShape.default({}),
  /** Artifacts the child may read; the parent must be able to read them itself. */
  inputs: folderRefShape.nullish(),
  capabilities: z.array(nameShape).max(64).optional(),
  /** The parent's without it; never below it. */
  sensitivity: dataClassShape.optional(),
  ttlMs: z.int().positive().optional(),
  priority: z.int().min(0).max(9).default(5),
  /** Which model it is to use, its system prompt, its most turns, its budget. Nothing of it comes from the parent. */
  spec: wishesShape.optional(),
})
export type DelegateBody = z.output<typeof delegateBodyShape>

export const resultBodyShape = z.strictObject({
  outcome: z.enum(['succeeded', 'failed']),
  /** Small structured result; larger things are artifacts. */
  value: z.unknown().optional(),
  error: z.string().max(4096).optional(),
  /** Of a failure that the shim found: what kind it is. */
  code: z.enum(RESULT_FAULTS).optional(),
  /** Why its model stopped, where the program tells it (S4-20). */
  stopReason: z.enum(STOP_REASONS).optional(),
  /** Of a failure: the program was told to stop before it was done, by the hub, the engine or a person. It did not fail by itself. */
  stopped: z.literal(true).optional(),
})
export type ResultBody = z.output<typeof resultBodyShape>

export const askBodyShape = z.strictObject({ text: z.string().min(1).max(4096) })
/** A program asks whether it may use a tool. What it says of the tool is its own claim (tools.ts). */
export const permitBodyShape = z.strictObject({
  tool: z.string().min(1).max(128),
  /** Of `TOOL_KINDS`; any other counts as `other`. */
  kind: z.string().min(1).max(64),
  title: z.string().max(300).default(''),
  arguments: z.unknown().optional(),
  /** How much it can do; counts only where that is more than its kind implies. */
  tier: z.enum(TIERS).optional(),
})
/** The program takes back a question about a tool: its message id. What was answered stays as it is. */
export const withdrawBodyShape = z.strictObject({ withdraw: uuidShape })
export type PermitBody = z.output<typeof permitBodyShape>

export const progressBodyShape = z.strictObject({
  text: z.string().max(1000).optional(),
  done: z.int().nonnegative().optional(),
  total: z.int().positive().optional(),
})
export const logBodyShape = z.strictObject({
  level: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  text: z.string().max(8192),
})

/** What the hub hands to an agent; numbered per session, offered again until `after` passes it. */
export interface Delivery {
  number: number
  kind: 'message' | 'reply' | 'refused' | 'cancel' | 'finish'
  /** The message id, or for `reply` and `refused` an id of its own. */
  id: string
  /** Who sent it; absent for the hub itself. Set by the hub from the sender's session. */
  from?: { agent: string; session: string }
  messageKind?: MessageKind
  type?: string
  topic?: string
  correlationId?: string
  traceparent?: string
  dataClass?: DataClass
  sentAtMs: number
  /**
   * It may have been delivered before, to this session or to one that has ended: a hub was killed, or an answer got lost. At least once,
   * and marked; without this mark, once.
   */
  redelivered?: true
  body: Record<string, unknown>
}
