/** Like `views.ts`: what is shown of the hub itself, of its people, and of what watches over them. */
import { z } from 'zod'
import { FLAG_NAMES, PROFILES } from './flags.ts'
import { nameShape, sha256Shape, uuidShape } from './ids.ts'
import { bytes, count, instant, kept, span } from './views.ts'

/** One thing that an agent was refused outside. */
const egressProposalShape = z.strictObject({
  id: z.int().positive(),
  agent: nameShape,
  upstream: z.string().describe('name of an upstream, or `host:port`'),
  class: z.enum(['metered', 'free', 'read', 'write', 'connect']),
  count: z.int().positive().describe('how often it was refused'),
  firstAtMs: z.int(),
  lastAtMs: z.int(),
  grant: z.string().describe('what would permit exactly this, in `agents.NAME.egress` of policy/data.json'),
})
export const egressProposalsShape = z.strictObject({ proposals: z.array(egressProposalShape) })

export const flagShape = z.strictObject({
  name: z.enum(FLAG_NAMES),
  isOn: z.boolean(),
  by: z
    .enum(['held', 'emergency', 'set', 'profile'])
    .describe(
      'what made it so: a profile that holds it, an emergency entry, `flag.set`, or what the profile begins with',
    ),
  means: z.string().describe('what is so while it is on'),
  off: z.string().describe('what is so while it is off'),
  usual: z.boolean().describe('the value with which the profile in force begins'),
  heldBy: z.array(z.enum(PROFILES)).describe('profiles under which nothing changes it'),
  setAtMs: kept(instant),
  emergency: kept(z.strictObject({ reason: z.string(), leftMs: span, isOn: z.boolean() })).describe(
    'an entry that ends by itself; null if there is none',
  ),
})
export const flagListShape = z.strictObject({
  profile: z.enum(PROFILES),
  flags: z.array(flagShape),
  mandatory: z.array(z.strictObject({ name: nameShape, means: z.string() })),
})

export const keyShape = z.strictObject({
  kid: z.string(),
  state: z.enum(['active', 'previous']),
  untilMs: kept(instant).describe('until when it verifies; null for the one that signs'),
})

const modeNames = z.enum(['normal', 'degraded', 'safe', 'draining'])
const conditionShape = z.strictObject({
  name: z.string().describe('one of the table of conditions'),
  mode: modeNames,
  sinceMs: instant,
  reason: z.string(),
  sticky: z.boolean().describe('outlives a restart'),
  endsBy: z.string(),
})
const remainsShape = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('nothing') }),
  z.strictObject({ kind: z.literal('processes'), pids: z.array(z.int()) }),
  z.strictObject({ kind: z.literal('unknown') }),
])
const roomShape = z.strictObject({
  parts: z.strictObject({
    database: bytes,
    artifacts: bytes,
    evidence: bytes,
    logs: bytes,
    audit: bytes,
    backups: bytes,
    cache: bytes,
    other: bytes,
  }),
  bytes,
  leftBytes: kept(z.int()).describe("until the disk's mark for degraded; null where the file system cannot be asked"),
  growthPerDayBytes: kept(z.number()).describe('null: counted for less than six hours'),
  daysToFull: kept(z.number()).describe('null: it does not grow, or that is not known yet'),
  sampledAtMs: instant,
})
export const modeShape = z.strictObject({
  mode: modeNames,
  conditions: z.array(conditionShape),
  components: z.record(z.string(), z.boolean()).describe('what the hub stands on, and whether it is well'),
  since: instant.describe('since when this mode holds'),
  dispatched: count.describe('tasks that were started, ever'),
  queued: count,
  held: count.describe("of the queued, those that wait for the operator's word"),
  running: count,
  sessions: count,
  auditHead: z.string().describe('hash of the newest record'),
  auditSize: count,
  auditWaiting: count.describe('records that are not written yet'),
  forwarding: z
    .array(
      z.strictObject({
        name: z.string(),
        kind: z.enum(['file', 'syslog', 'webhook']),
        sentTo: z.int().describe('the last record that it took'),
        waiting: count.describe('signed records that it has not taken'),
        isBehind: z.boolean().describe('it has an alert'),
        isFailing: z.boolean().describe('whether the last try failed; its alert says why'),
      }),
    )
    .describe('where the audit log is sent as well'),
  lease: kept(z.strictObject({ remainingMs: span, heartbeatAgeMs: span, deadlineInMs: span })),
  stopping: kept(
    z.strictObject({ exit: z.enum(['shutdown', 'down', 'restart']), requested: count, confirmed: count }),
  ).describe('a stop that is under way'),
  stuck: z
    .array(z.strictObject({ container: z.string(), reason: z.string(), remains: remainsShape, forMs: span }))
    .describe('containers that do not go'),
  drill: z.strictObject({ daysSinceGood: kept(count), overdue: z.boolean(), lastOk: kept(z.boolean()) }),
  room: kept(roomShape).describe('how large the home is; null before it was counted'),
  canary: z
    .strictObject({
      state: z.enum(['waiting', 'passed', 'failed']),
      tookMs: kept(span),
      atMs: kept(instant),
      findings: z.array(z.string()),
    })
    .describe('the last trial session on this engine'),
  instance: z.string(),
  version: z.string(),
  uptimeMs: span,
})

/** The watchdog's word, passed on: the next deadlines. */
export const presenceShape = z.strictObject({
  acceptedAtMs: instant,
  dueAtMs: instant.describe('when the next heartbeat is due'),
  dueInMs: span,
  safeAtMs: instant.describe('without a heartbeat nothing starts from then on'),
  stopAtMs: instant.describe('without a heartbeat everything stops then'),
  zone: z.string().describe("the operator's zone, by its IANA name"),
  conditions: z.array(z.string()).describe('what still holds at the watchdog'),
  text: z.string(),
})

/** The watchdog's word, passed on as it is: all deadlines, as spans from now. */
export const deadlinesShape = z.strictObject({
  strongAgeMs: span.describe('since the last heartbeat of the operator in person'),
  weakAgeMs: kept(span).describe('since the last one by a webhook'),
  dueInMs: span.describe('until the next heartbeat is due'),
  safeInMs: span.describe('until nothing new starts'),
  stopInMs: span.describe('until everything stops'),
  paused: z.boolean().describe('the hub runs nothing, so no deadline counts'),
  due: z.enum(['rolling', 'daily']),
  zone: z.string().describe("the operator's zone, by its IANA name"),
  weakMostInMs: span.describe('how far webhooks alone extend the deadline'),
  quiet: z.boolean().describe('reminders wait for the end of the quiet hours'),
  away: kept(z.strictObject({ untilInMs: span, keepWorking: z.boolean(), note: z.string() })).describe(
    'a planned absence',
  ),
  stopped: z.boolean().describe('the unattended stop is in force'),
  stopReport: kept(z.strictObject({ gone: count, failed: count })).describe('what it stopped'),
})

const stoppedContainerShape = z.strictObject({
  container: z.string(),
  session: kept(z.string()),
  outcome: z.enum(['gone', 'already_gone', 'failed']),
  reason: z.string().optional().describe('of one that failed'),
  remains: remainsShape.optional().describe('of one that failed: what of it still runs, where that was looked for'),
  isRefused: z.literal(true).optional().describe('the engine refused it, and will again'),
})
export const stopShape = z.strictObject({
  path: z.literal('hub'),
  requested: count,
  containers: z.array(stoppedContainerShape),
  unproven: z.string().optional().describe('why the engine could not say that nothing is left; absent if it did'),
})

export const contactCardShape = z.strictObject({
  id: z.string().describe('the beginning of its digest'),
  name: z.string(),
  operator: z.string(),
  madeAtMs: instant,
  expiresAtMs: kept(instant),
  testedAtMs: kept(instant),
  confirmedAtMs: kept(instant),
  usedAtMs: kept(instant),
  reachedAtMs: kept(instant),
})
export const cardShape = kept(contactCardShape).describe('the card in force; null if there is none')
/** What the watchdog knows of the contact; of one that could not be told, why. */
export const toldShape = z.strictObject({
  told: z.boolean(),
  reason: z.string().optional(),
  revoked: z.boolean().optional(),
  card: kept(
    z.strictObject({ id: z.string(), name: z.string(), madeAtMs: instant, expiresAtMs: kept(instant) }),
  ).optional(),
  usedAtMs: kept(instant).optional(),
  reachedAtMs: kept(instant).optional(),
  publicUrl: kept(z.string()).optional(),
  port: z.int().optional(),
  people: z
    .strictObject({ contact: z.string(), operator: z.string(), phone: z.string(), lastResort: z.string() })
    .optional(),
  stopAtMs: kept(instant).optional(),
  stopSpanMs: kept(span).optional(),
})

export const drillShape = z.strictObject({
  atMs: instant,
  ok: z.boolean(),
  skipped: kept(z.string()).describe('why nothing was done; null if it was'),
  withContact: z.boolean(),
  steps: z.array(z.strictObject({ name: z.string(), ok: z.boolean(), detail: z.string(), ms: span })),
})

export const auditRecordShape = z.strictObject({
  seq: z.int(),
  previous: z.string(),
  hash: z.string(),
  atMs: instant,
  bootId: z.string(),
  principal: z.string(),
  action: z.string(),
  resource: z.string(),
  decisionId: kept(z.string()),
  policyRevision: kept(z.string()),
  payloadHash: kept(z.string()).describe('SHA-256 of what was sent, never what was sent'),
  outcome: z.enum(['ok', 'refused', 'failed']),
  reason: z.string(),
  effect: z.string(),
})
export const auditShownShape = z.strictObject({
  record: auditRecordShape,
  decision: kept(
    z.strictObject({
      id: uuidShape,
      atMs: instant,
      effect: z.string().describe('allow, ask or deny'),
      code: kept(z.string()),
      reason: z.string(),
      rule: kept(z.string()),
      narrow: z.unknown().describe('what the rules narrowed it to'),
      input: z.unknown().describe('what the rules saw, as it is stored'),
      inputDigest: sha256Shape.describe('over the whole input'),
      erased: z.array(z.string()).describe('what of the input was too long to store'),
      revision: z.string(),
      bundleVersion: z.int(),
      bundles: z.unknown(),
      labels: z.unknown(),
    }),
  ).describe('null if it names none, or it is not kept any more'),
  decisionNote: kept(z.string()).describe('why a decision that it names is not here'),
  ids: z.array(z.string()).describe('the ids in it, by which neighbours are found'),
  before: z.array(auditRecordShape).describe('the nearest earlier ones, oldest first'),
  after: z.array(auditRecordShape).describe('the nearest later ones, oldest first'),
  searchedFrom: z.int().describe('from this record to the next one was looked through'),
  searchedTo: z.int(),
  signed: kept(
    z.strictObject({
      size: count.describe('the record that it signs'),
      head: sha256Shape,
      wallMs: instant,
      fault: kept(z.string()).describe(
        'why the record is not bound to it; null: every hash in between was worked out again',
      ),
    }),
  ).describe('the first signed head over it; null for up to two seconds'),
})
export const auditVerdictShape = z.strictObject({
  ok: z.boolean(),
  size: count,
  head: z.string(),
  checkpoints: count,
  firstBad: kept(z.strictObject({ seq: z.int(), reason: z.string() })),
  witness: z.strictObject({
    asked: z.boolean(),
    size: kept(count).describe('records of the newest head that the watchdog has seen'),
    reason: kept(z.string()).describe('why the log is not the one it has seen; null if it agrees'),
  }),
})
export const auditProgressShape = z.strictObject({
  ok: z.null(),
  running: z.strictObject({ size: count, of: count }),
})

export const doctorCheckShape = z.strictObject({
  name: z.string(),
  ok: kept(z.boolean()).describe('null: worth a look, nothing is broken'),
  detail: z.string(),
  mend: z.string().describe('what to do'),
})

export const configKeyShape = z.strictObject({
  key: z.string(),
  value: z.string().describe("in force, as one writes it; '' for none; secrets and paths of addresses are hidden"),
  source: z.enum(['hub.yaml', 'default']),
  live: z
    .enum(['now', 'next', 'restart'])
    .describe('when a change counts: at once, for what begins later, after a restart'),
  file: kept(z.string()).describe('what the file says instead; null if it says the same, or is not accepted'),
})
export type ConfigKey = z.output<typeof configKeyShape>

const prunedShape = z.strictObject({
  tasks: count,
  sessions: count,
  alerts: count,
  artifacts: count,
  artifactBytes: bytes,
  evidence: count,
  evidenceBytes: bytes,
  logs: count,
  logBytes: bytes,
  copies: count,
  copyBytes: bytes,
})
export const prunableShape = prunedShape.extend({ atLeast: z.boolean().describe('there is more than was counted') })
export const prunedTurnShape = prunedShape.extend({
  auditEffect: z.string(),
  more: z.boolean().describe('there is more to remove: ask again'),
})

export const alertShape = z.strictObject({
  id: uuidShape,
  cause: z.string().describe('`kind` or `kind:subject`'),
  severity: z.enum(['info', 'warning', 'critical']),
  text: z.string(),
  state: z.enum(['raised', 'sent', 'given_up']),
  holds: z.boolean().describe('keeps the hub safe until `hub resume --alert ID`'),
  lastsMs: kept(span).describe('of an event: it is over once it was not raised again for this long'),
  raisedAtMs: instant,
  resolvedAtMs: kept(instant),
})
const channelKinds = z.enum(['email', 'webhook', 'push', 'command', 'file'])
export const channelShape = z.strictObject({
  channel: z.string(),
  kind: channelKinds,
  waiting: count,
  failedInARow: count.describe('in this run of the hub'),
  lastError: z.string(),
  takenAtMs: kept(instant).describe('when something was last taken in this run'),
})
export const channelTestShape = z.strictObject({
  channel: z.string(),
  kind: channelKinds,
  ok: z.boolean(),
  answer: z.string().describe('what the other side said, or why it did not take it'),
  tookMs: span,
})

export const credentialShape = z.strictObject({
  id: kept(z.string()).describe('of this one alone: a later one of the same name has another id'),
  name: nameShape,
  kind: z.enum(['webhook', 'app', 'console', 'token']),
  scope: z.array(z.string()).describe('rights of a device, actions of a token'),
  createdAtMs: instant,
  expiresAtMs: kept(instant),
  usedAtMs: kept(instant),
  revokedAtMs: kept(instant),
})
export const newCredentialShape = credentialShape
  .pick({ name: true, kind: true, scope: true, expiresAtMs: true })
  .extend({
    path: z.string(),
    url: kept(z.string()).describe('null while the loopback listener is off'),
    secret: z.string().optional().describe('shown once; of a webhook it stands in the path'),
  })

export const evidenceShape = z.strictObject({
  folder: kept(z.string()),
  sha256: kept(sha256Shape).describe(
    'of its manifest.json, as the audit log has it; null if the evidence is not whole',
  ),
  files: z.array(
    z.strictObject({ name: z.string(), bytes, sha256: sha256Shape, cut: z.boolean().describe('there was more') }),
  ),
  faults: z.array(z.strictObject({ part: z.string(), reason: z.string() })).describe('what could not be kept, and why'),
})
export const evidenceBundleShape = z.strictObject({
  folder: z.string(),
  session: z.string(),
  capturedAtMs: instant,
  agent: kept(z.string()),
  task: kept(z.string()),
  why: kept(z.string()).describe('why the session was stopped'),
  sha256: kept(sha256Shape).describe('of its manifest.json as it is now'),
  recorded: kept(sha256Shape).describe('the same as the audit log has it; only if one session was asked for'),
  files: count,
  bytes,
  state: z
    .enum(['whole', 'changed', 'unfinished'])
    .describe('`changed`: not as it was captured. `unfinished`: it was cut short, and has no manifest'),
})

export type ModeView = z.output<typeof modeShape>
export type AlertView = z.output<typeof alertShape>
export type CredentialView = z.output<typeof credentialShape>
export type DoctorCheck = z.output<typeof doctorCheckShape>
export type StopView = z.output<typeof stopShape>
export type StoppedContainer = z.output<typeof stoppedContainerShape>
