/** `hub.yaml`: one strict file; every key has a stated default, an unknown or bad one stops the start naming its line (house rule 3). */
import { lstatSync, readFileSync } from 'node:fs'
import { type Document, LineCounter, parseDocument } from 'yaml'
import { z } from 'zod'
import { diskProblem } from './base/disk-words.ts'
import { HubError } from './base/errors.ts'
import { LOG_LEVELS } from './base/telemetry.ts'
import { reachShape } from './edge/reach.ts'
import { alertsShape } from './guard/alerts/settings.ts'
import { type AgentCard, DEFAULT_LIMITS, LIMIT_CEILINGS, type SessionLimits } from './protocol/agent.ts'
import { sizeShape, spanShape } from './protocol/spans.ts'
import { DELEGATION_DEPTH_MAX } from './work/dispatch/authority.ts'
import { retentionShape } from './work/retention/settings.ts'
import { limitsFor } from './work/sandbox/limits.ts'

const port = z.int().min(0).max(65_535)

/** sandbox.md section 5. */
const JOIN_WINDOW_MS_MAX = 120_000

/** Both deadline labels of a container are its time to live and this (fault C1). */
const QUESTION_WAIT_MS_MAX = 30 * 60_000

/** Limits of one session as the operator raises them, up to the ceilings in code. */
const sessionLimits = {
  ttl: spanShape.optional(),
  memory: sizeShape.optional(),
  cpus: z.number().positive().optional(),
  pids: z.int().positive().optional(),
  tmp: sizeShape.optional(),
  workspace: sizeShape.optional(),
  openFiles: z.int().positive().optional(),
}

/** At the shipped quota 150 000 an hour: some 42 a second without end, or all of them at once. */
const RECORDS_PER_MESSAGE_A_SECOND = 750

const percent = z.number().min(0).max(50)
const diskShape = z
  .strictObject({
    warnPercent: percent.default(10),
    noNewTasksPercent: percent.default(5),
    degradedPercent: percent.default(2),
    degradedBytes: sizeShape.default(200 * 1000 ** 2),
  })
  .refine(
    ({ warnPercent, noNewTasksPercent, degradedPercent }) =>
      warnPercent >= noNewTasksPercent && noNewTasksPercent >= degradedPercent,
    'the marks come in their order: warnPercent, noNewTasksPercent, degradedPercent',
  )

/** It exists, and is refused by name (sandbox.md section 2). */
function supported(runtime: 'runc' | 'runsc' | 'kata'): 'runc' | 'runsc' {
  if (runtime !== 'kata') return runtime
  throw new HubError(
    'unsupported_mode',
    'engine.runtime: kata carries no socket of the host into its guest, so no agent could join; use runc or runsc',
  )
}

const configShape = z.strictObject({
  logLevel: z.enum(LOG_LEVELS).default('info'),
  /** The loopback listener: console, API, `/healthz`. 0 switches it off. */
  http: z.strictObject({ port: port.default(7300) }).prefault({}),
  /** Under which names loopback is reached from outside. */
  reach: reachShape.prefault({}),
  engine: z
    .strictObject({
      socket: z.string().max(107).default('/var/run/docker.sock'),
      runtime: z.enum(['runc', 'runsc', 'kata']).default('runc').transform(supported),
      callTimeout: spanShape.default(20_000),
    })
    .prefault({}),
  /** Signs of life of running sessions (S1-49). */
  health: z
    .strictObject({
      interval: spanShape.refine((ms) => ms >= 1000, 'it is at least 1s').default(30_000),
      timeout: spanShape.default(5_000),
      failures: z.int().min(1).max(100).default(3),
    })
    .prefault({})
    .transform(({ interval, timeout, failures }) => ({
      intervalMs: interval,
      timeoutMs: timeout,
      failuresMax: failures,
    })),
  limits: z
    .strictObject({
      ...sessionLimits,
      sessions: z.int().positive().max(256).default(12),
      sessionsPerAgent: z.int().positive().max(256).default(12),
      delegationDepth: z.int().positive().max(8).default(DELEGATION_DEPTH_MAX),
      tasksPerTree: z.int().positive().max(10_000).default(64),
      /** Of one agent within 10 min, before it is halted. */
      recycles: z.int().positive().max(10).default(3),
      joinWindow: spanShape.refine((ms) => ms <= JOIN_WINDOW_MS_MAX, 'its ceiling is 120s').default(30_000),
      /** How long the questions of one session may stop its clock in all; 0 switches that off. */
      questionWait: z
        .literal(0)
        .or(spanShape)
        .refine((ms) => ms <= QUESTION_WAIT_MS_MAX, 'its ceiling is 30m')
        .default(QUESTION_WAIT_MS_MAX),
      inputBytes: sizeShape.default(512 * 1024 ** 2),
      artifactBytes: sizeShape.default(64 * 1024 ** 2),
      messages: z
        .strictObject({
          perSecond: z.int().positive().max(50_000).default(200),
          /** Own records of one session; 750 for each message a second without it. */
          recordsPerHour: z.int().min(100).optional(),
        })
        .prefault({})
        .transform(({ perSecond, recordsPerHour }) => ({
          perSecond,
          recordsPerHour: recordsPerHour ?? RECORDS_PER_MESSAGE_A_SECOND * perSecond,
        })),
      agents: z.record(z.string().max(63), z.strictObject(sessionLimits)).default({}),
    })
    .prefault({}),
  alerts: alertsShape.prefault({}),
  /** Of the home's file system: percent free below which an alert is raised, no new task is taken, the hub is degraded. */
  disk: diskShape.prefault({}),
  /** How long what is done is kept. */
  retention: retentionShape.prefault({}),
  shutdownTimeout: spanShape.default(15_000),
  /** After a longer rest the backlog is held. */
  staleAfter: spanShape.default(12 * 3_600_000),
})
export type Config = z.output<typeof configShape>

type Raised = { [Key in keyof typeof sessionLimits]?: z.output<(typeof sessionLimits)[Key]> }

const raisedLimits = (base: SessionLimits, raised: Raised): SessionLimits => ({
  ttlMs: raised.ttl ?? base.ttlMs,
  memoryBytes: raised.memory ?? base.memoryBytes,
  cpus: raised.cpus ?? base.cpus,
  pids: raised.pids ?? base.pids,
  tmpBytes: raised.tmp ?? base.tmpBytes,
  workspaceBytes: raised.workspace ?? base.workspaceBytes,
  openFiles: raised.openFiles ?? base.openFiles,
})

/** Ceiling in code >= configuration (for all, then for one agent) >= card. Throws `limit_exceeded` naming key, value and ceiling. */
export function limitsOfCard(config: Config, card: AgentCard): SessionLimits {
  const base = raisedLimits(DEFAULT_LIMITS, config.limits)
  return limitsFor(card.limits, raisedLimits(base, config.limits.agents[card.name] ?? {}), LIMIT_CEILINGS)
}

/** Where a key stands, or the nearest thing around it that does: a key that is missing has no line. */
function offsetOf(document: Document, place: readonly unknown[]): number | undefined {
  for (let depth = place.length; depth > 0; depth -= 1) {
    const node = document.getIn(place.slice(0, depth), true) as { range?: [number, number, number] } | undefined
    if (node?.range !== undefined) return node.range[0]
  }
  return undefined
}

/** Empty where there is no file; a link that leads nowhere is no absence, since who made it meant something. */
function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (thrown) {
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return ''
    throw diskProblem(thrown, path)
  }
}

/** Reads the file; absent means every default. Throws `config_invalid` with file, line and key. */
export function readConfig(path: string): Config {
  const text = readText(path)
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, strict: true })
  const at = (offset: number | undefined) =>
    offset === undefined ? path : `${path} line ${lines.linePos(offset).line}`
  const [error] = document.errors
  if (error !== undefined)
    throw new HubError(
      'config_invalid',
      `${at(error.pos[0])}: ${error.message.split('\n')[0]?.replace(/ at line .*$/, '')}; correct that line`,
    )
  const parsed = configShape.safeParse(document.toJS({ maxAliasCount: 0 }) ?? {})
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    const place = issue?.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0]] : (issue?.path ?? [])
    throw new HubError(
      'config_invalid',
      `${at(offsetOf(document, place))}: ${issue?.path.join('.') || 'hub.yaml'}: ${issue?.message}; correct that line`,
    )
  }
  const { sessions, delegationDepth } = parsed.data.limits
  if (sessions < delegationDepth + 1) {
    throw new HubError(
      'config_invalid',
      `${path}: limits.sessions: ${sessions} is below limits.delegationDepth + 1 (${delegationDepth + 1}); parents would lock out their children`,
    )
  }
  // Above a ceiling stops the start, not the first session.
  limitsFor({}, raisedLimits(DEFAULT_LIMITS, parsed.data.limits), LIMIT_CEILINGS)
  return parsed.data
}
