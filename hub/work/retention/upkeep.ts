/** Builds what keeps the home small and says how large it is: retention, its pauses, the hourly count. */
import { join } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import { nextTurn } from '../../base/turn.ts'
import { assertGrant } from '../../guard/grant.ts'
import type { Guard } from '../../guard/guard.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import type { Transcripts } from '../transcripts.ts'
import { createHomeSize } from './home-size.ts'
import { createPauses } from './pauses.ts'
import { createRetention } from './retention.ts'
import type { RetentionSettings } from './settings.ts'

/** Searching the table of decisions reads all of it. */
const FORGET_EVERY_MS = 6 * 3_600_000
/** At a start there are more urgent things to do. */
const FORGET_FIRST_MS = 60_000
const TURN = { principal: hubPrincipal('retention'), operation: 'retention.turn', resource: 'hub' } as const

export type Upkeep = ReturnType<typeof createUpkeep>

export function createUpkeep(
  options: { home: string; retention: RetentionSettings },
  outer: { clock: Clock; log: Log; guard: Guard; transcripts: Transcripts },
) {
  const { home, retention: settings } = options
  const { clock, log, guard, transcripts } = outer
  const { store, gate, modes, alertRows, host } = guard
  const nowMs = host.steady.wallMs
  const pauses = createPauses({ modes, clock, steady: host.steady })
  const retention = createRetention(
    { home, artifacts: join(home, 'artifacts'), settings },
    { store, gate, alertRows, transcripts, pauses, clock, nowMs, log },
  )
  const size = createHomeSize({ home }, { store, nowMs, leftBytes: host.disk.leftBytes })

  function mayPrune(what: string): boolean {
    try {
      pauses.require(true)
      return true
    } catch (thrown) {
      log.debug({ reason: toHubError(thrown).message }, what)
      return false
    }
  }
  const mayDrop = () => mayPrune('could not drop a month of the audit log now')

  /** Months of the audit log that ended long enough ago. Each drop is a record, and its signed file stays. */
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
  /** Decisions as old as a month that is dropped, and that no record names. Each turn is a record, and agents' lines come in between. */
  async function forgetDecisions(signal?: AbortSignal): Promise<void> {
    const { marks, audit } = guard
    if (
      clock.monotonicMs() < forgetAtMs ||
      !Number.isFinite(settings.audit) ||
      !mayPrune('could not delete old decisions now')
    )
      return
    await marks.advance(audit.head().size, nextTurn)
    for (let at: string | undefined = ''; at !== undefined && signal?.aborted !== true; ) {
      if (!mayPrune('could not delete old decisions now')) return
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
  return { pauses, retention, size, dropMonths, forgetDecisions }
}
