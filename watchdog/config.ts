/**
 * The watchdog's own strict configuration, `<home>/watchdog/config.json` (optional; every key has a default).
 * Every span has a floor and a ceiling in code, so that no configuration can switch the watch off (T96).
 */
import { readFileSync } from 'node:fs'
import { type Channel, channelOf, urlField } from './config-channels.ts'
import { isRow, onlyKeys, type Row, refuse, StartError, text, whole, zoneOf } from './config-fields.ts'
import { type Contact, contactOf, type Due, dueOf, type Operator, operatorOf } from './config-people.ts'
import { type Reach, reachOf } from './reach.ts'

/** [default, least, most], milliseconds. */
const HOUR = 3_600_000
const SPANS = {
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
  /** IANA zone of whoever names none of their own; '' = the machine's. */
  readonly zone: string
  readonly due: Due
  readonly operator: Operator
  readonly contact: Contact
  /** Longest `hub away --keep-working`; 0 = not at all. */
  readonly awayWorkMaxMs: number
  readonly channels: readonly Channel[]
  /** Pinged after each round that was judged well; null = nobody outside would notice that the machine is gone. */
  readonly outside: { readonly url: string; readonly local: boolean } | null
}

/** `away`: `{workMaxMs}`, with a ceiling of 72 h in code: nobody watches what works then. */
function workMaxOf(value: unknown): number {
  if (value === undefined) return 0
  if (!isRow(value)) refuse('away', 'must be an object')
  onlyKeys(value, ['workMaxMs'], 'away.')
  return whole(value, 'workMaxMs', [0, 0, 72 * HOUR])
}

function outsideOf(value: unknown): Config['outside'] {
  if (value === undefined) return null
  if (!isRow(value)) refuse('outside', 'must be an object with a url')
  onlyKeys(value, ['url', 'local'], 'outside.')
  return urlField(value, 'outside.')
}

/** A lease is good for so many intervals (the hub counts them). */
const LEASE_INTERVALS = 3

/** When the rounds count as stuck: three intervals, and what an engine that stalls takes in one round. */
export const staleMsOf = ({ intervalMs, engineTimeoutMs }: Pick<Spans, 'intervalMs' | 'engineTimeoutMs'>): number =>
  3 * intervalMs + 2 * engineTimeoutMs

/** Spans one by one, and then the pairs that cannot work together, by name. */
function spansOf(value: Row): Spans {
  const spans = Object.fromEntries(Object.entries(SPANS).map(([key, row]) => [key, whole(value, key, row)])) as Spans
  const { intervalMs } = spans
  // Not named: what a short interval allows, but never so short that a busy machine is taken for a dead hub.
  const leaseTimeoutMs =
    value.leaseTimeoutMs === undefined
      ? Math.min(SPANS.leaseTimeoutMs[0], Math.max(1000, 2 * intervalMs))
      : spans.leaseTimeoutMs
  if (value.leaseTimeoutMs !== undefined && leaseTimeoutMs >= LEASE_INTERVALS * intervalMs) {
    refuse(
      'leaseTimeoutMs',
      `must be below ${LEASE_INTERVALS} times intervalMs (${LEASE_INTERVALS * intervalMs}): the lease would lapse while one answer is awaited`,
    )
  }
  if (!(spans.remindFirstMs < spans.remindLastMs && spans.remindLastMs < spans.missedMs)) {
    refuse('remindFirstMs, remindLastMs, missedMs', 'must rise in this order')
  }
  if (!(spans.safeRemindFirstMs < spans.safeRemindLastMs && spans.safeRemindLastMs < spans.unattendedMs)) {
    refuse('safeRemindFirstMs, safeRemindLastMs, unattendedMs', 'must rise in this order')
  }
  return { ...spans, leaseTimeoutMs }
}

/** Reads one parsed configuration strictly. @throws StartError naming the key. */
export function parseConfig(value: unknown): Config {
  if (!isRow(value)) throw new StartError('watchdog/config.json: must hold one JSON object')
  const own = [
    'port',
    'reach',
    'engineSocket',
    'missesMax',
    'unattendedFrom',
    'zone',
    'channels',
    'heartbeat',
    'operator',
    'contact',
    'away',
    'outside',
  ]
  onlyKeys(value, [...own, ...Object.keys(SPANS)], '')
  const spans = spansOf(value)
  const from = value.unattendedFrom === undefined ? 'safe_mode' : value.unattendedFrom
  if (from !== 'safe_mode' && from !== 'last_heartbeat') {
    refuse('unattendedFrom', 'must be safe_mode or last_heartbeat')
  }
  const channels = value.channels === undefined ? [{ kind: 'file' }] : value.channels
  if (!Array.isArray(channels) || channels.length < 1 || channels.length > 8) refuse('channels', 'must list 1 to 8')
  const zone = zoneOf(value)
  return {
    ...spans,
    port: whole(value, 'port', [7301, 0, 65_535]),
    reach: reachOf(value.reach),
    engineSocket: text(value, 'engineSocket', '/var/run/docker.sock'),
    missesMax: whole(value, 'missesMax', [3, 1, 10]),
    unattendedFrom: from,
    zone,
    due: dueOf(value.heartbeat),
    operator: operatorOf(value.operator, zone),
    contact: contactOf(value.contact, zone),
    awayWorkMaxMs: workMaxOf(value.away),
    channels: channels.map((one, index) => channelOf(one, index)),
    outside: outsideOf(value.outside),
  }
}

/** The configuration of a home; a missing file means the defaults, a broken one stops the start. */
export function loadConfig(path: string): Config {
  let raw: string
  try {
    raw = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return parseConfig({})
    throw new StartError(`watchdog/config.json cannot be read (${(error as Error).message}); repair its mode or owner`)
  }
  let value: unknown
  try {
    value = JSON.parse(raw)
  } catch {
    throw new StartError('watchdog/config.json is not JSON; correct it or remove it to run on the defaults')
  }
  return parseConfig(value)
}
