/**
 * Single use, across restarts (T9, T15, S1-14). A row per nonce of a signed request and per token id of a session opening.
 *
 * N1. A full table refuses new nonces; a live one is never evicted (X3).
 * N2. Rows are kept and purged by a persisted clock of their own, the horizon, which advances by elapsed boot time and stands still
 *     while the hub is down. No step of the wall clock brings a purge forward (T71, T72).
 * N3. A reserved nonce can be burned only by the request that reserved it.
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { Store } from '../../store/database.ts'
import type { Meta } from '../../store/meta.ts'

/** A nonce is kept this much longer than its request's window. */
export const NONCE_KEEP_MS = 60_000

export interface Nonce {
  scope: string
  value: string
  /** By the wall clock; only the time left when the nonce is burned counts. */
  expiresAtMs: number
}

export interface Nonces {
  /** Burns it in the open transaction. Throws `nonce_used`, or `rate_limited` when the table is full. */
  burn(nonce: Nonce): void
  /** Keeps it in memory for a request that may end without an effect (an empty receive); the same object may still be burned. */
  reserve(nonce: Nonce): void
  /** Removes what has expired by the horizon; answers how many. */
  purge(): number
  size(): number
}

export function createNonces(options: { rowsMax: number }, parts: { store: Store; meta: Meta; clock: Clock }): Nonces {
  const { store, meta, clock } = parts
  const insert = store.prepare('insert or ignore into nonce values (?, ?, ?)')
  const find = store.prepare('select 1 from nonce where scope = ? and value = ?')
  const count = store.prepare('select count(*) from nonce').pluck()
  let rows = count.get() as number
  /** In the order of reservation. */
  const reserved = new Map<string, { nonce: Nonce; untilMs: number }>()
  const startMs = Number(meta.get('nonce_horizon_ms') ?? clock.wallMs())
  const startBootMs = clock.bootMs()
  meta.set('nonce_horizon_ms', String(startMs))
  const horizonMs = () => startMs + clock.bootMs() - startBootMs
  const keptUntilMs = (nonce: Nonce) => horizonMs() + Math.max(0, nonce.expiresAtMs - clock.wallMs())
  const keyOf = ({ scope, value }: Nonce) => `${scope}\0${value}`
  const used = () => new HubError('nonce_used')

  return {
    burn(nonce) {
      const holder = reserved.get(keyOf(nonce))
      if (holder !== undefined && holder.nonce !== nonce) throw used()
      if (rows >= options.rowsMax)
        throw new HubError('rate_limited', 'too many requests within a minute', { reason: 'the nonce table is full' })
      if (insert.run(nonce.scope, nonce.value, keptUntilMs(nonce)).changes !== 1) throw used()
      rows += 1
    },
    reserve(nonce) {
      // Only from the front, so that a flood costs no scan: an entry behind one that lives a little longer waits for it.
      for (const [key, { untilMs }] of reserved) {
        if (untilMs >= horizonMs()) break
        reserved.delete(key)
      }
      if (reserved.has(keyOf(nonce)) || find.get(nonce.scope, nonce.value) !== undefined) throw used()
      if (reserved.size >= options.rowsMax)
        throw new HubError('rate_limited', 'too many requests within a minute', { reason: 'the nonce reserve is full' })
      reserved.set(keyOf(nonce), { nonce, untilMs: keptUntilMs(nonce) })
    },
    purge() {
      return store.transaction(() => {
        meta.set('nonce_horizon_ms', String(horizonMs()))
        const { changes } = store.prepare('delete from nonce where expires_at_ms < ?').run(horizonMs())
        rows = count.get() as number
        return changes
      })
    },
    size: () => rows,
  }
}
