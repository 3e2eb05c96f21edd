/** Collects the facts of a round. It decides nothing and throws nothing: what could not be learned is a fact too. */
import { createPublicKey, type KeyObject } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import type { Clock } from '../base/clock.ts'
import { canonicalText, macHex, sameHex } from '../base/digest.ts'
import type { Container } from '../judge/containers.ts'
import type { Facts, Ledger } from '../judge/facts.ts'
import { isSession, type Lease } from '../judge/lease.ts'
import type { Engine } from './engine.ts'
import type { HubLine } from './hub-line.ts'

/** The public key of the checkpoints, or null if it is missing or not an Ed25519 key. */
export function readCheckpointKey(file: string): KeyObject | null {
  try {
    const key = createPublicKey(readFileSync(file, 'utf8'))
    return key.asymmetricKeyType === 'ed25519' ? key : null
  } catch {
    return null
  }
}

export type Observe = (lease: Lease, own: Facts['own']) => Promise<Facts>

/**
 * The observer of one home. Containers are listed before the hub is asked, so that a new session cannot look like an orphan. Afterwards
 * it looks once more for a container without a session, so that one that ended with its session does not look like an orphan either: this
 * process may have been paused in between.
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

const BYTES_MAX = 4 * 1024 * 1024

/**
 * Reads `ledger.json`, the hub's list of live sessions, which counts when the hub does not answer. Only a whole document of our instance
 * with a right MAC counts (T92, S1-24). Missing and damaged are different facts, and neither kills.
 */
export function readLedger(file: string, key: Buffer, instance: string): Ledger {
  let text: string
  try {
    if (statSync(file).size > BYTES_MAX) return { kind: 'damaged', reason: 'it is too large' }
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { kind: 'missing' }
    return { kind: 'damaged', reason: (error as Error).message }
  }
  return parseLedger(text, key, instance)
}

/** Judges the text of a ledger. Pure. */
export function parseLedger(text: string, key: Buffer, instance: string): Ledger {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { kind: 'damaged', reason: 'it is not JSON' }
  }
  if (typeof value !== 'object' || value === null) return { kind: 'damaged', reason: 'it is not an object' }
  const { mac, ...body } = value as Record<string, unknown>
  if (typeof mac !== 'string' || !sameHex(mac, macHex(key, '', canonicalText(body)))) {
    return { kind: 'damaged', reason: 'its MAC is wrong' }
  }
  if (body.version !== 1) return { kind: 'damaged', reason: 'its version is unknown' }
  if (body.instance !== instance) return { kind: 'damaged', reason: 'it belongs to another instance' }
  const sessions = body.sessions
  if (!Array.isArray(sessions) || !sessions.every(isSession))
    return { kind: 'damaged', reason: 'its sessions are malformed' }
  return { kind: 'read', sessions }
}
