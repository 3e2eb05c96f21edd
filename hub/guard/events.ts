/** The feed of facts: numbered, kept in a bounded ring so that a late subscriber may resume from a sequence (S0-7). Nothing can be changed through it. */
import type { Clock } from '../base/clock.ts'
import type { EventType, HubEvent } from '../protocol/events.ts'

const RING_MAX = 4096

export interface Events {
  publish(type: EventType, subject: string, data: Record<string, unknown>): void
  /** Events after `sequence`, oldest first; `lost` when the ring no longer reaches back that far. */
  since(sequence: number): { events: HubEvent[]; lost: boolean }
  /** Hears every event from now on; the answer ends it. A listener that throws is dropped. */
  subscribe(listener: (event: HubEvent) => void): () => void
}

export function createEvents(instance: string, clock: Clock): Events {
  const ring: HubEvent[] = []
  const listeners = new Set<(event: HubEvent) => void>()
  let sequence = 0
  return {
    publish(type, subject, data) {
      sequence += 1
      const event: HubEvent = {
        specversion: '1.0',
        id: `${instance}-${sequence}`,
        sequence,
        source: `/hub/${instance}`,
        type,
        subject,
        time: new Date(clock.wallMs()).toISOString(),
        data,
      }
      ring.push(event)
      if (ring.length > RING_MAX) ring.shift()
      for (const listener of listeners) {
        try {
          listener(event)
        } catch {
          listeners.delete(listener)
        }
      }
    },
    since(after) {
      const first = ring[0]?.sequence ?? sequence + 1
      return { events: ring.filter((event) => event.sequence > after), lost: after > 0 && after < first - 1 }
    },
    subscribe(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}
