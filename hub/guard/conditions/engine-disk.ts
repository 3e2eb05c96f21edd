/**
 * Room where the engine keeps its data (fault A7): with a full disk the engine starts nothing and may not even record what it stopped. The
 * marks are those of the home's disk. Watched only if the data is visible from here and on another file system. Owner of `engine_disk_low`.
 */
import type { Alerts } from '../alerts/alerts.ts'
import type { Modes } from '../modes.ts'
import { type DiskFacts, type DiskMarks, type DiskVerdict, judgeDisk } from './disk.ts'

export interface EngineDisk {
  /** Where the engine keeps its data; undefined if that is not this machine, or not known. */
  at(root: string | undefined): void
  /** Looks, and raises or clears; undefined if there is nothing to watch. */
  tick(): DiskVerdict | undefined
  last(): DiskVerdict | undefined
}

export function createEngineDisk(
  marks: DiskMarks,
  parts: {
    statfs: (path: string) => DiskFacts
    /** Of the file system that a path is on. */
    deviceOf: (path: string) => number
    home: string
    modes: Pick<Modes, 'raise' | 'clear'>
    alerts: Pick<Alerts, 'raise' | 'resolve'>
  },
): EngineDisk {
  const { statfs, deviceOf, home, modes, alerts } = parts
  let root: string | undefined
  let verdict: DiskVerdict | undefined

  function facts(): DiskFacts | undefined {
    if (root === undefined) return undefined
    try {
      // On the home's own file system the other watch already covers it.
      return deviceOf(root) === deviceOf(home) ? undefined : statfs(root)
    } catch {
      return undefined
    }
  }
  return {
    at(path) {
      root = path
    },
    tick() {
      const before = verdict?.level ?? 'fine'
      const seen = facts()
      verdict = seen === undefined ? undefined : judgeDisk(seen, marks, before)
      const level = verdict?.level ?? 'fine'
      if (verdict !== undefined && level === 'degraded') modes.raise('engine_disk_low', verdict.detail)
      else modes.clear('engine_disk_low')
      // Even if nothing changed: the alert may be from an earlier run. Until the engine has said where its data is, nothing is known.
      if (level === 'fine') {
        if (root !== undefined || before !== 'fine') alerts.resolve('engine_disk_low')
      } else if (level !== before) {
        const text = `The disk of the container engine (${root}) is filling up: ${verdict?.detail}. See: docker system df`
        alerts.raise('engine_disk_low', 'warning', text)
      }
      return verdict
    },
    last: () => verdict,
  }
}
