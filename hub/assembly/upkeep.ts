/** Builds what keeps the home small and says how large it is: retention, its pauses, the hourly count. */
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { toHubError } from '../base/errors.ts'
import type { Log } from '../base/telemetry.ts'
import { nextTurn } from '../base/turn.ts'
import { assertGrant } from '../guard/grant.ts'
import { hubPrincipal } from '../guard/principal.ts'
import { createPauses } from '../work/retention/pauses.ts'
import { createRetention } from '../work/retention/retention.ts'
import { createRoom } from '../work/retention/room.ts'
import type { RetentionSettings } from '../work/retention/settings.ts'
import type { Guard } from './guard.ts'

/** A look through the table of decisions reads it whole. */
const FORGET_EVERY_MS = 6 * 3_600_000
/** A start has other things to do first. */
const FORGET_FIRST_MS = 60_000
const TURN = { principal: hubPrincipal('retention'), operation: 'retention.turn', resource: 'hub' } as const

export type Upkeep = ReturnType<typeof createUpkeep>

export function createUpkeep(
  options: { home: string; settings: RetentionSettings },
  outer: { clock: Clock; log: Log; guard: Guard },
) {
  const { home, settings } = options
  const { clock, log, guard } = outer
  const { store, gate, modes, alertRows, footing } = guard
  const nowMs = footing.steady.wallMs
  const pauses = createPauses({ modes, clock, steady: footing.steady })
  const retention = createRetention(
    { home, artifacts: join(home, 'artifacts'), settings },
    { store, gate, alertRows, pauses, clock, nowMs, log },
  )
  const room = createRoom({ home }, { store, nowMs, leftBytes: footing.disk.leftBytes })

  function mayPrune(what: string): boolean {
    try {
      pauses.require(true)
      return true
    } catch (thrown) {
      log.debug({ reason: toHubError(thrown).message }, what)
      return false
    }
  }
  const mayDrop = () => mayPrune('no month of the audit log is dropped now')

  /** Months of the audit log that ended long enough ago: each is a record, and its signed file stays. */
  async function dropMonths(signal?: AbortSignal): Promise<void> {
    for (const { name, state, endedAtMs } of guard.sealing.months()) {
      if (state === 'dropped') continue
      if (state !== 'sealed' || endedAtMs === null || nowMs() - endedAtMs < settings.audit) return
      if (!mayDrop()) return
      const within = (drop: () => void) => {
        // Its file was read back meanwhile, which takes seconds.
        if (!mayDrop()) return
        gate.admit(TURN, (grant) => {
          assertGrant(grant, 'retention.turn')
          drop()
          return { auditEffect: `audit month ${name}` }
        })
      }
      await guard.sealing.drop(name, within, signal)
    }
  }

  let forgetAtMs = clock.monotonicMs() + FORGET_FIRST_MS
  /** Decisions as old as a month that goes, which no record names: each turn is a record, agents' lines between. */
  async function forgetDecisions(signal?: AbortSignal): Promise<void> {
    const { marks, audit } = guard
    if (
      clock.monotonicMs() < forgetAtMs ||
      !Number.isFinite(settings.audit) ||
      !mayPrune('no decision is forgotten now')
    )
      return
    await marks.advance(audit.head().size, nextTurn)
    for (let at: string | undefined = ''; at !== undefined && signal?.aborted !== true; ) {
      if (!mayPrune('no decision is forgotten now')) return
      const { ids, last } = marks.unnamed(nowMs() - settings.audit, at)
      if (ids.length > 0)
        gate.admit(TURN, (grant) => {
          assertGrant(grant, 'retention.turn')
          marks.forgetUnnamed(ids)
          return { auditEffect: `decisions ${ids.length}` }
        })
      at = last
      await nextTurn()
    }
    forgetAtMs = clock.monotonicMs() + FORGET_EVERY_MS
  }
  return { pauses, retention, room, dropMonths, forgetDecisions }
}
