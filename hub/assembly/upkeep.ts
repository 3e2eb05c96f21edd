/** Builds what keeps the home small and says how large it is: retention, its pauses, the hourly count. */
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/telemetry.ts'
import { createPauses } from '../work/retention/pauses.ts'
import { createRetention } from '../work/retention/retention.ts'
import { createRoom } from '../work/retention/room.ts'
import type { RetentionSettings } from '../work/retention/settings.ts'
import type { Guard } from './guard.ts'

export type Upkeep = ReturnType<typeof createUpkeep>

export function createUpkeep(
  options: { home: string; settings: RetentionSettings },
  outer: { clock: Clock; log: Log; guard: Guard },
) {
  const { home, settings } = options
  const { clock, log, guard } = outer
  const { store, gate, modes, alertRows, footing } = guard
  const nowMs = footing.steady.wallMs
  const pauses = createPauses({ modes, clock })
  const retention = createRetention(
    { home, artifacts: join(home, 'artifacts'), settings },
    { store, gate, alertRows, pauses, clock, nowMs, log },
  )
  const room = createRoom({ home }, { store, nowMs, leftBytes: footing.disk.leftBytes })
  return { pauses, retention, room }
}
