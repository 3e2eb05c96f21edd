/** The state that a watchdog begins with: the first one of a home, and the one of each start. */
import { initState } from '../act/state-file.ts'
import { readStopOrder } from '../act/stop-order.ts'
import type { Clock } from '../base/clock.ts'
import { type Paths, privateFolder, readInstance, StartError } from '../base/home.ts'
import { firstState, type State } from '../judge/state.ts'
import { planStop } from '../judge/stops.ts'
import { lostPresence } from '../judge/timeline.ts'
import { openOutbox } from '../tell/outbox.ts'

/** Writes the watchdog's first files, once per home. Returns the instance that they belong to. @throws StartError */
export function initHome(paths: Paths, clock: Clock): string {
  const instance = readInstance(paths.instance)
  privateFolder(paths.own)
  privateFolder(paths.run)
  initState(paths.state, firstState(clock.read(), instance))
  openOutbox(paths.outbox, clock.read().wallMs).close()
  return instance
}

/** The state to start with: a new epoch; safe if the memory was lost; stopped if an order to stop was left in the home. */
export function stateAtStart(paths: Paths, kept: State | null, instance: string, clock: Clock): State {
  const found = kept ?? { ...firstState(clock.read(), instance), presence: lostPresence(), lost: true }
  if (found.instance !== instance)
    throw new StartError(
      `${paths.state} belongs to instance ${found.instance}, but ${paths.instance} says ${instance}; write it back: echo ${found.instance} > ${paths.instance}`,
    )
  const order = readStopOrder(paths.stopOrder)
  const woken: State = { ...found, epoch: found.epoch + 1 }
  return order === null || woken.emergency !== null ? woken : planStop(woken, order.by, order.reason)
}
