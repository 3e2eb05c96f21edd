/** The small loop that looks at what the hub depends on: disk, ballast, audit, rules, pace and clock. Each condition has its owner in this folder. */
import type { Log } from '../../base/telemetry.ts'
import type { Ballast } from '../../store/ballast.ts'
import type { Store } from '../../store/database.ts'
import type { AuditLog } from '../audit/log.ts'
import type { Modes } from '../modes.ts'
import type { DiskWatch } from './disk.ts'
import type { Pace } from './pace.ts'
import type { PolicyHealth } from './policy-health.ts'
import type { SteadyClock } from './steady-clock.ts'

const DISK_EVERY_TICKS = 5

export interface WatchParts {
  log: Log
  modes: Modes
  store: Store
  audit: AuditLog
  disk: DiskWatch
  ballast: Ballast
  rules: PolicyHealth
  steady: SteadyClock
  pace: Pace
}

/** Answers the function to call every `TICK_MS` (pace.ts). All looks run, even if one fails; the first fault is thrown at the end. */
export function createWatch(parts: WatchParts): () => void {
  const { log, modes, store, audit, disk, ballast, rules, steady, pace } = parts
  let ticks = 0
  let told = ''

  /** A released ballast is made again only if there is room for a new task too. */
  function keepBallast(): void {
    const why = ballast.isWhole() || !disk.hasRoom() ? undefined : ballast.keep()
    if (why !== undefined && why !== told) log.warn({ reason: why }, 'the ballast file could not be made')
    told = why ?? ''
  }

  function judgeAudit(): void {
    // While the store fails, that is the cause; only a full buffer is a cause of its own.
    if (store.failure() !== undefined && !audit.bufferIsFull()) return
    const why = audit.fault()
    if (why === undefined) modes.clear('audit_failing')
    else modes.raise('audit_failing', why)
  }

  const steps = [
    () => pace.tick(),
    () => steady.tick(),
    () => {
      if (ticks++ % DISK_EVERY_TICKS !== 0) return
      disk.tick()
      if (store.failure() === undefined) store.checkpoint('passive')
    },
    keepBallast,
    judgeAudit,
    () => rules.tick(),
  ]
  return () => {
    let fault: unknown
    for (const step of steps) {
      try {
        step()
      } catch (thrown) {
        fault ??= thrown
      }
    }
    if (fault !== undefined) throw fault
  }
}
