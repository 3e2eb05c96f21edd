/** Builds everything by which this process tells people: channels, outbox, the ping to the outside, and the test of all of it. */
import { alertStatus, lacksOf } from './alert-status.ts'
import { type AlertTest, createAlertTest } from './alert-test.ts'
import { type Alerts, type AnyParcel, createAlerts } from './alerts.ts'
import { createOpenPost } from './channels/open.ts'
import { createOutward, type Resolve } from './channels/outward.ts'
import type { Clock } from './clock.ts'
import type { Config } from './config.ts'
import { openOutbox } from './outbox.ts'
import { createOutside } from './outside.ts'
import { createSecretOf } from './secrets.ts'

export interface Alerting {
  readonly alerts: Alerts
  readonly alertTest: AlertTest
  /** To be called after each round that was judged and is on disk. */
  judgedWell(): void
  /** For `GET /v1/status`. */
  status(): ReturnType<typeof alertStatus>
}

export function createAlerting(
  options: { alerts: string; outbox: string; secrets: string; instance: string; config: Config },
  parts: {
    clock: Clock
    resolve: Resolve
    env: Readonly<Record<string, string | undefined>>
    log: { warn(fields: object, text: string): void }
  },
): Alerting {
  const { config, instance } = options
  const { clock, env, log } = parts
  const outward = createOutward({ clock, resolve: parts.resolve })
  const openPost = createOpenPost({ clock, outward, env, secretOf: createSecretOf(options.secrets, env) })
  const outbox = openOutbox<AnyParcel>(options.outbox, clock.read().wallMs)
  const plain = createAlerts({ file: options.alerts, instance, config }, { clock, outbox, openPost })
  const outside = createOutside(config.outside, { clock, outward })
  const alerts: Alerts = { ...plain, own: () => [...plain.own(), ...outside.own()] }
  // Loud at the start: a system that can tell nobody looks well until it is not.
  for (const { name, ok, text } of lacksOf(config)) if (ok === false) log.warn({ lack: name }, text)
  return {
    alerts,
    alertTest: createAlertTest({ instance, config }, { clock, operator: plain.operator, contact: plain.contact }),
    judgedWell: () => outside.ping(),
    status: () => alertStatus(config, plain.states(), outside.status(), clock.read().wallMs),
  }
}
