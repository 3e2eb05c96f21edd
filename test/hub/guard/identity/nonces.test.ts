import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CLOCK_SKEW_MS } from '../../../../hub/guard/identity/clock-skew.ts'
import { createNonces, NONCE_KEEP_MS, type Nonces } from '../../../../hub/guard/identity/nonces.ts'
import { createMeta } from '../../../../hub/store/meta.ts'
import { type GuardHome, openGuardHome } from '../../../support/guard-home.ts'

let home: GuardHome
let nonces: Nonces
const start = (rowsMax = 100) => {
  const { store } = home.guard
  nonces = createNonces({ rowsMax }, { store, meta: createMeta(store), clock: home.clock })
}
beforeEach(() => {
  home = openGuardHome()
  start()
})
afterEach(() => home[Symbol.dispose]())

const KEPT_MS = CLOCK_SKEW_MS + NONCE_KEEP_MS
const nonce = (value: string, scope = 's1') => ({ scope, value, expiresAtMs: home.clock.wallMs() + KEPT_MS })
const burn = (one: ReturnType<typeof nonce>) => home.guard.store.transaction(() => nonces.burn(one))
const used = expect.objectContaining({ code: 'nonce_used' })
const full = expect.objectContaining({ code: 'rate_limited' })

describe('a nonce', () => {
  it('is good once in its scope', () => {
    burn(nonce('a'))
    expect(() => burn(nonce('a'))).toThrow(used)
    burn(nonce('a', 's2'))
    burn(nonce('A'))
    expect(nonces.size()).toBe(3)
  })

  it('stays used after the store was closed and opened again (S1-14)', () => {
    burn(nonce('a'))
    home.reopen()
    start()
    expect(nonces.size()).toBe(1)
    expect(() => burn(nonce('a'))).toThrow(used)
  })

  it('is free again only if the transaction that burned it did not commit', () => {
    const one = nonce('a')
    expect(() =>
      home.guard.store.transaction(() => {
        nonces.burn(one)
        throw new Error('no')
      }),
    ).toThrow('no')
    burn(one)
  })

  it('is refused when the table is full, and none is ever put out for it (T15, X3)', () => {
    start(3)
    for (const value of ['a', 'b', 'c']) burn(nonce(value))
    expect(() => burn(nonce('d'))).toThrow(full)
    expect(() => burn(nonce('a'))).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/nonce_used|rate_limited/) }),
    )
    expect(nonces.size()).toBe(3)
    start(4)
    for (const value of ['a', 'b', 'c']) expect(() => burn(nonce(value))).toThrow(used)
  })

  it('is kept to the last millisecond of its window and its keeping time, and not longer (X3)', async () => {
    burn(nonce('a'))
    for (const untilMs of [CLOCK_SKEW_MS - 1, 1, 1, NONCE_KEEP_MS - 1]) {
      await home.clock.advance(untilMs)
      nonces.purge()
      expect(() => burn(nonce('a'))).toThrow(used)
    }
    await home.clock.advance(1)
    expect(nonces.purge()).toBe(1)
    expect(nonces.size()).toBe(0)
    burn(nonce('a'))
  })

  it('makes room in a full table once it has expired', async () => {
    start(1)
    burn(nonce('a'))
    await home.clock.advance(KEPT_MS + 1)
    expect(() => burn(nonce('b'))).toThrow(full)
    nonces.purge()
    burn(nonce('b'))
  })
})

describe('purging', () => {
  it('takes nothing early though the wall clock jumps ten years and back, looked at a hundred times (T72) [clock-14]', async () => {
    burn(nonce('a'))
    home.clock.stepWall(10 * 365 * 86_400_000)
    for (let round = 0; round < 100; round += 1) expect(nonces.purge()).toBe(0)
    for (let round = 0; round < 5; round += 1) {
      await home.clock.advance(15_000)
      expect(nonces.purge()).toBe(0)
    }
    home.clock.stepWall(-10 * 365 * 86_400_000)
    expect(() => burn(nonce('a'))).toThrow(used)
  })

  it('takes nothing early because of a restart after a jump, and no time passes while the hub is down (T72) [clock-7, clock-14]', async () => {
    burn(nonce('a'))
    home.clock.stepWall(86_400_000)
    home.reopen()
    start()
    expect(nonces.purge()).toBe(0)
    home.clock.stepWall(-86_400_000)
    expect(() => burn(nonce('a'))).toThrow(used)
    await home.clock.advance(KEPT_MS + 1)
    expect(nonces.purge()).toBe(1)
  })

  it('is not put off by a wall clock that was set back or set right (T71)', async () => {
    for (const step of [-86_400_000, 86_400_000, 365 * 86_400_000]) {
      home.clock.stepWall(step)
      burn(nonce(`at ${step}`))
      await home.clock.advance(KEPT_MS)
      expect(nonces.purge()).toBe(0)
      await home.clock.advance(1)
      expect(nonces.purge()).toBe(1)
    }
  })

  it('counts time in suspend', () => {
    burn(nonce('a'))
    home.clock.suspend(KEPT_MS + 1)
    expect(nonces.purge()).toBe(1)
  })
})

describe('a reserved nonce', () => {
  it('is refused to a second reservation and to any other request, and burned by its own', () => {
    const mine = nonce('a')
    nonces.reserve(mine)
    expect(() => nonces.reserve(nonce('a'))).toThrow(used)
    expect(() => burn(nonce('a'))).toThrow(used)
    burn(mine)
    expect(() => nonces.reserve(nonce('a'))).toThrow(used)
  })

  it('cannot be had when it was burned before', () => {
    burn(nonce('a'))
    expect(() => nonces.reserve(nonce('a'))).toThrow(used)
  })

  it('is forgotten after its time by the boot clock, whatever the wall clock says', async () => {
    nonces.reserve(nonce('a'))
    home.clock.stepWall(86_400_000)
    nonces.reserve(nonce('b'))
    home.clock.stepWall(-86_400_000)
    expect(() => nonces.reserve(nonce('a'))).toThrow(used)
    await home.clock.advance(KEPT_MS + 1)
    nonces.reserve(nonce('a'))
  })

  it('is refused when the reserve is full (T15)', () => {
    start(2)
    nonces.reserve(nonce('a'))
    nonces.reserve(nonce('b'))
    expect(() => nonces.reserve(nonce('c'))).toThrow(full)
  })
})
