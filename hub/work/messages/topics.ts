/**
 * Who subscribed to what, per session, in memory. Policy decided before it comes here, and decides again when the rules change
 * (decided-again.ts).
 */
import { HubError } from '../../base/errors.ts'

const TOPICS_PER_SESSION_MAX = 64

export interface Topics {
  subscribe(session: string, topic: string): void
  subscribers(topic: string): string[]
  isSubscribed(session: string, topic: string): boolean
  /** Ends the subscriptions for which `test` is false. */
  keepOnly(test: (session: string, topic: string) => boolean): void
  forget(session: string): void
}

export function createTopics(): Topics {
  const bySession = new Map<string, Set<string>>()
  return {
    subscribe(session, topic) {
      const topics = bySession.get(session) ?? new Set<string>()
      if (!topics.has(topic) && topics.size >= TOPICS_PER_SESSION_MAX) {
        throw new HubError('limit_exceeded', `a session subscribes to at most ${TOPICS_PER_SESSION_MAX} topics`)
      }
      bySession.set(session, topics.add(topic))
    },
    subscribers: (topic) => [...bySession].filter(([, topics]) => topics.has(topic)).map(([session]) => session),
    isSubscribed: (session, topic) => bySession.get(session)?.has(topic) === true,
    keepOnly(test) {
      for (const [session, topics] of bySession)
        for (const topic of topics) if (!test(session, topic)) topics.delete(topic)
    },
    forget: (session) => void bySession.delete(session),
  }
}
