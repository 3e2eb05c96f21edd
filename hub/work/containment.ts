/** Builds what is between hub and engine: the looks at the engine, its disk and users, the containers, the ledger, the sockets of sessions. */
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { Example } from '../base/meters.ts'
import type { Log } from '../base/telemetry.ts'
import { createEngineWatch } from '../guard/conditions/engine-health.ts'
import type { Guard } from '../guard/guard.ts'
import { createEngineMeters } from './meters.ts'
import { createContainers } from './sandbox/containers.ts'
import type { Engine } from './sandbox/engine.ts'
import { createEngineDiskLook } from './sandbox/engine-following.ts'
import { createEngineLooks } from './sandbox/engine-looks.ts'
import { timeEngine } from './sandbox/engine-timing.ts'
import { createLedger, readLedger } from './sandbox/ledger.ts'
import type { HostFacts } from './sandbox/profile.ts'
import { createUsersWatch } from './sandbox/shared-users.ts'
import { createSockets } from './sandbox/sockets.ts'
import { hasSwap } from './sandbox/swap.ts'

export interface ContainmentOptions {
  home: string
  instance: string
  uid: number
  /** Where the range of sessions' users begins. */
  firstUser: number
  host: HostFacts
  watchdogKey: Buffer
}

export function createContainment(
  options: ContainmentOptions,
  parts: { clock: Clock; log: Log; engine: Engine; guard: Guard },
) {
  const { home, instance, uid, firstUser, host, watchdogKey } = options
  const { clock, log, guard } = parts
  const { modes, alerts, epoch } = guard
  const meters = createEngineMeters()
  let exampleOf: (task: string) => Example | undefined = () => undefined
  const engine = timeEngine(parts.engine, {
    ...{ clock, seconds: meters.engineSeconds },
    exampleOf: (task) => exampleOf(task),
  })
  const engineWatch = createEngineWatch({ modes })
  const ledgerOptions = {
    path: join(home, 'ledger.json'),
    instance,
    epoch,
    key: watchdogKey,
    mode: modes.current(),
  }
  return {
    meters,
    /** Its calls are timed. */
    engine,
    /** Sets by what the times of a task's calls can be found. */
    findBy(of: typeof exampleOf) {
      exampleOf = of
    },
    engineWatch,
    looks: createEngineLooks({ instance }, { engine, engineWatch, alerts }),
    usersWatch: createUsersWatch({ instance, firstUser }, { engine, alerts, clock, log }),
    lookAtEngineDisk: createEngineDiskLook({
      ...{ engine, clock, engineDisk: guard.host.engineDisk },
      isAway: () => modes.has('engine_unavailable'),
    }),
    sockets: createSockets({ home, uid }),
    ledger: createLedger(ledgerOptions, { clock, entries: readLedger(ledgerOptions) }),
    containers: createContainers({ host, instance, hasSwap }, { engine, log, clock }),
  }
}
export type Containment = ReturnType<typeof createContainment>
