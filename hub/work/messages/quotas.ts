/**
 * A token bucket per session and per agent (S1-41, T65): so many messages a second, with a burst of twice that. A card can only lower it.
 *
 * What a session needs to live (join, renewal, opening of a line) has a small bucket of its own. Otherwise an agent that uses its whole
 * quota would find no place for its renewal, and would die when its token expires.
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'

export interface Quotas {
  /** Takes one message from both buckets. Throws `rate_limited` with `retryAfterMs`. */
  take(session: string, agent: string): void
  /** Takes one from the session's own bucket. Throws like `take`. */
  takeUpkeep(session: string): void
  forget(session: string): void
}

/** A renewal is due every few minutes, an opening rarely. A restart of the hub brings a few at once. */
const UPKEEP_PER_SECOND = 2
const UPKEEP_BURST = 20

/** Rounding error of fractions: who waits as long as told must find a whole message there. */
const GRAIN = 1e-6

interface Bucket {
  perSecond: number
  burst: number
  level: number
  atMs: number
}

export function createQuotas(
  options: { perSecond: number; perSecondOf?: (session: string, agent: string) => number | undefined },
  clock: Clock,
): Quotas {
  const sessions = new Map<string, Bucket>()
  const agents = new Map<string, Bucket>()
  const upkeep = new Map<string, Bucket>()

  function fill(bucket: Bucket, nowMs: number): void {
    const { perSecond, burst, level, atMs } = bucket
    bucket.level = Math.min(burst, level + ((nowMs - atMs) / 1000) * perSecond)
    bucket.atMs = nowMs
  }
  function requireOne({ perSecond, level }: Bucket, what: string): void {
    if (level >= 1 - GRAIN) return
    const retryAfterMs = Math.max(1, Math.ceil(((1 - level) / perSecond) * 1000 - GRAIN))
    throw new HubError('rate_limited', `more than ${perSecond} ${what} a second`, { facts: { retryAfterMs } })
  }
  /** A changed card, or a changed configuration, counts from the agent's next session on. */
  function begin(session: string, agent: string, nowMs: number): Bucket {
    const perSecond = Math.min(options.perSecond, options.perSecondOf?.(session, agent) ?? Number.POSITIVE_INFINITY)
    const made = () => ({ perSecond, burst: perSecond * 2, level: perSecond * 2, atMs: nowMs })
    const ofAgent = agents.get(agent) ?? made()
    ofAgent.perSecond = perSecond
    ofAgent.burst = perSecond * 2
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
      requireOne(own.level < shared.level ? own : shared, 'messages')
      own.level -= 1
      if (shared !== own) shared.level -= 1
    },
    takeUpkeep(session) {
      const nowMs = clock.monotonicMs()
      const bucket = upkeep.get(session) ?? {
        perSecond: UPKEEP_PER_SECOND,
        burst: UPKEEP_BURST,
        level: UPKEEP_BURST,
        atMs: nowMs,
      }
      upkeep.set(session, bucket)
      fill(bucket, nowMs)
      requireOne(bucket, 'renewals and openings')
      bucket.level -= 1
    },
    forget(session) {
      sessions.delete(session)
      upkeep.delete(session)
    },
  }
}
