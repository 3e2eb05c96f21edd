/** `limits` of hub.yaml, the limits of one card, and the word beside a key that says when a change of it counts. */
import { z } from 'zod'
import { HubError } from './base/errors.ts'
import {
  type AgentCard,
  DEFAULT_LIMITS,
  LIMIT_CEILINGS,
  type SessionLimits,
  sessionLimitShapes,
  TRIAL_SUFFIX,
} from './protocol/agent.ts'
import { grantProblem } from './protocol/egress/grants.ts'
import type { Upstream } from './protocol/egress/upstreams.ts'
import { nameShape } from './protocol/ids.ts'
import type { Live } from './protocol/keys.ts'
import { sizeShape, spanShape } from './protocol/spans.ts'
import { DELEGATION_DEPTH_MAX } from './work/dispatch/authority.ts'
import { limitsFor } from './work/sandbox/limits.ts'
import { SESSION_USERS } from './work/sandbox/users.ts'

/** Says beside a key when a change of it counts (protocol/keys.ts). */
export const counts = <Shape extends z.ZodType>(when: Live, shape: Shape): Shape => shape.meta({ live: when })

/** docs/sandbox.md 5. */
const JOIN_WINDOW_MS_MAX = 120_000

/** Both deadline labels of a container are its time to live and this (fault C1). */
const QUESTION_WAIT_MS_MAX = 30 * 60_000

/** At the shipped quota 150 000 an hour: some 42 a second without end, or all of them at once. */
const RECORDS_PER_MESSAGE_A_SECOND = 750

export const limitsShape = counts(
  'next',
  z
    .strictObject({
      ...sessionLimitShapes,
      sessions: counts(
        'now',
        z
          .int()
          .positive()
          .max(SESSION_USERS)
          .default(12)
          .describe('containers at once; some are kept for children, so that parents never starve them'),
      ),
      sessionsPerAgent: counts(
        'now',
        z.int().positive().max(256).default(12).describe('of one agent, where its card says nothing'),
      ),
      delegationDepth: z
        .int()
        .positive()
        .max(8)
        .default(DELEGATION_DEPTH_MAX)
        .describe('levels of children below a submitted task'),
      tasksPerTree: counts(
        'now',
        z.int().positive().max(10_000).default(64).describe('tasks that one submitted task may grow into'),
      ),
      /** Of one agent within 10 min, before it is halted. */
      recycles: counts(
        'now',
        z
          .int()
          .positive()
          .max(10)
          .default(3)
          .describe(
            'sessions of one agent that may crash, hang or be quarantined within 10 min; one more halts it until `hub agent reset`',
          ),
      ),
      joinWindow: counts(
        'now',
        spanShape
          .refine((ms) => ms <= JOIN_WINDOW_MS_MAX, 'its ceiling is 120s')
          .default(30_000)
          .describe('how long a started container may take to join; at most 120s'),
      ),
      /** How long the questions of one session may stop its clock in all; 0 switches that off. */
      questionWait: z
        .literal(0)
        .or(spanShape)
        .refine((ms) => ms <= QUESTION_WAIT_MS_MAX, 'its ceiling is 30m')
        .default(QUESTION_WAIT_MS_MAX)
        .meta({
          unit: 'span',
          description: 'how long the questions of one session may stop its clock in all, at most 30m; 0: they do not',
        }),
      inputBytes: counts('restart', sizeShape.default(512 * 1024 ** 2).describe('one uploaded input')),
      artifactBytes: counts('now', sizeShape.default(64 * 1024 ** 2).describe('one artifact of an agent')),
      messages: z
        .strictObject({
          perSecond: z
            .int()
            .positive()
            .max(50_000)
            .default(200)
            .describe('messages of one session, and of all sessions of one agent together'),
          /** Own records of one session; 750 for each message a second without it. */
          recordsPerHour: counts(
            'now',
            z
              .int()
              .min(100)
              .optional()
              .describe(
                'records of one session in the audit log; without it, 750 for each message a second. Beyond it log lines, progress and looks for mail are only counted, and other messages are refused',
              ),
          ),
        })
        .prefault({})
        .transform(({ perSecond, recordsPerHour }) => ({
          perSecond,
          recordsPerHour: recordsPerHour ?? RECORDS_PER_MESSAGE_A_SECOND * perSecond,
        }))
        .describe('quotas of messages'),
      agents: z
        .record(nameShape, z.strictObject(sessionLimitShapes))
        .default({})
        .describe('`limits.ttl` to `limits.openFiles` for one agent, by its name'),
    })
    .superRefine(({ sessions, delegationDepth }, context) => {
      if (sessions > delegationDepth) return
      const message = `is ${sessions}, and limits.delegationDepth is ${delegationDepth}: it must be at least ${delegationDepth + 1}, or parents would lock out their children`
      context.addIssue({ code: 'custom', path: ['sessions'], message })
    })
    .prefault({})
    .describe('what sessions, agents and messages may take'),
)

/** What hub.yaml says of it. */
interface Allowed {
  limits: z.output<typeof limitsShape>
  upstreams: readonly Upstream[]
}

function requireDeclared(upstreams: readonly Upstream[], { may }: AgentCard): void {
  for (const [at, grant] of may.egress.entries()) {
    const problem = grantProblem(grant, upstreams)
    if (problem !== undefined)
      throw new HubError('unknown_agent', `may.egress: ${grant}: ${problem}`, { facts: { key: `may.egress.${at}` } })
  }
}
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
 * Ceiling in code >= configuration (for all, then for one agent) >= card. Throws `limit_exceeded` with the key and both figures if the
 * card asks for more, and `unknown_agent` with the key if it asks for an upstream that is not declared.
 */
export function limitsOfCard({ limits, upstreams }: Allowed, card: AgentCard): SessionLimits {
  requireDeclared(upstreams, card)
  const { agents, sessions, messages, ...all } = limits
  // The copy of `hub agent try` has what its agent has, unless hub.yaml names the copy itself.
  const subject = card.name.endsWith(TRIAL_SUFFIX) ? card.name.slice(0, -TRIAL_SUFFIX.length) : card.name
  const name = Object.hasOwn(agents, card.name) ? card.name : subject
  const own = Object.hasOwn(agents, name) ? agents[name] : undefined
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
  return limitsFor(card.limits, configured, LIMIT_CEILINGS, name)
}
