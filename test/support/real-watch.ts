/** The real watch over the hub of a harness: its own state and alert file, real leases over the hub's socket, an engine that shows nothing. */
import { mkdirSync } from 'node:fs'
import { createActs } from '../../watchdog/act/act.ts'
import { initState, openState } from '../../watchdog/act/state-file.ts'
import { createSystemClock } from '../../watchdog/base/clock.ts'
import { pathsOf, readKey } from '../../watchdog/base/home.ts'
import { parseConfig } from '../../watchdog/config/config.ts'
import { openDoors } from '../../watchdog/door/door.ts'
import type { StopDoorParts } from '../../watchdog/door/stop-door.ts'
import { firstState } from '../../watchdog/judge/state.ts'
import { createHubLine } from '../../watchdog/observe/hub-line.ts'
import { createObserve } from '../../watchdog/observe/observe.ts'
import { type AnyParcel, createAlerts } from '../../watchdog/tell/alerts.ts'
import { openOutbox } from '../../watchdog/tell/outbox.ts'
import { createWatch } from '../../watchdog/watch/watch.ts'
import type { Harness } from './hub-harness.ts'
import { createFakeEngine, createSteerableClock } from './watchdog-home.ts'

export interface RealWatch {
  /** One round, the hub's time moving meanwhile; answers the findings that are open after it. */
  round(): Promise<readonly string[]>
  readonly watch: ReturnType<typeof createWatch>
  close(): void
}

/** Opens it, its state new; the hub's harness should have been started without a lease of its own. */
export async function openRealWatch(h: Harness): Promise<RealWatch> {
  const paths = pathsOf(h.home)
  mkdirSync(paths.run, { recursive: true, mode: 0o700 })
  const clock = createSteerableClock()
  const { instance } = h
  const config = parseConfig({ port: 0 })
  initState(paths.state, firstState(clock.read(), instance))
  const file = openState(paths.state, clock.read().wallMs)
  if (file.found === null) throw new Error('no state')
  const key = readKey(paths.key)
  const engine = createFakeEngine()
  const hub = createHubLine({ socketPath: paths.hubSocket, key, instance, timeoutMs: 120_000 }, createSystemClock())
  const observe = createObserve(
    { ledger: paths.ledger, checkpointKey: paths.checkpointKey, key, instance },
    { clock, engine, hub },
  )
  const alerts = createAlerts(
    { file: paths.alerts, instance, config },
    {
      clock,
      outbox: openOutbox<AnyParcel>(paths.outbox, clock.read().wallMs),
      openPost: ({ kind }) => ({ label: kind, kind, loud: false, deadlineMs: 5_000, deliver: async () => {} }),
    },
  )
  const log = { info() {}, warn() {} }
  const first = alerts.recover({ ...file.found, epoch: file.found.epoch + 1 })
  const watch = createWatch(
    { config, evidence: paths.evidence, checkpointKey: paths.checkpointKey, first },
    { clock, file, observe, acts: createActs(config, { clock, engine, hub }), alerts, log },
  )
  const nothing = {} as unknown
  const doors = await openDoors(
    { socket: paths.socket, port: 0, staleMs: 1000 },
    {
      watch,
      alertTest: async () => ({ channels: [] }),
      wake: () => {},
      exit: () => {},
      contact: nothing as never,
      stop: nothing as StopDoorParts,
    },
  )
  return {
    watch,
    async round() {
      clock.move(config.intervalMs)
      await h.pumped(watch.round())
      return (watch.status().alerts as { finding: string }[]).map(({ finding }) => finding)
    },
    close() {
      doors.close()
      file.close()
    },
  }
}
