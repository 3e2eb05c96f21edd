/** The alert channels of the configuration: their shapes and their strict reading. Secrets stand here by the name of a variable only. */
import { readTarget } from './channels/address.ts'
import { isRow, onlyKeys, type Row, refuse, text, whole } from './config-fields.ts'

export interface EmailChannel {
  readonly kind: 'email'
  readonly host: string
  readonly port: number
  readonly from: string
  readonly to: string
  readonly secure: boolean
  /** A file of certificates (PEM) that are trusted in place of the system's. */
  readonly caFile: string | null
  /** No TLS, whatever the server offers; to this machine alone. */
  readonly plain: boolean
  readonly userEnv: string | null
  readonly passwordEnv: string | null
}
export interface WebhookChannel {
  readonly kind: 'webhook'
  readonly url: string
  /** Variable of the secret that signs each body. */
  readonly secretEnv: string
  /** The target is inside this machine or network on purpose. */
  readonly local: boolean
  readonly loud: boolean
}
export interface PushChannel {
  readonly kind: 'push'
  /** The topic's URL. */
  readonly url: string
  readonly tokenEnv: string | null
  readonly local: boolean
}
export interface CommandChannel {
  readonly kind: 'command'
  /** Program (absolute path) and its words; no shell. */
  readonly argv: readonly string[]
  readonly timeoutMs: number
  /** Variables the program may see. */
  readonly passEnv: readonly string[]
  readonly loud: boolean
}
export type PersonChannel = EmailChannel | WebhookChannel | PushChannel | CommandChannel
export type Channel = { readonly kind: 'file' } | PersonChannel
export type AlertKind = Channel['kind']

const KEYS: Readonly<Record<AlertKind, readonly string[]>> = {
  file: [],
  email: ['host', 'port', 'from', 'to', 'secure', 'caFile', 'plain', 'userEnv', 'passwordEnv'],
  webhook: ['url', 'secretEnv', 'local', 'loud'],
  push: ['url', 'tokenEnv', 'local'],
  command: ['argv', 'timeoutMs', 'passEnv', 'loud'],
}

function yes(row: Row, key: string, where: string, normal: boolean): boolean {
  const value = row[key] === undefined ? normal : row[key]
  if (typeof value !== 'boolean') refuse(`${where}${key}`, 'must be true or false')
  return value
}

function variable(value: unknown, where: string): string {
  if (typeof value !== 'string' || !/^[A-Za-z_][A-Za-z0-9_]{0,99}$/.test(value)) {
    refuse(where, 'must be the name of an environment variable')
  }
  return value
}
const maybeVariable = (row: Row, key: string, where: string): string | null =>
  row[key] === undefined ? null : variable(row[key], `${where}${key}`)

/** A URL that an outgoing request may use (threats.md T37). @throws StartError */
export function urlField(row: Row, where: string): { url: string; local: boolean } {
  const local = yes(row, 'local', where, false)
  const url = readTarget(text(row, 'url'), local)
  if (typeof url === 'string') refuse(`${where}url`, url)
  return { url: url.href, local }
}

function wordList(row: Row, key: string, where: string, [least, most]: readonly [number, number]): readonly string[] {
  const value = row[key] === undefined ? [] : row[key]
  const good = (word: unknown) => typeof word === 'string' && word.length <= 1000 && !word.includes('\0')
  if (!Array.isArray(value) || value.length < least || value.length > most || !value.every(good)) {
    refuse(`${where}${key}`, `must list ${least} to ${most} texts`)
  }
  return value as string[]
}

/** This machine itself, where a letter passes no wire. */
export const isLoopback = (host: string): boolean => ['localhost', '127.0.0.1', '::1'].includes(host)

function trustFields(row: Row, where: string, { host, secure }: { host: string; secure: boolean }) {
  const caFile = row.caFile === undefined ? null : text(row, 'caFile')
  const plain = yes(row, 'plain', where, false)
  if (caFile !== null && !caFile.startsWith('/')) refuse(`${where}caFile`, 'must be an absolute path')
  if (plain && !isLoopback(host))
    refuse(`${where}plain`, 'is for a relay on this machine alone: localhost, 127.0.0.1 or ::1')
  if (plain && (secure || caFile !== null)) refuse(`${where}plain`, 'means without TLS; leave out secure and caFile')
  return { caFile, plain }
}

function personChannel(row: Row, kind: PersonChannel['kind'], where: string): PersonChannel {
  if (kind === 'email') {
    const secure = yes(row, 'secure', where, false)
    const host = text(row, 'host')
    return {
      kind,
      host,
      ...trustFields(row, where, { host, secure }),
      port: whole(row, 'port', [secure ? 465 : 587, 1, 65_535]),
      from: text(row, 'from'),
      to: text(row, 'to'),
      secure,
      userEnv: maybeVariable(row, 'userEnv', where),
      passwordEnv: maybeVariable(row, 'passwordEnv', where),
    }
  }
  if (kind === 'webhook') {
    const secretEnv = variable(row.secretEnv, `${where}secretEnv`)
    return { kind, ...urlField(row, where), secretEnv, loud: yes(row, 'loud', where, false) }
  }
  if (kind === 'push') return { kind, ...urlField(row, where), tokenEnv: maybeVariable(row, 'tokenEnv', where) }
  const argv = wordList(row, 'argv', where, [1, 16])
  if (!argv[0]?.startsWith('/')) refuse(`${where}argv`, 'must begin with the absolute path of a program')
  return {
    kind,
    argv,
    timeoutMs: whole(row, 'timeoutMs', [10_000, 100, 60_000]),
    passEnv: wordList(row, 'passEnv', where, [0, 16]).map((name) => variable(name, `${where}passEnv`)),
    loud: yes(row, 'loud', where, true),
  }
}

/** One entry of a list of channels; `list` is the key of the list. @throws StartError */
export function channelOf(value: unknown, index: number, list = 'channels'): Channel {
  const where = `${list}[${index}].`
  if (!isRow(value)) refuse(`${list}[${index}]`, 'must be an object with a kind')
  const kind = (Object.keys(KEYS) as AlertKind[]).find((one) => one === value.kind)
  if (kind === undefined) refuse(`${where}kind`, `must be one of ${Object.keys(KEYS).join(', ')}`)
  onlyKeys(value, ['kind', ...KEYS[kind]], where)
  return kind === 'file' ? { kind } : personChannel(value, kind, where)
}
