/** The small loop that looks after the hub's own footing: disk, ballast, audit, rules, pace and clock. Each condition has its owner beside this file. */
import type { Clock } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Ballast } from '../../store/ballast.ts'
import type { Store } from '../../store/database.ts'
import type { AuditLog } from '../audit/log.ts'
import type { Gate } from '../gate.ts'
import type { Modes } from '../modes.ts'
import { hubPrincipal } from '../principal.ts'
import type { DiskWatch } from './disk.ts'
import { createPace, type Pace } from './pace.ts'
import type { PolicyHealth } from './policy-health.ts'
import type { SteadyClock } from './steady-clock.ts'

const DISK_EVERY_TICKS = 5

export interface Watch {
  /** Every `TICK_MS` (pace.ts). */
  tick(): void
  readonly pace: Pace
  /** Hears, before any traffic, that the machine slept; one listener of the work ring. */
  onResume(listener: () => void): void
}

export interface WatchParts {
  clock: Clock
  log: Log
  modes: Modes
  store: Store
  audit: AuditLog
  gate: () => Gate
  disk: DiskWatch
  ballast: Ballast
  rules: PolicyHealth
  steady: SteadyClock
  /** What the hub's own ring does after a sleep: leases and clocks. */
  resumed: () => void
}

/** Writes one observation of the hub about its host into the audit log; while it cannot be recorded the log alone has it. */
export function createNote(parts: { gate: () => Gate; store: Store; log: Log }): (what: string, text: string) => void {
  const { gate, store, log } = parts
  return (what, text) => {
    log.warn({ what, text }, 'the hub observed something of its host')
    if (store.inTransaction || store.failure() !== undefined) return
    try {
      const call = { principal: hubPrincipal('watch'), operation: 'hub.observe', resource: `host:${what}` } as const
      gate().admit(call, () => ({ auditEffect: text }))
    } catch (thrown) {
      log.error({ what, reason: toHubError(thrown).reason }, 'an observation could not be recorded')
    }
  }
}

export function createWatch(parts: WatchParts): Watch {
  const { clock, log, modes, store, audit, disk, ballast, rules, steady, resumed } = parts
  const note = createNote(parts)
  let listener: () => void = () => undefined
  let ticks = 0
  let told = ''

  const pace = createPace({
    clock,
    modes,
    note,
    onResume() {
      for (const step of [resumed, listener]) {
        try {
          step()
        } catch (thrown) {
          log.error({ reason: toHubError(thrown).reason }, 'a step after the machine slept failed')
        }
      }
    },
  })

  /** A released one is made again only where a new task would be taken too. */
  function keepBallast(): void {
    const why = ballast.isWhole() || !disk.hasRoom() ? undefined : ballast.keep()
    if (why !== undefined && why !== told) log.warn({ reason: why }, 'the ballast file could not be made')
    told = why ?? ''
  }

  function judgeAudit(): void {
    // While the store fails that is the cause; only its full buffer is another.
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
  return {
    pace,
    onResume(hears) {
      listener = hears
    },
    tick() {
      let fault: unknown
      for (const step of steps) {
        try {
          step()
        } catch (thrown) {
          fault ??= thrown
        }
      }
      if (fault !== undefined) throw fault
    },
  }
}
