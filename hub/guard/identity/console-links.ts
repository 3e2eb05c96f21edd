/**
 * One-time links to the console: the operator makes one on the socket, the page exchanges its code for a bearer (T33).
 *
 * C1. A code counts once and for five minutes of boot time; it is kept as a hash, only in memory, so a restart ends every link.
 * C2. Codes are compared in constant time, all of them, and a right one never waits for wrong ones (T17).
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import { assertGrant, type Grant } from '../grant.ts'

/** What a console will be once its link was followed. */
export interface ConsoleWish {
  name: string
  rights: string[]
  /** Counted from the exchange. */
  expiresInMs: number
}
export interface ConsoleLinks {
  /** The effect of `console.open`; the code is in the answer and nowhere else. Of more than eight open links the oldest ends. */
  make(grant: Grant, wish: ConsoleWish): { code: string; expiresAtMs: number }
  /** What the link of this code promises, or undefined; it counts until it is spent. */
  find(code: string): ConsoleWish | undefined
  spend(wish: ConsoleWish): void
  /** Names that open links will take. */
  names(): string[]
}

const LINK_LIFE_MS = 5 * 60_000
const LINKS_MAX = 8
const CODE_BYTES = 32

const hashOf = (code: string): Buffer => createHash('sha256').update('hub-console-link-v1\n').update(code).digest()

export function createConsoleLinks({ clock, random }: { clock: Clock; random: Random }): ConsoleLinks {
  let links: { hash: Buffer; wish: ConsoleWish; endsAtBootMs: number }[] = []
  const open = () => {
    links = links.filter(({ endsAtBootMs }) => clock.bootMs() < endsAtBootMs)
    return links
  }
  return {
    make(grant, wish) {
      assertGrant(grant, 'console.open')
      const code = random.bytes(CODE_BYTES).toString('base64url')
      const link = { hash: hashOf(code), wish, endsAtBootMs: clock.bootMs() + LINK_LIFE_MS }
      links = [...open(), link].slice(-LINKS_MAX)
      return { code, expiresAtMs: clock.wallMs() + LINK_LIFE_MS }
    },
    find(code) {
      const given = hashOf(code)
      let match: ConsoleWish | undefined
      for (const { hash, wish } of open()) if (timingSafeEqual(hash, given)) match = wish
      return match
    },
    spend(wish) {
      links = links.filter((link) => link.wish !== wish)
    },
    names: () => open().map(({ wish }) => wish.name),
  }
}
