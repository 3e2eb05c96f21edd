/** What the rings get of the configuration, under their own names, and the limits of one card. */
import type { z } from 'zod'
import { HubError } from './base/errors.ts'
import { joined, viewOf } from './base/live.ts'
import type { Config } from './config.ts'
import {
  type AgentCard,
  DEFAULT_LIMITS,
  LIMIT_CEILINGS,
  type SessionLimits,
  type sessionLimitShapes,
} from './protocol/agent.ts'
import { limitsFor } from './work/sandbox/limits.ts'

const liveOfWork = (now: () => Config) => ({
  get sessions() {
    return now().limits.sessions
  },
  get sessionsPerAgent() {
    return now().limits.sessionsPerAgent
  },
  get delegationDepth() {
    return now().limits.delegationDepth
  },
  get tasksPerTree() {
    return now().limits.tasksPerTree
  },
  get recyclesMax() {
    return now().limits.recycles
  },
  get joinWindowMs() {
    return now().limits.joinWindow
  },
  get questionWaitMs() {
    return now().limits.questionWait
  },
  get messagesPerSecond() {
    return now().limits.messages.perSecond
  },
  get staleAfterMs() {
    return now().staleAfter
  },
})

/**
 * What each ring gets of it, under the ring's own names. `now` answers the configuration in force: what may change while the hub runs is
 * looked up there each time, so it must be read from these objects and not copied from them (base/live.ts).
 */
export function ringsOf(now: () => Config) {
  const { audit, engine, reach, http, limits, policy, profile } = now()
  const { firstUser, runtime } = engine
  const alerts = viewOf(() => now().alerts)
  const health = viewOf(() => now().health)
  return {
    guard: joined(
      {
        ...{ alerts, forward: audit.forward, policy: { ...policy, profile }, profile },
        disk: viewOf(() => now().disk),
        waits: viewOf(() => now().approvals),
      },
      {
        get recordsPerHour() {
          return now().limits.messages.recordsPerHour
        },
      },
    ),
    work: joined(
      {
        ...{ runtime, firstUser, health },
        retention: viewOf(() => now().retention),
        images: viewOf(() => now().images),
        limitsOf: (card: AgentCard) => limitsOfCard(now(), card),
      },
      liveOfWork(now),
    ),
    edge: joined(
      { ...{ alerts, firstUser, health, reach }, httpPort: http.port, inputBytesMax: limits.inputBytes },
      {
        get artifactBytesMax() {
          return now().limits.artifactBytes
        },
        get shutdownMs() {
          return now().shutdownTimeout
        },
      },
    ),
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
