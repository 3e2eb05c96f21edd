/** E-mail through SMTP. nodemailer is loaded with the first letter, so an idle watchdog does not carry it. */
import { readFile } from 'node:fs/promises'
import type { Clock } from '../clock.ts'
import { type EmailChannel, isLoopback } from '../config-channels.ts'
import type { SecretOf } from '../secrets.ts'
import { headerText, type Post } from './letter.ts'

const TIMEOUT_MS = 10_000
const DEADLINE_MS = 20_000

/** Letters that somebody has not got yet; more than ever wait at once. */
const OPEN_MAX = 256

const textOf = (address: string | { address: string }): string =>
  typeof address === 'string' ? address : address.address

/**
 * Whom the channel trusts. A relay on this machine has a certificate for the machine's name, if any, and none for 127.0.0.1: there it must be
 * one of the file's, and its name is not compared.
 */
async function trustOf({ host, caFile }: EmailChannel) {
  if (caFile === null) return {}
  const ca = await readFile(caFile, 'utf8').catch((thrown: NodeJS.ErrnoException) => {
    throw new Error(`caFile ${caFile} cannot be read: ${thrown.code}`)
  })
  return { tls: { ca, ...(isLoopback(host) ? { checkServerIdentity: () => undefined } : {}) } }
}

const UNTRUSTED = /self[- ]signed certificate|unable to (verify|get)|altnames/i
/** The way out, where a certificate is why nothing is sent (fault C32). */
function certificateWords({ message }: Error, { host, caFile }: EmailChannel): string | undefined {
  if (!UNTRUSTED.test(message)) return undefined
  if (caFile !== null) return `${message}: ${caFile} does not hold the certificate of ${host}`
  const plain = isLoopback(host) ? ', or say plain: true, since it is this machine' : ''
  return `${message}: name the file of its certificate as caFile${plain}`
}

/** A sender that reads its password when a letter goes. */
export function createEmail(channel: EmailChannel, parts: { clock: Clock; secretOf: SecretOf }): Post {
  /** By letter, whom the server refused: the next try is for them alone (fault C33). */
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
        // Else whoever stands between takes STARTTLS out of the greeting and reads both (T38).
        // Only to this machine may a letter and a password go in the clear.
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
      // The time-outs above are of silence; a server that dribbles is cut off by the whole.
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
          // The same for every try, so that a mailbox shows a repetition as one.
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
