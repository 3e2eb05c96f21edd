/** E-mail through SMTP. nodemailer is loaded with the first message, so an idle watchdog does not hold it in memory. */
import { readFile } from 'node:fs/promises'
import type { Clock } from '../../base/clock.ts'
import { type EmailChannel, isLoopback } from '../../config/channels.ts'
import type { SecretOf } from '../../config/secrets.ts'
import { headerText, type Post } from './letter.ts'

const TIMEOUT_MS = 10_000
const DEADLINE_MS = 20_000

/** Messages that some recipient does not have yet; more than can wait at once. */
const OPEN_MAX = 256

const textOf = (address: string | { address: string }): string =>
  typeof address === 'string' ? address : address.address

/**
 * Whom the channel trusts. A relay on this machine has no certificate for 127.0.0.1, at most one for the machine's name. There it must be
 * one from the file, and its name is not compared.
 */
async function trustOf({ host, caFile }: EmailChannel) {
  if (caFile === null) return {}
  const ca = await readFile(caFile, 'utf8').catch((thrown: NodeJS.ErrnoException) => {
    throw new Error(`caFile ${caFile} cannot be read: ${thrown.code}`)
  })
  return { tls: { ca, ...(isLoopback(host) ? { checkServerIdentity: () => undefined } : {}) } }
}

const UNTRUSTED = /self[- ]signed certificate|unable to (verify|get)|altnames/i
/** What to do if a certificate is the reason why nothing is sent (fault C32). */
function certificateWords({ message }: Error, { host, caFile }: EmailChannel): string | undefined {
  if (!UNTRUSTED.test(message)) return undefined
  if (caFile !== null) return `${message}: ${caFile} does not hold the certificate of ${host}`
  const plain = isLoopback(host) ? ', or set plain: true, since it is this machine' : ''
  return `${message}: set caFile to the file of its certificate${plain}`
}

/** A sender that reads its password when a letter goes. */
export function createEmail(channel: EmailChannel, parts: { clock: Clock; secretOf: SecretOf }): Post {
  /** By message, the recipients that the server refused: the next try is only for them (fault C33). */
  const left = new Map<string, string[]>()
  return {
    label: channel.name === '' ? `email through ${channel.host}` : channel.name,
    kind: 'email',
    loud: false,
    deadlineMs: DEADLINE_MS,
    async deliver(letter) {
      const { createTransport } = await import('nodemailer')
      const { user: named, password } = channel
      const user = named === null || typeof named === 'string' ? named : parts.secretOf(named)
      const pass = password === null ? '' : parts.secretOf(password)
      const trust = await trustOf(channel)
      const transport = createTransport({
        host: channel.host,
        port: channel.port,
        secure: channel.secure,
        // Otherwise somebody in between could remove STARTTLS from the greeting and read both (T38).
        // Message and password may go unencrypted only to this machine.
        requireTLS: !channel.secure && !isLoopback(channel.host),
        ignoreTLS: channel.plain,
        connectionTimeout: TIMEOUT_MS,
        greetingTimeout: TIMEOUT_MS,
        socketTimeout: TIMEOUT_MS,
        disableFileAccess: true,
        disableUrlAccess: true,
        ...(user === null ? {} : { auth: { user, pass } }),
        ...trust,
      })
      // The time-outs above are for silence; this one cuts off a server that answers too slowly.
      const whole = new AbortController()
      const cancel = parts.clock.after(DEADLINE_MS, () => whole.abort())
      const due = left.get(letter.id)
      try {
        const { rejected } = await transport.sendMail({
          ...(due === undefined ? {} : { envelope: { from: channel.from, to: due } }),
          from: channel.from,
          to: [...channel.to],
          subject: headerText(letter.subject),
          text: letter.text,
          signal: whole.signal,
          // The same for every try, so that a mailbox shows a repeated message once.
          messageId: `<${headerText(letter.id).replaceAll(/[^\w.-]/g, '_')}@${letter.instance}.hub.invalid>`,
        })
        left.delete(letter.id)
        if (rejected.length > 0) {
          left.set(letter.id, rejected.map(textOf))
          if (left.size > OPEN_MAX) left.delete(left.keys().next().value ?? '')
          throw new Error(`the server refused ${rejected.map(textOf).join(', ')}; the others have it`)
        }
      } catch (thrown) {
        const said = certificateWords(thrown as Error, channel)
        throw said === undefined ? thrown : new Error(said)
      } finally {
        cancel()
        transport.close()
      }
    },
  }
}
