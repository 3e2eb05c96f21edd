/** Builds what judges the machine under the hub: its clocks, its disks, the spare file, and the small loop that looks at all of them. */
import { statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Log } from '../base/telemetry.ts'
import type { Tracer } from '../protocol/traces.ts'
import { type Ballast, createBallast } from '../store/ballast.ts'
import type { Store } from '../store/database.ts'
import type { Meta } from '../store/meta.ts'
import type { Alerts } from './alerts/alerts.ts'
import type { AuditLog } from './audit/log.ts'
import type { Call } from './checks.ts'
import { createDiskWatch, type DiskFacts, type DiskMarks } from './conditions/disk.ts'
import { createEngineDisk } from './conditions/engine-disk.ts'
import { createObservations } from './conditions/observations.ts'
import { createPace } from './conditions/pace.ts'
import type { PolicyHealth } from './conditions/policy-health.ts'
import { createSteadyClock } from './conditions/steady-clock.ts'
import { createWatch } from './conditions/watch.ts'
import { createWorkClock } from './conditions/work-clock.ts'
import { createGuardMeters } from './meters.ts'
import type { Modes } from './modes.ts'

export const DISK_MARKS: DiskMarks = {
  warnPercent: 10,
  noNewTasksPercent: 5,
  degradedPercent: 2,
  degradedBytes: 200 * 1000 ** 2,
}

/** The two clocks of the host, what is recorded about them, and what is timed by them. Built first, because the rest is judged by them. */
export function createTimes(parts: {
  clock: Clock
  log: Log
  store: Store
  meta: Meta
  modes: Modes
  tracer: Tracer | undefined
}) {
  const { clock, log, store, meta, modes, tracer } = parts
  const observations = createObservations({ store, log })
  const { note } = observations
  const meters = createGuardMeters(tracer && (() => tracer.example()))
  store.timeCommits(clock.monotonicMs, meters.commitSeconds)
  return {
    meters,
    observations,
    steady: createSteadyClock({ clock, meta, modes, note }),
    pace: createPace({ clock, log, modes, note, lag: meters.lagSeconds }),
    workClock: createWorkClock({ meta, modes, clock }),
  }
}
export type Times = ReturnType<typeof createTimes>

export interface HostParts {
  times: Times
  random: Random
  log: Log
  store: Store
  modes: Modes
  alerts: Alerts
  audit: AuditLog
  rules: PolicyHealth
  /** Of the home's file system; the system's own by default. */
  statfs?: (path: string) => DiskFacts
  /** The file `ballast` of the home by default. */
  ballast?: Ballast
}

export function createHost(options: { home: string; marks: DiskMarks | undefined }, parts: HostParts) {
  const { home, marks = DISK_MARKS } = options
  const { times, random, log, store, modes, alerts, audit, rules, statfs = (path) => statfsSync(path) } = parts
  const { steady, pace } = times
  const { ballast = createBallast({ path: join(home, 'ballast'), database: join(home, 'hub.db') }, random) } = parts
  const disk = createDiskWatch(marks, { statfs: () => statfs(home), modes, alerts })
  const deviceOf = (path: string) => statSync(path).dev
  const engineDisk = createEngineDisk(marks, { statfs, deviceOf, home, modes, alerts })
  const tick = createWatch({ log, modes, store, audit, disk, ballast, rules, steady, pace })

  return {
    steady,
    pace,
    ballast,
    disk,
    engineDisk,
    /** Looks at all of it; every `TICK_MS` (pace.ts). Throws the first fault after the last look. */
    tick,
    /** For the gate: a stop that finds the disk full gets the ballast, once. The hub's own stops leave it to stops that a person asks for. */
    makeRoom({ principal }: Call): boolean {
      if (store.failure()?.code !== 'SQLITE_FULL') return false
      if (principal.kind === 'hub' && !modes.has('draining')) return false
      const isGiven = ballast.release()
      if (isGiven) log.warn('the disk is full: the ballast file was deleted so that the stop can be recorded')
      return isGiven
    },
  }
}
export type Host = ReturnType<typeof createHost>
