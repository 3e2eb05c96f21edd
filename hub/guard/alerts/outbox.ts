/**
 * The outbox: what each channel has still to tell. Lines are rows, written together with their alert, so a crash loses none; what a crash
 * interrupts is told again under the same id (at least once).
 *
 * O1. At most `WAITING_MAX` lines wait for one channel. Beyond that a warning is dropped for this channel and counted; a critical line
 *     replaces the oldest that is not critical. Either way the alert itself is in the list, and an alert says that the channel is full.
 * O2. Critical first, then in the order they came; events of one alert stay in their order. An alert whose line failed `TRIES_IN_FRONT`
 *     times goes behind the others, the least tried first: a message that a receiver refuses does not hold up the rest.
 * O3. Given up only by age, after `GIVE_UP_MS` of the hub's own running time: a night without internet loses nothing, and neither does a
 *     wrong clock. A restart begins the count again, which only delays.
 * O4. What is held back goes as soon as it is let go, and after `CONTAIN_MS_MAX` in any case. A restart lets it go.
 */
import type { Clock } from '../../base/clock.ts'
import { newUuid, type Random } from '../../base/random.ts'
import type { Telling } from './alerts.ts'
import type { Alert, Delivery } from './kinds.ts'
import { CONTAIN_MS_MAX, deliveryMachine } from './kinds.ts'
import { channelsFor, mayGo } from './routing.ts'
import type { AlertRows } from './rows.ts'
import type { ChannelSettings } from './settings.ts'

export const WAITING_MAX = 500
const TRIES_IN_FRONT = 3
const GIVE_UP_MS = { info: 24 * 3_600_000, warning: 24 * 3_600_000, critical: 72 * 3_600_000 } as const
/** Each is a write of its own. */
const GIVE_UP_AT_ONCE_MAX = 50

export interface Line {
  readonly delivery: Delivery
  readonly alert: Alert
  /** Monotonic instant since which it waits in this run. */
  readonly sinceMs: number
}
export type Outcome =
  | { state: 'sent' }
  /** Tried and not taken; it waits for the next try. */
  | { state: 'raised'; detail: string }

export interface Outbox {
  /** The lines of one event; the caller writes them together with the alert. */
  divide(telling: Telling): readonly Delivery[]
  /** Gives up what waits for channels that are no longer configured. */
  channelsChanged(): void
  /** What this channel should be tried with now. */
  next(channel: ChannelSettings, quiet: boolean): Line | undefined
  /** Lets no line of this alert go for now (O4). Answers a function that lets them go again. */
  holdBack(alert: string): () => void
  /** Records how a try went; answers the line as it is now, or undefined if it no longer waits. */
  settle(id: string, outcome: Outcome): Delivery | undefined
  /** Gives up what has waited too long for this channel (O3); answers some of it, the rest at the next call. */
  giveUpOld(channel: string): readonly Delivery[]
  waitingFor(channel: string): number
  /** Whether other channels still have to tell of this alert. */
  isWaiting(alert: string): boolean
  /** Lines not kept since the last call, by channel (O1). */
  takeDropped(): ReadonlyMap<string, number>
}

export function createOutbox(
  options: { channels: () => readonly ChannelSettings[] },
  parts: { rows: AlertRows; clock: Clock; random: Random },
): Outbox {
  const { channels } = options
  const { rows, clock, random } = parts
  /** By id, in the order they came. */
  const waiting = new Map<string, Line>()
  let dropped = new Map<string, number>()
  /** By alert: the monotonic instant at which it goes in any case. */
  const held = new Map<string, number>()
  load()

  function load(): void {
    const names = new Set(channels().map(({ name }) => name))
    const gone: Delivery[] = []
    for (const delivery of rows.waiting()) {
      const alert = rows.find(delivery.alert)
      if (alert === undefined || !names.has(delivery.channel))
        gone.push(ended(delivery, 'given_up', 'the channel is no longer configured'))
      else waiting.set(delivery.id, { delivery, alert, sinceMs: clock.monotonicMs() })
    }
    if (gone.length > 0) rows.keep(gone)
  }

  function ended(delivery: Delivery, state: 'sent' | 'given_up', detail: string): Delivery {
    deliveryMachine.require(delivery.state, state)
    return { ...delivery, state, detail: detail.slice(0, 300), endedAtMs: clock.wallMs() }
  }

  const isHeld = (alert: string) => clock.monotonicMs() < (held.get(alert) ?? Number.NEGATIVE_INFINITY)

  const linesOf = (channel: string) => [...waiting.values()].filter(({ delivery }) => delivery.channel === channel)

  /** Those of one channel as they go (O2). The lines of one alert have one severity and one rank, so they keep their order. */
  function inOrder(lines: readonly Line[]): readonly Line[] {
    const tries = new Map<string, number>()
    for (const { delivery } of lines)
      tries.set(delivery.alert, Math.max(delivery.tries, tries.get(delivery.alert) ?? 0))
    const behind = ({ delivery }: Line) => Math.max(0, (tries.get(delivery.alert) ?? 0) - TRIES_IN_FRONT + 1)
    const grave = ({ delivery }: Line) => (delivery.severity === 'critical' ? 0 : 1)
    return [...lines].sort((a, b) => behind(a) - behind(b) || grave(a) - grave(b))
  }

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
      // Lines of this alert that already wait are dropped too: they must not come after this one.
      for (const line of [...waiting.values()]) {
        const { delivery } = line
        if (delivery.alert !== alert.id) continue
        const along = { ...delivery, severity: alert.severity }
        waiting.set(delivery.id, { ...line, delivery: along, alert })
        if (along.severity !== delivery.severity) changed.push(along)
      }
      for (const { name } of channelsFor(channels(), alert)) {
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
        waiting.set(delivery.id, { delivery, alert, sinceMs: clock.monotonicMs() })
        changed.push(...gone, delivery)
      }
      return changed
    },
    channelsChanged() {
      const names = new Set(channels().map(({ name }) => name))
      const gone = [...waiting.values()].filter(({ delivery }) => !names.has(delivery.channel))
      for (const { delivery } of gone) waiting.delete(delivery.id)
      if (gone.length > 0)
        rows.keep(gone.map(({ delivery }) => ended(delivery, 'given_up', 'the channel is no longer configured')))
    },
    next({ name, kind }, quiet) {
      const lines = linesOf(name).filter(
        ({ delivery }) => !isHeld(delivery.alert) && mayGo(kind, delivery.severity, delivery.event, quiet),
      )
      return inOrder(lines)[0]
    },
    giveUpOld(channel) {
      const old = linesOf(channel).filter(
        ({ delivery, sinceMs }) => clock.monotonicMs() - sinceMs >= GIVE_UP_MS[delivery.severity],
      )
      const gone = old.slice(0, GIVE_UP_AT_ONCE_MAX).map(({ delivery }) => {
        waiting.delete(delivery.id)
        return ended(delivery, 'given_up', delivery.detail || 'the channel took nothing')
      })
      if (gone.length > 0) rows.keep(gone)
      return gone
    },
    holdBack(alert) {
      held.set(alert, clock.monotonicMs() + CONTAIN_MS_MAX)
      return () => void held.delete(alert)
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
      const done = ended(tried, 'sent', '')
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
