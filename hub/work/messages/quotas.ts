/** A token bucket per session and per agent (S1-41, T65): `perSecond` with a burst of twice that. */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'

export interface Quotas {
  /** Takes one message from both buckets. Throws `rate_limited` with `retryAfterMs`. */
  take(session: string, agent: string): void
  forget(session: string): void
}

interface Bucket {
  level: number
  atMs: number
}

export function createQuotas(options: { perSecond: number }, clock: Clock): Quotas {
  const { perSecond } = options
  const buckets = new Map<string, Bucket>()
  const levelNow = (bucket: Bucket, nowMs: number) =>
    Math.min(perSecond * 2, bucket.level + ((nowMs - bucket.atMs) / 1000) * perSecond)

  return {
    take(session, agent) {
      const nowMs = clock.monotonicMs()
      const pair = [`session ${session}`, `agent ${agent}`].map((key) => {
        const bucket = buckets.get(key) ?? { level: perSecond * 2, atMs: nowMs }
        buckets.set(key, bucket)
        bucket.level = levelNow(bucket, nowMs)
        bucket.atMs = nowMs
        return bucket
      })
      const lowest = Math.min(...pair.map((bucket) => bucket.level))
      if (lowest < 1) {
        const retryAfterMs = Math.ceil(((1 - lowest) / perSecond) * 1000)
        throw new HubError('rate_limited', `more than ${perSecond} messages a second`, { facts: { retryAfterMs } })
      }
      for (const bucket of pair) bucket.level -= 1
    },
    forget: (session) => void buckets.delete(`session ${session}`),
  }
}
