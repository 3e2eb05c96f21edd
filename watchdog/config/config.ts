/**
 * The watchdog's own strict configuration (optional; every key has a default), in the dialect of hub.yaml. `file.ts` finds and reads
 * the file. Every span has a floor and a ceiling in code, so that no configuration can switch the watch off (T96).
 */
import { type Channel, channelOf, urlField } from './channels.ts'
import { fromOld, oldKeyOf } from './earlier-form.ts'
import { isRow, KeyFault, mapOf, onlyKeys, type Row, refuse, span, spanWritten, text, whole, zoneOf } from './fields.ts'
import { type Contact, contactOf, type Due, dueOf, type Operator, operatorOf } from './people.ts'
import { type Reach, reachOf } from './reach.ts'

/** [default, least, most], milliseconds. */
const HOUR = 3_600_000
export const SPANS = {
  intervalMs: [30_000, 50, 60_000],
  leaseTimeoutMs: [5_000, 20, 30_000],
  engineTimeoutMs: [10_000, 50, 30_000],
  startGraceMs: [60_000, 0, 600_000],
  orphanAgeMs: [60_000, 0, 600_000],
  ttlGraceMs: [15_000, 0, 60_000],
  throughputWindowMs: [6 * HOUR, 100, 168 * HOUR],
  remindFirstMs: [18 * HOUR, 10, 168 * HOUR],
  remindLastMs: [22 * HOUR, 10, 168 * HOUR],
  missedMs: [24 * HOUR, 10, 168 * HOUR],
  missedGraceMs: [2 * HOUR, 0, 24 * HOUR],
  weakMaxMs: [168 * HOUR, 10, 168 * HOUR],
  safeRemindFirstMs: [12 * HOUR, 10, 168 * HOUR],
  safeRemindLastMs: [22 * HOUR, 10, 168 * HOUR],
  unattendedMs: [24 * HOUR, 10, 168 * HOUR],
  wakeGraceMs: [2 * HOUR, 0, 12 * HOUR],
  restartSilenceMs: [300_000, 0, 900_000],
  stopGraceMs: [5_000, 0, 30_000],
  hubStopMs: [30_000, 50, 120_000],
} as const

export type Spans = Readonly<Record<keyof typeof SPANS, number>>

export interface Config extends Spans {
  /** Loopback port of `GET /healthz` and of the stop page; 0 = off. */
  readonly port: number
  readonly reach: Reach
  readonly engineSocket: string
  /** Rounds without a valid answer before the hub counts as gone. */
  readonly missesMax: number
  readonly unattendedFrom: 'safe_mode' | 'last_heartbeat'
  /** IANA zone of a person without a zone of their own; '' = the machine's. */
  readonly zone: string
  readonly due: Due
  readonly operator: Operator
  readonly contact: Contact
  /** Longest `hub away --keep-working`; 0 = not at all. */
  readonly awayWorkMaxMs: number
  readonly channels: readonly Channel[]
  /** Pinged after each round that was judged; null = nobody outside would notice that the machine is gone. */
  readonly outside: { readonly url: string; readonly local: boolean } | null
}

function outsideOf(file: Row): Config['outside'] {
  if (file.outside === undefined) return null
  return urlField(mapOf(file, 'outside', ['url', 'local']), 'outside.')
}

/** A lease is valid for this many intervals (the hub counts them). */
const LEASE_INTERVALS = 3

/** When the rounds count as stuck: three intervals, plus what a stalled engine may take in one round. */
export const staleMsOf = ({ intervalMs, engineTimeoutMs }: Pick<Spans, 'intervalMs' | 'engineTimeoutMs'>): number =>
  3 * intervalMs + 2 * engineTimeoutMs

/** `interval` for `intervalMs`. */
export const keyOfSpan = (name: string): string => name.replace(/Ms$/, '')

/** Spans one by one, and then the pairs that cannot work together, by name. */
function spansOf(file: Row, engine: Row): Spans {
  const spans = Object.fromEntries(
    Object.entries(SPANS).map(([name, limits]) => [
      name,
      name === 'engineTimeoutMs' ? span(engine, 'callTimeout', limits, 'engine.') : span(file, keyOfSpan(name), limits),
    ]),
  ) as Spans
  const { intervalMs } = spans
  // Not given: what a short interval allows, but never so short that a busy machine looks like a dead hub.
  const leaseTimeoutMs =
    file.leaseTimeout === undefined
      ? Math.min(SPANS.leaseTimeoutMs[0], Math.max(1000, 2 * intervalMs))
      : spans.leaseTimeoutMs
  if (file.leaseTimeout !== undefined && leaseTimeoutMs >= LEASE_INTERVALS * intervalMs) {
    refuse(
      'leaseTimeout',
      `must be below ${LEASE_INTERVALS} times interval (${spanWritten(LEASE_INTERVALS * intervalMs)}): otherwise the lease would lapse while the watchdog waits for one answer`,
    )
  }
  if (!(spans.remindFirstMs < spans.remindLastMs && spans.remindLastMs < spans.missedMs)) {
    refuse('remindFirst', 'must rise in this order: remindFirst, remindLast, missed')
  }
  if (!(spans.safeRemindFirstMs < spans.safeRemindLastMs && spans.safeRemindLastMs < spans.unattendedMs)) {
    refuse('safeRemindFirst', 'must rise in this order: safeRemindFirst, safeRemindLast, unattended')
  }
  return { ...spans, leaseTimeoutMs }
}

export const KEYS = [
  ...['alerts', 'http', 'reach', 'engine', 'missesMax', 'unattendedFrom'],
  ...['heartbeat', 'operator', 'contact', 'away', 'outside'],
  ...Object.keys(SPANS)
    .filter((name) => name !== 'engineTimeoutMs')
    .map(keyOfSpan),
]

function channelsOf(alerts: Row): readonly Channel[] {
  const channels = alerts.channels === undefined ? [{ kind: 'file' }] : alerts.channels
  if (!Array.isArray(channels) || channels.length < 1 || channels.length > 8)
    refuse('alerts.channels', 'must list 1 to 8 channels')
  return channels.map((one, index) => channelOf(one, index))
}

/** Each key, or group of keys that are judged together, by itself, so that the faults of all can be named. */
function partsOf(file: Row): (() => Partial<Config>)[] {
  const alerts = () => mapOf(file, 'alerts', ['channels', 'zone', 'quiet'])
  const engine = () => mapOf(file, 'engine', ['socket', 'callTimeout'])
  const zone = () => zoneOf(alerts(), 'alerts.')
  return [
    () => {
      onlyKeys(file, KEYS, '')
      return {}
    },
    () => spansOf(file, engine()),
    () => ({ engineSocket: text(engine(), 'socket', '/var/run/docker.sock', 'engine.') }),
    () => ({ port: whole(mapOf(file, 'http', ['port']), 'port', [7301, 0, 65_535], 'http.') }),
    () => ({ reach: reachOf(file.reach) }),
    () => ({ missesMax: whole(file, 'missesMax', [3, 1, 10]) }),
    () => {
      const from = file.unattendedFrom === undefined ? 'safe_mode' : file.unattendedFrom
      if (from !== 'safe_mode' && from !== 'last_heartbeat')
        refuse('unattendedFrom', 'must be safe_mode or last_heartbeat')
      return { unattendedFrom: from }
    },
    () => ({ zone: zone() }),
    () => ({ channels: channelsOf(alerts()) }),
    () => ({ due: dueOf(file) }),
    () => ({ operator: operatorOf(file, alerts(), zone()) }),
    () => ({ contact: contactOf(file, zone()) }),
    // Nobody watches the agents then.
    () => ({ awayWorkMaxMs: span(mapOf(file, 'away', ['workMax']), 'workMax', [0, 0, 72 * HOUR], 'away.') }),
    () => ({ outside: outsideOf(file) }),
  ]
}

/** Every fault of a configuration in the dialect of hub.yaml, each key once; the configuration if there is none. */
export function judgeConfig(value: unknown): { config: Config | undefined; faults: readonly KeyFault[] } {
  if (!isRow(value)) return { config: undefined, faults: [new KeyFault('', 'must be a map of keys')] }
  const faults = new Map<string, KeyFault>()
  let config: Partial<Config> = {}
  for (const part of partsOf(value)) {
    try {
      config = { ...config, ...part() }
    } catch (error) {
      if (!(error instanceof KeyFault)) throw error
      if (!faults.has(error.key)) faults.set(error.key, error)
    }
  }
  return { config: faults.size === 0 ? (config as Config) : undefined, faults: [...faults.values()] }
}

/** The same for the earlier form, `config.json`; its faults have the keys of that file. */
export function judgeOldConfig(value: unknown): ReturnType<typeof judgeConfig> {
  const { config, faults } = judgeConfig(fromOld(value))
  return { config, faults: faults.map(({ key, reason }) => new KeyFault(oldKeyOf(key), reason)) }
}

/** What a value of the earlier form means. @throws KeyFault */
export function parseConfig(value: unknown): Config {
  const { config, faults } = judgeOldConfig(value)
  if (config === undefined) throw faults[0]
  return config
}
