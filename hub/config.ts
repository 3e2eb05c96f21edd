/** `hub.yaml`: one strict file; every key has a stated default, an unknown or bad one stops the start naming its line (house rule 3). */
import { lstatSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { diskProblem } from './base/disk-words.ts'
import { HubError } from './base/errors.ts'
import { LOG_LEVELS } from './base/telemetry.ts'
import { reachShape } from './edge/reach.ts'
import { alertsShape } from './guard/alerts/settings.ts'
import {
  type AgentCard,
  DEFAULT_LIMITS,
  LIMIT_CEILINGS,
  type SessionLimits,
  sessionLimitShapes,
} from './protocol/agent.ts'
import { type Fault, firstOf, judgeYaml } from './protocol/judging.ts'
import { nameShape } from './protocol/names.ts'
import { sizeShape, spanShape } from './protocol/spans.ts'
import { DELEGATION_DEPTH_MAX } from './work/dispatch/authority.ts'
import { retentionShape } from './work/retention/settings.ts'
import { limitsFor } from './work/sandbox/limits.ts'
import { FIRST_USER, FIRST_USER_MIN, mayBegin, SESSION_USERS, USERS } from './work/sandbox/users.ts'

const port = z.int().min(0).max(65_535)

/** sandbox.md section 5. */
const JOIN_WINDOW_MS_MAX = 120_000

/** Both deadline labels of a container are its time to live and this (fault C1). */
const QUESTION_WAIT_MS_MAX = 30 * 60_000

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
      /** Where the range of sessions' users begins (work/sandbox/users.ts). */
      firstUser: z
        .int()
        .refine(
          mayBegin,
          `sessions take ${USERS} user ids from here on: it is at least ${FIRST_USER_MIN}, and 65534 and 65535 are not among them`,
        )
        .default(FIRST_USER),
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
      ...sessionLimitShapes,
      sessions: z.int().positive().max(SESSION_USERS).default(12),
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
      agents: z.record(nameShape, z.strictObject(sessionLimitShapes)).default({}),
    })
    .superRefine(({ sessions, delegationDepth }, context) => {
      if (sessions > delegationDepth) return
      const message = `is ${sessions}, and limits.delegationDepth is ${delegationDepth}: at least ${delegationDepth + 1} are needed, or parents would lock out their children`
      context.addIssue({ code: 'custom', path: ['sessions'], message })
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

type Raised = { [Key in keyof typeof sessionLimitShapes]?: z.output<(typeof sessionLimitShapes)[Key]> }

const raisedLimits = (base: SessionLimits, raised: Raised): SessionLimits => ({
  ttlMs: raised.ttl ?? base.ttlMs,
  memoryBytes: raised.memory ?? base.memoryBytes,
  cpus: raised.cpus ?? base.cpus,
  pids: raised.pids ?? base.pids,
  tmpBytes: raised.tmp ?? base.tmpBytes,
  workspaceBytes: raised.workspace ?? base.workspaceBytes,
  openFiles: raised.openFiles ?? base.openFiles,
})

/**
 * Ceiling in code >= configuration (for all, then for one agent) >= card. Throws `limit_exceeded` naming key and both figures where the
 * card asks for more.
 */
export function limitsOfCard(config: Config, card: AgentCard): SessionLimits {
  const { agents, sessions, messages, ...all } = config.limits
  const own = Object.hasOwn(agents, card.name) ? agents[card.name] : undefined
  const asked = { 'limits.sessions': card.limits.sessions, 'limits.messagesPerSecond': card.limits.messagesPerSecond }
  for (const [key, most, way] of [
    ['limits.sessions', sessions, 'limits.sessions'],
    ['limits.messagesPerSecond', messages.perSecond, 'limits.messages.perSecond'],
  ] as const) {
    const value = asked[key] ?? 0
    if (value > most)
      throw new HubError(
        'limit_exceeded',
        `${key} is ${value}; hub.yaml allows ${most}: ask for less, or raise ${way} there`,
        { facts: { key, value, ceiling: most } },
      )
  }
  const configured = raisedLimits(raisedLimits(DEFAULT_LIMITS, all), own ?? {})
  return limitsFor(card.limits, configured, LIMIT_CEILINGS, card.name)
}

/** Empty where there is no file; a link that leads nowhere is no absence, since who made it meant something. */
function readConfigText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (thrown) {
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return ''
    throw diskProblem(thrown, path)
  }
}

/** Every fault of a text, with line, column and key; the configuration where there is none. Throws `unsupported_mode` alone. */
export function judgeConfig(text: string): { config: Config | undefined; faults: Fault[] } {
  const { value, faults } = judgeYaml(text, configShape)
  return { config: value, faults }
}

/** The configuration that a text means. Throws `config_invalid` with file, line, column and key. */
export function configOf(text: string, path: string): Config {
  const { config, faults } = judgeConfig(text)
  if (config !== undefined) return config
  throw new HubError('config_invalid', `${path} ${firstOf(faults)}; correct it (hub config check shows all of it)`)
}

/** Reads the file; absent means every default. Throws as `configOf`. */
export const readConfig = (path: string): Config => configOf(readConfigText(path), path)

/** How long a text that `hub restart` has judged waits for the hub that is to take it; then the file counts again. */
const JUDGED_MS = 300_000

/**
 * What a start reads: the text that `hub restart` has just judged, where it left one (`run/judged.yaml`), else `hub.yaml`. A file that was
 * written meanwhile is named, and taken by the next restart: what runs is what was judged (fault C3). Throws as `configOf`.
 */
export function takeConfig(home: string, nowMs: number): { config: Config; note: string | undefined } {
  const [path, handed] = [join(home, 'hub.yaml'), join(home, 'run', 'judged.yaml')]
  const left = statSync(handed, { throwIfNoEntry: false })
  if (left === undefined) return { config: readConfig(path), note: undefined }
  const text = readFileSync(handed, 'utf8')
  rmSync(handed, { force: true })
  if (Math.abs(nowMs - left.mtimeMs) > JUDGED_MS) return { config: readConfig(path), note: undefined }
  const isSame = readConfigText(path) === text
  const note =
    'hub.yaml was changed after `hub restart` had judged it; what was judged is in force, `hub restart` takes the rest'
  return { config: configOf(text, path), note: isSame ? undefined : note }
}
