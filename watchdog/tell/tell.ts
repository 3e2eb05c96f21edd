/** Builds everything that tells people: channels, outbox, the ping to the outside, and the test of the channels. */
import type { Clock } from '../base/clock.ts'
import type { Config } from '../config/config.ts'
import { createSecretOf } from '../config/secrets.ts'
import { type AlertTest, createAlertTest } from './alert-test.ts'
import { type Alerts, type AnyParcel, createAlerts } from './alerts.ts'
import { createOpenPost } from './channels/open.ts'
import type { Outward } from './channels/outward.ts'
import { createOutward, type Resolve } from './channels/outward.ts'
import type { ChannelState } from './delivery.ts'
import { openOutbox } from './outbox.ts'

// The state of alerting, for `GET /v1/status`, the doctor and the start: channels, what waits, and what is not set up. Pure.

export interface Lack {
  readonly name: 'no_channel' | 'no_contact' | 'no_outside'
  /** `false`: broken, `null`: worth a look; as the doctor shows it. */
  readonly ok: false | null
  readonly text: string
}

/** What the configuration leaves out. */
export function lacksOf(config: Pick<Config, 'channels' | 'contact' | 'outside'>): readonly Lack[] {
  const lacks: Lack[] = []
  if (config.channels.every(({ kind }) => kind === 'file')) {
    const text = 'The watchdog writes alerts only to alerts.log, so nobody is told. To set up channels run: hub setup'
    lacks.push({ name: 'no_channel', ok: false, text })
  }
  if (config.contact.channels.length === 0) {
    const text = 'No backup contact would be told when the operator is absent. To name one run: hub setup'
    lacks.push({ name: 'no_contact', ok: null, text })
  }
  if (config.outside === null) {
    const text = 'Nobody outside would notice that this machine is down. To set up a ping run: hub setup'
    lacks.push({ name: 'no_outside', ok: null, text })
  }
  return lacks
}

/** Durations for programs; `wallMs` is now. */
export function alertStatus(
  config: Pick<Config, 'channels' | 'contact' | 'outside'>,
  states: readonly ChannelState[],
  outside: ReturnType<Outside['status']>,
  wallMs: number,
) {
  const age = (atMs: number | null) => (atMs === null ? null : Math.max(0, wallMs - atMs))
  return {
    channels: states.map(({ key, label, kind, waiting, failures, reason, lastOkAtMs, givenUp }) => ({
      who: key.startsWith('contact/') ? 'contact' : 'operator',
      channel: label,
      kind,
      waiting,
      failures,
      reason,
      lastOkAgeMs: age(lastOkAtMs),
      givenUp,
    })),
    outside: { configured: outside.configured, lastOkAgeMs: age(outside.lastOkAtMs), reason: outside.reason },
    lacks: lacksOf(config),
  }
}

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
  // Said at the start: a system that can tell nobody looks healthy until it is not.
  for (const { name, ok, text } of lacksOf(config)) if (ok === false) log.warn({ lack: name }, text)
  return {
    alerts,
    alertTest: createAlertTest({ instance, config }, { clock, operator: plain.operator, contact: plain.contact }),
    judgedWell: () => outside.ping(),
    status: () => alertStatus(config, plain.states(), outside.status(), clock.read().wallMs),
  }
}

interface Outside {
  /** After a round that was judged and is on disk. Never waits, never throws. */
  ping(): void
  /** As findings: [id, text]. */
  own(): readonly (readonly [string, string])[]
  status(): { readonly configured: boolean; readonly lastOkAtMs: number | null; readonly reason: string | null }
}

const DEADLINE_MS = 5_000
/** Rounds that follow each other at once are one sign of life. */
const EVERY_MS_MIN = 20_000
const FAILURES_MIN = 3

/**
 * The ping to a service outside (docs/safety.md 4), which expects it and raises its own alarm when it stays away, because
 * then the machine is gone and nobody here can say so. A ping never delays a round, and one that fails is a finding.
 */
export function createOutside(target: Config['outside'], parts: { clock: Clock; outward: Outward }): Outside {
  const { clock, outward } = parts
  let underWay = false
  let failures = 0
  let reason: string | null = null
  let lastOkAtMs: number | null = null
  let askedBootMs = Number.NEGATIVE_INFINITY

  return {
    ping() {
      const { bootMs } = clock.read()
      if (target === null || underWay || bootMs - askedBootMs < EVERY_MS_MIN) return
      underWay = true
      askedBootMs = bootMs
      const headers = { 'user-agent': 'hub-watchdog' }
      outward({ ...target, method: 'POST', headers, body: '', deadlineMs: DEADLINE_MS })
        .then(
          () => {
            failures = 0
            reason = null
            lastOkAtMs = clock.read().wallMs
          },
          (error: Error) => {
            failures += 1
            reason = error.message.slice(0, 200)
          },
        )
        .finally(() => {
          underWay = false
        })
    },
    own: () =>
      failures < FAILURES_MIN
        ? []
        : [
            [
              'outside_failing',
              `The ping to the outside fails: ${reason}. Nobody outside would notice that this machine is down`,
            ],
          ],
    status: () => ({ configured: target !== null, lastOkAtMs, reason }),
  }
}
