/** Alerts over a real database with channels that a test plays; time is a fake clock. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { viewOf } from '../../hub/base/live.ts'
import { createRedaction } from '../../hub/base/redaction.ts'
import { silentLog } from '../../hub/base/telemetry.ts'
import { createAlerting } from '../../hub/guard/alerts/build.ts'
import { createDelivery } from '../../hub/guard/alerts/delivery.ts'
import type { Message, Send } from '../../hub/guard/alerts/message.ts'
import { alertsShape } from '../../hub/guard/alerts/settings.ts'
import { createEvents } from '../../hub/guard/events.ts'
import { createModes } from '../../hub/guard/modes.ts'
import { openStore } from '../../hub/store/database.ts'
import { createMeta } from '../../hub/store/meta.ts'
import { migrate, shippedMigrations } from '../../hub/store/migrations.ts'
import { createFakeClock } from './fake-clock.ts'
import { createSeededRandom } from './seeded-random.ts'

/** What a played channel got, and how it behaves: `taken`, or fails with a text, or never answers, or refuses one cause alone. */
export interface PlayedChannel {
  got: Message[]
  tries: number
  behave: 'taken' | 'hangs' | { fails: string } | { refuses: string }
}

type TailOf<List extends unknown[]> = List extends [unknown, ...infer Tail] ? Tail : never

export function openAlertHome(settings: unknown, startWallMs?: number) {
  const folder = mkdtempSync(join(tmpdir(), 'al-'))
  const clock = createFakeClock(startWallMs)
  const random = createSeededRandom(folder)
  const played = new Map<string, PlayedChannel>()
  const channel = (name: string): PlayedChannel => {
    const known = played.get(name) ?? { got: [], tries: 0, behave: 'taken' as const }
    played.set(name, known)
    return known
  }

  function open(given: unknown) {
    let inForce = alertsShape.parse(given)
    const read = viewOf(() => inForce)
    const store = openStore(join(folder, 'hub.db'))
    migrate(store, shippedMigrations(), clock.wallMs(), () => undefined)
    const modes = createModes({ store, clock })
    const events = createEvents('test', clock)
    const alerting = createAlerting(
      { settings: read },
      {
        store,
        modes,
        events,
        clock,
        steadyMs: clock.wallMs,
        meta: createMeta(store),
        random,
        log: silentLog(),
        redaction: createRedaction(),
      },
    )
    modes.onChange(alerting.alertWatch.modeChanged)
    const sends = () =>
      new Map(
        (read.channels ?? []).map(({ name }): [string, Send] => [
          name,
          async (message) => {
            const mine = channel(name)
            mine.tries += 1
            if (mine.behave === 'hangs') return new Promise(() => undefined)
            if (mine.behave !== 'taken' && 'fails' in mine.behave) throw new Error(mine.behave.fails)
            if (mine.behave !== 'taken' && mine.behave.refuses === message.cause) throw new Error('refused')
            mine.got.push(message)
            return 'taken'
          },
        ]),
      )
    const facts = () => ({
      nowMs: clock.wallMs(),
      zone: 'Europe/Berlin',
      instance: 'test',
      mode: modes.current(),
      audit: { size: 7, head: 'a'.repeat(64) },
    })
    const { alerts, outbox, alertWatch: watch, alertRows: rows } = alerting
    const delivery = createDelivery(
      { settings: read },
      { alerts, outbox, sends, facts, clock, random, log: silentLog() },
    )
    const change = (again: unknown) => {
      inForce = alertsShape.parse(again)
      outbox.channelsChanged()
      delivery.channelsChanged()
    }
    // What is told does not depend on the kind, so these tests name causes as they like.
    const anyCause = alerts as Omit<typeof alerts, 'raise'> & {
      raise(cause: string, ...rest: TailOf<Parameters<typeof alerts.raise>>): void
    }
    return { store, modes, events, alerts: anyCause, outbox, watch, rows, delivery, change }
  }

  let now = open(settings)
  return {
    clock,
    channel,
    get parts() {
      return now
    },
    /** One look at everything each second (or `stepMs`), for so long. */
    async run(ms: number, stepMs = 1000) {
      for (let left = ms; left > 0; left -= stepMs) {
        now.watch.tick()
        now.alerts.tick()
        now.delivery.round()
        await clock.advance(Math.min(stepMs, left))
      }
    },
    /** The settings change while it runs. */
    change: (again: unknown) => now.change(again),
    reopen(again: unknown = settings) {
      now.delivery.stop()
      now.store.close()
      now = open(again)
      return now
    },
    [Symbol.dispose]() {
      now.delivery.stop()
      now.store.close()
      rmSync(folder, { recursive: true })
    },
  }
}
export type AlertHome = ReturnType<typeof openAlertHome>
