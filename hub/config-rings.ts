/** What the rings get of the configuration, under their own names. */
import { joined, viewOf } from './base/live.ts'
import type { Config } from './config.ts'
import { limitsOfCard } from './config-limits.ts'
import type { AgentCard } from './protocol/agent.ts'

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
  get upstreams() {
    return now().upstreams
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
        budget: viewOf(() => now().budget),
        alerts,
        limitsOf: (card: AgentCard) => limitsOfCard(now(), card),
      },
      liveOfWork(now),
    ),
    edge: joined(
      { ...{ alerts, firstUser, health, reach }, httpPort: http.port, inputBytesMax: limits.inputBytes },
      {
        get upstreams() {
          return now().upstreams
        },
        get egressCacheBytes() {
          return now().egress.cacheBytes
        },
        get egressTaskBytes() {
          return now().egress.taskBytes
        },
        get egressInSafe() {
          return now().egress.inSafe
        },
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
