/** The feed of facts: numbered, kept in a bounded ring so that a late subscriber may resume from a sequence (S0-7). Nothing can be changed through it. */
import type { Clock } from '../base/clock.ts'
import type { EventType, HubEvent } from '../protocol/events.ts'

const RING_MAX = 4096
/** Of the ring (fault F6): beyond it a late subscriber hears that it lost some. */
export const RING_BYTES_MAX = 16 * 1024 ** 2
/** What an event costs beside the texts in it. */
const OVERHEAD_BYTES = 512

/** Two bytes for each character of a text, as where one of them needs them. */
const bytesOf = ({ data, subject }: HubEvent): number =>
  Object.values(data).reduce<number>(
    (sum, value) => sum + (typeof value === 'string' ? 2 * value.length : 0),
    OVERHEAD_BYTES + 2 * subject.length,
  )

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
  let bytes = 0
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
      bytes += bytesOf(event)
      while (ring.length > RING_MAX || bytes > RING_BYTES_MAX) {
        const gone = ring.shift()
        if (gone === undefined) break
        bytes -= bytesOf(gone)
      }
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
