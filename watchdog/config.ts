/**
 * The watchdog's own strict configuration, `<home>/watchdog/config.json` (optional; every key has a default).
 * Every span has a floor and a ceiling in code, so that no configuration can switch the watch off (T96).
 */
import { readFileSync } from 'node:fs'

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
  hubStopMs: [20_000, 50, 120_000],
} as const

export type Spans = Readonly<Record<keyof typeof SPANS, number>>

export interface EmailChannel {
  readonly kind: 'email'
  readonly host: string
  readonly port: number
  readonly from: string
  readonly to: string
  readonly secure: boolean
  /** Names of environment variables; the secrets themselves never stand in the file. */
  readonly userEnv: string | null
  readonly passwordEnv: string | null
}
export type Channel = { readonly kind: 'file' } | EmailChannel

export interface Config extends Spans {
  /** Loopback port of `GET /healthz`; 0 = off. */
  readonly port: number
  readonly engineSocket: string
  /** Rounds without a valid answer before the hub counts as gone. */
  readonly missesMax: number
  readonly unattendedFrom: 'safe_mode' | 'last_heartbeat'
  /** IANA zone of the instants in messages; '' = the machine's. */
  readonly zone: string
  readonly channels: readonly Channel[]
}

/** A fault of the home or its configuration: the process does not start, and the text says what to do. */
export class StartError extends Error {}

type Row = Readonly<Record<string, unknown>>
const isRow = (value: unknown): value is Row => typeof value === 'object' && value !== null && !Array.isArray(value)

function refuse(key: string, wanted: string): never {
  throw new StartError(`watchdog/config.json: ${key} ${wanted}`)
}

function whole(row: Row, key: string, [normal, least, most]: readonly [number, number, number]): number {
  const value = row[key] === undefined ? normal : row[key]
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least || value > most) {
    refuse(key, `must be a whole number from ${least} to ${most}`)
  }
  return value
}

function text(row: Row, key: string, normal?: string): string {
  const value = row[key] === undefined ? normal : row[key]
  if (typeof value !== 'string' || value.length > 256 || /\p{Cc}/u.test(value) || (value === '' && normal !== '')) {
    refuse(key, 'must be a text of at most 256 characters without control characters')
  }
  return value
}

function onlyKeys(row: Row, keys: readonly string[], where: string): void {
  for (const key of Object.keys(row)) if (!keys.includes(key)) refuse(`${where}${key}`, 'is not a known key; remove it')
}

function zoneOf(row: Row): string {
  const zone = text(row, 'zone', '')
  try {
    if (zone !== '') new Intl.DateTimeFormat('en-GB', { timeZone: zone })
  } catch {
    refuse('zone', 'must be an IANA time zone such as Europe/Berlin')
  }
  return zone
}

function channelOf(value: unknown, index: number): Channel {
  const where = `channels[${index}].`
  if (!isRow(value)) refuse(`channels[${index}]`, 'must be an object with a kind')
  if (value.kind === 'file') {
    onlyKeys(value, ['kind'], where)
    return { kind: 'file' }
  }
  if (value.kind !== 'email') refuse(`${where}kind`, 'must be file or email')
  onlyKeys(value, ['kind', 'host', 'port', 'from', 'to', 'secure', 'userEnv', 'passwordEnv'], where)
  const secure = value.secure === undefined ? false : value.secure
  if (typeof secure !== 'boolean') refuse(`${where}secure`, 'must be true or false')
  return {
    kind: 'email',
    host: text(value, 'host'),
    port: whole(value, 'port', [secure ? 465 : 587, 1, 65_535]),
    from: text(value, 'from'),
    to: text(value, 'to'),
    secure,
    userEnv: value.userEnv === undefined ? null : text(value, 'userEnv'),
    passwordEnv: value.passwordEnv === undefined ? null : text(value, 'passwordEnv'),
  }
}

/** Reads one parsed configuration strictly. @throws StartError naming the key. */
export function parseConfig(value: unknown): Config {
  if (!isRow(value)) throw new StartError('watchdog/config.json: must hold one JSON object')
  const own = ['port', 'engineSocket', 'missesMax', 'unattendedFrom', 'zone', 'channels']
  onlyKeys(value, [...own, ...Object.keys(SPANS)], '')
  const spans = Object.fromEntries(Object.entries(SPANS).map(([key, row]) => [key, whole(value, key, row)])) as Spans
  if (!(spans.remindFirstMs < spans.remindLastMs && spans.remindLastMs < spans.missedMs)) {
    refuse('remindFirstMs, remindLastMs, missedMs', 'must rise in this order')
  }
  if (!(spans.safeRemindFirstMs < spans.safeRemindLastMs && spans.safeRemindLastMs < spans.unattendedMs)) {
    refuse('safeRemindFirstMs, safeRemindLastMs, unattendedMs', 'must rise in this order')
  }
  const from = value.unattendedFrom === undefined ? 'safe_mode' : value.unattendedFrom
  if (from !== 'safe_mode' && from !== 'last_heartbeat') {
    refuse('unattendedFrom', 'must be safe_mode or last_heartbeat')
  }
  const channels = value.channels === undefined ? [{ kind: 'file' }] : value.channels
  if (!Array.isArray(channels) || channels.length < 1 || channels.length > 8) refuse('channels', 'must list 1 to 8')
  return {
    ...spans,
    port: whole(value, 'port', [7301, 0, 65_535]),
    engineSocket: text(value, 'engineSocket', '/var/run/docker.sock'),
    missesMax: whole(value, 'missesMax', [3, 1, 10]),
    unattendedFrom: from,
    zone: zoneOf(value),
    channels: channels.map(channelOf),
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
