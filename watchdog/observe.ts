/** Facts only. Nothing here decides, and nothing here throws: what could not be learned is itself a fact. */
import type { Clock } from './clock.ts'
import type { Engine } from './engine.ts'
import type { Facts } from './facts.ts'
import type { HubLine, Lease } from './lease.ts'
import { readLedger } from './ledger.ts'
import { readCheckpointKey } from './witness.ts'

export type Observe = (lease: Lease, own: Facts['own']) => Promise<Facts>

/** The observer of one home. Containers are listed before the hub is asked, so that no fresh session can look like an orphan. */
export function createObserve(
  options: { ledger: string; checkpointKey: string; key: Buffer; instance: string },
  parts: { clock: Clock; engine: Engine; hub: HubLine },
): Observe {
  return async (lease, own) => {
    const containers: Facts['containers'] = await parts.engine.list().then(
      (list) => ({ kind: 'listed', list }),
      (error: Error) => ({ kind: 'failed', reason: error.message }),
    )
    const heard = await parts.hub.lease(lease)
    const ledger = readLedger(options.ledger, options.key, options.instance)
    return {
      now: parts.clock.read(),
      containers,
      heard,
      ledger,
      checkpointKey: readCheckpointKey(options.checkpointKey),
      own,
    }
  }
}
