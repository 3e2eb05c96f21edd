/** The owners of the hub's own conditions, each with a fake clock and a look at what it raised. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HubError } from '../../../../hub/base/errors.ts'
import { systemRandom } from '../../../../hub/base/random.ts'
import { silentLog } from '../../../../hub/base/telemetry.ts'
import { createDiskWatch, type DiskFacts } from '../../../../hub/guard/conditions/disk.ts'
import { createEngineDisk } from '../../../../hub/guard/conditions/engine-disk.ts'
import { createLoopWatch } from '../../../../hub/guard/conditions/loop-watch.ts'
import { createPace } from '../../../../hub/guard/conditions/pace.ts'
import { createPolicyHealth } from '../../../../hub/guard/conditions/policy-health.ts'
import { createSteadyClock } from '../../../../hub/guard/conditions/steady-clock.ts'
import { DISK_MARKS } from '../../../../hub/guard/host.ts'
import { ballastBytes, createBallast } from '../../../../hub/store/ballast.ts'
import type { MetaKey } from '../../../../hub/store/meta.ts'
import { createFakeClock, type FakeClock } from '../../../support/fake-clock.ts'

let clock: FakeClock
let raised: Map<string, string>
let noted: string[]
const modes = {
  // As the real one: the reason is what is the matter now.
  raise: (name: string, reason: string) => void raised.set(name, reason),
  clear: (name: string) => void raised.delete(name),
  has: (name: string) => raised.has(name),
}
/** As the real ones: what is not open is not resolved. */
const toldBy = (told: string[], ...open: string[]) => {
  const causes = new Set(open)
  return {
    raise(cause: string, severity: string, text: string) {
      causes.add(cause)
      told.push(`${cause} ${severity} ${text}`)
    },
    resolve: (cause: string) => void (causes.delete(cause) && told.push(`resolved ${cause}`)),
  }
}
const note = (what: string, text: string) => void noted.push(`${what}: ${text}`)
beforeEach(() => {
  clock = createFakeClock()
  raised = new Map()
  noted = []
})

describe('the disk watch', () => {
  it('alerts once for each level, raises and clears disk_low, and takes no new task below five percent [cond-6]', () => {
    let facts: DiskFacts = { blocks: 1000, bavail: 500, bsize: 1024 ** 2, files: 0, ffree: 0 }
    let asked = 0
    const told: string[] = []
    const watch = createDiskWatch(DISK_MARKS, {
      statfs() {
        asked += 1
        if (facts.blocks < 0) throw new Error('EIO')
        return facts
      },
      modes,
      alerts: toldBy(told),
    })
    const steps: [free: number, room: boolean, low: boolean, told: number][] = [
      [500, true, false, 0],
      [99, true, false, 1],
      [98, true, false, 1],
      [49, false, true, 2],
      [70, true, false, 3],
      [130, true, false, 4],
      [19, false, true, 5],
    ]
    for (const [bavail, room, low, count] of steps) {
      facts = { ...facts, bavail }
      watch.tick()
      expect([bavail, watch.hasRoom(), raised.has('disk_low'), told.length]).toEqual([bavail, room, low, count])
    }
    expect([told[0], told[3]]).toEqual([
      "disk_low warning The disk of the hub's home is filling up: 99 MiB (9.9 %) free.",
      'resolved disk_low',
    ])
    expect(() => watch.requireRoom()).toThrow('no new task is taken')
    facts = { ...facts, blocks: -1 }
    expect([watch.tick().level, asked]).toEqual(['degraded', 8])
  })
})

describe('fault B1: an alert of an earlier run', () => {
  const roomy: DiskFacts = { blocks: 1000, bavail: 500, bsize: 1024 ** 2, files: 0, ffree: 0 }

  it('ends with the first look where room was made while the hub was down', () => {
    const told: string[] = []
    createDiskWatch(DISK_MARKS, { statfs: () => roomy, modes, alerts: toldBy(told, 'disk_low') }).tick()
    expect(told).toEqual(['resolved disk_low'])
  })

  it('ends for the disk of the engine once it is known where that is, and not before', () => {
    const told: string[] = []
    const alerts = toldBy(told, 'engine_disk_low')
    const deviceOf = (path: string) => path.length
    const watch = createEngineDisk(DISK_MARKS, { statfs: () => roomy, deviceOf, home: '/home/hub', modes, alerts })
    watch.tick()
    expect(told).toEqual([])
    watch.at('/var/lib/docker')
    watch.tick()
    expect(told).toEqual(['resolved engine_disk_low'])
  })

  it('ends for a loop with its first good round', () => {
    const told: string[] = []
    createLoopWatch({ modes, alerts: toldBy(told, 'loop_failing:dispatch') }).well('dispatch')
    expect(told).toEqual(['resolved loop_failing:dispatch'])
  })
})

describe('fault A7: the disk of the engine', () => {
  const make = (devices: Record<string, number>) => {
    let facts: DiskFacts | undefined = { blocks: 1000, bavail: 500, bsize: 1024 ** 2, files: 1000, ffree: 500 }
    const told: string[] = []
    const watch = createEngineDisk(DISK_MARKS, {
      statfs() {
        if (facts === undefined) throw new Error('ENOENT')
        return facts
      },
      deviceOf: (path) => devices[path] ?? 0,
      home: '/home/hub',
      modes,
      alerts: toldBy(told),
    })
    return { watch, told, set: (next: DiskFacts | undefined) => (facts = next), now: () => facts as DiskFacts }
  }

  it('is told of by the marks of the home, in bytes and in inodes, and degrades the hub below the last [cond-5]', () => {
    const { watch, told, set, now } = make({ '/var/lib/docker': 1, '/home/hub': 2 })
    watch.at('/var/lib/docker')
    const steps: [bytes: number, inodes: number, low: boolean, told: number][] = [
      [500, 500, false, 0],
      [90, 500, false, 1],
      [10, 500, true, 2],
      [500, 500, false, 3],
      [500, 10, true, 4],
    ]
    for (const [bavail, ffree, low, count] of steps) {
      set({ ...now(), bavail, ffree })
      watch.tick()
      expect([bavail, ffree, raised.has('engine_disk_low'), told.length]).toEqual([bavail, ffree, low, count])
    }
    expect(told[0]).toMatch(/^engine_disk_low warning The disk of the container engine \(\/var\/lib\/docker\)/)
    set(undefined)
    expect([watch.tick(), raised.has('engine_disk_low'), told.at(-1)]).toEqual([
      undefined,
      false,
      'resolved engine_disk_low',
    ])
  })

  it('is not watched twice on the file system of the home, nor where it cannot be seen from here', () => {
    const { watch, told, set, now } = make({ '/var/lib/docker': 2, '/home/hub': 2 })
    set({ ...now(), bavail: 1 })
    watch.at('/var/lib/docker')
    expect(watch.tick()).toBeUndefined()
    watch.at(undefined)
    expect([watch.tick(), told, raised.size]).toEqual([undefined, [], 0])
  })
})

describe('the ballast', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ballast-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  it.each([
    [0, 4 * 1024 ** 2],
    [540_000, 4 * 1024 ** 2],
    [3 * 1024 ** 2, 12 * 1024 ** 2],
    [1024 ** 3, 64 * 1024 ** 2],
  ])('beside a log of %d bytes has %d', (wal, bytes) => expect(ballastBytes(wal)).toBe(bytes))

  it('is made of real blocks, given up once, made again, and larger when the log has grown (T80)', () => {
    const path = join(folder, 'ballast')
    const ballast = createBallast({ path, database: join(folder, 'hub.db') }, systemRandom)
    expect([ballast.isWhole(), ballast.release()]).toEqual([false, false])
    expect(ballast.keep()).toBeUndefined()
    expect(ballast.isWhole()).toBe(true)
    const made = statSync(path)
    expect(made.size).toBe(4 * 1024 ** 2)
    expect(made.blocks * 512).toBeGreaterThanOrEqual(made.size)
    expect([ballast.release(), ballast.release(), ballast.isWhole()]).toEqual([true, false, false])
    ballast.keep()
    writeFileSync(join(folder, 'hub.db-wal'), Buffer.alloc(2 * 1024 ** 2))
    expect(ballast.isWhole()).toBe(false)
    ballast.keep()
    expect(statSync(path).size).toBe(8 * 1024 ** 2)
    const nowhere = createBallast({ path: join(folder, 'no', 'ballast'), database: path }, systemRandom)
    expect(nowhere.keep()).toContain('it is not there')
  })
})

describe('pace', () => {
  function made(slept: number[] = []) {
    const pace = createPace({ clock, log: silentLog(), modes, note })
    pace.onResume((ms) => void slept.push(ms))
    return { slept, pace }
  }

  it('a stall of thirty seconds is detected, recorded, forgiven until the next tick, and over after ten ticks (T75) [cond-12, clock-6]', async () => {
    const { pace, slept } = made()
    pace.tick()
    await clock.advance(31_000)
    pace.tick()
    expect(raised.get('loop_lagging')).toBe('the work loop stood still for 30 s')
    expect([noted, pace.heldBackMs(), slept]).toEqual([['stall: the work loop stood still for 30 s'], 30_000, []])
    for (let tick = 0; tick < 9; tick += 1) {
      await clock.advance(1000)
      pace.tick()
      expect([pace.heldBackMs(), raised.has('loop_lagging')]).toEqual([0, true])
    }
    await clock.advance(1000)
    pace.tick()
    expect(raised.has('loop_lagging')).toBe(false)
  })

  it('never forgives more than the skew of a signed request, however long it stood still', async () => {
    const { pace } = made()
    pace.tick()
    await clock.advance(3_600_000)
    pace.tick()
    expect(pace.heldBackMs()).toBe(30_000)
  })

  it('a sleep is noticed at the first look, once, and is no stall (T73) [clock-6]', async () => {
    const { pace, slept } = made()
    pace.look()
    pace.tick()
    clock.suspend(8 * 3_600_000)
    pace.look()
    pace.look()
    await clock.advance(1000)
    pace.tick()
    expect([slept, noted]).toEqual([[8 * 3_600_000], ['suspend: the machine slept for 28800 s']])
    expect([raised.size, pace.heldBackMs()]).toEqual([0, 0])
  })
})

describe('the steady clock', () => {
  const kept = new Map<MetaKey, string>()
  beforeEach(() => kept.clear())
  const meta = { get: (key: MetaKey) => kept.get(key), set: (key: MetaKey, value: string) => void kept.set(key, value) }
  const made = (by = clock) => createSteadyClock({ clock: by, meta, modes, note })
  const HOUR = 3_600_000

  it('never goes back: a step of an hour raises clock_fault and it runs on; the clock that returns ends it (T71) [cond-13, clock-9, clock-12]', async () => {
    const steady = made()
    steady.tick()
    const before = steady.wallMs()
    clock.stepWall(-HOUR)
    await clock.advance(1000)
    steady.tick()
    expect(steady.wallMs()).toBe(before + 1000)
    expect(raised.get('clock_fault')).toContain('60 min behind')
    expect(steady.isAhead()).toBe(false)
    clock.stepWall(HOUR)
    steady.tick()
    expect([raised.has('clock_fault'), steady.wallMs()]).toEqual([false, before + 1000])
    expect(noted).toHaveLength(2)
  })

  it('more than a week ahead in another boot it is unproven, over restarts too, until somebody says it is right', () => {
    const at = clock.wallMs()
    const inBoot = (bootId: string, days: number) => made(createFakeClock(at + days * 24 * HOUR, bootId))
    made().save()
    expect(inBoot('later', 6).isUnproven()).toBe(false)
    const steady = inBoot('b', 8)
    expect(steady.isUnproven()).toBe(true)
    steady.tick()
    steady.tick()
    expect(noted).toEqual([expect.stringContaining('192 h since this hub last ran')])
    expect(inBoot('b', 8).isUnproven()).toBe(true)
    steady.prove()
    expect([steady.isUnproven(), inBoot('b', 8).isUnproven()]).toEqual([false, false])
  })

  it('a jump of ten years ahead is not followed, over a restart neither, and leaves no mark behind (T72) [clock-13]', async () => {
    const steady = made()
    steady.tick()
    const before = steady.wallMs()
    clock.stepWall(87_600 * HOUR)
    await clock.advance(6000)
    steady.tick()
    expect([steady.wallMs(), steady.isAhead()]).toEqual([before + 6000, true])
    const again = made()
    expect([again.wallMs(), again.isAhead()]).toEqual([before + 6000, true])
    clock.stepWall(-87_600 * HOUR)
    again.tick()
    expect([again.wallMs(), again.isAhead(), raised.size]).toEqual([before + 6000, false, 0])
  })

  it('in another boot with the clock of 1970 nothing is trusted until it passes the mark (T74) [clock-9]', async () => {
    made().tick()
    const mark = clock.wallMs()
    const rebooted = createFakeClock(1000, 'boot-b')
    const steady = made(rebooted)
    steady.tick()
    expect([steady.wallMs(), raised.has('clock_fault')]).toEqual([mark, true])
    await rebooted.advance(5000)
    expect(steady.wallMs()).toBe(mark + 5000)
    rebooted.stepWall(mark + 7000)
    steady.tick()
    expect(raised.has('clock_fault')).toBe(false)
  })

  it('is taken as it is by the operator: ahead at any time, behind only with no session open (T71, T74) [cond-13]', () => {
    const steady = made()
    steady.tick()
    clock.stepWall(HOUR)
    steady.tick()
    steady.accept(3)
    expect([steady.wallMs(), raised.size]).toEqual([clock.wallMs(), 0])
    clock.stepWall(-2 * HOUR)
    steady.tick()
    expect(() => steady.accept(1)).toThrow('stop them first')
    expect(raised.has('clock_fault')).toBe(true)
    steady.accept(0)
    expect([steady.wallMs(), raised.size]).toEqual([clock.wallMs(), 0])
    expect(made().wallMs()).toBe(clock.wallMs())
  })
})

describe('the rules', () => {
  const told = new Map<string, string>()
  const alerts = {
    raise: (cause: string, _severity: string, text: string) => void told.set(cause, text),
    resolve: (cause: string) => void told.delete(cause),
  }
  it('an answer that was none stops nobody else; a known question without an answer, and a bundle that is damaged, do (T20, T21) [cond-8]', () => {
    let fault = false
    let bad: 'bundle' | 'data' | undefined = 'bundle'
    const verdict = () => ({ effect: 'allow', reason: '', rule: '', fault }) as const
    const policy = {
      active: () => ({ engine: { evaluate: verdict }, from: 'files' }) as never,
      reload() {
        if (bad !== undefined) throw new HubError('policy_unavailable', `wrong ${bad}`, { facts: { broken: bad } })
      },
    }
    const rules = createPolicyHealth({ failClosed: true }, { policy, modes, alerts })
    rules.tick()
    rules.faulted('trapped')
    rules.tick()
    expect(raised.size).toBe(0)
    fault = true
    rules.tick()
    expect(raised.size).toBe(0)
    rules.faulted('trapped')
    rules.tick()
    expect(raised.get('policy_unavailable')).toBe('trapped')
    fault = false
    rules.tick()
    expect(raised.size).toBe(0)
    expect(() => rules.reload()).toThrow('wrong bundle')
    rules.tick()
    expect(raised.get('policy_unavailable')).toMatch(/nothing new starts by the earlier ones: wrong bundle/)
    expect(told.size).toBe(0)
    bad = undefined
    rules.reload()
    expect(raised.size).toBe(0)
    bad = 'data'
    expect(() => rules.reload()).toThrow('wrong data')
    rules.tick()
    expect(raised.size).toBe(0)
    expect(rules.refused()).toBe('wrong data')
    expect(told.get('policy_refused')).toMatch(/wrong data\. The earlier rules stay in force/)
    bad = undefined
    rules.reload()
    expect([told.size, rules.refused()]).toEqual([0, undefined])
    // Damaged ones stop nothing where the operator chose so (S1-60).
    const open = createPolicyHealth({ failClosed: false }, { policy, modes, alerts })
    bad = 'bundle'
    expect(() => open.reload()).toThrow('wrong bundle')
    expect(raised.size).toBe(0)
    expect(told.get('policy_refused')).toMatch(/the shipped rules cannot be loaded again: wrong bundle/)
    bad = undefined
    open.reload()
    expect(told.size).toBe(0)
  })

  it('without any rules it is never said that some are in force, until a reload succeeds (S1-16, fault C12)', () => {
    let bad = true
    let from = 'none'
    const refusal = (why: string) => new HubError('policy_unavailable', why, { facts: { broken: 'data' } })
    const policy = {
      active: () => ({ engine: { evaluate: () => ({ fault: false }) }, from }) as never,
      reload() {
        if (bad) throw refusal('line 3')
      },
    }
    const rules = createPolicyHealth({ failClosed: true }, { policy, modes, alerts })
    rules.unloaded(refusal('line 2'))
    rules.tick()
    expect(raised.get('policy_unavailable')).toBe('no rules are in force: line 2')
    expect(() => rules.reload()).toThrow('line 3')
    expect(raised.get('policy_unavailable')).toBe('no rules are in force: line 3')
    expect(told.size).toBe(0)
    bad = false
    rules.reload()
    expect(raised.size).toBe(0)

    from = 'built-in'
    const open = createPolicyHealth({ failClosed: false }, { policy, modes, alerts })
    open.unloaded(refusal('line 2'))
    open.tick()
    expect(raised.size).toBe(0)
    expect(told.get('policy_built_in')).toMatch(/only your own tasks start \(policy.failClosed is false\): line 2/)
    open.reload()
    expect(told.size).toBe(0)
  })
})
