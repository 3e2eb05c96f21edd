/** Fault B3: how large the home is, how fast it grows, and when the disk is full of it. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { bytesLeft } from '../../../../hub/guard/conditions/disk.ts'
import { openStore, type Store } from '../../../../hub/store/database.ts'
import { migrate, shippedMigrations } from '../../../../hub/store/migrations.ts'
import { createHomeSize, HOME_PARTS, type HomeParts, judgeGrowth } from '../../../../hub/work/retention/home-size.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const MIB = 1024 ** 2
const parts = (database: number) =>
  ({ ...Object.fromEntries(HOME_PARTS.map((part) => [part, 0])), database }) as HomeParts
const at = (hours: number, mib: number) => ({ atMs: hours * HOUR_MS, parts: parts(mib * MIB) })

describe('fault B3: growth', () => {
  test.each([
    ['one count says nothing', [at(0, 10)], 1000, null, null],
    ['less than six hours say nothing', [at(0, 10), at(5, 20)], 1000, null, null],
    ['a day: 24 MiB more, and the rest is full in 41 days', [at(0, 10), at(24, 34)], 1000, 24, 41],
    ['only the last seven days count', [at(0, 0), at(72, 900), at(240, 970)], 100, 10, 10],
    ['what shrinks or stands has no end', [at(0, 30), at(24, 20)], 1000, -10, null],
    ['at the mark it is none', [at(0, 10), at(24, 34)], -5, 24, 0],
  ])('%s', (_name, samples, leftMib, growthMib, days) => {
    const judged = judgeGrowth(samples, leftMib * MIB)
    expect(judged.growthPerDayBytes === null ? null : judged.growthPerDayBytes / MIB).toBe(growthMib)
    expect(judged.daysToFull).toBe(days)
  })

  test('a file system that cannot be asked has no end that could be told', () => {
    expect(judgeGrowth([at(0, 10), at(24, 34)], null)).toEqual({ growthPerDayBytes: 24 * MIB, daysToFull: null })
  })

  test('full is the mark at which the hub is degraded', () => {
    const marks = { warnPercent: 10, noNewTasksPercent: 5, degradedPercent: 2, degradedBytes: 200e6 }
    const disk = (gigabytes: number) => ({ blocks: gigabytes * 1e6, bavail: 500_000, bsize: 1000, files: 0, ffree: 0 })
    expect(bytesLeft(disk(100), marks)).toBe(500e6 - 2000e6)
    expect(bytesLeft(disk(10), marks)).toBe(500e6 - 200e6)
    expect(bytesLeft(disk(1), marks)).toBe(500e6 - 50e6)
  })
})

describe('fault B3: what the home takes', () => {
  let home: string
  let store: Store
  let nowMs = 100 * DAY_MS
  const open = () => createHomeSize({ home }, { store, nowMs: () => nowMs, leftBytes: () => 50 * MIB })
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'r-'))
    store = openStore(join(home, 'hub.db'))
    migrate(store, shippedMigrations(), 0, () => undefined)
    nowMs = 100 * DAY_MS
  })
  afterEach(() => {
    store.close()
    rmSync(home, { recursive: true })
  })
  const fill = (path: string, mib: number) => {
    mkdirSync(join(home, path, '..'), { recursive: true })
    writeFileSync(join(home, path), Buffer.alloc(mib * MIB, 1))
  }

  test('a count that cannot be read is passed over: it keeps nobody from starting (fault G3)', async () => {
    await open().sample()
    store.transaction(() => {
      store.prepare('insert into room_sample values (1, ?)').run('{')
      store.prepare('insert into room_sample values (2, ?)').run('{"database":"x"}')
    })
    expect(open().view()?.parts.database).toBeGreaterThan(0)
  })

  test('is told by its parts; a link counts as itself; what has no name of its own is other', async () => {
    fill('artifacts/ab/x', 2)
    fill('logs/hub.log', 1)
    fill('evidence/s/log', 1)
    fill('backups/one/hub.db', 3)
    fill('cache/x', 1)
    symlinkSync('/usr', join(home, 'other-disk'))
    const room = open()
    expect(room.view()).toBeNull()
    await room.sample()
    const view = room.view()
    const mib = Object.fromEntries(
      Object.entries(view?.parts ?? {}).map(([name, bytes]) => [name, Math.round(bytes / MIB)]),
    )
    expect(mib).toEqual({
      artifacts: 2,
      logs: 1,
      evidence: 1,
      backups: 3,
      cache: 1,
      other: 0,
      audit: 0,
      database: expect.any(Number),
    })
    expect(view?.parts.database).toBeGreaterThan(4096)
    expect(view).toMatchObject({ leftBytes: 50 * MIB, growthPerDayBytes: null, daysToFull: null, sampledAtMs: nowMs })
  })

  test('is remembered over a restart, for a month, and never of a time that has not come', async () => {
    await open().sample()
    nowMs += DAY_MS
    fill('artifacts/ab/x', 10)
    const again = open()
    await again.sample()
    const view = again.view()
    expect(Math.round((view?.growthPerDayBytes ?? 0) / MIB)).toBe(10)
    expect(view?.daysToFull).toBeGreaterThanOrEqual(4)
    const rows = () => store.prepare('select count(*) from room_sample').pluck().get()
    expect(rows()).toBe(2)
    nowMs += 31 * DAY_MS
    await again.sample()
    expect(rows()).toBe(2)
    nowMs = 100 * DAY_MS
    const back = open()
    await back.sample()
    expect(rows()).toBe(1)
    expect(back.view()?.growthPerDayBytes).toBeNull()
  })
})
