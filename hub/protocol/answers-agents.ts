/** What an agent's own socket answers: rows of the table of answers (protocol/answers.ts). */
import { z } from 'zod'
import { dataClassShape } from './data-class.ts'
import { driverShape } from './drivers.ts'
import { MESSAGE_KINDS } from './envelope.ts'
import { nameShape, sessionIdShape, sha256Shape, uuidShape } from './ids.ts'
import { mcpShape } from './mcp-ways.ts'
import { taskSpecShape } from './task-spec.ts'
import { handedEgressShape } from './views.ts'

const row = <Answer extends z.ZodType | null>(does: string, answer: Answer) => ({ does, answer })
const instant = z.int().describe('milliseconds since 1970')
const token = {
  token: z.string().describe('a JWT (EdDSA), valid for five minutes'),
  tokenExpiresAtMs: instant,
  nowMs: instant,
}
const sent = z.strictObject({
  id: uuidShape,
  outcome: z.literal('accepted'),
  delivered: z.int().optional().describe('of a broadcast: how many have it'),
  refused: z.int().optional().describe('of a broadcast: for how many it was refused'),
})
const deliveryShape = z.strictObject({
  number: z.int().describe('offered again until `after` passes it'),
  kind: z.enum(['message', 'reply', 'refused', 'cancel', 'finish']),
  id: z.string(),
  from: z.strictObject({ agent: z.string(), session: z.string() }).optional().describe('absent for the hub itself'),
  messageKind: z.enum(MESSAGE_KINDS).optional(),
  type: z.string().optional(),
  topic: z.string().optional(),
  correlationId: z.string().optional(),
  traceparent: z.string().optional(),
  dataClass: dataClassShape.optional(),
  sentAtMs: instant,
  redelivered: z.literal(true).optional().describe('it may have been delivered before'),
  body: z.record(z.string(), z.unknown()),
})

/** Rows of the table of answers (protocol/answers.ts). */
export const AGENT_ANSWERS = {
  'session.join': row(
    "An agent's first word: brings its public key, gets its token and task.",
    z.strictObject({
      session: sessionIdShape,
      agent: z.string(),
      instance: z.string(),
      ...token,
      deadlineMs: instant.describe('when its working time ends; it stands still while a question waits'),
      waitLeftMs: z.number(),
      program: z.strictObject({
        driver: driverShape,
        run: z.array(z.string()),
        env: z.record(z.string(), z.string()),
        mode: z
          .literal('chat')
          .optional()
          .describe('only of a session that goes on after each turn, until it is closed'),
        mcp: mcpShape
          .optional()
          .describe("how the shim offers the hub's verbs as tools of MCP; absent where its card asks for none"),
        resume: z.array(z.string()).optional().describe('in the place of `run` where it goes on with a conversation'),
      }),
      secrets: z.array(z.string()),
      egress: handedEgressShape.optional(),
      transcript: z
        .strictObject({
          sha256: sha256Shape,
          size: z.int(),
          tries: z.int().describe('starts that went on with it and fell'),
          as: z.enum(['resume', 'text']).describe('whether this start goes on with it or is only told its end'),
        })
        .nullable()
        .optional()
        .describe('the conversation that is kept for this start; absent where its card asks for none'),
      task: z.strictObject({
        task: uuidShape,
        attempt: z.int().describe('1 for the first try'),
        params: z.record(z.string(), z.unknown()),
        inputs: z.strictObject({ manifest: sha256Shape, pack: sha256Shape }).nullable(),
        capabilities: z.array(z.string()),
        parent: z.strictObject({ agent: z.string(), session: z.string() }).nullable(),
        depthLeft: z.int(),
        tasksLeft: z.int(),
        spec: taskSpecShape
          .optional()
          .describe('what it is about beside its parameters, with what its card says for the rest; absent for nothing'),
        traceparent: z
          .string()
          .optional()
          .describe('the place of the task in its trace, to be passed on; absent where the hub keeps none'),
      }),
    }),
  ),
  'session.renew': row('A new token, by the joined key.', z.strictObject(token)),
  'session.open': row('Opens a fast line: frames with a MAC instead of signed requests.', null),
  'message.send': row('Sends an envelope: to an agent, a session, a topic, all, or the hub.', sent),
  'message.reply': row('Answers a request; sent as `message.send`.', sent),
  'message.receive': row('Waits for mail.', z.strictObject({ deliveries: z.array(deliveryShape) })),
  'message.subscribe': row('Listens to a topic.', z.strictObject({ topic: nameShape })),
  'egress.request': row(
    "A request to what is outside, on the session's second socket; answered as the upstream answers it (docs/egress.md 1).",
    null,
  ),
  'task.delegate': row('Gives another agent a task; sent as `message.send`.', sent),
  'task.result': row('Hands in the result; sent as `message.send`.', sent),
  'task.progress': row('Says how far it is; sent as `message.send`.', sent),
  'task.log': row('A line of the log; sent as `message.send`.', sent),
  'task.ask': row('Asks the operator; sent as `message.send`.', sent),
  'tool.permit': row('Asks whether it may use a tool; sent as `message.send`.', sent),
  'session.turn': row('Says that a turn begins or ends; sent as `message.send`.', sent),
  'session.frame': row('Says what comes of a turn: text, a call of a tool, tokens; sent as `message.send`.', sent),
  'transcript.put': row(
    'Keeps the conversation of its own task for the next start of it, in the place of what was kept before.',
    z.strictObject({ sha256: sha256Shape, size: z.int() }),
  ),
  'transcript.get': row('The bytes of the conversation of its own task.', null),
  'secret.get': row('The bytes of a secret that its card names and the rules allow.', null),
}
