/** Builds the alerts of the guard ring: rows, outbox, and who watches the guard. */
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Log } from '../base/telemetry.ts'
import { createAlerts } from '../guard/alerts/alerts.ts'
import { createGuardWatch } from '../guard/alerts/guard-watch.ts'
import { createOutbox } from '../guard/alerts/outbox.ts'
import { createAlertRows } from '../guard/alerts/rows.ts'
import { type AlertSettings, channelsOf } from '../guard/alerts/settings.ts'
import type { Events } from '../guard/events.ts'
import type { Modes } from '../guard/modes.ts'
import type { Store } from '../store/database.ts'
import type { Meta } from '../store/meta.ts'

/** Rows, outbox and who watches the guard: all that has to be there before anything can go wrong. */
export function createAlerting(
  options: { settings: AlertSettings },
  parts: {
    store: Store
    modes: Modes
    events: Events
    clock: Clock
    steadyMs: () => number
    meta: Meta
    random: Random
    log: Log
  },
) {
  const { store, modes, events, clock, steadyMs, meta, random, log } = parts
  const rows = createAlertRows(store, (reason) => log.error({ reason }, 'an alert could not be written'))
  const outbox = createOutbox({ channels: channelsOf(options.settings) }, { rows, clock, random })
  const { afterCommit } = store
  const alerts = createAlerts({ rows, modes, events, clock, steadyMs, random, log, tell: outbox.divide, afterCommit })
  const watch = createGuardWatch({ alerts, modes, clock, steadyMs, meta })
  return { rows, outbox, alerts, watch }
}
