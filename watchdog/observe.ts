/** Facts only. Nothing here decides, and nothing here throws: what could not be learned is itself a fact. */
import type { Clock } from './clock.ts'
import type { Container, Engine } from './engine.ts'
import type { Facts } from './facts.ts'
import type { HubLine, Lease } from './lease.ts'
import { readLedger } from './ledger.ts'
import { readCheckpointKey } from './witness.ts'

export type Observe = (lease: Lease, own: Facts['own']) => Promise<Facts>

/**
 * The observer of one home. Containers are listed before the hub is asked, so that no fresh session can look like an orphan; one without a
 * session is looked for once more afterwards, so that one that went meanwhile, with its session, cannot either: this process may have
 * been stopped or starved in between.
 */
export function createObserve(
  options: { ledger: string; checkpointKey: string; key: Buffer; instance: string },
  parts: { clock: Clock; engine: Engine; hub: HubLine },
): Observe {
  async function stillThere(list: readonly Container[]): Promise<readonly Container[]> {
    try {
      const left = new Set((await parts.engine.list()).map(({ id }) => id))
      return list.filter(({ id }) => left.has(id))
    } catch {
      return list
    }
  }

  return async (lease, own) => {
    const listed: Facts['containers'] = await parts.engine.list().then(
      (list) => ({ kind: 'listed', list }),
      (error: Error) => ({ kind: 'failed', reason: error.message }),
    )
    const heard = await parts.hub.lease(lease)
    const ledger = readLedger(options.ledger, options.key, options.instance)
    const sessions = heard.kind === 'answer' ? heard.answer.sessions : ledger.kind === 'read' ? ledger.sessions : []
    const known = new Set(sessions.map(({ session }) => session))
    const isKnown = ({ labels }: Container) => known.has(labels['hub.session'] ?? '')
    const containers: Facts['containers'] =
      listed.kind === 'failed' || listed.list.every(isKnown)
        ? listed
        : { kind: 'listed', list: await stillThere(listed.list) }
    return {
      now: parts.clock.read(),
      containers,
      disagreement: parts.engine.disagreement(),
      heard,
      ledger,
      checkpointKey: readCheckpointKey(options.checkpointKey),
      own,
    }
  }
}
