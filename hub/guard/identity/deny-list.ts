/**
 * Single tokens that are refused before they expire, while their session goes on (S1-45). A session's own end needs no list: its
 * generation ends all of its tokens at once.
 *
 * D1. An entry counts in memory at once, even while the table cannot be written; every verification asks the memory.
 * D2. An entry goes only when its time is over by the wall clock and by elapsed time: no step of the wall clock revives a token (T71).
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { Store } from '../../store/database.ts'
import { assertStopGrant, type StopGrant } from '../grant.ts'
import { CLOCK_SKEW_MS } from './clock-skew.ts'
import { TOKEN_LIFE_MS } from './tokens.ts'

/** No token verifies longer than this from now on. */
const KEEP_MS = TOKEN_LIFE_MS + CLOCK_SKEW_MS
const DENIED_MAX = 10_000

export interface DenyList {
  has(jti: string): boolean
  /** Refuses this token id from now on. Throws `limit_exceeded` when too many are listed: end their sessions instead. */
  deny(grant: StopGrant, jti: string): void
  /** Forgets what has ended; answers how many. */
  purge(): number
}

export function createDenyList(parts: { store: Store; clock: Clock }): DenyList {
  const { store, clock } = parts
  const untilBootMs = () => clock.bootMs() + KEEP_MS
  const rows = store.prepare('select jti, expires_at_ms as expiresAtMs from denied_token').all() as {
    jti: string
    expiresAtMs: number
  }[]
  const listed = new Map(rows.map(({ jti, expiresAtMs }) => [jti, { expiresAtMs, untilBootMs: untilBootMs() }]))

  return {
    has: (jti) => listed.has(jti),
    deny(grant, jti) {
      assertStopGrant(grant, 'session.revoke')
      if (listed.size >= DENIED_MAX)
        throw new HubError('limit_exceeded', `${DENIED_MAX} tokens are listed; stop their sessions instead`)
      const expiresAtMs = clock.wallMs() + KEEP_MS
      listed.set(jti, { expiresAtMs, untilBootMs: untilBootMs() })
      // Outside a transaction the store is failing; then the memory has to do until it recovers (I6).
      if (store.inTransaction) store.prepare('insert or replace into denied_token values (?, ?)').run(jti, expiresAtMs)
    },
    purge() {
      const over = [...listed].filter(
        ([, entry]) => entry.expiresAtMs <= clock.wallMs() && entry.untilBootMs <= clock.bootMs(),
      )
      if (over.length === 0) return 0
      store.transaction(() => {
        for (const [jti] of over) store.prepare('delete from denied_token where jti = ?').run(jti)
      })
      for (const [jti] of over) listed.delete(jti)
      return over.length
    },
  }
}
