/**
 * Single use, across restarts (T9, T15, S1-14). A row per nonce of a signed request and per token id of a session opening.
 *
 * N1. A full table refuses; a live nonce is never evicted (X3).
 * N2. Rows are purged only against the persisted high-water wall clock, which a forward jump cannot drag along (T72):
 *     it advances at most by elapsed boot time plus skew.
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { Store } from '../../store/database.ts'
import type { Meta } from '../../store/meta.ts'

export const CLOCK_SKEW_MS = 30_000
/** A nonce outlives its request's window by this. */
export const NONCE_KEEP_MS = 60_000

export interface Nonces {
  /** Burns it in the open transaction. Throws `nonce_used`, or `rate_limited` when the table is full. */
  burn(nonce: { scope: string; value: string; expiresAtMs: number }): void
  /** Reserves it in memory for requests that end without an effect (an empty receive); a later `burn` of the same is refused. */
  reserve(scope: string, value: string, expiresAtMs: number): void
  release(scope: string, value: string): void
  /** Removes what has expired by the high-water clock; answers how many. */
  purge(): number
  size(): number
}

export function createNonces(options: { rowsMax: number }, parts: { store: Store; meta: Meta; clock: Clock }): Nonces {
  const { store, meta, clock } = parts
  const insert = store.prepare('insert or ignore into nonce values (?, ?, ?)')
  const find = store.prepare('select 1 from nonce where scope = ? and value = ?')
  const count = store.prepare('select count(*) from nonce').pluck()
  let rows = count.get() as number
  const reserved = new Map<string, number>()
  let mark = { wallMs: Number(meta.get('high_water_wall_ms') ?? 0), bootMs: clock.bootMs() }
  if (mark.wallMs === 0) mark = { wallMs: clock.wallMs(), bootMs: clock.bootMs() }
  const keyOf = (scope: string, value: string) => `${scope}\0${value}`
  const used = () => new HubError('nonce_used')

  return {
    burn({ scope, value, expiresAtMs }) {
      if (rows >= options.rowsMax)
        throw new HubError('rate_limited', 'too many requests within a minute', { reason: 'the nonce table is full' })
      if (insert.run(scope, value, expiresAtMs).changes !== 1) throw used()
      rows += 1
    },
    reserve(scope, value, expiresAtMs) {
      for (const [key, until] of reserved) if (until < clock.wallMs()) reserved.delete(key)
      const key = keyOf(scope, value)
      if (reserved.has(key) || find.get(scope, value) !== undefined) throw used()
      if (reserved.size >= options.rowsMax)
        throw new HubError('rate_limited', 'too many requests within a minute', { reason: 'the nonce reserve is full' })
      reserved.set(key, expiresAtMs)
    },
    release: (scope, value) => void reserved.delete(keyOf(scope, value)),
    purge() {
      const elapsedMs = clock.bootMs() - mark.bootMs
      mark = {
        wallMs: Math.max(mark.wallMs, Math.min(clock.wallMs(), mark.wallMs + elapsedMs + CLOCK_SKEW_MS)),
        bootMs: clock.bootMs(),
      }
      return store.transaction(() => {
        meta.set('high_water_wall_ms', String(mark.wallMs))
        const { changes } = store.prepare('delete from nonce where expires_at_ms < ?').run(mark.wallMs)
        rows = count.get() as number
        return changes
      })
    },
    size: () => rows,
  }
}
