/** Builds the identities: keys, tokens, nonces, the deny list, and the credentials of people. */
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Log } from '../base/telemetry.ts'
import type { Store } from '../store/database.ts'
import type { Meta } from '../store/meta.ts'
import type { Times } from './host.ts'
import { createCredentials } from './identity/credentials.ts'
import { createDenyList } from './identity/deny-list.ts'
import { createKeyRing } from './identity/key-ring.ts'
import { createNonces } from './identity/nonces.ts'
import { createTokens } from './identity/tokens.ts'

const NONCE_ROWS_MAX = 200_000

export function createIdentities(
  options: { home: string; instance: string },
  parts: { clock: Clock; times: Times; random: Random; log: Log; store: Store; meta: Meta },
) {
  const { clock, times, random, log, store, meta } = parts
  const { steady, pace } = times
  const keyRing = createKeyRing(
    { folder: join(options.home, 'keys') },
    { store, meta, clock: steady, onDropped: (what) => log.warn({ what }, 'a key rotation was cut short') },
  )
  const denyList = createDenyList({ store, clock })
  return {
    keyRing,
    denyList,
    nonces: createNonces({ rowsMax: NONCE_ROWS_MAX }, { store, meta, clock }),
    credentials: createCredentials({ store, nowMs: steady.wallMs, random }),
    tokens: createTokens({
      instance: options.instance,
      keys: keyRing,
      clock: steady,
      heldBackMs: pace.heldBackMs,
      random,
      denied: denyList.has,
    }),
  }
}
