/**
 * What each operation does and what it answers, one row for each row of the operations table that anybody from outside can ask for. Like
 * `views.ts` this is loaded by tests and by the script that makes the reference pages, and by no process of the hub.
 */
import { z } from 'zod'
import { AGENT_ANSWERS } from './answers-agents.ts'
import { BUDGET_ANSWERS, taskMoneyShape } from './budget.ts'
import { UPSTREAM_ANSWERS } from './egress/upstream-views.ts'
import { nameShape, sessionIdShape, uuidShape } from './ids.ts'
import { MONITOR_OUTCOMES } from './monitor.ts'
import type { OperationName } from './operations.ts'
import { TURN_ANSWERS, turnShape } from './turn-views.ts'
import {
  agentResolvedShape,
  agentShape,
  approvalShape,
  artifactShape,
  attemptShape,
  cardProblemShape,
  explanationShape,
  hardeningShape,
  lateShape,
  logLineShape,
  ownedArtifactShape,
  policyFilesShape,
  policyShape,
  sessionShape,
  shadowedCardShape,
  storedDecisionShape,
  taskShape,
} from './views.ts'
import {
  alertShape,
  auditProgressShape,
  auditRecordShape,
  auditShownShape,
  auditVerdictShape,
  cardShape,
  channelShape,
  channelTestShape,
  configKeyShape,
  contactCardShape,
  credentialShape,
  deadlinesShape,
  doctorCheckShape,
  drillShape,
  evidenceBundleShape,
  evidenceShape,
  flagListShape,
  flagShape,
  keyShape,
  modeShape,
  newCredentialShape,
  presenceShape,
  prunableShape,
  prunedTurnShape,
  stopShape,
  toldShape,
} from './views-guard.ts'

interface Row {
  /** One sentence for the reference: what it does. */
  does: string
  /** The answer of a success. Null: a stream, not JSON. */
  answer: z.ZodType | null
}
const row = <Answer extends z.ZodType | null>(does: string, answer: Answer) => ({ does, answer })

/** A stop that is accepted, and not written down yet. */
export const unwrittenShape = z.strictObject({ kept: z.enum(['file', 'memory', 'all_held']), detail: z.string() })
const stop = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z.strictObject({
    ...shape,
    unwritten: unwrittenShape.optional().describe('the stop is under way and not written down yet'),
  })

const next = z.string().nullable().describe('the cursor of the next page; null at the end')
const task = z.strictObject({ task: taskShape })
const turnsShape = z.array(turnShape).describe('the newest 20 turns, and the beginning of each')
const session = stop({ session: sessionShape })
const agent = z.strictObject({ agent: agentShape })
const agents = z.strictObject({
  agents: z.array(agentShape),
  problems: z.array(cardProblemShape).describe('cards that were not loaded'),
  shadowed: z.array(shadowedCardShape).describe('cards that count for nothing'),
})
const revoked = stop({ name: nameShape, revoked: z.literal(true) })
const instant = z.int().describe('milliseconds since 1970')
export const ANSWERS = {
  'task.submit': row('Gives an agent something to do.', task),
  'task.list': row('Tasks, newest first.', z.strictObject({ tasks: z.array(taskShape), next })),
  'task.show': row(
    'One task, with every attempt at it.',
    z.strictObject({
      task: taskShape,
      attempts: z.array(attemptShape),
      money: taskMoneyShape,
      late: z.array(lateShape).optional().describe('what came after its end, newest first; absent for nothing'),
      turns: turnsShape,
    }),
  ),
  'task.cancel': row('Ends a task and its session.', stop({ task: taskShape })),
  'task.retry': row('Submits an ended task again, as a new one.', task),
  'task.accept': row('Keeps what came after the end of a task, as a task of its own that has ended.', task),
  'task.release': row('Lets a held task start.', task),
  'task.logs': row(
    'What the agent said about its work: the last 500 lines.',
    z.strictObject({ lines: z.array(logLineShape) }),
  ),
  'session.list': row('Sessions, newest first.', z.strictObject({ sessions: z.array(sessionShape), next })),
  'session.show': row(
    'One session; with `hardening`, its container graded against the profile.',
    z.strictObject({
      session: sessionShape,
      turns: turnsShape,
      closing: z.string().nullable().describe('why no further prompt comes; null while some may'),
      hardening: hardeningShape.optional(),
    }),
  ),
  'session.logs': row("The end of its container's output.", z.strictObject({ text: z.string() })),
  'session.stop': row('Ends a session; its task is cancelled.', session),
  'session.quarantine': row(
    'Freezes a session that you do not trust, keeps evidence, destroys it, and names who used what it left.',
    stop({
      session: sessionIdShape,
      task: uuidShape,
      evidence: evidenceShape,
      withheld: z.array(ownedArtifactShape).nullable().describe('null while nothing can be written'),
      consumers: z.array(
        z.strictObject({
          session: z.string(),
          agent: z.string().nullable(),
          task: z.string().nullable(),
          artifacts: z.array(z.string()),
        }),
      ),
    }),
  ),
  'session.evidence': row(
    'What was kept of sessions that were stopped for security, newest first, and where.',
    z.strictObject({ evidence: z.array(evidenceBundleShape) }),
  ),
  'session.revoke': row("Takes a session's tokens back and ends it; with `jti`, that one token alone.", session),
  'agent.list': row('Agents, and cards that were not loaded.', agents),
  'agent.show': row('One agent, its row in the rules, and what keeps it from starting.', agentResolvedShape),
  'agent.reload': row('Reads the cards again and takes new images.', agents),
  'agent.reset': row('Lets a halted, unhealthy or suspended agent work again.', agent),
  'agent.suspend': row('Stops giving an agent new work.', agent),
  'artifact.put': row('Stores bytes under their SHA-256.', artifactShape),
  'artifact.get': row('The bytes of an artifact; `Range` is understood.', null),
  'artifact.list': row(
    'Artifacts of one task, or the newest of all.',
    z.strictObject({ artifacts: z.array(ownedArtifactShape), next: next.optional() }),
  ),
  'policy.status': row('The rules in force.', policyShape),
  'policy.reload': row(
    'Reads policy/data.json again.',
    policyShape.extend({ changed: z.string().describe('what is different, one line each') }),
  ),
  'policy.show': row("The operator's data and rules in force.", policyFilesShape),
  'policy.explain': row('Why a question gets its answer, and what would change it. Decides nothing.', explanationShape),
  'decision.list': row(
    'Decisions that were made, newest first, each question once.',
    z.strictObject({ decisions: z.array(storedDecisionShape), next }),
  ),
  'flag.list': row('Feature flags, the profile in force, and what nobody may switch.', flagListShape),
  'flag.set': row(
    'Switches a flag; under some profiles only by an emergency entry.',
    z.strictObject({ flag: flagShape }),
  ),
  ...BUDGET_ANSWERS,
  ...TURN_ANSWERS,
  ...UPSTREAM_ANSWERS,
  'keys.list': row('The keys that sign and verify tokens.', z.strictObject({ keys: z.array(keyShape) })),
  'keys.rotate': row('Makes a new key for tokens.', z.strictObject({ keys: z.array(keyShape) })),
  'mode.show': row('Mode, conditions and counts.', modeShape),
  'mode.safe': row('Safe mode: nothing new starts.', stop(modeShape.shape)),
  'mode.resume': row('Ends the conditions that only the operator may end.', modeShape),
  'operator.heartbeat': row(
    'Says that the operator is there.',
    presenceShape.extend({
      held: z.int().describe('tasks that wait for `hub task release`'),
      questions: z
        .array(z.strictObject({ id: uuidShape, agent: z.string().nullable(), question: z.string() }))
        .describe('what waits for an answer: of agents, and of the rules (`a rule`); told to the operator alone'),
    }),
  ),
  'operator.show': row(
    'The deadlines, as the watchdog has them.',
    z.strictObject({
      presence: deadlinesShape.nullable().describe('null if the watchdog did not answer'),
      problem: z.string().nullable(),
      atMs: instant,
    }),
  ),
  'operator.away': row('Plans an absence.', presenceShape),
  'operator.back': row('Ends a planned absence.', presenceShape.extend({ held: z.int() })),
  'hub.shutdown': row('Stops every session, and the hub.', stop(stopShape.shape)),
  'contact.card': row(
    'Makes a new card for the backup contact; the old one stops working.',
    z.strictObject({
      words: z.string().describe('twelve words, shown once'),
      card: contactCardShape,
      watchdog: toldShape,
      hub: z.strictObject({ publicUrl: z.string().nullable(), port: z.int() }),
    }),
  ),
  'contact.revoke': row('Takes the card back.', stop({ card: cardShape, watchdog: toldShape })),
  'contact.test': row(
    'Sends the contact a code to read out.',
    z.strictObject({
      sent: z.int(),
      failed: z.array(z.string()),
      code: z.string().optional().describe('only if no channel took it: the operator then tells them'),
    }),
  ),
  'contact.confirm': row('Takes the code that the contact read out.', z.strictObject({ card: cardShape })),
  'hub.drill': row('Tries every way of stopping on one canary session.', drillShape),
  'audit.list': row(
    'Records, newest first; with a filter a page may be short although there is more.',
    z.strictObject({
      records: z.array(auditRecordShape),
      next,
      searchedTo: z.int(),
      searchedToMs: instant.nullable(),
    }),
  ),
  'audit.show': row(
    'One record with its decision, its neighbours that name the same ids, and the signed head it is bound to.',
    auditShownShape,
  ),
  'audit.verify': row(
    'Checks every hash, link and signature, and asks the watchdog.',
    z.union([auditVerdictShape, auditProgressShape]),
  ),
  'audit.export': row(
    'A page of the log with its signed heads, for `hub audit verify FILE`.',
    z.strictObject({
      instance: z.string(),
      publicKey: z.string(),
      size: z.int(),
      head: z.string(),
      records: z.array(auditRecordShape),
      checkpoints: z.array(z.string()),
      next: z.int().nullable(),
    }),
  ),
  'event.stream': row('Events as they happen, as server-sent events.', null),
  'health.show': row('The same as `mode.show`.', modeShape),
  'backup.run': row(
    'Makes a copy of the home.',
    z.strictObject({
      path: z.string(),
      files: z.int(),
      bytes: z.int(),
      auditSize: z.int(),
      auditHead: z.string(),
      leftOut: z.array(
        z.strictObject({
          path: z.string(),
          why: z.string(),
          damaged: z.literal(true).optional().describe('it is in the copy, as damaged as in the home'),
          secret: z.literal(true).optional().describe('a file of `secrets/`: it is set again after a restore'),
        }),
      ),
    }),
  ),
  'retention.show': row('What pruning would remove.', prunableShape),
  'retention.prune': row('Removes one batch of it.', prunedTurnShape),
  'config.show': row(
    'The configuration in force, and what `hub.yaml` says otherwise.',
    z.strictObject({
      fault: z.string().nullable().describe('why the file is not accepted; null if it is'),
      keys: z.array(configKeyShape),
    }),
  ),
  'doctor.run': row(
    'Checks everything that the hub depends on.',
    z.strictObject({ checks: z.array(doctorCheckShape) }),
  ),
  ...AGENT_ANSWERS,
  'alert.list': row(
    'Open alerts, and the state of the channels.',
    z.strictObject({ alerts: z.array(alertShape), channels: z.array(channelShape) }),
  ),
  'alert.test': row(
    'Sends a test through every channel.',
    z.strictObject({
      hub: z.array(channelTestShape),
      watchdog: z.unknown().describe("the watchdog's own answer, or null where it gave none"),
      watchdogProblem: z.string().nullable(),
      watchdogAway: z.boolean().describe('it did not answer at all'),
    }),
  ),
  'monitor.alert': row(
    "Takes alerts of a runtime monitor in Alertmanager's form. One that fires, is critical and names a session recycles it; the others are written down.",
    z.strictObject({
      results: z.array(
        z.strictObject({
          alert: z.string().describe('its label `alertname`, as far as it is plain text'),
          session: sessionIdShape.nullable(),
          outcome: z.enum(MONITOR_OUTCOMES),
        }),
      ),
    }),
  ),
  'device.add': row('Gives a device a secret of its own.', newCredentialShape),
  'console.open': row(
    'A link to the console, good once.',
    z.strictObject({
      name: nameShape,
      rights: z.array(z.string()),
      expiresInMs: z.int(),
      linkExpiresAtMs: instant,
      url: z.string(),
    }),
  ),
  'console.join': row(
    'Turns such a link into the secret of that console.',
    z.strictObject({ name: nameShape, rights: z.array(z.string()), expiresAtMs: instant, secret: z.string() }),
  ),
  'token.create': row('Makes a bearer token for named actions.', newCredentialShape),
  'token.list': row('Bearer tokens.', z.strictObject({ tokens: z.array(credentialShape) })),
  'token.revoke': row('Takes a token back.', revoked),
  'device.list': row('Devices.', z.strictObject({ devices: z.array(credentialShape) })),
  'device.revoke': row('Takes a device back.', revoked),
  'approval.list': row(
    'Questions of agents, and acts that the rules ask about.',
    z.strictObject({ approvals: z.array(approvalShape) }),
  ),
  'approval.show': row('One of them, with everything it stands on.', z.strictObject({ approval: approvalShape })),
  'approval.answer': row('Answers one of them; the first answer counts.', z.strictObject({ approval: approvalShape })),
} as const satisfies Partial<Record<OperationName, Row>>

export type AnsweredName = keyof typeof ANSWERS
/** What an operation answers. */
export type Answer<Name extends AnsweredName> = (typeof ANSWERS)[Name]['answer'] extends z.ZodType
  ? z.output<NonNullable<(typeof ANSWERS)[Name]['answer']>>
  : never
