/** The alert channels of the configuration: their shapes and their strict reading, word for word as `alerts.channels` of hub.yaml. */
import { readTarget } from '../base/address.ts'
import { isRow, onlyKeys, type Row, refuse, span, text, whole, yes } from './fields.ts'
import type { Secret } from './secrets.ts'

/** Where a sending channel leads: an address in the file, or a secret address and the hosts it may lead to. */
export interface Target {
  readonly url: string | null
  readonly urlSecret: Secret | null
  readonly hosts: readonly string[]
  /** Of those, what is on this machine or in a private network. */
  readonly local: readonly string[]
}
export interface EmailChannel {
  readonly kind: 'email'
  readonly name: string
  readonly host: string
  readonly port: number
  readonly from: string
  readonly to: readonly string[]
  readonly secure: boolean
  /** A file of certificates (PEM) that are trusted in place of the system's. */
  readonly caFile: string | null
  /** No TLS, whatever the server offers; only to this machine. */
  readonly plain: boolean
  readonly user: string | Secret | null
  readonly password: Secret | null
}
export interface WebhookChannel extends Target {
  readonly kind: 'webhook'
  readonly name: string
  /** What signs each body; null: it is not signed. */
  readonly secret: Secret | null
  readonly loud: boolean
}
export interface PushChannel extends Target {
  readonly kind: 'push'
  readonly name: string
  readonly token: Secret | null
}
export interface CommandChannel {
  readonly kind: 'command'
  readonly name: string
  /** Program (absolute path) and its words; no shell. */
  readonly run: readonly string[]
  readonly timeoutMs: number
  /** Variables the program may see. */
  readonly passEnv: readonly string[]
  readonly loud: boolean
}
export type PersonChannel = EmailChannel | WebhookChannel | PushChannel | CommandChannel
export type Channel = { readonly kind: 'file' } | PersonChannel
export type AlertKind = Channel['kind']

const SENDING = ['url', 'urlFrom', 'hosts', 'local']
const KEYS: Readonly<Record<AlertKind, readonly string[]>> = {
  file: [],
  email: ['host', 'port', 'from', 'to', 'secure', 'caFile', 'plain', 'user', 'passwordFrom'],
  webhook: [...SENDING, 'secretFrom', 'loud'],
  push: [...SENDING, 'tokenFrom'],
  command: ['run', 'timeout', 'passEnv', 'loud'],
}

/** An environment variable that the earlier form names (earlier-form.ts). No text of a file can be one. */
export class FromEnv {
  readonly env: string
  constructor(env: string) {
    this.env = env
  }
}
const NAME = /^[a-z][a-z0-9-]{0,63}$/

function secretField(row: Row, key: string, where: string): Secret | null {
  const value = row[key]
  if (value === undefined) return null
  if (value instanceof FromEnv) return { env: value.env }
  if (typeof value !== 'string' || !NAME.test(value))
    refuse(
      `${where}${key}`,
      'must be the name of a secret, which is a file in the folder secrets of the home, such as mail-password',
    )
  return { file: value }
}

/** A single text needs no list around it. */
function textsField(row: Row, key: string, where: string, isGood: (one: string) => boolean, wanted: string): string[] {
  const value = row[key] === undefined ? [] : row[key]
  const list: readonly unknown[] = typeof value === 'string' ? [value] : Array.isArray(value) ? value : [undefined]
  if (list.length > 8 || !list.every((one) => typeof one === 'string' && isGood(one))) refuse(`${where}${key}`, wanted)
  return list as string[]
}

const HOST_PORT = /^(?:[a-z0-9.-]+|\[[0-9a-f:.]+\]):\d{1,5}$/
const hostPorts = (row: Row, key: string, where: string): string[] =>
  textsField(row, key, where, (one) => HOST_PORT.test(one), 'must list up to 8 host:port, such as 127.0.0.1:9093')

/** `host:port` of an address, with the usual port if it names none. */
export const hostPortOf = (url: URL): string =>
  `${url.hostname}:${url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : url.port}`

/** A URL that an outgoing request may use, and whether it leads inside on purpose (T37). @throws KeyFault */
export function urlField(row: Row, where: string): { url: string; local: boolean } {
  const given = text(row, 'url', undefined, where)
  const listed = hostPorts(row, 'local', where)
  const local = URL.canParse(given) && listed.includes(hostPortOf(new URL(given)))
  const url = readTarget(given, local)
  if (typeof url === 'string') refuse(`${where}url`, url)
  return { url: url.href, local }
}

function targetField(row: Row, where: string): Target {
  const [hosts, local] = [hostPorts(row, 'hosts', where), hostPorts(row, 'local', where)]
  const urlSecret = secretField(row, 'urlFrom', where)
  if ((row.url === undefined) === (urlSecret === null)) refuse(`${where}url`, 'give either url or urlFrom')
  if (urlSecret === null) return { url: urlField(row, where).url, urlSecret, hosts, local }
  if (hosts.length === 0) refuse(`${where}hosts`, 'with urlFrom, list the host:port it may lead to')
  return { url: null, urlSecret, hosts, local }
}

const variable = (name: string): boolean => /^[A-Za-z_][A-Za-z0-9_]{0,99}$/.test(name)

function wordList(row: Row, key: string, where: string, [least, most]: readonly [number, number]): readonly string[] {
  const value = row[key] === undefined ? [] : row[key]
  const good = (word: unknown) => typeof word === 'string' && word.length <= 1000 && !word.includes('\0')
  if (!Array.isArray(value) || value.length < least || value.length > most || !value.every(good)) {
    refuse(`${where}${key}`, `must list ${least} to ${most} texts`)
  }
  return value as string[]
}

/** This machine itself, where a message does not cross a network. */
export const isLoopback = (host: string): boolean => ['localhost', '127.0.0.1', '::1'].includes(host)

function trustFields(row: Row, where: string, { host, secure }: { host: string; secure: boolean }) {
  const caFile = row.caFile === undefined ? null : text(row, 'caFile', undefined, where)
  const plain = yes(row, 'plain', where, false)
  if (caFile !== null && !caFile.startsWith('/')) refuse(`${where}caFile`, 'must be an absolute path')
  if (plain && !isLoopback(host))
    refuse(`${where}plain`, 'works only for a relay on this machine: localhost, 127.0.0.1 or ::1')
  if (plain && (secure || caFile !== null)) refuse(`${where}plain`, 'means without TLS; remove secure and caFile')
  return { caFile, plain }
}

/** One plain address: no display name, no second one, so that no two parsers read it differently (T38). */
const isAddress = (one: string): boolean => /^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,189}$/.test(one)

function emailField(row: Row, where: string): EmailChannel {
  const secure = yes(row, 'secure', where, false)
  const host = text(row, 'host', undefined, where)
  const from = text(row, 'from', undefined, where)
  if (!isAddress(from)) refuse(`${where}from`, 'must be one plain address, such as me@example.org')
  const to = textsField(
    row,
    'to',
    where,
    isAddress,
    'must be one plain address, such as me@example.org, or a list of up to 8',
  )
  if (to.length === 0) refuse(`${where}to`, 'must be one plain address, such as me@example.org, or a list of up to 8')
  return {
    kind: 'email',
    name: '',
    host,
    ...trustFields(row, where, { host, secure }),
    port: whole(row, 'port', [secure ? 465 : 587, 1, 65_535], where),
    from,
    to,
    secure,
    user:
      row.user instanceof FromEnv
        ? { env: row.user.env }
        : row.user === undefined
          ? null
          : text(row, 'user', undefined, where),
    password: secretField(row, 'passwordFrom', where),
  }
}

function personChannel(row: Row, kind: PersonChannel['kind'], where: string): PersonChannel {
  const name = ''
  if (kind === 'email') return emailField(row, where)
  if (kind === 'webhook')
    return {
      kind,
      name,
      ...targetField(row, where),
      secret: secretField(row, 'secretFrom', where),
      loud: yes(row, 'loud', where, false),
    }
  if (kind === 'push') return { kind, name, ...targetField(row, where), token: secretField(row, 'tokenFrom', where) }
  const run = wordList(row, 'run', where, [1, 16])
  if (!run[0]?.startsWith('/')) refuse(`${where}run`, 'must begin with the absolute path of a program')
  const passEnv = wordList(row, 'passEnv', where, [0, 16])
  if (!passEnv.every(variable)) refuse(`${where}passEnv`, 'must list names of environment variables')
  return {
    kind,
    name,
    run,
    timeoutMs: span(row, 'timeout', [10_000, 100, 60_000], where),
    passEnv,
    loud: yes(row, 'loud', where, true),
  }
}

/** One entry of a list of channels; `list` is the key of the list. @throws KeyFault */
export function channelOf(value: unknown, index: number, list = 'alerts.channels'): Channel {
  const where = `${list}[${index}].`
  if (!isRow(value)) refuse(`${list}[${index}]`, 'must be an object with a kind')
  const kind = (Object.keys(KEYS) as AlertKind[]).find((one) => one === value.kind)
  if (kind === undefined) refuse(`${where}kind`, `must be one of ${Object.keys(KEYS).join(', ')}`)
  onlyKeys(value, ['kind', 'name', ...KEYS[kind]], where)
  const name = text(value, 'name', '', where)
  if (name !== '' && !NAME.test(name)) refuse(`${where}name`, 'must be lower-case letters, digits and dashes')
  return kind === 'file' ? { kind } : { ...personChannel(value, kind, where), name }
}

/** Where a message goes now. @throws Error if a secret address leads to a host that is not listed */
export function destinationOf(
  { url, urlSecret, hosts, local }: Target,
  secretOf: (secret: Secret) => string,
): { url: string; local: boolean } {
  if (url !== null) return { url, local: local.includes(hostPortOf(new URL(url))) }
  const said = urlSecret === null ? '' : secretOf(urlSecret)
  // The text of a secret is never repeated.
  if (!URL.canParse(said)) throw new Error('the secret address is not a URL')
  const leads = hostPortOf(new URL(said))
  if (!hosts.includes(leads)) throw new Error('the secret address leads to none of its hosts')
  return { url: said, local: local.includes(leads) }
}

/** Names the target for people, without a secret. */
export const hostOf = ({ url, hosts }: Target): string => (url === null ? (hosts[0] ?? '') : new URL(url).host)
