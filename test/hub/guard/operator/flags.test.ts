/** Feature flags (S1-59): what each profile makes of them, who may change them, and how an emergency entry ends. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { toHubError } from '../../../../hub/base/errors.ts'
import type { Guard } from '../../../../hub/guard/guard.ts'
import { leftOf } from '../../../../hub/guard/operator/flags.ts'
import { hubPrincipal, OPERATOR, type Principal } from '../../../../hub/guard/principal.ts'
import { FLAG_NAMES, FLAGS, type FlagName, MANDATORY, PROFILES, type Profile } from '../../../../hub/protocol/flags.ts'
import { type FlagSetRequest, OPERATIONS } from '../../../../hub/protocol/operations.ts'
import { type GuardHome, openGuardHome } from '../../../support/guard-home.ts'

const HOUR = 3_600_000

function set(guard: Guard, request: FlagSetRequest, principal: Principal = OPERATOR) {
  const { name, value } = request
  const call = { principal, operation: 'flag.set', resource: `flag:${name}`, restricts: value === false } as const
  return guard.gate.admit(call, (grant) => guard.flags.set(grant, request)).flag
}
/** The code with which it is refused, and the words; `ok` if it is not. */
function tried(guard: Guard, request: FlagSetRequest, principal?: Principal): string {
  try {
    set(guard, request, principal)
    return 'ok'
  } catch (thrown) {
    const { code, message } = toHubError(thrown)
    return `${code}: ${message}`
  }
}
const home = (profile: Profile = 'standard'): GuardHome => {
  const opened = openGuardHome({ profile })
  opened.guard.modes.clear('lease_pending')
  return opened
}
const emergency = (name: string, value: boolean, forMs = HOUR): FlagSetRequest => ({
  name,
  value,
  emergency: 'the queue must stand still',
  forMs,
})

/** Written out here, and never computed: what each profile begins with, and what it holds. */
const TABLE: Record<Profile, Record<FlagName, string>> = {
  development: {
    dispatch: 'on',
    delegation: 'on',
    restarts: 'off',
    shells: 'on',
    relaxations: 'on',
    unproven: 'on',
    trials: 'on',
    drafts: 'off',
    monitor: 'off',
  },
  standard: {
    dispatch: 'on',
    delegation: 'on',
    restarts: 'on',
    shells: 'on',
    relaxations: 'on',
    unproven: 'on',
    trials: 'on',
    drafts: 'off',
    monitor: 'off',
  },
  production: {
    dispatch: 'on',
    delegation: 'on',
    restarts: 'on',
    shells: 'on',
    relaxations: 'on',
    unproven: 'on',
    trials: 'off',
    drafts: 'off',
    monitor: 'off',
  },
  strict: {
    dispatch: 'on',
    delegation: 'on',
    restarts: 'on',
    shells: 'held off',
    relaxations: 'held off',
    unproven: 'held off',
    trials: 'held off',
    drafts: 'held off',
    monitor: 'off',
  },
}

describe('S1-59: profiles', () => {
  test.each(PROFILES)(
    '%s begins with its own values, holds its own flags, and switches nothing off that is mandatory [flag-1, flag-3]',
    (profile) => {
      using at = home(profile)
      const found = at.guard.flags
        .list()
        .map(({ name, isOn, by }) => [name, `${by === 'held' ? 'held ' : ''}${isOn ? 'on' : 'off'}`])
      expect(Object.fromEntries(found)).toEqual(TABLE[profile])
      for (const { name, isOn } of at.guard.flags.list()) {
        expect(at.guard.flags.isOn(name)).toBe(isOn)
        expect(at.guard.flags.whyOff(name) === '').toBe(isOn)
      }
      // What is mandatory is refused by its name, in an emergency too.
      expect(Object.keys(MANDATORY)).toContain('hardening')
      for (const name of Object.keys(MANDATORY)) {
        expect(tried(at.guard, { name, value: false })).toMatch(`flag_locked: ${name} is mandatory`)
        expect(tried(at.guard, emergency(name, false))).toMatch(`flag_locked: ${name} is mandatory`)
      }
      expect(at.records().filter(({ outcome }) => outcome === 'refused')).toHaveLength(
        2 * Object.keys(MANDATORY).length,
      )
      expect(FLAG_NAMES.filter((name) => Object.hasOwn(MANDATORY, name))).toEqual([])
    },
  )

  test('strict holds what it holds against a set, an emergency, and what was set before; a later profile finds it again [flag-1]', () => {
    using at = home()
    set(at.guard, { name: 'shells', value: true })
    let guard = at.reopen('strict')
    guard.modes.clear('lease_pending')
    expect(guard.flags.isOn('shells')).toBe(false)
    for (const request of [{ name: 'shells', value: true }, emergency('shells', true), { name: 'shells', value: null }])
      expect(tried(guard, request)).toMatch('flag_locked: the profile strict holds shells')
    expect(guard.flags.whyOff('shells')).toBe('the profile strict holds the flag shells off')
    guard = at.reopen('standard')
    expect(guard.flags.list().find(({ name }) => name === 'shells')).toMatchObject({ isOn: true, by: 'set' })
  })

  test('what was set on before is not on without an end where production begins with it off; what was set off stays off [flag-1]', () => {
    using at = home()
    set(at.guard, { name: 'trials', value: true })
    set(at.guard, { name: 'delegation', value: false })
    set(at.guard, { name: 'monitor', value: true })
    let guard = at.reopen('production')
    const found = (name: FlagName) => {
      const { isOn, by } = guard.flags.list().find((each) => each.name === name) ?? {}
      return [isOn, by]
    }
    expect(found('trials')).toEqual([false, 'profile'])
    expect(found('delegation')).toEqual([false, 'set'])
    // Every profile begins with it off: whoever has a monitor says so once.
    expect(found('monitor')).toEqual([true, 'set'])
    guard = at.reopen('standard')
    expect(found('trials')).toEqual([true, 'set'])
  })

  test('another profile than at the last start is a record, once [flag-4]', () => {
    using at = home()
    at.guard.flags.recordProfile(at.guard.gate)
    expect(at.records()).toEqual([])
    for (const profile of ['production', undefined, 'standard'] as const) {
      at.reopen(profile)
      at.guard.flags.recordProfile(at.guard.gate)
      at.guard.flags.recordProfile(at.guard.gate)
    }
    expect(at.records().map(({ effect }) => effect)).toEqual([
      'the profile was standard, is production',
      'the profile was production, is standard',
    ])
  })
})

describe('S1-59: changes', () => {
  test('a flag changes through the gate alone, with a record, an event, and stays over a restart [flag-4]', () => {
    using at = home()
    const heard: unknown[] = []
    at.guard.events.subscribe(({ type, data }) => type === 'hub.flag.changed.v1' && heard.push(data))
    expect(set(at.guard, { name: 'dispatch', value: false })).toMatchObject({ isOn: false, by: 'set', emergency: null })
    expect(at.records()).toMatchObject([
      { action: 'flag.changed', outcome: 'ok', effect: 'flag dispatch was on (profile), is off (set)' },
    ])
    expect(heard).toEqual([{ flag: 'dispatch', on: false, by: 'set', leftMs: null }])
    expect(at.guard.flags.whyOff('dispatch')).toBe('the flag dispatch is off (`hub flag set dispatch on`)')
    const guard = at.reopen()
    guard.modes.clear('lease_pending')
    expect(guard.flags.isOn('dispatch')).toBe(false)
    expect(set(guard, { name: 'dispatch', value: null })).toMatchObject({ isOn: true, by: 'profile', setAtMs: null })
    expect(guard.store.prepare('select count(*) from flag').pluck().get()).toBe(0)
  })

  test('what fails after it leaves the flag as it was', () => {
    using at = home()
    const call = { principal: OPERATOR, operation: 'flag.set', resource: 'flag:dispatch' } as const
    const broken = () =>
      at.guard.gate.admit(call, (grant) => {
        at.guard.flags.set(grant, { name: 'dispatch', value: false })
        throw new Error('afterwards')
      })
    expect(broken).toThrow('a bug in the hub')
    expect(at.guard.flags.isOn('dispatch')).toBe(true)
  })

  test('only the operator switches; off is permitted in every mode, on in normal alone [flag-2, flag-4]', () => {
    using at = home()
    const device: Principal = { kind: 'device', id: 'phone', rights: ['view', 'approve', 'stop', 'resume'] }
    const token: Principal = { kind: 'automation', id: 'ci', actions: ['flag.set', 'flag.list'] }
    for (const principal of [device, token, hubPrincipal('flags')])
      expect(tried(at.guard, { name: 'dispatch', value: false }, principal)).toMatch('forbidden')
    at.guard.modes.raise('operator_request', 'test')
    expect(tried(at.guard, { name: 'dispatch', value: false })).toBe('ok')
    expect(tried(at.guard, { name: 'dispatch', value: true })).toMatch('mode_safe')
    expect(tried(at.guard, { name: 'dispatch', value: null })).toMatch('mode_safe')
  })

  test('two thousand unknown names are refused by name, and nothing is stored; a near one is suggested [flag-7]', () => {
    using at = home()
    expect(tried(at.guard, { name: 'dispach', value: false })).toBe(
      'unknown_flag: no flag is named dispach; did you mean dispatch?; see `hub flag list`',
    )
    for (const name of ['constructor', '__proto__', 'toString', 'hasOwnProperty'])
      expect(tried(at.guard, { name, value: false })).toMatch('unknown_flag')
    for (let number = 0; number < 2000; number += 1) {
      const name = `flag-${number}`
      const words = tried(at.guard, { name, value: number % 2 === 0 })
      if (!words.startsWith(`unknown_flag: no flag is named ${name}`)) throw new Error(words)
    }
    expect(at.guard.store.prepare('select count(*) from flag').pluck().get()).toBe(0)
    expect(at.guard.flags.list()).toHaveLength(FLAG_NAMES.length)
  })

  test.each([
    [{ name: 'dispatch', value: false, emergency: 'half of it' }],
    [{ name: 'dispatch', value: false, forMs: HOUR }],
    [{ name: 'dispatch', value: null, emergency: 'no value', forMs: HOUR }],
    [{ name: 'dispatch', value: false, emergency: 'too short', forMs: 59_999 }],
    [{ name: 'dispatch', value: false, emergency: 'too long', forMs: 24 * HOUR + 1 }],
    [{ name: 'dispatch', value: false, emergency: '   ', forMs: HOUR }],
    [{ name: 'dispatch', value: false, emergency: 'x'.repeat(301), forMs: HOUR }],
    [{ name: 'dispatch', value: 'off' }],
    [{ name: 'x'.repeat(64), value: false }],
    [{ name: 'dispatch' }],
  ])('the shape refuses %j', (request) => {
    expect(OPERATIONS['flag.set'].request.safeParse(request).success).toBe(false)
  })
})

describe('S1-59: emergency entries', () => {
  test.each(['production', 'strict'] as const)('under %s a flag changes by nothing else [flag-5]', (profile) => {
    using at = home(profile)
    for (const value of [false, true, null])
      expect(tried(at.guard, { name: 'dispatch', value })).toMatch(
        `flag_locked: under the profile ${profile} a flag changes only for a time`,
      )
    expect(set(at.guard, emergency('dispatch', false))).toMatchObject({ isOn: false, by: 'emergency' })
    expect(at.guard.alerts.isOpen('flag_emergency:dispatch')).toBe(true)
    expect(at.records().at(-1)?.effect).toBe(
      'flag dispatch was on (profile), is off (emergency) for 1h, emergency: the queue must stand still',
    )
    // Ending it early is always possible, and is no second way to change the flag.
    expect(set(at.guard, { name: 'dispatch', value: null })).toMatchObject({ isOn: true, by: 'profile' })
    expect(tried(at.guard, { name: 'dispatch', value: null })).toMatch('flag_locked')
    expect(at.guard.alerts.isOpen('flag_emergency:dispatch')).toBe(false)
  })

  test('it ends at its instant by itself, without any loop; the loop then records that, once [flag-5]', async () => {
    using at = home('production')
    set(at.guard, emergency('trials', true))
    await at.clock.advance(HOUR - 1)
    expect(at.guard.flags.isOn('trials')).toBe(true)
    at.guard.flags.settle(at.guard.gate)
    await at.clock.advance(1)
    expect(at.guard.flags.isOn('trials')).toBe(false)
    expect(at.guard.flags.list().find(({ name }) => name === 'trials')).toMatchObject({
      by: 'profile',
      emergency: null,
    })
    for (let times = 0; times < 3; times += 1) at.guard.flags.settle(at.guard.gate)
    expect(at.records().filter(({ action }) => action === 'flag.expired')).toMatchObject([
      { effect: 'an emergency entry has ended: flag trials is off (profile)' },
    ])
    expect(at.guard.alerts.isOpen('flag_emergency:trials')).toBe(false)
  })

  test('what was set before it counts again after it; a lasting value ends it [flag-5]', async () => {
    using at = home()
    set(at.guard, { name: 'restarts', value: false })
    set(at.guard, emergency('restarts', true))
    await at.clock.advance(HOUR)
    expect(at.guard.flags.list().find(({ name }) => name === 'restarts')).toMatchObject({ isOn: false, by: 'set' })
    set(at.guard, emergency('restarts', true))
    expect(set(at.guard, { name: 'restarts', value: false })).toMatchObject({ isOn: false, by: 'set', emergency: null })
  })

  test('a wall clock that is set back or ahead does not move its end within a boot; sleep counts [flag-6]', async () => {
    using at = home('production')
    set(at.guard, emergency('dispatch', false))
    at.clock.stepWall(-30 * 24 * HOUR)
    expect(at.guard.flags.isOn('dispatch')).toBe(false)
    await at.clock.advance(HOUR / 2)
    at.clock.stepWall(60 * 24 * HOUR)
    expect(at.guard.flags.isOn('dispatch')).toBe(false)
    at.reopen()
    expect(at.guard.flags.isOn('dispatch')).toBe(false)
    at.clock.suspend(HOUR / 2)
    expect(at.guard.flags.isOn('dispatch')).toBe(true)
  })

  test('after another boot the steady clock counts; one that shows an earlier instant ends it [flag-6]', async () => {
    using at = home('production')
    const otherBoot = () =>
      at.guard.store.transaction(() => at.guard.store.prepare("update flag set boot_id = 'before', boot_ms = 1").run())
    set(at.guard, emergency('dispatch', false))
    otherBoot()
    at.reopen()
    expect(at.guard.flags.isOn('dispatch')).toBe(false)
    await at.clock.advance(HOUR)
    expect(at.guard.flags.isOn('dispatch')).toBe(true)
    at.guard.modes.clear('lease_pending')
    set(at.guard, emergency('dispatch', false))
    otherBoot()
    at.guard.store.transaction(() => at.guard.store.prepare('update flag set wall_ms = wall_ms + 60000').run())
    expect(at.guard.flags.isOn('dispatch')).toBe(true)
  })

  test('an entry never holds longer than it was given, whatever the clocks of either boot show [flag-6]', () => {
    const instant = fc.integer({ min: 0, max: 2 ** 42 })
    fc.assert(
      fc.property(
        fc.boolean(),
        instant,
        instant,
        instant,
        instant,
        fc.integer({ min: 60_000, max: 24 * HOUR }),
        (isSame, ...times) => {
          const [bootMs, wallMs, nowBootMs, nowWallMs, forMs] = times
          const now = { bootId: isSame ? 'a' : 'b', bootMs: nowBootMs, wallMs: nowWallMs }
          const left = leftOf({ forMs, mark: { bootId: 'a', bootMs, wallMs } }, now)
          expect(left).toBeGreaterThanOrEqual(0)
          expect(left).toBeLessThanOrEqual(forMs)
          const passedMs = isSame ? nowBootMs - bootMs : nowWallMs - wallMs
          if (passedMs >= forMs || (!isSame && passedMs < 0)) expect(left).toBe(0)
          else if (passedMs >= 0) expect(left).toBe(forMs - passedMs)
        },
      ),
    )
  })

  test('an entry of a flag that this version does not know is taken away without a word', () => {
    using at = home()
    at.guard.store.transaction(() =>
      at.guard.store.prepare("insert into flag values ('gone', 1, 1, 1, 'why', 60000, 'before', 1, 1)").run(),
    )
    expect(at.guard.flags.list().map(({ name }) => name)).toEqual(Object.keys(FLAGS))
    at.guard.flags.settle(at.guard.gate)
    expect(at.guard.store.prepare("select emergency from flag where name = 'gone'").pluck().get()).toBe(null)
  })
})
