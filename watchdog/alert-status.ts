/** How alerting stands, for `GET /v1/status`, the doctor and the start: channels, what waits, and what is not set up. Pure. */
import type { Config } from './config.ts'
import type { ChannelState } from './delivery.ts'
import type { Outside } from './outside.ts'

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
    const text = 'Alerts of the watchdog go to alerts.log alone: nobody is told. `hub setup` sets channels'
    lacks.push({ name: 'no_channel', ok: false, text })
  }
  if (config.contact.channels.length === 0) {
    const text = 'No backup contact is told when the operator is absent. `hub setup` sets one'
    lacks.push({ name: 'no_contact', ok: null, text })
  }
  if (config.outside === null) {
    const text = 'Nobody outside would notice that this machine is gone. `hub setup` sets a ping'
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
