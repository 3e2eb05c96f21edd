/** A token bucket per session and per agent (S1-41, T65): so many messages a second, with a burst of twice that. A card only lowers. */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'

export interface Quotas {
  /** Takes one message from both buckets. Throws `rate_limited` with `retryAfterMs`. */
  take(session: string, agent: string): void
  forget(session: string): void
}

/** What sums of fractions lose: who waits as long as told must find a whole message there. */
const GRAIN = 1e-6

interface Bucket {
  perSecond: number
  level: number
  atMs: number
}

export function createQuotas(
  options: { perSecond: number; perSecondOf?: (agent: string) => number | undefined },
  clock: Clock,
): Quotas {
  const sessions = new Map<string, Bucket>()
  const agents = new Map<string, Bucket>()

  function fill(bucket: Bucket, nowMs: number): void {
    const { perSecond, level, atMs } = bucket
    bucket.level = Math.min(perSecond * 2, level + ((nowMs - atMs) / 1000) * perSecond)
    bucket.atMs = nowMs
  }
  /** What the agent's card says counts from its next session on. */
  function begin(session: string, agent: string, nowMs: number): Bucket {
    const perSecond = Math.min(options.perSecond, options.perSecondOf?.(agent) ?? Number.POSITIVE_INFINITY)
    const made = () => ({ perSecond, level: perSecond * 2, atMs: nowMs })
    const ofAgent = agents.get(agent) ?? made()
    ofAgent.perSecond = perSecond
    agents.set(agent, ofAgent)
    const ofSession = made()
    sessions.set(session, ofSession)
    return ofSession
  }

  return {
    take(session, agent) {
      const nowMs = clock.monotonicMs()
      const own = sessions.get(session) ?? begin(session, agent, nowMs)
      const shared = agents.get(agent) ?? own
      fill(own, nowMs)
      fill(shared, nowMs)
      const lowest = own.level < shared.level ? own : shared
      if (lowest.level < 1 - GRAIN) {
        const { perSecond, level } = lowest
        const retryAfterMs = Math.max(1, Math.ceil(((1 - level) / perSecond) * 1000 - GRAIN))
        throw new HubError('rate_limited', `more than ${perSecond} messages a second`, { facts: { retryAfterMs } })
      }
      own.level -= 1
      if (shared !== own) shared.level -= 1
    },
    forget: (session) => void sessions.delete(session),
  }
}
