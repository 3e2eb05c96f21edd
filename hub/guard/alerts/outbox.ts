/**
 * The outbox: what each channel has still to tell. Lines are rows, written together with their alert, so a crash loses none; what a crash
 * interrupts is told again under the same id (at least once).
 *
 * O1. At most `WAITING_MAX` lines wait for one channel. Beyond that a warning is not kept for it and is counted; a critical one takes the
 *     place of the oldest that is not. Either way the alert itself stands in the list, and the channel is said to be full.
 * O2. Critical first, then in the order they came; of one alert never a later event before an earlier.
 */
import type { Clock } from '../../base/clock.ts'
import { newUuid, type Random } from '../../base/random.ts'
import type { Alert, Delivery } from './alert.ts'
import { deliveryMachine } from './alert.ts'
import type { Telling } from './alerts.ts'
import { channelsFor, mayGo } from './routing.ts'
import type { AlertRows } from './rows.ts'
import type { ChannelSettings } from './settings.ts'

export const WAITING_MAX = 500

export interface Line {
  readonly delivery: Delivery
  readonly alert: Alert
}
export type Outcome =
  | { state: 'sent' }
  /** Tried and not taken; it waits for the next try. */
  | { state: 'raised'; detail: string }
  | { state: 'given_up'; detail: string }

export interface Outbox {
  /** The lines of one event, to be written together with its alert. */
  divide(telling: Telling): readonly Delivery[]
  /** What this channel should be tried with now. */
  next(channel: ChannelSettings, quiet: boolean): Line | undefined
  /** Writes down how a try went; answers the line as it stands, or undefined when it is not waiting any more. */
  settle(id: string, outcome: Outcome): Delivery | undefined
  waitingFor(channel: string): number
  /** Whether other channels still have to tell of this alert. */
  isWaiting(alert: string): boolean
  /** Lines not kept since the last call, by channel (O1). */
  takeDropped(): ReadonlyMap<string, number>
}

export function createOutbox(
  options: { channels: readonly ChannelSettings[] },
  parts: { rows: AlertRows; clock: Clock; random: Random },
): Outbox {
  const { channels } = options
  const { rows, clock, random } = parts
  /** By id, in the order they came. */
  const waiting = new Map<string, Line>()
  let dropped = new Map<string, number>()
  load()

  function load(): void {
    const names = new Set(channels.map(({ name }) => name))
    const gone: Delivery[] = []
    for (const delivery of rows.waiting()) {
      const alert = rows.find(delivery.alert)
      if (alert === undefined || !names.has(delivery.channel))
        gone.push(ended(delivery, 'given_up', 'the channel is not configured any more'))
      else waiting.set(delivery.id, { delivery, alert })
    }
    if (gone.length > 0) rows.keep(gone)
  }

  function ended(delivery: Delivery, state: 'sent' | 'given_up', detail: string): Delivery {
    deliveryMachine.require(delivery.state, state)
    return { ...delivery, state, detail: detail.slice(0, 300), endedAtMs: clock.wallMs() }
  }

  const linesOf = (channel: string) => [...waiting.values()].filter(({ delivery }) => delivery.channel === channel)

  /** Makes room for one more line; answers what had to go, or null when this one has no room. */
  function makeRoom(channel: string, critical: boolean): Delivery[] | null {
    const lines = linesOf(channel)
    if (lines.length < WAITING_MAX) return []
    dropped.set(channel, (dropped.get(channel) ?? 0) + 1)
    const oldest = critical ? lines.find(({ delivery }) => delivery.severity !== 'critical') : undefined
    if (oldest === undefined) return null
    waiting.delete(oldest.delivery.id)
    return [ended(oldest.delivery, 'given_up', `more than ${WAITING_MAX} lines were waiting`)]
  }

  return {
    divide({ alert, event, text }) {
      const changed: Delivery[] = []
      // What already waits of this alert goes with it: it must not come after what is said now.
      for (const { delivery } of [...waiting.values()]) {
        if (delivery.alert !== alert.id) continue
        const along = { ...delivery, severity: alert.severity }
        waiting.set(delivery.id, { delivery: along, alert })
        if (along.severity !== delivery.severity) changed.push(along)
      }
      for (const { name } of channelsFor(channels, alert)) {
        const gone = makeRoom(name, alert.severity === 'critical')
        if (gone === null) continue
        const delivery: Delivery = {
          id: newUuid(random, clock.wallMs()),
          alert: alert.id,
          channel: name,
          event,
          severity: alert.severity,
          text,
          state: 'raised',
          tries: 0,
          createdAtMs: clock.wallMs(),
          endedAtMs: null,
          detail: '',
        }
        waiting.set(delivery.id, { delivery, alert })
        changed.push(...gone, delivery)
      }
      return changed
    },
    next({ name, kind }, quiet) {
      const lines = linesOf(name).filter(({ delivery }) => mayGo(kind, delivery.severity, delivery.event, quiet))
      return lines.find(({ delivery }) => delivery.severity === 'critical') ?? lines[0]
    },
    settle(id, outcome) {
      const line = waiting.get(id)
      if (line === undefined) return undefined
      const tried = { ...line.delivery, tries: line.delivery.tries + 1 }
      if (outcome.state === 'raised') {
        const kept = { ...tried, detail: outcome.detail.slice(0, 300) }
        waiting.set(id, { ...line, delivery: kept })
        rows.keep([kept])
        return kept
      }
      waiting.delete(id)
      const done = ended(tried, outcome.state, outcome.state === 'sent' ? '' : outcome.detail)
      rows.keep([done])
      return done
    },
    waitingFor: (channel) => linesOf(channel).length,
    isWaiting: (alert) => [...waiting.values()].some(({ delivery }) => delivery.alert === alert),
    takeDropped() {
      const taken = dropped
      dropped = new Map()
      return taken
    },
  }
}
