/** When a change of the mode is told (S1-19), by a table of moments; and what the guard says of leases, witness and chain (S1-67). */
import { afterEach, describe, expect, it } from 'vitest'
import { calmWatch, type ModeWatch, watchMode } from '../../../../hub/guard/alerts/mode-watch.ts'
import type { ConditionName, Mode } from '../../../../hub/guard/modes.ts'
import { type AlertHome, openAlertHome } from '../../../support/alert-home.ts'

/** Walks through `[second, mode]` and looks each second; answers what was raised and resolved, with the second. */
function walk(moments: [number, Mode][], until: number, name: ConditionName = 'engine_unavailable'): string[] {
  let state: ModeWatch = calmWatch(0)
  const said: string[] = []
  let mode: Mode = 'normal'
  for (let second = 0; second <= until; second += 1) {
    mode = moments.find(([at]) => at === second)?.[1] ?? mode
    const steps = watchMode(state, mode, mode === 'normal' ? [] : [name], second * 1000)
    state = steps.state
    for (const what of steps.resolve) said.push(`${second} resolve ${what}`)
    if (steps.raise !== undefined) said.push(`${second} raise ${steps.raise}`)
  }
  return said
}

describe('a mode that lasts (S1-19)', () => {
  const HOUR = 3_600_000
  const CHANNEL = { name: 'one', kind: 'command', run: ['/bin/true'] }
  const told = (home: AlertHome) =>
    home
      .channel('one')
      .got.filter(({ cause }) => cause === 'mode_degraded')
      .map(({ event, text }) => `${event}: ${text.split('.')[0]}`)

  it('is told every 24 h, over a restart too, and says how long it has lasted; its end is told once', async () => {
    using home = openAlertHome({ channels: [CHANNEL] })
    home.parts.modes.raise('engine_unavailable', 'away')
    await home.run(23 * HOUR, 60_000)
    expect(told(home)).toHaveLength(1)
    await home.run(2 * HOUR, 60_000)
    expect(told(home).at(-1)).toBe('raised: It has lasted for 1 d')
    expect(told(home)).toHaveLength(2)
    home.reopen()
    home.parts.modes.raise('engine_unavailable', 'still away')
    await home.run(22 * HOUR, 60_000)
    expect(told(home)).toHaveLength(2)
    await home.run(2 * HOUR, 60_000)
    expect(told(home).at(-1)).toBe('raised: It has lasted for 2 d')
    expect(home.channel('one').got.at(-1)?.text).toContain('still away')
    home.parts.modes.clear('engine_unavailable')
    await home.run(30 * HOUR, 60_000)
    expect(told(home).slice(3)).toEqual(['resolved: The hub is no longer degraded; it is normal'])
  })

  it('is quiet in a planned absence, which everybody was told the end of', async () => {
    using home = openAlertHome({ channels: [CHANNEL] })
    home.parts.modes.raise('away', 'until Friday')
    await home.run(50 * HOUR, 60_000)
    expect(home.channel('one').got.filter(({ text }) => text.startsWith('It has lasted'))).toEqual([])
  })
})

describe('a change of the mode', () => {
  it.each<[string, [number, Mode][], number, string[]]>([
    [
      'that stands for a minute is told, and its end too',
      [
        [10, 'degraded'],
        [200, 'normal'],
      ],
      400,
      ['70 raise mode', '260 resolve mode'],
    ],
    [
      'shorter than a minute is not told',
      [
        [10, 'degraded'],
        [69, 'normal'],
      ],
      400,
      [],
    ],
    [
      'into a stricter one is told anew',
      [
        [10, 'degraded'],
        [100, 'safe'],
      ],
      400,
      ['70 raise mode', '160 resolve mode', '160 raise mode'],
    ],
    [
      'back within the minute is not told',
      [
        [10, 'degraded'],
        [100, 'normal'],
        [150, 'degraded'],
      ],
      400,
      ['70 raise mode'],
    ],
    [
      'more than three times an hour is one alert, which ends when it is calm',
      [
        [10, 'degraded'],
        [20, 'normal'],
        [30, 'degraded'],
        [40, 'normal'],
        [50, 'degraded'],
        [60, 'normal'],
      ],
      8000,
      ['40 raise flapping', '3630 resolve flapping'],
    ],
    [
      'that flaps says how it ended, where it did not end well',
      [
        [10, 'degraded'],
        [20, 'normal'],
        [30, 'degraded'],
        [40, 'normal'],
        [50, 'safe'],
      ],
      8000,
      ['40 raise flapping', '3620 resolve flapping', '3620 raise mode'],
    ],
  ])('%s (S1-19) [mode-15]', (_text, moments, until, expected) => expect(walk(moments, until)).toEqual(expected))

  it('by hand is told, and is no flapping [mode-15]', () => {
    const moments = [10, 100, 200, 300, 400, 500, 600, 700].map((at, n): [number, Mode] => [
      at,
      n % 2 ? 'normal' : 'safe',
    ])
    const said = walk(moments, 800, 'operator_request')
    expect(said.filter((line) => line.includes('flapping'))).toEqual([])
    expect(said.filter((line) => line.includes('raise mode'))).toHaveLength(4)
  })
})

describe('the guard', () => {
  let home: AlertHome
  afterEach(() => home[Symbol.dispose]())
  const channels = [{ kind: 'command', name: 'one', run: ['/bin/true'] }]
  const told = () => home.channel('one').got.map(({ event, cause }) => `${event} ${cause}`)

  it('tells of degraded and of normal again, once each (S1-19) [mode-14]', async () => {
    home = openAlertHome({ channels })
    home.parts.modes.raise('engine_unavailable', 'it does not answer')
    await home.run(300_000, 10_000)
    home.parts.modes.clear('engine_unavailable')
    await home.run(300_000, 10_000)
    expect(told()).toEqual(['raised mode_degraded', 'resolved mode_degraded'])
    expect(home.channel('one').got[0]?.text).toContain('engine_unavailable: it does not answer; ends by ')
  })

  it('hears changes between two looks [mode-15]', async () => {
    home = openAlertHome({ channels })
    for (let n = 0; n < 4; n += 1) {
      home.parts.modes.raise('engine_unavailable', 'x')
      home.parts.modes.clear('engine_unavailable')
    }
    await home.run(2000)
    expect(told()).toEqual(['raised mode_flapping'])
  })

  it('does not tell the same mode again after a restart, and tells its end [mode-14]', async () => {
    home = openAlertHome({ channels })
    home.parts.modes.raise('operator_request', 'test')
    await home.run(100_000, 10_000)
    home.reopen()
    await home.run(100_000, 10_000)
    expect(told()).toEqual(['raised mode_safe'])
    home.parts.modes.clear('operator_request')
    await home.run(100_000, 10_000)
    expect(told()).toEqual(['raised mode_safe', 'resolved mode_safe'])
  })

  it('waits five minutes for the first lease and ten for a lapsed one before it says so [cond-14, cond-15, watch-17]', async () => {
    home = openAlertHome({ channels })
    home.parts.modes.raise('lease_pending', 'x')
    await home.run(290_000, 10_000)
    expect(told()).toEqual([])
    await home.run(30_000, 10_000)
    home.parts.modes.clear('lease_pending')
    home.parts.modes.raise('lease_lapsed', 'x')
    await home.run(590_000, 10_000)
    expect(told()).toEqual(['raised lease_pending', 'resolved lease_pending'])
    await home.run(30_000, 10_000)
    home.parts.modes.clear('lease_lapsed')
    await home.run(10_000)
    expect(told().slice(2)).toEqual(['raised lease_lapsed', 'resolved lease_lapsed'])
  })

  it('takes a lapse over suspend for none: the clock it waits by stands still', async () => {
    home = openAlertHome({ channels })
    home.parts.modes.raise('lease_lapsed', 'x')
    await home.run(10_000)
    home.clock.suspend(36_000_000)
    await home.run(10_000)
    home.parts.modes.clear('lease_lapsed')
    await home.run(10_000)
    expect(told()).toEqual([])
  })

  it('tells of a forged lease, a broken chain and a mismatch of the witness as critical, of a repeated lease as a warning (S1-67) [alert-11, alert-12]', async () => {
    home = openAlertHome({ channels })
    home.parts.watch.leaseRefused('not newer', false)
    home.parts.watch.leaseRefused('a wrong MAC', true)
    home.parts.watch.chainJudged({ seq: 7, reason: 'a record is missing' })
    home.parts.modes.raise('witness_mismatch', 'demanded')
    await home.run(2000)
    const severities = home.parts.alerts.list().map(({ cause, severity }) => `${cause} ${severity}`)
    expect(severities).toEqual([
      'lease_refused warning',
      'lease_forged critical',
      'audit_chain_broken critical',
      'witness_mismatch critical',
    ])
    home.parts.modes.clear('witness_mismatch')
    await home.run(2000)
    expect(home.parts.alerts.isOpen('witness_mismatch')).toBe(false)
  })
})
