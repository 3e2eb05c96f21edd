/**
 * Room on the home's file system, in bytes and in inodes (docs/threats.md 7, T80, T84).
 *
 * D1. Marks: an alert, then no new task, then degraded. A level is left only a quarter above its mark, so that it does not flicker.
 * D2. The byte mark of `degraded` is never above the mark at which no new task is taken. 200 MB are 2 % of ten gigabytes; on a disk of one
 *     gigabyte or fifty megabytes they would degrade a hub whose disk is nearly empty, without a warning.
 * D3. A file system that cannot be asked counts as full. One that counts no inodes (zero in all) is judged only by bytes.
 */
import { HubError } from '../../base/errors.ts'
import type { Alerts } from '../alerts/alerts.ts'
import type { Modes } from '../modes.ts'

export interface DiskFacts {
  /** Blocks of `bsize` bytes: in all, and free for this user. */
  blocks: number
  bavail: number
  bsize: number
  /** Inodes: in all, and free. */
  files: number
  ffree: number
}

export interface DiskMarks {
  /** Percent free below which an alert is raised, no new task is taken, the hub is degraded. */
  warnPercent: number
  noNewTasksPercent: number
  degradedPercent: number
  /** The last one in bytes too; the first to be reached counts. */
  degradedBytes: number
}

const DISK_LEVELS = ['fine', 'warn', 'no_new_tasks', 'degraded'] as const
export type DiskLevel = (typeof DISK_LEVELS)[number]

export interface DiskVerdict {
  level: DiskLevel
  /** What is free, for people. */
  detail: string
}

const LEAVE_FACTOR = 1.25

/** Pure: the level now, given the last one. */
export function judgeDisk(facts: DiskFacts | undefined, marks: DiskMarks, last: DiskLevel): DiskVerdict {
  if (facts === undefined) return { level: 'degraded', detail: 'the file system of the home cannot be asked' }
  const bytes = facts.bavail * facts.bsize
  const share = facts.blocks === 0 ? 0 : (100 * facts.bavail) / facts.blocks
  const inodes = facts.files === 0 ? 100 : (100 * facts.ffree) / facts.files
  const least = Math.min(share, inodes)
  const bytesShare = Math.min(
    marks.noNewTasksPercent,
    facts.blocks === 0 ? 100 : (100 * marks.degradedBytes) / (facts.blocks * facts.bsize),
  )
  const isBelow = (level: DiskLevel): boolean => {
    const factor = DISK_LEVELS.indexOf(last) >= DISK_LEVELS.indexOf(level) ? LEAVE_FACTOR : 1
    if (level === 'warn') return least < marks.warnPercent * factor
    if (level === 'no_new_tasks') return least < marks.noNewTasksPercent * factor
    return least < marks.degradedPercent * factor || share < bytesShare * factor
  }
  const level = [...DISK_LEVELS].reverse().find((each) => each === 'fine' || isBelow(each)) ?? 'fine'
  const room = `${Math.floor(bytes / 1024 ** 2)} MiB (${share.toFixed(1)} %) free`
  return { level, detail: inodes < share ? `${room}, ${facts.ffree} inodes (${inodes.toFixed(1)} %)` : room }
}

/** Pure: how many bytes may still be used before the hub is degraded; negative if it is. */
export function bytesLeft({ blocks, bavail, bsize }: DiskFacts, marks: DiskMarks): number {
  const all = blocks * bsize
  const byBytes = Math.min(marks.degradedBytes, (all * marks.noNewTasksPercent) / 100)
  return Math.floor(bavail * bsize - Math.max((all * marks.degradedPercent) / 100, byBytes))
}

export interface DiskWatch {
  /** Looks, and raises or clears `disk_low` and the alert. */
  tick(): DiskVerdict
  last(): DiskVerdict
  /** See `bytesLeft`; null if the file system cannot be asked. */
  leftBytes(): number | null
  /** Whether a new task may be taken. */
  hasRoom(): boolean
  /** Throws `mode_degraded` when not. */
  requireRoom(): void
}

/** `statfs` may throw; `modes` and `alerts` hear of it. Owner of the condition `disk_low`. */
export function createDiskWatch(
  marks: DiskMarks,
  parts: { statfs: () => DiskFacts; modes: Pick<Modes, 'raise' | 'clear'>; alerts: Pick<Alerts, 'raise' | 'resolve'> },
): DiskWatch {
  const { statfs, modes, alerts } = parts
  let verdict: DiskVerdict = { level: 'fine', detail: 'not looked at yet' }

  const hasRoom = () => verdict.level === 'fine' || verdict.level === 'warn'
  function facts(): DiskFacts | undefined {
    try {
      return statfs()
    } catch {
      return undefined
    }
  }
  return {
    tick() {
      const before = verdict.level
      verdict = judgeDisk(facts(), marks, before)
      const { level, detail } = verdict
      if (level === 'degraded') modes.raise('disk_low', detail)
      else modes.clear('disk_low')
      // Also at the first look: the alert may be from an earlier run, and space may have been freed while the hub was down (fault B1).
      if (level === 'fine') alerts.resolve('disk_low')
      else if (level !== before)
        alerts.raise('disk_low', 'warning', `The disk of the hub's home is filling up: ${detail}.`)
      return verdict
    },
    last: () => verdict,
    leftBytes() {
      const found = facts()
      return found === undefined ? null : bytesLeft(found, marks)
    },
    hasRoom,
    requireRoom() {
      if (hasRoom()) return
      const detail = `the disk of the home is nearly full (${verdict.detail}); no new task is taken`
      throw new HubError('mode_degraded', detail, { facts: { conditions: ['disk_low'] } })
    },
  }
}
