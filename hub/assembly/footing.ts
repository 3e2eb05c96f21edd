/** Builds what looks after the hub's own footing: disk, ballast, steady clock, rules, pace (`guard/conditions`). */
import { statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Log } from '../base/telemetry.ts'
import type { Alerts } from '../guard/alerts/alerts.ts'
import type { AuditLog } from '../guard/audit/log.ts'
import type { Call } from '../guard/call.ts'
import { createDiskWatch, type DiskFacts, type DiskMarks } from '../guard/conditions/disk.ts'
import { createEngineDisk } from '../guard/conditions/engine-disk.ts'
import { createPolicyHealth } from '../guard/conditions/policy-health.ts'
import { createSteadyClock } from '../guard/conditions/steady-clock.ts'
import { createNote, createWatch } from '../guard/conditions/watch.ts'
import type { Gate } from '../guard/gate.ts'
import type { Modes } from '../guard/modes.ts'
import type { Policy } from '../guard/policy/bundle.ts'
import { type Ballast, createBallast } from '../store/ballast.ts'
import type { Store } from '../store/database.ts'
import type { Meta } from '../store/meta.ts'

export const DISK_MARKS: DiskMarks = {
  warnPercent: 10,
  noNewTasksPercent: 5,
  degradedPercent: 2,
  degradedBytes: 200 * 1000 ** 2,
}

export interface FootingParts {
  clock: Clock
  random: Random
  log: Log
  store: Store
  meta: Meta
  modes: Modes
  alerts: Alerts
  audit: AuditLog
  /** Built after some of this. */
  gate: () => Gate
  policy: () => Policy
  /** What the guard ring does when the machine has slept. */
  resumed: () => void
  /** Of the home's file system; the system's own by default. */
  statfs?: (path: string) => DiskFacts
  /** The file `ballast` of the home by default. */
  ballast?: Ballast
}

export function createFooting(options: { home: string; marks: DiskMarks | undefined }, parts: FootingParts) {
  const { home, marks = DISK_MARKS } = options
  const { random, log, store, meta, modes, alerts, gate, policy, statfs = (path) => statfsSync(path) } = parts
  const note = createNote({ gate, store, log })
  const steady = createSteadyClock({ clock: parts.clock, meta, modes, note })
  const { ballast = createBallast({ path: join(home, 'ballast'), database: join(home, 'hub.db') }, random) } = parts
  const disk = createDiskWatch(marks, { statfs: () => statfs(home), modes, alerts })
  const deviceOf = (path: string) => statSync(path).dev
  const engineDisk = createEngineDisk(marks, { statfs, deviceOf, home, modes, alerts })
  const rules = createPolicyHealth({
    policy: { active: () => policy().active(), reload: () => policy().reload() },
    modes,
    alerts,
  })
  const watch = createWatch({ ...parts, disk, ballast, rules, steady })

  return {
    steady,
    ballast,
    disk,
    engineDisk,
    rules,
    watch,
    /** For the gate: a stop that finds the disk full is given the ballast, once. What the hub stops by itself leaves it to who asks. */
    makeRoom({ principal }: Call): boolean {
      if (!store.failure()?.reason.startsWith('SQLITE_FULL')) return false
      if (principal.kind === 'hub' && !modes.has('draining')) return false
      const isGiven = ballast.release()
      if (isGiven) log.warn('the disk is full: the ballast file was given up so that the stop can be recorded')
      return isGiven
    },
  }
}
