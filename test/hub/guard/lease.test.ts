import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createModes, type Modes } from '../../../hub/guard/modes.ts'
import { createLease, type Lease, macMatches, macOf } from '../../../hub/guard/operator/lease.ts'
import { createMeta } from '../../../hub/store/meta.ts'
import { parseConfig } from '../../../watchdog/config/config.ts'
import { conditionsOf } from '../../../watchdog/judge/conditions.ts'
import { planLease } from '../../../watchdog/judge/judge.ts'
import { firstState } from '../../../watchdog/judge/state.ts'
import { type GuardHome, openGuardHome } from '../../support/guard-home.ts'
import { createSteerableClock } from '../../support/watchdog-home.ts'

let home: GuardHome
let modes: Modes
let lease: Lease

/** What a restart makes anew over the same store. */
function start(): void {
  const { store } = home.guard
  modes = createModes({ store, clock: home.clock })
  lease = createLease({
    key: home.keys.watchdog,
    instance: 'test-hub',
    modes,
    meta: createMeta(store),
    clock: home.clock,
  })
}
beforeEach(() => {
  home = openGuardHome()
  start()
})
afterEach(() => home[Symbol.dispose]())

const word = (change: Record<string, unknown> = {}) => ({
  version: 1,
  instance: 'test-hub',
  epoch: 1,
  counter: 1,
  bootId: 'boot-w',
  intervalMs: 30_000,
  heartbeatAgeMs: 5000,
  deadlineInMs: 90_000_000,
  demand: 'normal',
  conditions: [],
  ...change,
})
const bytes = (change?: Record<string, unknown>) => Buffer.from(JSON.stringify(word(change)))
const give = (change?: Record<string, unknown>) => {
  const body = bytes(change)
  return lease.accept(body, macOf(home.keys.watchdog, 'hub-lease-v1', body))
}
const names = () => modes.active().map(({ name }) => name)
const refused = (reason: string) =>
  expect.objectContaining({ code: 'unauthenticated', reason: expect.stringContaining(reason) })

describe('a lease', () => {
  it('is what the hub waits for after its start [cond-14, stop-35]', () => {
    expect(names()).toEqual(['lease_pending'])
    give()
    expect(modes.current()).toBe('normal')
  })

  it('that is forged is refused: another key, label, body, or a MAC of any other shape (T92) [presence-3]', () => {
    const body = bytes()
    const good = macOf(home.keys.watchdog, 'hub-lease-v1', body)
    const forged = [
      macOf(Buffer.alloc(32, 1), 'hub-lease-v1', body),
      macOf(home.keys.watchdog, 'hub-lease-answer-v1', body),
      macOf(home.keys.watchdog, 'hub-shutdown-v1', body),
      macOf(home.keys.watchdog, 'hub-lease-v1', bytes({ counter: 2 })),
      good.toUpperCase(),
      good.slice(1),
      `${good}0`,
      ` ${good}`,
      '0'.repeat(64),
      '',
    ]
    for (const mac of forged) expect(() => lease.accept(body, mac), mac).toThrow(refused('wrong MAC'))
    for (let bit = 0; bit < body.length; bit += 1) {
      const bent = Buffer.from(body)
      bent[bit] = (bent[bit] ?? 0) ^ 1
      expect(() => lease.accept(bent, good)).toThrow(refused('wrong MAC'))
    }
    expect(names()).toEqual(['lease_pending'])
    expect(macMatches(home.keys.watchdog, 'hub-lease-v1', body, good)).toBe(true)
    lease.accept(body, good)
  })

  it('that is replayed, older in epoch or counter, or another instance its own, is refused, across a restart too (T92) [presence-3]', () => {
    give({ epoch: 2, counter: 5 })
    const stale = [
      { epoch: 2, counter: 5 },
      { epoch: 2, counter: 4 },
      { epoch: 1, counter: 999 },
    ]
    for (const old of stale) expect(() => give(old)).toThrow(refused('not newer'))
    expect(() => give({ epoch: 3, instance: 'other-hub' })).toThrow(refused('another instance'))
    start()
    for (const old of stale) expect(() => give(old)).toThrow(refused('not newer'))
    give({ epoch: 2, counter: 6 })
    give({ epoch: 3, counter: 1 })
    expect(() => give({ epoch: 2, counter: 7 })).toThrow(refused('not newer'))
  })

  it.each([
    { version: 2 },
    { epoch: 0 },
    { counter: 1.5 },
    { counter: '2' },
    { intervalMs: 600_001 },
    { demand: 'anything' },
    { heartbeatAgeMs: -1 },
    { extra: 1 },
    { conditions: ['x'.repeat(65)] },
  ])('with a good MAC but a faulty word is refused by name: %j [presence-2]', (change) => {
    expect(() => give(change)).toThrow(expect.objectContaining({ code: 'schema_invalid' }))
    expect(names()).toEqual(['lease_pending'])
  })

  it('lapses after three intervals by the boot clock, suspend included, and the next one ends that (T76) [presence-5]', async () => {
    give()
    await home.clock.advance(89_000)
    lease.tick()
    expect(modes.current()).toBe('normal')
    home.clock.suspend(2000)
    lease.tick()
    expect(names()).toEqual(['lease_lapsed'])
    expect(modes.current()).toBe('safe')
    give({ counter: 2 })
    expect(modes.current()).toBe('normal')
  })

  it('neither lapses nor lives longer by steps of the wall clock [clock-4, clock-15]', async () => {
    give()
    home.clock.stepWall(365 * 86_400_000)
    lease.tick()
    expect(modes.current()).toBe('normal')
    home.clock.stepWall(-2 * 365 * 86_400_000)
    await home.clock.advance(60_000)
    lease.tick()
    expect(lease.state()).toEqual({ remainingMs: 30_000, heartbeatAgeMs: 65_000, deadlineInMs: 89_940_000 })
    await home.clock.advance(30_001)
    lease.tick()
    expect(names()).toEqual(['lease_lapsed'])
  })

  it('before the first never lapses, but the hub stays degraded', async () => {
    await home.clock.advance(3_600_000)
    lease.tick()
    expect(names()).toEqual(['lease_pending'])
    expect(lease.state()).toBeUndefined()
  })
})

describe('what a lease demands', () => {
  it.each(['heartbeat_missed', 'unattended_stop'] as const)(
    '(%s) is kept and obeyed after a restart, until a newer lease says otherwise [cond-16, cond-17, cond-27]',
    (name) => {
      give({ demand: 'safe', conditions: [name] })
      expect(names()).toEqual([name])
      start()
      expect(names()).toEqual([name, 'lease_pending'])
      expect(modes.current()).toBe('safe')
      give({ counter: 2 })
      expect(modes.current()).toBe('normal')
      start()
      expect(names()).toEqual(['lease_pending'])
    },
  )

  it('(witness_mismatch) is sticky here: a later lease without it does not end it [cond-22]', () => {
    give({ demand: 'safe', conditions: ['witness_mismatch'] })
    give({ counter: 2 })
    expect(names()).toEqual(['witness_mismatch'])
    start()
    expect(modes.has('witness_mismatch')).toBe(true)
  })

  it("(away) names the end of the absence by this process's own clock, survives a restart, and ends with the next lease without it [cond-18, clock-15]", () => {
    give({ demand: 'safe', conditions: ['away'], awayInMs: 3 * 3_600_000 })
    const until = new Date(home.clock.wallMs() + 3 * 3_600_000).toISOString().slice(0, 16)
    expect(modes.active()).toMatchObject([{ name: 'away', mode: 'safe', reason: `planned absence until ${until}Z` }])
    start()
    expect(names()).toEqual(['away', 'lease_pending'])
    give({ counter: 2, demand: 'normal', conditions: [], awayInMs: null })
    expect(modes.current()).toBe('normal')
    give({ counter: 3, demand: 'normal', conditions: [], awayInMs: 60_000 })
    expect(modes.current(), 'with --keep-working nothing is demanded').toBe('normal')
  })

  it('is understood as the watchdog itself writes it, with every condition it has [cond-27, presence-2]', () => {
    const config = parseConfig({})
    const clock = createSteerableClock()
    const first = firstState(clock.read(), 'test-hub')
    const presence = { ...first.presence, safeSinceMs: 0, ceilingFromMs: 0, stoppedSinceMs: 0 }
    const away = { sinceMs: 0, untilMs: 9e7, keepWorking: false, note: '' }
    const states = [first, { ...first, presence: { ...presence, away }, mismatchSinceMs: 0 }]
    for (const [at, state] of states.entries()) {
      const body = Buffer.from(
        JSON.stringify({ version: 1, instance: 'test-hub', counter: at + 1, ...planLease(state, config) }),
      )
      expect(lease.accept(body, macOf(home.keys.watchdog, 'hub-lease-v1', body)).conditions).toEqual(
        conditionsOf(state),
      )
    }
    expect(names().sort()).toEqual(['away', 'heartbeat_missed', 'unattended_stop', 'witness_mismatch'])
  })

  it('(emergency_stop) is sticky here: no lease without it, no heartbeat and no restart ends it (T97) [cond-19]', () => {
    give({ demand: 'safe', conditions: ['emergency_stop'], stopId: 9 })
    lease.stopHeld(9)
    give({ counter: 2, heartbeatAgeMs: 0, stopId: 9 })
    expect(names()).toEqual(['emergency_stop'])
    start()
    give({ counter: 3, stopId: 9 })
    expect(names()).toEqual(['emergency_stop'])
  })

  it('(emergency_stop) once resumed does not come back by a lease that was under way, but by a later stop it does', () => {
    give({ demand: 'safe', conditions: ['emergency_stop'], stopId: 9 })
    lease.stopHeld(9)
    lease.resumed(9)
    expect(modes.current()).toBe('normal')
    give({ counter: 2, demand: 'safe', conditions: ['emergency_stop'], stopId: 9 })
    expect(names()).toEqual([])
    give({ counter: 3, demand: 'safe', conditions: ['emergency_stop', 'heartbeat_missed'], stopId: 9 })
    expect(names()).toEqual(['heartbeat_missed'])
    give({ counter: 4, demand: 'safe', conditions: ['emergency_stop'], stopId: 10 })
    expect(names()).toContain('emergency_stop')
  })

  it('of a stop it does not know holds dispatch until that is settled, across a restart too', () => {
    give({ stopId: 9 })
    expect([lease.unheldStop(), names()]).toEqual([9, ['lease_pending']])
    start()
    give({ counter: 2, stopId: 9 })
    expect([lease.unheldStop(), names()]).toEqual([9, ['lease_pending']])
    lease.stopHeld(9)
    start()
    give({ counter: 3, stopId: 9 })
    expect([lease.unheldStop(), names()]).toEqual([undefined, []])
  })

  it('safe without a reason this hub knows is safe all the same [cond-15]', () => {
    give({ demand: 'safe', conditions: ['of_a_later_watchdog'] })
    expect(modes.current()).toBe('safe')
  })

  it('raises nothing but what is its own: other conditions pass neither in nor out (I5) [cond-2]', () => {
    modes.raise('operator_request', '')
    modes.raise('disk_low', '')
    give({ conditions: ['draining', 'constructor', 'store_failing'] })
    expect(names()).toEqual(['operator_request', 'disk_low'])
  })

  it('is obeyed though the store cannot keep it', () => {
    const { store } = home.guard
    store.prepare('pragma query_only = 1').run()
    give({ demand: 'safe', conditions: ['heartbeat_missed'] })
    expect(names()).toEqual(['heartbeat_missed'])
    store.prepare('pragma query_only = 0').run()
  })
})

describe("the watchdog's stop", () => {
  const stop = (counter: number) => {
    const body = Buffer.from(JSON.stringify({ version: 1, instance: 'test-hub', epoch: 1, counter }))
    return () => lease.acceptStop(body, macOf(home.keys.watchdog, 'hub-shutdown-v1', body))
  }
  it('is taken once, and refused when replayed, after a restart too', () => {
    give()
    stop(2)()
    expect(stop(2)).toThrow(refused('not newer'))
    start()
    expect(stop(2)).toThrow(refused('not newer'))
    expect(stop(1)).toThrow(refused('not newer'))
    stop(3)()
  })

  it('says by whom it was asked for; another word is refused', () => {
    give()
    const told = (counter: number, more: object) => {
      const body = Buffer.from(JSON.stringify({ version: 1, instance: 'test-hub', epoch: 1, counter, ...more }))
      return lease.acceptStop(body, macOf(home.keys.watchdog, 'hub-shutdown-v1', body))
    }
    expect(told(2, { by: 'contact', reason: 'r' })).toEqual({ by: 'contact', reason: 'r' })
    expect(told(3, {})).toEqual({ by: 'operator', reason: '' })
    expect(() => told(4, { by: 'agent' })).toThrow(expect.objectContaining({ code: 'schema_invalid' }))
  })

  it('is not a lease, nor a lease a stop', () => {
    const body = bytes()
    expect(() => lease.acceptStop(body, macOf(home.keys.watchdog, 'hub-lease-v1', body))).toThrow(refused('wrong MAC'))
  })
})
