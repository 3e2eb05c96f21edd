/** The pure judges of what the hub stands on, by table: room on the disk, the wall clock, the gap between two ticks. */
import { describe, expect, it } from 'vitest'
import { type DiskFacts, type DiskLevel, judgeDisk } from '../../../../hub/guard/conditions/disk.ts'
import { judgeGap } from '../../../../hub/guard/conditions/pace.ts'
import { judgeWall } from '../../../../hub/guard/conditions/steady-clock.ts'
import { DISK_MARKS } from '../../../../hub/guard/host.ts'

const MB = 1000 ** 2
const GB = 1000 ** 3
/** A disk of `total` bytes with `free` of them free. */
const disk = (total: number, free: number, more: Partial<DiskFacts> = {}): DiskFacts => ({
  blocks: total / 1000,
  bavail: free / 1000,
  bsize: 1000,
  files: 1000,
  ffree: 1000,
  ...more,
})
const levelOf = (facts: DiskFacts | undefined, last: DiskLevel = 'fine') => judgeDisk(facts, DISK_MARKS, last).level

describe('the disk (T80, T84)', () => {
  it.each<[why: string, facts: DiskFacts | undefined, last: DiskLevel, level: DiskLevel]>([
    ['half of it free', disk(100 * GB, 50 * GB), 'fine', 'fine'],
    ['ten percent to the byte', disk(100 * GB, 10 * GB), 'fine', 'fine'],
    ['just under ten percent', disk(100 * GB, 10 * GB - MB), 'fine', 'warn'],
    ['just under five percent', disk(100 * GB, 5 * GB - MB), 'fine', 'no_new_tasks'],
    ['just under two percent', disk(100 * GB, 2 * GB - MB), 'fine', 'degraded'],
    ['full', disk(100 * GB, 0), 'fine', 'degraded'],
    ['200 MB of eight gigabytes, two and a half percent', disk(8 * GB, 199 * MB), 'fine', 'degraded'],
    ['a whole gigabyte of 60', disk(60 * GB, GB), 'fine', 'degraded'],
    ['a small disk that is nearly empty', disk(64 * MB, 60 * MB), 'fine', 'fine'],
    ['a small disk above five percent', disk(64 * MB, 5 * MB), 'fine', 'warn'],
    ['a small disk below five percent: there the byte mark stands', disk(64 * MB, 3 * MB), 'fine', 'degraded'],
    ['no inode left', disk(100 * GB, 90 * GB, { ffree: 0 }), 'fine', 'degraded'],
    ['few inodes left', disk(100 * GB, 90 * GB, { ffree: 40 }), 'fine', 'no_new_tasks'],
    ['a file system without a count of inodes', disk(100 * GB, 90 * GB, { files: 0, ffree: 0 }), 'fine', 'fine'],
    ['a file system that does not answer', undefined, 'fine', 'degraded'],
    ['a file system of no blocks', disk(0, 0), 'fine', 'degraded'],
    ['back above the mark, but not by a quarter', disk(100 * GB, 2.2 * GB), 'degraded', 'degraded'],
    ['a quarter above two percent', disk(100 * GB, 2.5 * GB), 'degraded', 'no_new_tasks'],
    ['a quarter above five', disk(100 * GB, 6.25 * GB), 'degraded', 'warn'],
    ['a quarter above ten', disk(100 * GB, 12.5 * GB), 'degraded', 'fine'],
    ['a level that gets worse does so at its own mark', disk(100 * GB, 5.5 * GB), 'warn', 'warn'],
  ])('with %s', (_why, facts, last, level) => {
    expect(levelOf(facts, last)).toBe(level)
  })

  it('says what is free, and names the inodes where they are the fewer', () => {
    expect(judgeDisk(disk(100 * GB, 50 * GB), DISK_MARKS, 'fine').detail).toBe('47683 MiB (50.0 %) free')
    expect(judgeDisk(disk(GB, GB, { ffree: 3 }), DISK_MARKS, 'fine').detail).toContain('3 inodes (0.3 %)')
  })
})

describe('the wall clock', () => {
  const MARK = Date.UTC(2026, 0, 5)
  const HOUR = 3_600_000
  it.each<[why: string, wall: number, elapsed: number | null, now: number, fault: string | undefined]>([
    ['that runs', 1000, 1000, 1000, undefined],
    ['a second back is no fault, and time stands', -1000, 0, 0, undefined],
    ['five seconds back is none either', -5000, 0, 0, undefined],
    ['more than five is (T71)', -5001, 100, 100, 'behind 5101'],
    ['an hour back: it goes on by boot time (T71)', -HOUR, 60_000, 60_000, `behind ${HOUR + 60_000}`],
    ['a year back (T71)', -365 * 24 * HOUR, 1000, 1000, `behind ${365 * 24 * HOUR + 1000}`],
    ['five minutes ahead is taken', 301_000, 1000, 301_000, undefined],
    ['an hour ahead is not (T72)', HOUR, 1000, 1000, `ahead ${HOUR - 1000}`],
    ['ten years ahead is not (T72)', 87_600 * HOUR, 1000, 1000, `ahead ${87_600 * HOUR - 1000}`],
    ['an hour ahead after an hour asleep is right (T73)', HOUR, HOUR, HOUR, undefined],
    ['in another boot ahead is taken', 48 * HOUR, null, 48 * HOUR, undefined],
    ['in another boot behind is a fault (T74)', -MARK, null, 0, `behind ${MARK}`],
  ])('%s (a wall clock) [clock-2, clock-8]', (_why, wall, elapsed, now, fault) => {
    const verdict = judgeWall(MARK + wall, MARK, elapsed)
    expect(verdict.nowMs - MARK).toBe(now)
    expect(verdict.fault && `${verdict.fault.kind} ${verdict.fault.byMs}`).toBe(fault)
  })
})

describe('the gap between two ticks', () => {
  it.each<[why: string, boot: number, monotonic: number, asleep: number, stalled: number]>([
    ['in time', 1000, 1000, 0, 0],
    ['a little late', 4000, 4000, 0, 0],
    ['a stall of thirty seconds (T75)', 31_000, 31_000, 0, 30_000],
    ['two seconds asleep are none', 3000, 1000, 0, 0],
    ['a minute asleep (T73)', 61_000, 1000, 60_000, 0],
    ['asleep and then stalled', 61_000, 21_000, 40_000, 20_000],
    ['boot time that went back', 0, 1000, 0, 0],
  ])('%s (between two ticks) [clock-6]', (_why, bootMs, monotonicMs, asleepMs, stalledMs) => {
    expect(judgeGap({ bootMs: 0, monotonicMs: 0 }, { bootMs, monotonicMs }, 1000)).toEqual({ asleepMs, stalledMs })
  })
})
