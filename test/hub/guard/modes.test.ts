import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ConditionName, createModes, type Mode, type Modes, permits } from '../../../hub/guard/modes.ts'
import type { Standing } from '../../../hub/protocol/operations.ts'
import { openStore, type Store } from '../../../hub/store/database.ts'
import { migrate, shippedMigrations } from '../../../hub/store/migrations.ts'
import { createFakeClock } from '../../support/fake-clock.ts'

let folder: string
let store: Store
let modes: Modes
let changes: string[]
const clock = createFakeClock()

function make(): Modes {
  const made = createModes({ store, clock })
  made.onChange((mode, conditions) => changes.push(`${mode}:${conditions.map(({ name }) => name)}`))
  return made
}
const kept = () => store.prepare('select name from condition order by name').pluck().all()

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hub-modes-'))
  store = openStore(join(folder, 'hub.db'))
  migrate(store, shippedMigrations(), 1, () => undefined)
  changes = []
  modes = make()
})
afterEach(() => {
  store.close()
  rmSync(folder, { recursive: true })
})

// docs/safety.md 1, written out.
const MODE_OF: Record<ConditionName, { mode: Mode; sticky: boolean }> = {
  store_failing: { mode: 'degraded', sticky: false },
  disk_low: { mode: 'degraded', sticky: false },
  engine_disk_low: { mode: 'degraded', sticky: false },
  audit_failing: { mode: 'degraded', sticky: false },
  policy_unavailable: { mode: 'degraded', sticky: false },
  engine_unavailable: { mode: 'degraded', sticky: false },
  engine_unfit: { mode: 'degraded', sticky: false },
  loop_lagging: { mode: 'degraded', sticky: false },
  loop_failing: { mode: 'degraded', sticky: false },
  clock_fault: { mode: 'degraded', sticky: false },
  lease_pending: { mode: 'degraded', sticky: false },
  lease_lapsed: { mode: 'safe', sticky: false },
  // Sticky at the watchdog, which carries them in each lease; the hub keeps the last demand instead.
  heartbeat_missed: { mode: 'safe', sticky: false },
  unattended_stop: { mode: 'safe', sticky: false },
  away: { mode: 'safe', sticky: false },
  emergency_stop: { mode: 'safe', sticky: true },
  operator_request: { mode: 'safe', sticky: true },
  critical_alert: { mode: 'safe', sticky: true },
  witness_mismatch: { mode: 'safe', sticky: true },
  draining: { mode: 'draining', sticky: false },
}
const NAMES = Object.keys(MODE_OF) as ConditionName[]
const STRICTNESS: Mode[] = ['normal', 'degraded', 'safe', 'draining']

describe('the table of what each mode permits', () => {
  const TABLE: [Standing, Mode, boolean][] = [
    ['new_work', 'normal', true],
    ['new_work', 'degraded', false],
    ['new_work', 'safe', false],
    ['new_work', 'draining', false],
    ['approve', 'normal', true],
    ['approve', 'degraded', false],
    ['approve', 'safe', false],
    ['approve', 'draining', false],
    ['own', 'normal', true],
    ['own', 'degraded', true],
    ['own', 'safe', true],
    ['own', 'draining', true],
    ['mending', 'normal', true],
    ['mending', 'degraded', true],
    ['mending', 'safe', true],
    ['mending', 'draining', true],
    ['read', 'normal', true],
    ['read', 'degraded', true],
    ['read', 'safe', true],
    ['read', 'draining', true],
    ['presence', 'normal', true],
    ['presence', 'degraded', true],
    ['presence', 'safe', true],
    ['presence', 'draining', true],
    ['stop', 'normal', true],
    ['stop', 'degraded', true],
    ['stop', 'safe', true],
    ['stop', 'draining', true],
    ['record', 'normal', true],
    ['record', 'degraded', true],
    ['record', 'safe', true],
    ['record', 'draining', true],
  ]
  it.each(TABLE)('%s in %s: %s [mode-1, mode-7, stop-50]', (standing, mode, permitted) =>
    expect(permits(mode, standing)).toBe(permitted),
  )
})

describe('the mode', () => {
  it.each(NAMES)('under %s alone is the written one [cond-30]', (name) => {
    modes.raise(name, 'test')
    expect(modes.current()).toBe(MODE_OF[name].mode)
    expect(modes.active()).toMatchObject([
      { name, mode: MODE_OF[name].mode, sticky: MODE_OF[name].sticky, reason: 'test' },
    ])
    expect(kept()).toEqual(MODE_OF[name].sticky ? [name] : [])
    modes.clear(name)
    expect(modes.current()).toBe('normal')
    expect(kept()).toEqual([])
  })

  it.each(NAMES.flatMap((one) => NAMES.map((other) => [one, other] as const)).filter(([one, other]) => one !== other))(
    'under %s and %s is the stricter of both, and leaving one never clears the other (I5) [cond-1]',
    (one, other) => {
      modes.raise(one, '')
      modes.raise(other, '')
      const [a, b] = [MODE_OF[one].mode, MODE_OF[other].mode]
      expect(modes.current()).toBe(STRICTNESS.indexOf(a) > STRICTNESS.indexOf(b) ? a : b)
      modes.clear(one)
      expect(modes.current()).toBe(b)
      expect(modes.active().map(({ name }) => name)).toEqual([other])
    },
  )

  it('keeps since when it stands and says what is the matter now, and tells each change of the mode once [cond-3]', () => {
    modes.raise('disk_low', 'first')
    const since = modes.active()[0]?.sinceMs
    clock.stepWall(1000)
    modes.raise('disk_low', 'second')
    modes.raise('clock_fault', '')
    expect(modes.active()[0]).toMatchObject({ sinceMs: since, reason: 'second' })
    modes.raise('operator_request', '')
    modes.clear('operator_request')
    modes.clear('operator_request')
    expect(changes).toEqual([
      'degraded:disk_low',
      'safe:disk_low,clock_fault,operator_request',
      'degraded:disk_low,clock_fault',
    ])
  })
})

describe('a sticky condition', () => {
  it('is in the store before it takes effect, and read back by the next start [cond-24]', () => {
    const seen: unknown[] = []
    const watched = createModes({ store, clock })
    watched.onChange(() => seen.push(kept()))
    watched.raise('emergency_stop', 'pressed')
    expect(seen).toEqual([['emergency_stop']])
    const again = make()
    expect(again.current()).toBe('safe')
    expect(again.active()).toMatchObject([{ name: 'emergency_stop', reason: 'pressed' }])
    again.clear('emergency_stop')
    expect(make().current()).toBe('normal')
  })

  it('takes effect though the store cannot be written, and is kept once it can [cond-24]', () => {
    store.prepare('pragma query_only = 1').run()
    modes.raise('operator_request', 'disk full')
    modes.raise('store_failing', '')
    expect(modes.current()).toBe('safe')
    expect(kept()).toEqual([])
    store.prepare('pragma query_only = 0').run()
    modes.clear('store_failing')
    expect(kept()).toEqual(['operator_request'])
    expect(make().current()).toBe('safe')
  })

  it('raised in a transaction that is undone stays in effect and is kept at the next raise', () => {
    expect(() =>
      store.transaction(() => {
        modes.raise('operator_request', 'asked')
        throw new Error('no')
      }),
    ).toThrow('no')
    expect(modes.current()).toBe('safe')
    expect(kept()).toEqual([])
    modes.raise('operator_request', 'asked again')
    expect(kept()).toEqual(['operator_request'])
  })

  it('ends only when its end is committed [cond-25]', () => {
    modes.raise('operator_request', '')
    expect(() =>
      store.transaction(() => {
        modes.clear('operator_request')
        expect(modes.current()).toBe('safe')
        throw new Error('no')
      }),
    ).toThrow('no')
    expect(modes.current()).toBe('safe')
    expect(kept()).toEqual(['operator_request'])
    store.transaction(() => modes.clear('operator_request'))
    expect(modes.current()).toBe('normal')
    expect(kept()).toEqual([])
  })

  it('that cannot be ended in the store does not end [cond-25]', () => {
    modes.raise('operator_request', '')
    store.prepare('pragma query_only = 1').run()
    expect(() => modes.clear('operator_request')).toThrow(expect.objectContaining({ code: 'store_unavailable' }))
    expect(modes.current()).toBe('safe')
  })

  it('whose name is one of an object prototype, or damaged, is taken as strict as any that is kept (fault G3)', () => {
    for (const name of ['constructor', 'operator_requesu']) {
      store.prepare('insert into condition values (?, 1, ?)').run(name, '')
      expect(make().active()).toMatchObject([
        { name: 'operator_request', reason: expect.stringContaining('cannot be read') },
      ])
      store.prepare('delete from condition').run()
    }
  })
})
