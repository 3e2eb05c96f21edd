/** Builds the alerts of the guard ring: rows, outbox, who watches the guard, and what carries them to people. */
import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import type { Redaction } from '../../base/redaction.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Store } from '../../store/database.ts'
import type { Meta } from '../../store/meta.ts'
import type { AuditLog } from '../audit/log.ts'
import type { Events } from '../events.ts'
import type { GuardMeters } from '../meters.ts'
import type { Modes } from '../modes.ts'
import { createAlerts } from './alerts.ts'
import { createSends } from './channels/channels.ts'
import { createDelivery } from './delivery.ts'
import { createGuardWatch } from './guard-alerts.ts'
import { createOutbox } from './outbox.ts'
import { createAlertRows } from './rows.ts'
import { type AlertSettings, channelsOf } from './settings.ts'

/** All that has to be there before anything can go wrong. */
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
    redaction: Redaction
    meters?: Pick<GuardMeters, 'alerts'>
  },
) {
  const { store, modes, events, clock, steadyMs, meta, random, log, meters } = parts
  const alertRows = createAlertRows(store, (reason) => log.error({ reason }, 'an alert could not be written'))
  const outbox = createOutbox({ channels: () => channelsOf(options.settings) }, { rows: alertRows, clock, random })
  const { afterCommit } = store
  const alerts = createAlerts({
    ...{ rows: alertRows, modes, events, clock, steadyMs, random, log, tell: outbox.divide, afterCommit },
    hide: parts.redaction.text,
    holdBack: outbox.holdBack,
    ...(meters && { meter: meters.alerts }),
  })
  return { alerts, alertRows, outbox, alertWatch: createGuardWatch({ alerts, modes, clock, steadyMs, meta }) }
}
type Alerting = ReturnType<typeof createAlerting>

/** Builds their delivery. `secretOf` reads a secret by its name when a message is sent, and throws if there is none. */
export function createAlertDelivery(
  options: { settings: AlertSettings; home: string; instance: string },
  parts: {
    alerting: Alerting
    modes: Modes
    audit: Pick<AuditLog, 'head'>
    clock: Clock
    random: Random
    log: Log
    secretOf: (name: string) => string
  },
) {
  const { settings, home, instance } = options
  const { alerting, modes, audit, clock, random, log, secretOf } = parts
  const { alerts, alertWatch, outbox } = alerting
  const sends = () => createSends(settings, { home, clock, secretOf })
  let linkOf: (cause: string) => string | undefined = () => undefined
  const facts = () => ({
    nowMs: clock.wallMs(),
    zone: settings.zone,
    instance,
    mode: modes.current(),
    audit: audit.head(),
  })
  const sayNone = () => {
    if (settings.channels === undefined)
      log.warn(
        'no alert channel is configured: alerts are only written to logs/alerts.log, and nobody is told; see `hub doctor`',
      )
  }
  sayNone()
  const delivery = createDelivery(
    { settings },
    { alerts, outbox, sends, facts, clock, random, log, linkOf: (cause) => linkOf(cause) },
  )
  return {
    ...delivery,
    /** Sets what makes the address of a page for an alert that can be answered. */
    linkBy(make: typeof linkOf) {
      linkOf = make
    },
    /** The settings have changed: channels come and go, and what waits for one that is gone is given up. */
    settingsChanged() {
      outbox.channelsChanged()
      delivery.channelsChanged()
      sayNone()
    },
    /** Looks, writes what is still unwritten, and starts what is due. */
    round() {
      alertWatch.tick()
      alerts.tick()
      delivery.round()
    },
  }
}
export type AlertDelivery = ReturnType<typeof createAlertDelivery>
