/** Turns answers of `hub setup`, from flags or from a person, into keys of both files. @throws Problem usage if an answer is not valid. */
import { readFileSync } from 'node:fs'
import { usage } from '../../problem.ts'
import type { Options } from '../context.ts'
import type { Answers, Channel, Standing } from './setup-files.ts'
import { wrongAnswer } from './setup-refusals.ts'

/**
 * Asks a person; an empty answer means the default. Rejects if they leave. `isSecret`: the typing is not shown, and there is no default.
 */
export type Ask = (question: string, standing: string | undefined, isSecret?: boolean) => Promise<string>

export interface Given {
  answers: Answers
  /** Secrets that the answers name, by name. */
  secrets: Readonly<Record<string, string>>
}
const LOCAL = /^(?:localhost|127\.|10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|\[::1\])/
/** Both files must mark an address on this machine or in a private network as local. */
export function localOf(url: string): { local?: string } {
  if (!URL.canParse(url)) return {}
  const { host, hostname, port, protocol } = new URL(url)
  if (!LOCAL.test(hostname)) return {}
  return { local: port === '' ? `${host}:${protocol === 'https:' ? 443 : 80}` : host }
}

/** Reads the secret from the file that an option names; `-` means `piped`, which came on stdin. @throws Problem usage */
export function readSecret(option: string, file: unknown, piped = ''): string | undefined {
  if (typeof file !== 'string') return undefined
  try {
    const value = (file === '-' ? piped : readFileSync(file, 'utf8')).trim()
    if (value !== '') return value
  } catch (error) {
    throw usage(`${option}: ${file} cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
  throw usage(`${option}: ${file === '-' ? 'stdin' : file} is empty`)
}

const SECRET_BYTES_MAX = 64 * 1024

/** The secret that comes on stdin. `command`: what asks for it at a terminal instead. @throws Problem usage */
export async function readPipe(command: string): Promise<string> {
  // A terminal would show what is typed.
  if (process.stdin.isTTY)
    throw usage(
      `a secret on stdin comes from a pipe; at a terminal run \`${command}\`, which asks for it without showing it`,
    )
  const pieces: Buffer[] = []
  let size = 0
  for await (const piece of process.stdin) {
    size += (piece as Buffer).length
    if (size > SECRET_BYTES_MAX) throw usage('the secret on stdin is too long; at most 64 KiB')
    pieces.push(piece as Buffer)
  }
  return Buffer.concat(pieces).toString('utf8')
}

export const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined

export interface Mail {
  to: string
  server: string
  from: string | undefined
  /** Empty: no account, even if there was one. */
  user: string | undefined
  password: string | undefined
}
export function mailOf({ to, server, from, user, password }: Mail, before: Channel | undefined): Given {
  const [, host = '', port = ''] = /^(\[[^\]]+\]|[^:]+)(?::(\d{1,5}))?$/.exec(server) ?? []
  if (host === '') throw wrongAnswer('mailServer', 'must be host:port, for example mail.example.org:587')
  const account = user === '' ? undefined : (user ?? textOf(before?.user))
  const hasSecret = password !== undefined || before?.passwordFrom !== undefined
  const channel: Channel = {
    kind: 'email',
    host,
    ...(port === '' ? {} : { port: Number(port) }),
    ...(port === '465' ? { secure: true } : {}),
    ...(before?.host === host && before.caFile !== undefined ? { caFile: before.caFile } : {}),
    ...(before?.host === host && before.plain !== undefined ? { plain: before.plain } : {}),
    from: from ?? textOf(before?.from) ?? to,
    to,
    ...(account === undefined ? {} : { user: account }),
    ...(account !== undefined && hasSecret ? { passwordFrom: textOf(before?.passwordFrom) ?? 'alert-mail' } : {}),
  }
  const name = textOf(channel.passwordFrom)
  return {
    answers: { channels: [channel] },
    secrets: name === undefined || password === undefined ? {} : { [name]: password },
  }
}

export function postOf(
  kind: 'push' | 'webhook',
  url: string,
  secret: string | undefined,
  before: Channel | undefined,
): Given {
  const key = kind === 'push' ? 'tokenFrom' : 'secretFrom'
  const name = textOf(before?.[key]) ?? (secret === undefined ? undefined : `alert-${kind}`)
  const channel: Channel = { kind, url, ...localOf(url), ...(name === undefined ? {} : { [key]: name }) }
  return {
    answers: { channels: [channel] },
    secrets: name === undefined || secret === undefined ? {} : { [name]: secret },
  }
}

export const contactOf = (name: string, address: string, mail: Channel | undefined): Answers => {
  if (mail === undefined) throw usage('mail to the contact goes through your mail server: add --mail and --mail-server')
  return { contact: { name, channel: { ...mail, to: address } } }
}

/** Options that name a file with a secret in it, or `-` for stdin. */
export const SECRET_OPTIONS = ['mailPasswordFile', 'pushTokenFile', 'webhookSecretFile'] as const

/** The flags' answers, all at once. `piped`: what came on stdin, for the one that takes it. */
export function flagsOf(o: Options, now: Standing, piped: string): Given[] {
  const mail = now.channel('email')
  const given: Given[] = []
  const add = (answers: Answers) => given.push({ answers, secrets: {} })
  const [zone, to, push, webhook] = [o.zone, o.mail, o.push, o.webhook].map(textOf)
  if (zone !== undefined) add({ zone })
  if (to !== undefined) {
    const server =
      textOf(o.mailServer) ??
      (mail === undefined ? undefined : `${mail.host}${mail.port === undefined ? '' : `:${mail.port}`}`)
    if (server === undefined) throw usage('--mail needs --mail-server, for example mail.example.org:587')
    const password = readSecret('--mail-password-file', o.mailPasswordFile, piped)
    given.push(mailOf({ to, server, from: textOf(o.mailFrom), user: textOf(o.mailUser), password }, mail))
  }
  if (push !== undefined)
    given.push(postOf('push', push, readSecret('--push-token-file', o.pushTokenFile, piped), now.channel('push')))
  if (webhook !== undefined)
    given.push(
      postOf(
        'webhook',
        webhook,
        readSecret('--webhook-secret-file', o.webhookSecretFile, piped),
        now.channel('webhook'),
      ),
    )
  const [heartbeat, operator, contact, address, ping] = [o.heartbeat, o.operator, o.contact, o.contactMail, o.ping].map(
    textOf,
  )
  if (heartbeat !== undefined) add({ heartbeat })
  if (operator !== undefined) add({ operator })
  if ((contact === undefined) !== (address === undefined))
    throw usage('--contact and --contact-mail need each other: give both')
  const through = given.flatMap(({ answers }) => answers.channels ?? []).find(({ kind }) => kind === 'email') ?? mail
  if (contact !== undefined && address !== undefined) add(contactOf(contact, address, through))
  if (ping !== undefined) add({ ping: { url: ping, ...localOf(ping) } })
  return given
}

/** All answers as one, to be written together. */
export const merged = (given: readonly Given[]): Given => ({
  answers: {
    ...Object.assign({}, ...given.map(({ answers }) => answers)),
    channels: given.flatMap(({ answers }) => answers.channels ?? []),
  },
  secrets: Object.assign({}, ...given.map(({ secrets }) => secrets)),
})
