/**
 * What the entrances show: one definition each of task, session, agent, artifact, alert and the rest. Routes, command and console are held to
 * these by their types, the tests parse every answer by them, and the reference of the API is made from them. No process loads this file while
 * it runs: everybody imports types from it, so a description costs nothing.
 */
import { z } from 'zod'
import { CARD_PLACES } from '../base/card-places.ts'
import { APPROVAL_ENDINGS, APPROVAL_KINDS, APPROVAL_STATES, ON_TIMEOUT, TIERS } from './approval.ts'
import { dataClassShape } from './data-class.ts'
import { driverShape } from './drivers.ts'
import { nameShape, sessionIdShape, sha256Shape, uuidShape } from './ids.ts'
import { RELAXATIONS } from './relax.ts'
import { STOP_REASONS } from './stop-reasons.ts'
import { taskSpecShape } from './task-spec.ts'
import { PERMISSIONS } from './tools.ts'

export const instant = z.int().describe('milliseconds since 1970')
export const span = z.number().describe('milliseconds')
export const bytes = z.int().nonnegative().describe('bytes')
export const count = z.int().nonnegative()
export const kept = <Shape extends z.ZodType>(shape: Shape) => shape.nullable()

export const artifactShape = z.strictObject({
  name: z.string().describe('its path among the results of the task'),
  sha256: sha256Shape,
  size: bytes,
  dataClass: dataClassShape.optional().describe('how far it may be passed on; absent if nothing was said'),
  unfinished: z
    .literal(true)
    .optional()
    .describe(
      'kept while its program worked or when it fell, and never confirmed by a result: it may be half of what it was to be',
    ),
})
export const ownedArtifactShape = artifactShape.extend({
  task: z.string().nullable().describe('the task that left it; null for an uploaded input'),
})

export const progressShape = z.strictObject({
  text: z.string().optional(),
  done: z.number().optional(),
  total: z.number().optional(),
  atMs: instant,
})
export const logLineShape = z.strictObject({ atMs: instant, level: z.string(), text: z.string() })

const outcomeShape = z.strictObject({
  outcome: z.enum(['succeeded', 'failed']),
  value: z.unknown().optional(),
  error: z.string().optional(),
  stopReason: z.enum(STOP_REASONS).optional().describe('why its model stopped, where its program told it'),
})

export const TASK_STATES = ['queued', 'running', 'succeeded', 'failed', 'cancelled', 'timed_out'] as const
export const taskShape = z.strictObject({
  id: uuidShape,
  state: z.enum(TASK_STATES),
  agent: kept(nameShape).describe('null while none is chosen'),
  needs: z.array(z.string()).describe('capabilities, where no agent was named'),
  params: z.record(z.string(), z.unknown()),
  priority: z.int(),
  held: z.boolean().describe('waits for `hub task release`'),
  depth: count.describe('levels of delegation above it'),
  parent: kept(uuidShape),
  attempts: count.describe('sessions that were started for it'),
  restarts: count.describe('of them, those that followed a crash'),
  outcome: kept(outcomeShape).describe('what the agent handed in'),
  error: kept(z.strictObject({ code: z.string(), detail: z.string() })).describe('why the hub ended it'),
  waitsFor: kept(z.string()).describe('why it cannot start, even when other tasks end'),
  unreadable: kept(z.string()).describe('why its row in the database cannot be read; null for a sound one'),
  createdAtMs: instant,
  startedAtMs: kept(instant),
  endedAtMs: kept(instant),
  sensitivity: kept(dataClassShape).describe('the class of data it works on; only agents that take it may have it'),
  spec: kept(taskSpecShape).describe(
    'what it is about beside its parameters: the repository in its input, and what is asked of the model of its agent',
  ),
  requestedBy: z.string(),
  acceptedFrom: uuidShape
    .optional()
    .describe('the task whose late result this is the record of: nothing of it ever ran'),
  artifacts: z.array(artifactShape),
  progress: kept(progressShape).describe('what the agent said last'),
  session: kept(sessionIdShape).describe('the session that works for it now'),
  children: count,
  conversation: z
    .strictObject({
      keptAtMs: instant,
      size: bytes,
      tries: count.describe('starts that went on with it and fell'),
      next: z.enum(['resume', 'text']).describe('whether the next start goes on with it or is only told its end'),
    })
    .optional()
    .describe('what is kept for the next start of it; absent where nothing is. Nobody but that start reads it'),
})

export const lateShape = z.strictObject({
  session: sessionIdShape,
  cameAtMs: instant,
  outcome: outcomeShape,
  accepted: kept(uuidShape).describe('the task that `hub task accept` made of it'),
  artifacts: z.array(artifactShape),
})
export type LateView = z.output<typeof lateShape>

export const attemptShape = z.strictObject({
  attempt: uuidShape,
  state: z.enum(['assigned', 'starting', 'running', 'settled', 'lost', 'stopped']),
  session: kept(sessionIdShape),
  startedAtMs: kept(instant),
  endedAtMs: kept(instant),
  exit: kept(z.string()).describe('why its session ended'),
  exitCode: kept(z.int()).describe("of the container's program"),
  oomKilled: z.boolean().describe('it needed more memory than its limit'),
  unreadable: kept(z.string()),
})

const authorityShape = z.strictObject({
  capabilities: z.array(z.string()),
  message: z.array(z.string()).describe('agents it may send messages to'),
  delegate: z.array(z.string()).describe('agents it may give tasks to'),
  topics: z.array(z.string()),
  secrets: z.array(z.string()).describe('names, never values'),
  egress: z.array(z.string()).describe('what it may reach outside'),
  relax: z
    .array(z.enum(RELAXATIONS))
    .optional()
    .describe('walls of its container that are moved, and `bypass`; absent for none'),
  ttlMs: span,
  depthLeft: z.int().describe('levels of delegation left below it'),
  tasksLeft: z.int().describe('tasks that the tree below it may still create'),
})

export const sessionShape = z.strictObject({
  id: sessionIdShape,
  agent: z.string(),
  task: uuidShape,
  attempt: uuidShape,
  state: z.enum(['provisioning', 'starting', 'ready', 'working', 'input_required', 'recycling', 'recycled']),
  generation: z.int().describe('rises when the session ends; a token of an earlier one is worth nothing'),
  containerName: z.string(),
  containerId: kept(z.string()),
  imageId: z.string(),
  createdAtMs: instant,
  endedAtMs: kept(instant),
  expiresAtMs: instant.describe('end of its working time, which stands still while a question of it waits'),
  waitLeftMs: span.describe('how long its questions may still stop that clock'),
  authority: authorityShape,
  exit: kept(z.string()).describe('why it ended'),
  detail: z.string().describe('why, in words'),
  leftBehind: kept(z.string()).describe('nothing of it runs, but its container could not be removed: why'),
  unreadable: kept(z.string()),
  mailbox: count.describe('messages that it has not read'),
  stalledSinceMs: kept(instant).describe('it makes no progress, and does not wait for anything that is known'),
})

const checkShape = (found: string) =>
  z.strictObject({ name: z.string(), pass: z.boolean(), found: z.string().describe(found) })
export const hardeningShape = z.strictObject({
  pass: z.boolean(),
  sockets: z
    .enum(['unix', 'egress', 'other'])
    .describe(
      'which sockets its programs may open, by what the engine shows: Unix sockets alone; TCP over IPv4 too, for a session with egress; others, which no profile allows',
    ),
  relaxed: z
    .array(z.enum(RELAXATIONS))
    .describe('which walls of its container are moved, by what the engine shows: `exec`, `shm`'),
  checks: z.array(
    checkShape('what is not as it should be; empty for a check that passes').extend({
      relaxed: z
        .enum(RELAXATIONS)
        .optional()
        .describe('it passes because card and rules permit this; absent for a wall that stands'),
    }),
  ),
})

/** What a session with egress is handed at its join (egress/placeholders.ts). */
export const handedEgressShape = z
  .strictObject({
    upstreams: z.array(
      z.strictObject({
        name: nameShape,
        kind: z.string(),
        placeholder: z.string().describe('stands where a program wants a key; it opens nothing'),
      }),
    ),
    lines: z.array(z.string()).describe('`host:port`'),
  })
  .describe('what it may reach outside; absent for a session that has no such way')

const limitsShape = z.strictObject({
  ttlMs: span,
  memoryBytes: bytes,
  cpus: z.number(),
  pids: z.int(),
  tmpBytes: bytes,
  workspaceBytes: bytes,
  openFiles: z.int(),
})
export const agentShape = z.strictObject({
  name: z.string(),
  description: z.string(),
  image: z.string(),
  imageId: kept(z.string()).describe('null while the image is missing'),
  imageNote: kept(z.string()).describe(
    "set if its image's name points to another image by now, which the agent does not use",
  ),
  provenance: kept(z.enum(['built', 'signed'])).describe(
    'where its image comes from: built here, or passed by the program for signatures; null if nobody can say',
  ),
  from: kept(z.string()).describe(
    'the image that its image stands on, where that was built here from another: its name and id',
  ),
  packages: z.array(z.string()).describe('what was installed into its image here, each with the digest of a registry'),
  place: z.enum(CARD_PLACES).describe("where its card lies: the hub's own, this home's, or this machine's"),
  card: z.string().describe('the file of its card'),
  shadows: z.array(z.string()).describe('cards of the same agent that count for nothing, because this one comes first'),
  driver: driverShape,
  shell: z.boolean().describe('its image holds a shell'),
  relax: z
    .array(z.enum(RELAXATIONS))
    .describe('walls of its container that its card asks to have moved; `bypass` where it says `permissions: bypass`'),
  permissions: z.enum(PERMISSIONS).describe('what happens when its program asks whether it may use a tool'),
  sensitivity: kept(dataClassShape).describe(
    'the highest class of data that its card takes; null: only tasks without one',
  ),
  mode: z.enum(['task', 'chat', 'service']),
  capabilities: z.array(z.string()),
  restarts: count.describe('how often a crashed task is tried again'),
  repeatable: z.boolean().describe('a task of it may run twice'),
  cardNote: kept(z.string()).describe('what its card asks for and does not get'),
  may: z
    .strictObject({
      message: z.array(z.string()),
      delegate: z.array(z.string()),
      topics: z.array(z.string()),
      egress: z.array(z.string()),
      secrets: z.array(z.string()),
    })
    .describe('what its card asks for; the rules decide'),
  limits: limitsShape,
  ttlIsDefault: z.boolean().describe('its card says nothing of its time to live'),
  state: z.enum(['registered', 'unhealthy', 'halted', 'suspended']),
  reason: kept(z.string()),
  crashes: count,
  sessions: count.describe('how many of it run now'),
})
/** What `hub agent resolve` shows. */
export const agentResolvedShape = z.strictObject({
  agent: agentShape,
  row: kept(z.record(z.string(), z.unknown())).describe('its row of policy/data.json that is in force'),
  lacks: z
    .array(z.strictObject({ what: z.string(), mend: z.string() }))
    .describe('why nothing of it starts, each with what to do; empty if nothing keeps it'),
})
export const shadowedCardShape = z.strictObject({
  agent: z.string(),
  card: z.string(),
  by: z.string().describe('the card that counts, because its place comes first'),
})
export const cardProblemShape = z.strictObject({
  file: z.string(),
  line: z.int(),
  column: z.int(),
  message: z.string(),
})

export const approvalShape = z.strictObject({
  id: uuidShape,
  kind: z
    .enum(APPROVAL_KINDS)
    .describe(
      '`ask_user`: a question of an agent; `tool`: a tool that an agent is about to use; `act`: something that the rules ask about; `budget`: more money for a task',
    ),
  state: z.enum(APPROVAL_STATES).describe('`used`: an approved act was admitted, once'),
  task: kept(uuidShape).describe('what it was for'),
  session: kept(sessionIdShape),
  agent: kept(z.string()),
  askId: kept(uuidShape).describe('of a question: the message that asked'),
  question: z.string().describe('the words of the agent, why the rules ask, or what the hub asks'),
  answer: z.string(),
  answeredBy: kept(z.string()),
  principal: z.string().describe('who asks'),
  operation: kept(z.string()),
  resource: kept(z.string()),
  act: kept(sha256Shape).describe('digest of exactly this act; only that can use the answer'),
  about: kept(z.looseObject({ parts: z.record(z.string(), z.unknown()), facts: z.unknown() })).describe(
    'of an act: what it is about, and digests or names of what it stands on',
  ),
  rule: kept(z.string()),
  revision: kept(z.string()).describe('of the rules and the data that asked'),
  tier: z.enum(TIERS),
  leftMs: kept(span).describe('how long it still waits, counted only while the hub may start work'),
  onTimeout: z.enum(ON_TIMEOUT),
  ending: kept(z.enum(APPROVAL_ENDINGS)).describe('why it ended without an answer or unused'),
  askedAtMs: instant,
  usedAtMs: kept(instant),
  endedAtMs: kept(instant),
  root: kept(uuidShape).describe('the task at the top of its tree'),
})

/** A refusal, an outage or a fault (RFC 9457); their table says what the codes mean. */
export const problemShape = z.strictObject({
  type: z.string().describe('`urn:hub:error:` and the code'),
  title: z.string(),
  status: z.int(),
  code: z.string().describe('stable; what programs go by'),
  kind: z.enum(['refused', 'unavailable', 'fault']),
  detail: z.string().describe('for people; it may change'),
  next: z.string().describe('what to do'),
  retryAfterMs: span.optional(),
  handInMs: span.optional().describe('of a session that showed no life: how long what it has is still taken'),
  conditions: z.array(z.string()).optional().describe('of a mode that refuses: the conditions that hold'),
  decisionId: z.string().optional().describe('of a refusal by the rules: its record'),
  approval: uuidShape.optional().describe('what waits for a person, or was refused by one'),
  key: z.string().optional().describe('of a limit: which'),
  value: z.number().optional().describe('of a limit: what was asked for'),
  ceiling: z.number().optional().describe('of a limit: what is allowed'),
  at: z.int().optional().describe('of faulty JSON: the byte'),
  sha256: sha256Shape.optional(),
  broken: z.string().optional().describe('of rules that do not load: bundle or data'),
  image: z.string().optional(),
  engineStatus: z.int().optional().describe("the container engine's own answer"),
  mend: z.string().optional(),
})

export type TaskView = z.output<typeof taskShape>
export type AttemptView = z.output<typeof attemptShape>
export type SessionView = z.output<typeof sessionShape>
export type AgentView = z.output<typeof agentShape>
export type ApprovalView = z.output<typeof approvalShape>

// What is shown of the rules, of what they decided, and why.
export const policyShape = z.strictObject({
  version: z.int(),
  revision: z.string(),
  wasmSha256: z.string(),
  dataDigest: z.string(),
  dataCommit: z.string().optional().describe('where policy/ stands in a repository'),
  from: z
    .enum(['files', 'accepted', 'built-in', 'none'])
    .describe(
      'what rules: the present files; those accepted before, if the present ones were refused at the start; the built-in rules; or nothing',
    ),
  home: kept(z.strictObject({ revision: z.string(), files: z.array(z.string()) })).describe("the operator's own rules"),
  signed: z.boolean().describe("the operator's rules carry a signature by `policy.publicKey`"),
  loadedAtMs: instant,
  builtins: z.array(z.string()),
  memoSize: count.describe('remembered decisions'),
  refused: kept(z.string()).describe('why the last reload was refused, while the rules before it are in force'),
  warnings: z.array(z.string()).describe('names in policy/data.json that nothing has'),
})

export const policyFilesShape = z.strictObject({
  data: kept(z.record(z.string(), z.unknown())).describe('policy/data.json; null without rules'),
  sources: z.array(z.strictObject({ name: z.string(), text: z.string() })).describe("the operator's own rules"),
})

const narrowingShape = z.strictObject({
  capabilities: z.array(z.string()).optional(),
  agents: z.array(z.string()).optional(),
  egress: z.array(z.string()).optional(),
  relax: z.array(z.string()).optional(),
  ttlMs: z.int().optional(),
})
const verdictShape = z.strictObject({
  effect: z.enum(['allow', 'ask', 'deny']),
  reason: z.string(),
  rule: z.string(),
  code: z.string().optional().describe('of a refusal; without one `policy_denied`'),
  narrow: narrowingShape.optional(),
  path: z
    .strictObject({ kind: z.enum(['internal', 'external']), because: z.array(z.string()) })
    .optional()
    .describe('of an allowed delegation: whether the session could do it itself, and what speaks against it'),
})
export const storedDecisionShape = z.strictObject({
  id: uuidShape,
  atMs: instant,
  input: kept(z.record(z.string(), z.unknown())).describe('what the rules saw; null if it was too long to be kept'),
  result: verdictShape,
  revision: z.string(),
})
export const explanationShape = verdictShape.extend({
  revision: z.string(),
  shipped: verdictShape.describe('what the shipped rules alone say'),
  home: kept(
    z.union([
      z.strictObject({ deny: z.array(z.string()), ask: z.array(z.string()), narrow: z.array(narrowingShape) }),
      z.strictObject({ fault: z.string() }),
    ]),
  ).describe("what the operator's rules say; null if there are none, or they were not asked"),
  rows: z.record(z.string(), z.record(z.string(), z.unknown()).nullable()).describe('the rows that the question names'),
  changes: z
    .array(z.strictObject({ change: z.string(), effect: z.enum(['allow', 'ask', 'deny']) }))
    .describe('what would give another answer'),
  recorded: storedDecisionShape.optional().describe('the decision that was named, as it was made'),
})
