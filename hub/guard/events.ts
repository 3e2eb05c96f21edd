/**
 * The feed of facts: numbered, kept in a bounded ring so that a late subscriber may resume from a sequence (S0-7). Nothing can be changed
 * through it.
 *
 * 1. Numbers rise over every start of the hub: each run has a range of its own, by its epoch. So an old number is never taken for a new one.
 * 2. Every listener hears every event in the order of its number, even if a listener publishes another one.
 * 3. A listener that throws misses that event and hears the next.
 * 4. No event holds a secret: `publish` masks (S1-62).
 */
import type { Clock } from '../base/clock.ts'
import { hideUnknown, type Redaction } from '../base/redaction.ts'
import type { EventData, EventType, HubEvent } from '../protocol/events.ts'

const RING_MAX = 4096
/** The ring's limit (fault F6): beyond it a late subscriber hears that it lost some. */
export const RING_BYTES_MAX = 16 * 1024 ** 2
/** What an event costs beside the texts in it. */
const OVERHEAD_BYTES = 512

/** Two bytes for each character: a text that has one wide character takes that for all. */
const bytesOf = ({ data, subject }: HubEvent): number =>
  Object.values(data).reduce<number>(
    (sum, value) => sum + (typeof value === 'string' ? 2 * value.length : 0),
    OVERHEAD_BYTES + 2 * subject.length,
  )

/** More than a run can publish; nine million runs fit into a whole number of JSON. Decimal, so that a person reads run and ordinal from it. */
const NUMBERS_OF_A_RUN = 1_000_000_000
/** As `since`: only events from now on. */
export const FROM_NOW = Number.MAX_SAFE_INTEGER

export interface Events {
  publish<Type extends EventType>(type: Type, subject: string, data: EventData<Type>): void
  /**
   * Events after `sequence`, oldest first. `lost`: the ring does not reach back that far, or the number is not of this run, such as one of
   * an earlier run or of a database from before a restore.
   */
  since(sequence: number): { events: HubEvent[]; lost: boolean }
  /** Of what began after this instant (epoch ms) every event is here: when this run began, or when the newest one that is gone happened. */
  wholeAfterMs(): number
  /** Hears every event from now on; the answer ends it. */
  subscribe(listener: (event: HubEvent) => void): () => void
}

/** `run`: rises with each start. `onFault` hears of a listener that threw, once until it has heard an event well again. */
export function createEvents(
  instance: string,
  clock: Clock,
  {
    run = 0,
    onFault = () => undefined,
    redaction = hideUnknown(),
  }: { run?: number; onFault?: (thrown: unknown) => void; redaction?: Redaction } = {},
): Events {
  const ring: HubEvent[] = []
  const listeners = new Set<(event: HubEvent) => void>()
  const faulty = new WeakSet<(event: HubEvent) => void>()
  const untold: HubEvent[] = []
  let isTelling = false
  let goneMs = clock.wallMs()
  let bytes = 0
  let sequence = run * NUMBERS_OF_A_RUN

  function tell(listener: (event: HubEvent) => void, event: HubEvent): void {
    try {
      listener(event)
      faulty.delete(listener)
    } catch (thrown) {
      if (!faulty.has(listener)) onFault(thrown)
      faulty.add(listener)
    }
  }

  return {
    publish(type, subject, data) {
      sequence += 1
      const event: HubEvent = {
        specversion: '1.0',
        id: `${instance}-${sequence}`,
        sequence,
        source: `/hub/${instance}`,
        type,
        subject: redaction.text(subject),
        time: new Date(clock.wallMs()).toISOString(),
        data: redaction.value(data),
      }
      ring.push(event)
      bytes += bytesOf(event)
      while (ring.length > RING_MAX || bytes > RING_BYTES_MAX) {
        const gone = ring.shift()
        if (gone === undefined) break
        bytes -= bytesOf(gone)
        goneMs = Math.max(goneMs, Date.parse(gone.time))
      }
      untold.push(event)
      if (isTelling) return
      isTelling = true
      try {
        for (let next = untold.shift(); next !== undefined; next = untold.shift())
          for (const listener of [...listeners]) tell(listener, next)
      } finally {
        isTelling = false
      }
    },
    since(after) {
      const first = ring[0]?.sequence ?? sequence + 1
      return {
        events: ring.filter((event) => event.sequence > after || (after > sequence && after !== FROM_NOW)),
        lost: after > 0 && after !== FROM_NOW && (after < first - 1 || after > sequence),
      }
    },
    wholeAfterMs: () => goneMs,
    subscribe(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}
