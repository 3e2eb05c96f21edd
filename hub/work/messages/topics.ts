/** Who subscribed to what, per session, in memory; subscribing was decided by policy before it comes here. */
import { HubError } from '../../base/errors.ts'

const TOPICS_PER_SESSION_MAX = 64

export interface Topics {
  subscribe(session: string, topic: string): void
  subscribers(topic: string): string[]
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
    forget: (session) => void bySession.delete(session),
  }
}
