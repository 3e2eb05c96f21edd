/** The whole watch over a real home with a fake clock, engine and hub, and channels that keep what they are handed: for stories of alerts. */
import { readFileSync } from 'node:fs'
import { createActs } from '../../watchdog/act/act.ts'
import { initState, openState } from '../../watchdog/act/state-file.ts'
import { pathsOf } from '../../watchdog/base/home.ts'
import { parseConfig } from '../../watchdog/config/config.ts'
import type { Heard, Session } from '../../watchdog/judge/lease.ts'
import { firstState, type State } from '../../watchdog/judge/state.ts'
import type { Confirmed, HubLine } from '../../watchdog/observe/hub-line.ts'
import { createObserve } from '../../watchdog/observe/observe.ts'
import { type Alerts, type AnyParcel, createAlerts } from '../../watchdog/tell/alerts.ts'
import type { Letter } from '../../watchdog/tell/channels/letter.ts'
import { openOutbox } from '../../watchdog/tell/outbox.ts'
import { createWatch } from '../../watchdog/watch/watch.ts'
import { createFakeEngine, createSteerableClock, INSTANCE, KEY, makeAnswer, makeHome } from './watchdog-home.ts'

export interface Got {
  readonly channel: string
  readonly letter: Letter
}

/** `refuses`: labels of channels that take nothing. `of`: the hub whose log it witnesses, where there is one. */
export function watchScene(config: object = {}, of: { instance?: string; checkpointKey?: string } = {}) {
  const home = makeHome(config)
  const { instance = INSTANCE } = of
  const paths = {
    ...pathsOf(home.home),
    ...(of.checkpointKey === undefined ? {} : { checkpointKey: of.checkpointKey }),
  }
  const clock = createSteerableClock()
  const engine = createFakeEngine()
  const got: Got[] = []
  /** Rounds after which the outside is pinged, and whether the disk takes the state. */
  const judged = { well: 0 }
  const disk = { full: false }
  const refuses = new Set<string>()
  const hub = {
    sessions: [] as Session[],
    /** What the hub answers to a lease; replaced by a test. */
    answer: undefined as ((demand: string, conditions: readonly string[]) => Heard) | undefined,
    stop: (): readonly Confirmed[] | null => [],
  }
  const line: HubLine = {
    async lease(lease): Promise<Heard> {
      if (hub.answer) return hub.answer(lease.demand, lease.conditions)
      // An obedient hub.
      return { kind: 'answer', answer: makeAnswer({ sessions: hub.sessions, mode: lease.demand }) }
    },
    shutdown: async () => hub.stop(),
  }
  initState(paths.state, firstState(clock.read(), instance))
  const settings = parseConfig(config ?? {})
  /** `dies`: from now on a round ends as kill -9 would end it after telling and before the state is written. */
  const start = (dies: { now: boolean } = { now: false }) => {
    const file = openState(paths.state, clock.read().wallMs)
    if (file.found === null) throw new Error('no state')
    const woken = { ...file.found, epoch: file.found.epoch + 1 }
    const observe = createObserve(
      { ledger: paths.ledger, checkpointKey: paths.checkpointKey, key: KEY, instance },
      { clock, engine, hub: line },
    )
    let opened = 0
    const alerts = createAlerts(
      { file: paths.alerts, instance, config: settings },
      {
        clock,
        outbox: openOutbox<AnyParcel>(paths.outbox, clock.read().wallMs),
        openPost(channel) {
          const person = opened < settings.channels.filter(({ kind }) => kind !== 'file').length ? 'O' : 'C'
          opened += 1
          const label = `${person} ${channel.kind}`
          return {
            label,
            kind: channel.kind,
            loud: channel.kind === 'push',
            deadlineMs: 5_000,
            async deliver(letter) {
              if (refuses.has(label)) throw new Error('refused')
              got.push({ channel: label, letter })
            },
          }
        },
      },
    )
    const first = alerts.recover(woken)
    file.save(first)
    const acts = createActs(settings, { clock, engine, hub: line })
    const log = { info() {}, warn() {} }
    const mortal = {
      ...file,
      save(state: State) {
        if (disk.full) throw new Error('no space left on device')
        if (!dies.now) file.save(state)
      },
    }
    const killed: Alerts = {
      ...alerts,
      turn(lineMs) {
        if (dies.now) throw new Error('killed')
        alerts.turn(lineMs)
      },
    }
    const judgedWell = () => {
      judged.well += 1
    }
    const watch = createWatch(
      { config: settings, evidence: paths.evidence, checkpointKey: paths.checkpointKey, first },
      { clock, file: mortal, observe, acts, alerts: killed, log, judgedWell },
    )
    return { file, alerts, watch }
  }
  const file = () => {
    try {
      return readFileSync(paths.alerts, 'utf8').trim().split('\n')
    } catch {
      return []
    }
  }
  return {
    paths,
    checkpointKey: home.checkpointKey,
    judged,
    disk,
    clock,
    engine,
    hub,
    refuses,
    start,
    remove: () => home.remove(),
    /** Takes what came since: "channel: subject". */
    came: (person: 'O' | 'C') => {
      const mine = got.filter(({ channel }) => channel.startsWith(person))
      for (const one of mine) got.splice(got.indexOf(one), 1)
      return mine.map(({ channel, letter }) => `${channel}: ${letter.subject}`)
    },
    letters: () => got.map(({ letter }) => letter),
    /** Lines of the alert file: "event finding level". */
    told: () =>
      file()
        .map((text) => JSON.parse(text) as { event: string; finding: string; level?: number })
        .map(({ event, finding, level }) => `${event} ${finding} ${level ?? ''}`.trim()),
  }
}
export type WatchScene = ReturnType<typeof watchScene>
