/**
 * Every operation of the hub: the one vocabulary of API, policy, audit and CLI (docs/protocol.md 6).
 * What is not listed here is refused. `standing` decides in which modes it is permitted (`guard/modes.ts`);
 * `reach` says which kinds of principal may try at all, before the policy is asked.
 */
import { z } from 'zod'
import { dataClassShape } from './data-class.ts'
import { envelopeShape } from './envelope.ts'
import { EMERGENCY_MS_MAX, EMERGENCY_MS_MIN } from './flags.ts'
import {
  cardShape,
  codeShape,
  consoleJoinShape,
  consoleOpenShape,
  deviceAddShape,
  deviceRef,
  tokenCreateShape,
} from './holders.ts'
import {
  nameShape,
  sessionIdShape,
  sessionPartShape,
  sha256PartShape,
  sha256Shape,
  tokenIdShape,
  uuidPartShape,
  uuidShape,
} from './ids.ts'
import { submitShape } from './submit.ts'
import { transcriptPutShape } from './transcript-put.ts'
import { sayShape, turnListShape } from './turn.ts'

export const PRINCIPAL_KINDS = ['operator', 'device', 'automation', 'contact', 'watchdog', 'agent', 'hub'] as const
export type PrincipalKind = (typeof PRINCIPAL_KINDS)[number]

/**
 * new_work: starts something. child_work: what a running task wants started, taken down and started once the mode is normal.
 * own: a session's own verb. mending: repairs or restricts. approve: widens.
 * read, presence and stop are permitted in every mode. record: the hub writes down what the engine or a clock has already done.
 */
export type Standing =
  | 'new_work'
  | 'child_work'
  | 'own'
  | 'mending'
  | 'approve'
  | 'read'
  | 'presence'
  | 'stop'
  | 'record'

export interface Operation {
  /** The audit kind, past tense. */
  audit: string
  standing: Standing
  reach: readonly PrincipalKind[]
  request: z.ZodType
}

const none = z.strictObject({})
const page = { limit: z.coerce.number().int().min(1).max(100).default(25), cursor: z.string().max(200).optional() }
const taskRef = z.strictObject({ id: uuidShape })
const sessionRef = z.strictObject({ id: sessionIdShape })
/** With a token's id only that token is refused; the session goes on with a new one. */
const revokeShape = z.strictObject({ id: sessionIdShape, jti: tokenIdShape.optional() })
const agentRef = z.strictObject({ name: nameShape })
const people = ['operator', 'device', 'automation'] as const
const owner = ['operator'] as const
const agent = ['agent'] as const
const hub = ['hub'] as const
const present = ['operator', 'device'] as const
const stoppers = ['operator', 'device', 'contact', 'watchdog'] as const

const taskListShape = z.strictObject({
  ...page,
  state: z.enum(['queued', 'running', 'succeeded', 'failed', 'cancelled', 'timed_out']).optional(),
  parent: uuidShape.optional(),
  /** Only those that wait for the operator's word, or none of them. */
  held: z.stringbool().optional(),
  /** Only those whose id begins or ends so. */
  part: uuidPartShape.optional(),
})
/** `hardening`: graded against the profile, by what the engine shows of it now. */
const sessionShowShape = z.strictObject({ id: sessionIdShape, hardening: z.stringbool().default(false) })
const sessionListShape = z.strictObject({
  ...page,
  all: z.stringbool().default(false),
  part: sessionPartShape.optional(),
})
/** Of one session, or the newest of all. */
const evidenceListShape = z.strictObject({ session: sessionIdShape.optional(), limit: page.limit })
/** `quarantined`: what an untrusted session left; nobody gets that by accident. */
const artifactRef = z.strictObject({ sha256: sha256Shape, quarantined: z.stringbool().default(false) })
const artifactPutShape = z.strictObject({
  sha256: sha256Shape,
  name: z.string().max(1024).optional(),
  /** How far its content may be passed on; the rules see it, here and whenever it is fetched. */
  dataClass: dataClassShape.optional(),
  /** Of a session: kept while its program works, or when it fell, and not yet its output. */
  unfinished: z.stringbool().default(false),
})
/** All of one task, or the newest of every task by pages: the cursor counts those seen. */
const artifactListShape = z.strictObject({
  task: uuidShape.optional(),
  quarantined: z.stringbool().default(false),
  limit: page.limit,
  cursor: z
    .string()
    .regex(/^\d{1,7}$/)
    .optional(),
  part: sha256PartShape.optional(),
})
const reasonShape = z.strictObject({ reason: z.string().max(500).default('') })
/** A decision that was made, or a question as the rules would see it. */
const explainShape = z
  .strictObject({ decision: uuidShape.optional(), input: z.record(z.string().max(64), z.unknown()).optional() })
  .refine(
    ({ decision, input }) => (decision === undefined) !== (input === undefined),
    'decision: name a decision, or give an input',
  )
export type ExplainRequest = z.output<typeof explainShape>
const decisionListShape = z.strictObject({ ...page, cursor: uuidShape.optional() })
const resumeShape = z.strictObject({ acceptHead: sha256Shape.optional(), alert: uuidShape.optional() })
const noteShape = z.strictObject({ note: z.string().max(500).optional() })
/** `untilMs`: an instant in milliseconds since 1970. The note goes into the watchdog's state, which is small. */
const awayShape = z.strictObject({
  untilMs: z.int().positive(),
  keepWorking: z.boolean().default(false),
  note: z.string().max(198).default(''),
})
export type AwayRequest = z.output<typeof awayShape>
const backShape = z.strictObject({ note: z.string().max(500).default('') })
/** `withContact`: a rehearsal for the backup contact too. */
const drillShape = z.strictObject({ withContact: z.boolean().default(false) })
const shutdownShape = z.strictObject({
  drain: z.boolean().default(false),
  /** Leaves `emergency_stop` behind and waits for no result. */
  emergency: z.boolean().default(false),
  reason: z.string().max(500).default(''),
  exit: z.enum(['shutdown', 'down', 'restart']).default('shutdown'),
})
const auditListShape = z.strictObject({
  ...page,
  /** A sequence number: the last one seen. */
  cursor: z
    .string()
    .regex(/^\d{1,15}$/)
    .optional(),
  action: z.string().max(64).optional(),
  outcome: z.enum(['ok', 'refused', 'failed']).optional(),
  task: uuidShape.optional(),
  /** With `task`: of every task below it too. */
  tree: z.stringbool().default(false),
  session: sessionIdShape.optional(),
  agent: nameShape.optional(),
  decision: uuidShape.optional(),
  /** From this instant on, and until before that one; epoch ms. */
  fromMs: z.coerce.number().int().nonnegative().optional(),
  untilMs: z.coerce.number().int().nonnegative().optional(),
})
export type AuditListRequest = z.output<typeof auditListShape>
const auditShowShape = z.strictObject({ seq: z.coerce.number().int().positive().max(Number.MAX_SAFE_INTEGER) })
/** With `waitMs` it answers after at most that long, done or not; without it, only once it is done. */
const auditVerifyShape = z.strictObject({ waitMs: z.coerce.number().int().min(0).max(25_000).optional() })
/** `upTo`: the size the first page named, so that all pages are of one log. */
const auditExportShape = z.strictObject({
  after: z.coerce.number().int().nonnegative().default(0),
  upTo: z.coerce.number().int().nonnegative().optional(),
})
const eventStreamShape = z.strictObject({
  since: z.coerce.number().int().nonnegative().default(0),
  task: uuidShape.optional(),
})
const approvalListShape = z.strictObject({ all: z.stringbool().default(false) })
const approvalRef = z.strictObject({ id: uuidShape })
const approvalAnswerShape = z.strictObject({
  id: uuidShape,
  approve: z.boolean(),
  text: z.string().max(4096).default(''),
})
const joinShape = z.strictObject({
  publicKey: z
    .string()
    .max(64)
    .regex(/^[A-Za-z0-9_-]{43}$/),
})
const receiveShape = z.strictObject({
  after: z.coerce.number().int().nonnegative().default(0),
  waitMs: z.coerce.number().int().min(0).max(25_000).default(25_000),
})

/** `value` null: back to what the profile begins with. An emergency entry needs its reason and how long it holds. */
const flagSetShape = z
  .strictObject({
    name: nameShape,
    value: z.boolean().nullable(),
    emergency: z.string().trim().min(3).max(300).optional(),
    forMs: z.int().min(EMERGENCY_MS_MIN).max(EMERGENCY_MS_MAX).optional(),
  })
  .refine(
    ({ emergency, forMs }) => (emergency === undefined) === (forMs === undefined),
    'emergency: an emergency entry needs both a reason (emergency) and how long it holds (forMs)',
  )
  .refine(
    ({ value, emergency }) => emergency === undefined || value !== null,
    'value: an emergency entry says on or off',
  )
export type FlagSetRequest = z.output<typeof flagSetShape>

const labels = z
  .record(z.string().max(256), z.string().max(8192))
  .refine((each) => Object.keys(each).length <= 64, 'at most 64 labels')
/** What Alertmanager posts to a webhook (version 4). Keys that are not looked at are left out, so that a newer one can post too. */
const monitorShape = z.object({
  version: z.literal('4'),
  status: z.enum(['firing', 'resolved']),
  alerts: z
    .array(z.object({ status: z.enum(['firing', 'resolved']), labels }))
    .min(1)
    .max(64),
})
export type MonitorPost = z.output<typeof monitorShape>

const alertListShape = z.strictObject({ all: z.stringbool().default(false) })
const alertTestShape = z.strictObject({ channel: nameShape.optional() })

/** `olderThanMs` replaces the spans of tasks, artifacts and alerts; at least a day, because zero would delete everything. */
const olderThan = z.coerce.number().int().min(86_400_000).optional()
const retentionShowShape = z.strictObject({ olderThanMs: olderThan })
const backupRunShape = z.strictObject({
  withSecrets: z.boolean().default(false).describe('copies `secrets/` too, in plain text; for the operator alone'),
})
export type BackupRequest = z.output<typeof backupRunShape>
/** One turn; the caller repeats it until nothing is left. */
const retentionPruneShape = z.strictObject({ olderThanMs: olderThan, isFirst: z.boolean().default(true) })
export type PruneRequest = z.output<typeof retentionPruneShape>

/** Of one task and its tree, of one agent, or of one day; of the hub today without any. */
const budgetShowShape = z.strictObject({
  task: uuidShape.optional(),
  agent: nameShape.optional(),
  day: z
    .string()
    .regex(/^\d{4}-\d\d-\d\d$/, 'a day is written 2026-12-01')
    .optional(),
})
export type BudgetShowRequest = z.output<typeof budgetShowShape>
/** Amounts are millionths of a US dollar: less than a million dollars. */
const microShape = z.int().nonnegative().max(999_999_999_999)
const budgetRaiseShape = z.strictObject({ id: uuidShape, usd: microShape.min(1) })
export type BudgetRaiseRequest = z.output<typeof budgetRaiseShape>
const budgetSettleShape = z.strictObject({ id: uuidShape, usd: microShape })
export type BudgetSettleRequest = z.output<typeof budgetSettleShape>

/** One row: audit kind, standing, who may try, and request shape. `routes.ts` says where the operator's entrance serves it. */
function op<Request extends z.ZodType>(
  audit: string,
  standing: Standing,
  reach: readonly PrincipalKind[],
  request: Request,
) {
  return { audit, standing, reach, request }
}

export const OPERATIONS = {
  'task.submit': op('task.submitted', 'new_work', people, submitShape),
  'task.list': op('task.listed', 'read', people, taskListShape),
  'task.show': op('task.shown', 'read', people, taskRef),
  'task.cancel': op('task.cancelled', 'stop', people, taskRef),
  'task.retry': op('task.retried', 'new_work', people, taskRef),
  'task.accept': op('task.accepted', 'new_work', owner, taskRef),
  'task.release': op('task.released', 'new_work', present, taskRef),
  'task.logs': op('task.logs_read', 'read', people, taskRef),
  'session.list': op('session.listed', 'read', [...people, 'watchdog'], sessionListShape),
  'session.show': op('session.shown', 'read', people, sessionShowShape),
  'session.logs': op('session.logs_read', 'read', people, sessionRef),
  'session.stop': op('session.stopped', 'stop', people, sessionRef),
  'session.quarantine': op('session.quarantined', 'stop', ['operator', 'automation'], sessionRef),
  'session.evidence': op('session.evidence_listed', 'read', owner, evidenceListShape),
  'session.revoke': op('session.revoked', 'stop', present, revokeShape),
  'session.turns': op('session.turns_read', 'read', people, turnListShape),
  'session.say': op('session.prompted', 'new_work', ['operator', 'automation'], sayShape),
  'session.interrupt': op('session.interrupted', 'stop', [...people, ...hub], sessionRef),
  'session.close': op('session.closed', 'stop', [...people, ...hub], sessionRef),
  'agent.list': op('agent.listed', 'read', people, none),
  'agent.show': op('agent.shown', 'read', people, agentRef),
  'agent.reload': op('agent.reloaded', 'mending', owner, none),
  'agent.reset': op('agent.was_reset', 'mending', owner, agentRef),
  'agent.suspend': op('agent.suspended', 'mending', owner, agentRef),
  'artifact.put': op('artifact.stored', 'own', [...people, 'agent'], artifactPutShape),
  'artifact.get': op('artifact.fetched', 'read', [...people, 'agent'], artifactRef),
  'artifact.list': op('artifact.listed', 'read', [...people, 'agent'], artifactListShape),
  'transcript.put': op('transcript.kept', 'own', agent, transcriptPutShape),
  'transcript.get': op('transcript.handed', 'own', agent, none),
  'policy.status': op('policy.shown', 'read', people, none),
  'policy.reload': op('policy.reloaded', 'mending', owner, reasonShape),
  'policy.show': op('policy.files_shown', 'read', owner, none),
  'policy.explain': op('policy.explained', 'read', owner, explainShape),
  'decision.list': op('decision.listed', 'read', owner, decisionListShape),
  'egress.proposals': op('egress.listed', 'read', owner, none),
  'flag.list': op('flag.listed', 'read', owner, none),
  'flag.set': op('flag.changed', 'approve', owner, flagSetShape),
  'flag.expire': op('flag.expired', 'record', hub, z.unknown()),
  'upstream.price': op(
    'upstream.price_shown',
    'read',
    owner,
    z.strictObject({ name: nameShape, model: z.string().min(1).max(200) }),
  ),
  'upstream.list': op('upstream.listed', 'read', owner, none),
  'upstream.test': op('upstream.tested', 'mending', owner, z.strictObject({ name: nameShape })),
  'budget.show': op('budget.shown', 'read', people, budgetShowShape),
  'budget.raise': op('budget.raised', 'approve', owner, budgetRaiseShape),
  'budget.settle': op('budget.corrected', 'mending', owner, budgetSettleShape),
  'keys.list': op('keys.listed', 'read', owner, none),
  'keys.rotate': op('keys.rotated', 'mending', owner, none),
  'mode.show': op('mode.shown', 'read', people, none),
  'mode.safe': op('mode.made_safe', 'stop', ['operator', 'device'], reasonShape),
  'mode.resume': op('mode.resumed', 'mending', ['operator', 'device'], resumeShape),
  'operator.heartbeat': op('operator.heartbeat_given', 'presence', present, noteShape),
  'operator.show': op('operator.shown', 'read', present, none),
  'operator.away': op('operator.away_asked', 'mending', present, awayShape),
  'operator.back': op('operator.back_asked', 'presence', present, backShape),
  'hub.shutdown': op('hub.shutdown_asked', 'stop', stoppers, shutdownShape),
  'contact.card': op('contact.card_made', 'mending', owner, cardShape),
  'contact.revoke': op('contact.card_revoked', 'stop', [...owner, ...hub], none),
  'contact.test': op('contact.test_sent', 'mending', owner, none),
  'contact.confirm': op('contact.confirmed', 'mending', owner, codeShape),
  'hub.drill': op('hub.drilled', 'mending', owner, drillShape),
  'audit.list': op('audit.listed', 'read', owner, auditListShape),
  'audit.show': op('audit.shown', 'read', owner, auditShowShape),
  'audit.verify': op('audit.verified', 'read', owner, auditVerifyShape),
  'audit.export': op('audit.exported', 'read', owner, auditExportShape),
  'event.stream': op('event.streamed', 'read', people, eventStreamShape),
  'health.show': op('health.shown', 'read', [...people, 'watchdog'], none),
  'backup.run': op('backup.made', 'mending', ['operator', 'automation'], backupRunShape),
  'retention.show': op('retention.shown', 'read', owner, retentionShowShape),
  'retention.prune': op('retention.pruned', 'mending', owner, retentionPruneShape),
  'config.show': op('config.shown', 'read', owner, none),
  'doctor.run': op('doctor.ran', 'read', owner, none),
  'session.join': op('session.joined', 'own', agent, joinShape),
  'session.renew': op('session.renewed', 'own', agent, none),
  'session.open': op('session.opened', 'own', agent, none),
  'message.send': op('message.sent', 'own', agent, envelopeShape),
  'message.reply': op('message.replied', 'own', agent, envelopeShape),
  'message.receive': op('message.received', 'own', agent, receiveShape),
  'message.subscribe': op('message.subscribed', 'own', agent, z.strictObject({ topic: nameShape })),
  'egress.request': op('egress.requested', 'own', agent, z.unknown()),
  'task.delegate': op('task.delegated', 'child_work', agent, envelopeShape),
  'task.result': op('task.result_given', 'own', agent, envelopeShape),
  'task.progress': op('task.progressed', 'own', agent, envelopeShape),
  'task.log': op('task.logged', 'own', agent, envelopeShape),
  'task.ask': op('task.asked', 'own', agent, envelopeShape),
  'session.turn': op('session.turn_told', 'own', agent, envelopeShape),
  'session.frame': op('session.frame_told', 'own', agent, envelopeShape),
  'tool.permit': op('tool.permission_asked', 'own', agent, envelopeShape),
  'secret.get': op('secret.fetched', 'own', agent, z.strictObject({ name: nameShape })),
  'alert.list': op('alert.listed', 'read', people, alertListShape),
  'alert.test': op('alert.tested', 'mending', people, alertTestShape),
  'monitor.alert': op('monitor.alerted', 'mending', ['automation'], monitorShape),
  'device.add': op('device.added', 'approve', owner, deviceAddShape),
  'console.open': op('console.opened', 'mending', owner, consoleOpenShape),
  'console.join': op('console.joined', 'mending', ['device'], consoleJoinShape),
  'token.create': op('token.created', 'approve', owner, tokenCreateShape),
  'token.list': op('token.listed', 'read', owner, none),
  'token.revoke': op('token.revoked', 'stop', owner, deviceRef),
  'device.list': op('device.listed', 'read', owner, none),
  'device.revoke': op('device.revoked', 'stop', owner, deviceRef),
  'approval.list': op('approval.listed', 'read', people, approvalListShape),
  'approval.show': op('approval.shown', 'read', people, approvalRef),
  'approval.answer': op('approval.answered', 'approve', present, approvalAnswerShape),
  'approval.expire': op('approval.expired', 'record', hub, z.unknown()),
  'lease.renew': op('lease.renewed', 'presence', ['watchdog'], z.unknown()),
  'session.reap': op('session.reaped', 'stop', ['watchdog', 'hub'], z.unknown()),
  'session.capture': op('session.captured', 'stop', hub, z.unknown()),
  'task.dispatch': op('task.dispatched', 'new_work', hub, z.unknown()),
  'backlog.hold': op('backlog.held', 'record', hub, z.unknown()),
  'service.start': op('service.started', 'new_work', hub, z.unknown()),
  'run.create': op('run.created', 'new_work', owner, z.unknown()),
  'run.release': op('run.released', 'new_work', owner, z.unknown()),
  'run.hold': op('run.held', 'stop', owner, z.unknown()),
  'run.step': op('run.step_started', 'new_work', hub, z.unknown()),
  'run.observe': op('run.observed', 'record', hub, z.unknown()),
  'run.reap': op('run.step_ended', 'stop', hub, z.unknown()),
  'session.provision': op('session.provisioned', 'new_work', hub, z.unknown()),
  'config.apply': op('config.applied', 'record', hub, z.unknown()),
  'hub.observe': op('hub.observed', 'record', hub, z.unknown()),
  'session.observe': op('session.observed', 'record', hub, z.unknown()),
  'retention.turn': op('retention.turned', 'record', hub, z.unknown()),
  'task.settle': op('task.settled', 'record', hub, z.unknown()),
  'egress.settle': op('egress.settled', 'record', hub, z.unknown()),
  'egress.propose': op('egress.proposed', 'record', hub, z.unknown()),
} as const satisfies Record<string, Operation>

export type OperationName = keyof typeof OPERATIONS

/** The operation's row, or undefined: what is not listed is refused. Own keys only, so `constructor` finds nothing. */
export const operationOf = (name: string): Operation | undefined =>
  Object.hasOwn(OPERATIONS, name) ? OPERATIONS[name as OperationName] : undefined
