/**
 * E-mail by SMTP (T38). Recipients and sender come only from the configuration, already taken apart, so that nodemailer parses nothing.
 * A subject is one line of ASCII; text of an agent is only in the body. nodemailer is loaded with the first message.
 */
import { readFile } from 'node:fs/promises'
import { HubError } from '../../../base/errors.ts'
import type { Message, Send } from '../message.ts'
import { isLoopback, type Settings } from '../settings.ts'

const STEP_MS = 8000
const SUBJECT_MAX = 150
const BODY_MAX = 16_000

/** Messages that some recipient does not have yet; more than can wait at once. */
const OPEN_MAX = 256

/** No control character, nothing but ASCII, capped. */
const headerText = (text: string): string => text.replaceAll(/[^\x20-\x7e]+/g, ' ').slice(0, SUBJECT_MAX)

const textOf = (address: string | { address: string }): string =>
  typeof address === 'string' ? address : address.address

/**
 * Whom the channel trusts. A relay on this machine has no certificate for 127.0.0.1, at most one for the machine's name. There it must be
 * one from the file, and its name is not compared.
 */
async function trustOf({ host, caFile }: Settings<'email'>) {
  if (caFile === undefined) return {}
  const ca = await readFile(caFile, 'utf8').catch((thrown: NodeJS.ErrnoException) => {
    throw new HubError('timed_out', `caFile ${caFile} cannot be read: ${thrown.code}`)
  })
  return { tls: { ca, ...(isLoopback(host) ? { checkServerIdentity: () => undefined } : {}) } }
}

const UNTRUSTED = /self[- ]signed certificate|unable to (verify|get)|altnames/i
/** What to do if a certificate is the reason why nothing is sent (fault C32). */
function certificateWords({ message }: Error, { host, caFile }: Settings<'email'>): string | undefined {
  if (!UNTRUSTED.test(message)) return undefined
  if (caFile !== undefined) return `${message}: ${caFile} does not hold the certificate of ${host}`
  const plain = isLoopback(host) ? ', or set plain: true, since it is this machine' : ''
  return `${message}: set caFile to the file of its certificate${plain}`
}

export function createEmail(channel: Settings<'email'>, secretOf: (name: string) => string): Send {
  const { host, secure, plain, from, to, user, passwordFrom } = channel
  /** By message, who has it: the next try is only for the others (fault C33). After a restart a repeat is known by its unchanged id. */
  const has = new Map<string, ReadonlySet<string>>()
  return async (message: Message, signal) => {
    const { createTransport } = await import('nodemailer')
    const auth =
      user === undefined ? {} : { auth: { user, pass: passwordFrom === undefined ? '' : secretOf(passwordFrom) } }
    const trust = await trustOf(channel)
    const transport = createTransport({
      host,
      port: channel.port ?? (secure ? 465 : 587),
      secure,
      requireTLS: !secure && !isLoopback(host),
      ignoreTLS: plain,
      connectionTimeout: STEP_MS,
      greetingTimeout: STEP_MS,
      socketTimeout: STEP_MS,
      disableFileAccess: true,
      disableUrlAccess: true,
      ...auth,
      ...trust,
    })
    const stop = () => transport.close()
    signal.addEventListener('abort', stop, { once: true })
    const taken = has.get(message.id) ?? new Set<string>()
    const due = to.filter((address) => !taken.has(address))
    try {
      const { response, accepted, rejected } = await transport.sendMail({
        envelope: { from, to: due },
        from: { name: '', address: from },
        to: to.map((address) => ({ name: '', address })),
        subject: headerText(message.subject),
        text: message.body.slice(0, BODY_MAX),
        messageId: `<${message.id}@hub.invalid>`,
        headers: { 'Auto-Submitted': 'auto-generated', 'X-Hub-Delivery': message.id },
      })
      has.delete(message.id)
      if (rejected.length > 0) {
        has.set(message.id, new Set([...taken, ...accepted.map(textOf)]))
        if (has.size > OPEN_MAX) has.delete(has.keys().next().value ?? '')
        throw new HubError('timed_out', `the server refused ${rejected.map(textOf).join(', ')}; the others have it`)
      }
      return response
    } catch (thrown) {
      const said = certificateWords(thrown as Error, channel)
      throw said === undefined ? thrown : new HubError('timed_out', said)
    } finally {
      signal.removeEventListener('abort', stop)
      transport.close()
    }
  }
}
