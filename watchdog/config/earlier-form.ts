/**
 * The earlier form of the configuration, `config.json`: spans in milliseconds, secrets by the names of variables, other names for some
 * keys. It is translated into today's form and read as that; faults are reported under its own keys. Pure.
 */
import { FromEnv, hostPortOf } from './channels.ts'
import { isRow, type Row } from './fields.ts'

type Draft = Record<string, unknown>

const isVariable = (name: unknown): name is string =>
  typeof name === 'string' && /^[A-Za-z_][A-Za-z0-9_]{0,99}$/.test(name)

/** Earlier keys and their present places. */
const MOVED: readonly (readonly [now: string, before: string])[] = [
  ['alerts.channels', 'channels'],
  ['alerts.zone', 'zone'],
  ['alerts.quiet', 'operator.quiet'],
  ['http.port', 'port'],
  ['engine.socket', 'engineSocket'],
  ['engine.callTimeout', 'engineTimeoutMs'],
  ['away.workMax', 'away.workMaxMs'],
]
const IN_CHANNELS: Readonly<Record<string, string>> = {
  run: 'argv',
  timeout: 'timeoutMs',
  user: 'userEnv',
  passwordFrom: 'passwordEnv',
  secretFrom: 'secretEnv',
  tokenFrom: 'tokenEnv',
}
const IN_CHANNEL = /^((?:contact\.)?channels\[\d+\]\.)(\w+)$/
const SPAN =
  /^(?:interval|leaseTimeout|startGrace|orphanAge|ttlGrace|throughputWindow|remindFirst|remindLast|missed|missedGrace|weakMax|safeRemindFirst|safeRemindLast|unattended|wakeGrace|restartSilence|stopGrace|hubStop)$/

/** What a key of today is called in `config.json`. */
export function oldKeyOf(key: string): string {
  const [now, before] = MOVED.find(([each]) => key === each || key.startsWith(`${each}[`)) ?? ['', '']
  const moved = before + key.slice(now.length)
  const [, list = '', own = ''] = IN_CHANNEL.exec(moved) ?? []
  if (own !== '') return `${list}${IN_CHANNELS[own] ?? own}`
  return SPAN.test(moved) ? `${moved}Ms` : moved
}

/** A number of milliseconds as a span; anything else is left for the reader to refuse. */
const spanText = (value: unknown): unknown =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? `${value}ms` : value

function put(draft: Draft, key: string, value: unknown): void {
  const [group = '', name] = key.split('.')
  if (name === undefined) draft[group] = value
  else draft[group] = { ...(isRow(draft[group]) ? draft[group] : {}), [name]: value }
}

function quietText(value: unknown): unknown {
  const [from, to, more] = typeof value === 'string' ? value.split('-') : []
  return from === undefined || to === undefined || more !== undefined ? value : { from, to }
}

/** `local: true` means the one host of the address; false means none. */
function localOf({ local, url }: Row): unknown {
  if (local === true && typeof url === 'string' && URL.canParse(url)) return [hostPortOf(new URL(url))]
  return typeof local === 'boolean' ? [] : local
}

/** Plain addresses from the form of a mail header: `Me <me@example.org>, you@example.org`. */
const addressesOf = (value: unknown): unknown =>
  typeof value === 'string' ? value.split(/, */).map((one) => /<([^<>]+)>$/.exec(one)?.[1] ?? one) : value

const VALUES: Readonly<Record<string, (value: unknown, row: Row) => unknown>> = {
  to: addressesOf,
  from: (value) => (typeof value === 'string' ? (/<([^<>]+)>$/.exec(value)?.[1] ?? value) : value),
  local: (_value, row) => localOf(row),
  timeout: spanText,
}

/** One channel of the earlier form in today's form. */
export function fromOldChannel(row: unknown): unknown {
  if (!isRow(row)) return row
  const channel: Draft = {}
  for (const [key, value] of Object.entries(row)) {
    const now = Object.entries(IN_CHANNELS).find(([, before]) => before === key)?.[0] ?? key
    const isSecret = now !== key && key.endsWith('Env')
    channel[now] = isSecret ? (isVariable(value) ? new FromEnv(value) : value) : (VALUES[now]?.(value, row) ?? value)
  }
  return channel
}

const channelsOf = (value: unknown): unknown => (Array.isArray(value) ? value.map(fromOldChannel) : value)

/** The value of `config.json` in today's form. Unknown keys stay as they are, for the reader to refuse. */
export function fromOld(value: unknown): unknown {
  if (!isRow(value)) return value
  const draft: Draft = {}
  for (const [key, own] of Object.entries(value)) {
    const moved = MOVED.find(([, before]) => before === key)?.[0]
    if (key === 'channels') put(draft, 'alerts.channels', channelsOf(own))
    else if (moved !== undefined) put(draft, moved, key.endsWith('Ms') ? spanText(own) : own)
    else if (key.endsWith('Ms') && SPAN.test(key.slice(0, -2))) put(draft, key.slice(0, -2), spanText(own))
    else if (key === 'operator' && isRow(own)) {
      const { quiet, ...rest } = own
      if (quiet !== undefined) put(draft, 'alerts.quiet', quietText(quiet))
      draft.operator = rest
    } else if (key === 'contact' && isRow(own)) {
      const { channels, quiet, ...rest } = own
      draft.contact = {
        ...rest,
        ...(channels === undefined ? {} : { channels: channelsOf(channels) }),
        ...(quiet === undefined ? {} : { quiet: quietText(quiet) }),
      }
    } else if (key === 'away' && isRow(own)) {
      const { workMaxMs, ...rest } = own
      draft.away = { ...rest, ...(workMaxMs === undefined ? {} : { workMax: spanText(workMaxMs) }) }
    } else if (key === 'outside' && isRow(own))
      draft.outside = { ...own, ...('local' in own ? { local: localOf(own) } : {}) }
    else draft[key] = own
  }
  return draft
}
