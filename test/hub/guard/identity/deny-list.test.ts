import { describe, expect, it } from 'vitest'
import { OPERATOR } from '../../../../hub/guard/principal.ts'
import { fullDiskGate, type GuardHome, openGuardHome } from '../../../support/guard-home.ts'

const deny = ({ guard }: GuardHome, jti: string, gate = guard.gate) =>
  gate.admitStop({ principal: OPERATOR, operation: 'session.revoke', resource: 'session:s' }, (grant) =>
    guard.denyList.deny(grant, jti),
  )
const rows = ({ guard }: GuardHome) => guard.store.prepare('select jti from denied_token').pluck().all()
const KEEP_MS = 330_000

describe('a denied token id (S1-45)', () => {
  it('is denied at once and after a restart, until no token of that id could be good', async () => {
    using home = openGuardHome()
    expect(home.guard.denyList.has('a')).toBe(false)
    deny(home, 'a')
    for (const how of ['at once', 'after a restart']) {
      if (how !== 'at once') home.reopen()
      expect(home.guard.denyList.has('a'), how).toBe(true)
      expect(home.guard.denyList.has('b')).toBe(false)
    }
    await home.clock.advance(KEEP_MS - 1)
    expect(home.guard.denyList.purge()).toBe(0)
    expect(home.guard.denyList.has('a')).toBe(true)
    await home.clock.advance(1)
    expect(home.guard.denyList.purge()).toBe(1)
    expect([home.guard.denyList.has('a'), rows(home)]).toEqual([false, []])
  })

  it('outlives a step of the wall clock either way (T71) [clock-12, clock-14]', async () => {
    using home = openGuardHome()
    deny(home, 'a')
    home.clock.stepWall(3_600_000)
    expect(home.guard.denyList.purge()).toBe(0)
    home.clock.stepWall(-7_200_000)
    await home.clock.advance(KEEP_MS)
    // By elapsed time it is over; by the wall clock, which judges tokens, it is not.
    expect(home.guard.denyList.purge()).toBe(0)
    expect(home.guard.denyList.has('a')).toBe(true)
  })

  it('is denied also while the database cannot be written (I6) [mode-8]', () => {
    using home = openGuardHome()
    deny(home, 'a', fullDiskGate(home))
    expect(home.guard.denyList.has('a')).toBe(true)
    expect(rows(home)).toEqual([])
  })

  it('finds no room past ten thousand, and says what to do instead', () => {
    using home = openGuardHome()
    home.guard.store.transaction(() => {
      const insert = home.guard.store.prepare('insert into denied_token values (?, ?)')
      for (let nth = 0; nth < 10_000; nth += 1) insert.run(`t${nth}`, home.clock.wallMs() + KEEP_MS)
    })
    home.reopen()
    expect(() => deny(home, 'one more')).toThrow(
      expect.objectContaining({ code: 'limit_exceeded', message: expect.stringContaining('stop their sessions') }),
    )
  })
})
