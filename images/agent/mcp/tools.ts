/**
 * The hub's verbs as tools of MCP. Each does what the SDK's verb of that name does, by the same call, so the gate, the quotas and the records are the
 * same; nothing is granted here.
 */
import type { McpServer } from '@modelcontextprotocol/server'
import { z } from 'zod'
import { HubError } from '../../../hub/base/errors.ts'
import type { Delegation, HubAgent } from '../../../hub/client/agent.ts'
import { dataClassShape } from '../../../hub/protocol/data-class.ts'
import { MAILBOX_MAX, parseAddress, progressBodyShape, REQUEST_TIMEOUT_MS_MAX } from '../../../hub/protocol/envelope.ts'
import { nameShape, sha256Shape, typeShape, uuidShape } from '../../../hub/protocol/ids.ts'
import { type Calls, type Said, textOf } from './calls.ts'
import type { Mail } from './mail.ts'

/** Below the time that the usual clients give one call of a tool (60 s). */
const WAIT_MS = 45_000
const WAIT_MS_MAX = 30 * 60_000
const READ_BYTES_MAX = 64 * 1024
const WRITE_CHARS_MAX = 256 * 1024
const LISTED_MAX = 200
const HANDED_MAX = 50

const inProgress = progressBodyShape.shape
const bodyShape = z.record(z.string().max(256), z.unknown()).default({}).describe('a JSON object, 64 KiB at most')
const classShape = dataClassShape.optional().describe('how far it may be passed on; else it has no class')
const addressText = (kind: string) =>
  ({ agent: 'agent:NAME', session: 'session:ID', topic: 'topic:NAME' })[kind] ?? kind
const addressShape = (kinds: readonly string[]) =>
  z
    .string()
    .max(80)
    .refine((text) => kinds.includes(parseAddress(text)?.kind ?? ''), `one of ${kinds.map(addressText).join(', ')}`)
const waitShape = z
  .int()
  .min(0)
  .max(WAIT_MS_MAX)
  .default(WAIT_MS)
  .describe('how long this call waits, in ms; an answer that comes later is handed out by `inbox`')

interface Tool<Input extends z.ZodObject> {
  does: string
  input: Input
  reads?: true
  act(given: z.output<Input>, signal: AbortSignal): Promise<Said> | Said
}
/** Ties the type of what is given to its shape. */
const tool = <Input extends z.ZodObject>(made: Tool<Input>): Tool<z.ZodObject> => made as unknown as Tool<z.ZodObject>

const done = (value: object = {}): Said => ({ text: textOf({ ok: true, ...value }) })

export interface ToolParts {
  hub: HubAgent
  mail: Mail
  calls: Calls
}

function messageTools({ hub, mail, calls }: ToolParts): Record<string, Tool<z.ZodObject>> {
  return {
    message: tool({
      does: 'Sends a message to an agent, a session, a topic or all, and waits for no answer.',
      input: z.strictObject({
        to: addressShape(['agent', 'session', 'topic', 'all']).describe('agent:NAME, session:ID, topic:NAME or all'),
        type: typeShape.describe('the type of the message, names joined by dots'),
        body: bodyShape,
        dataClass: classShape,
      }),
      async act({ to, type, body, dataClass }) {
        const { kind = 'all' } = parseAddress(to) ?? {}
        await hub.send(kind === 'topic' ? 'event' : kind === 'all' ? 'broadcast' : 'request', to, type, body, {
          dataClass,
        })
        return done()
      },
    }),
    request: tool({
      does: 'Asks an agent or a session and answers what it says.',
      input: z.strictObject({
        to: addressShape(['agent', 'session']).describe('agent:NAME or session:ID'),
        type: typeShape.describe('the type of the message, names joined by dots'),
        body: bodyShape,
        timeoutMs: z
          .int()
          .positive()
          .max(REQUEST_TIMEOUT_MS_MAX)
          .default(30_000)
          .describe('how long the answer may take, in ms'),
        waitMs: waitShape,
        dataClass: classShape,
      }),
      act: ({ to, type, body, timeoutMs, waitMs, dataClass }, signal) =>
        calls.await(`request ${type} to ${to}`, to, () => hub.request(to, type, body, { timeoutMs, dataClass }), {
          waitMs,
          signal,
        }),
    }),
    inbox: tool({
      does: 'Hands out what has come: messages of other agents, answers that came later than their call, decisions of people. Each once.',
      input: z.strictObject({
        max: z.int().positive().max(HANDED_MAX).default(20).describe('how many at most'),
        waitMs: z.int().min(0).max(WAIT_MS_MAX).default(0).describe('how long to wait for the first, in ms'),
      }),
      async act({ max, waitMs }, signal) {
        const { entries, left } = await mail.take(max, waitMs, signal)
        const text = textOf({ entries, left })
        return entries.length === 0 ? { text } : { text, byOthers: 'other agents and people' }
      },
    }),
    reply: tool({
      does: 'Answers a request that `inbox` handed out.',
      input: z.strictObject({
        id: uuidShape.describe('the `id` of the message'),
        body: bodyShape,
        dataClass: classShape,
      }),
      async act({ id, body, dataClass }) {
        const message = mail.request(id)
        if (message === undefined)
          throw new HubError('already_resolved', 'no request with that id waits for your reply', {
            facts: {
              next: `Take the id from a message of \`inbox\` whose messageKind is request; the last ${MAILBOX_MAX} can be answered, once.`,
            },
          })
        await hub.reply(message, body, { dataClass })
        mail.answered(id)
        return done()
      },
    }),
    subscribe: tool({
      does: 'Subscribes to a topic; its events come by `inbox`.',
      input: z.strictObject({ topic: nameShape.describe('its name') }),
      async act({ topic }) {
        await hub.subscribe(topic, (_, message) => mail.hear(message))
        return done()
      },
    }),
  }
}

function taskTools({ hub, calls }: ToolParts): Record<string, Tool<z.ZodObject>> {
  return {
    delegate: tool({
      does: 'Gives another agent a task and answers how it ended.',
      input: z.strictObject({
        agent: nameShape.optional().describe('its name; else `needs` chooses'),
        needs: z.array(nameShape).max(16).optional().describe('capabilities it must have'),
        params: bodyShape,
        inputs: z
          .strictObject({
            manifest: sha256Shape.describe('its list of files'),
            pack: sha256Shape.describe('their contents'),
          })
          .optional()
          .describe('a folder as two artifacts'),
        capabilities: z
          .array(nameShape)
          .max(64)
          .optional()
          .describe('what the child may hold; never more than this task'),
        sensitivity: classShape,
        ttlMs: z.int().positive().optional().describe('how long it may work, in ms'),
        priority: z.int().min(0).max(9).optional().describe('0 to 9; else 5'),
        waitMs: waitShape,
      }),
      act: ({ waitMs, ...delegation }, signal) =>
        calls.await(
          `delegate to ${delegation.agent ?? 'a capable agent'}`,
          delegation.agent === undefined ? 'another agent' : `agent:${delegation.agent}`,
          () => hub.delegate(delegation as Delegation),
          { waitMs, signal },
        ),
    }),
    progress: tool({
      does: 'Tells how far the task is; a person who waits sees it.',
      input: z.strictObject({
        text: inProgress.text.describe('in words'),
        done: inProgress.done.describe('how much'),
        total: inProgress.total.describe('of how much'),
      }),
      act(progress) {
        hub.progress(progress as Parameters<HubAgent['progress']>[0])
        return done()
      },
    }),
    ask_operator: tool({
      does: 'Asks the person who runs the hub. Their answer may take long.',
      input: z.strictObject({ text: z.string().min(1).max(4096).describe('the question'), waitMs: waitShape }),
      act: ({ text, waitMs }, signal) =>
        calls.await('ask_operator', 'the operator', () => hub.ask(text, { timeoutMs: WAIT_MS_MAX }), {
          waitMs,
          signal,
        }),
    }),
  }
}

/** Whole characters only; the rest belongs to the next read. Undefined for what is no text. */
function wholeText(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes, { stream: true })
  } catch {
    return undefined
  }
}

function artifactTools({ hub }: ToolParts): Record<string, Tool<z.ZodObject>> {
  async function digestOf({
    name,
    sha256,
  }: {
    name?: string | undefined
    sha256?: string | undefined
  }): Promise<string> {
    if ((name === undefined) === (sha256 === undefined))
      throw new HubError('schema_invalid', 'name or sha256: one of the two')
    if (sha256 !== undefined) return sha256
    const found = (await hub.artifact.list()).findLast((row) => row.name === name)
    if (found === undefined)
      throw new HubError('unknown_artifact', 'this task has no artifact of that name; see artifacts_list')
    return found.sha256
  }
  return {
    artifacts_list: tool({
      does: 'Lists the artifacts that this task may read.',
      reads: true,
      input: z.strictObject({ first: z.int().min(0).default(0).describe(`where to begin; ${LISTED_MAX} at once`) }),
      async act({ first }) {
        const rows = await hub.artifact.list()
        const artifacts = rows.slice(first, first + LISTED_MAX)
        return { text: textOf({ artifacts, first, of: rows.length }), byOthers: 'whoever named these artifacts' }
      },
    }),
    artifact_read: tool({
      does: 'Reads a part of an artifact: as text, or as base64 where it is none.',
      reads: true,
      input: z.strictObject({
        name: z.string().min(1).max(1024).optional().describe('of this task; the last of that name'),
        sha256: sha256Shape.optional().describe('its digest, instead of a name'),
        start: z.int().min(0).default(0).describe('the first byte'),
        bytes: z.int().positive().max(READ_BYTES_MAX).default(READ_BYTES_MAX).describe('how many at most'),
      }),
      async act({ start, bytes, ...which }) {
        const sha256 = await digestOf(which)
        const read = await hub.artifact.get(sha256, { start, end: start + bytes })
        const text = wholeText(read)
        const end = start + (text === undefined ? read.length : Buffer.byteLength(text))
        const more = end < start + read.length || read.length === bytes
        const content = text === undefined ? { base64: read.toString('base64') } : { text }
        return { text: textOf({ sha256, start, end, more, ...content }), byOthers: 'whoever wrote this artifact' }
      },
    }),
    artifact_write: tool({
      does: 'Stores a text, or base64, as an artifact of this task. Larger things: write a file below /workspace/out.',
      input: z.strictObject({
        name: z.string().min(1).max(1024).describe('a path without `..`'),
        text: z.string().max(WRITE_CHARS_MAX).optional().describe('what it holds'),
        base64: z.base64().max(WRITE_CHARS_MAX).optional().describe('what it holds, where that is no text'),
        dataClass: classShape,
      }),
      async act({ name, text, base64, dataClass }) {
        if ((text === undefined) === (base64 === undefined))
          throw new HubError('schema_invalid', 'text or base64: one of the two')
        const content = text ?? Buffer.from(base64 ?? '', 'base64')
        return done({ ...(await hub.artifact.put(name, content, { dataClass })) })
      },
    }),
  }
}

/** All tools by their names. */
export function createTools(parts: ToolParts): Readonly<Record<string, Tool<z.ZodObject>>> {
  return { ...messageTools(parts), ...taskTools(parts), ...artifactTools(parts) }
}

/** Offers them to one client. */
export function offerTools(server: McpServer, tools: ReturnType<typeof createTools>, calls: Calls): void {
  for (const [name, { does, input, reads, act }] of Object.entries(tools))
    server.registerTool(
      name,
      {
        description: does,
        inputSchema: input,
        annotations: { readOnlyHint: reads === true, destructiveHint: false, openWorldHint: false },
      },
      (given, { mcpReq }) => calls.run(() => act(given, mcpReq.signal)),
    )
}
