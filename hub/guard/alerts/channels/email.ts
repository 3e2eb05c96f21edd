/**
 * E-mail by SMTP (T38). Recipients and sender come from the configuration alone, as addresses already taken apart for nodemailer to parse
 * nothing; a subject is one line of ASCII; whatever an agent wrote is in the body. nodemailer is loaded with the first letter.
 */
import { HubError } from '../../../base/errors.ts'
import type { Message, Send } from '../message.ts'
import type { Settings } from '../settings.ts'

const STEP_MS = 8000
const SUBJECT_MAX = 150
const BODY_MAX = 16_000
const LOCAL: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '::1'])

/** Letters of which somebody has not got his yet; more than ever wait at once. */
const OPEN_MAX = 256

/** No control character, nothing but ASCII, capped. */
const headerText = (text: string): string => text.replaceAll(/[^\x20-\x7e]+/g, ' ').slice(0, SUBJECT_MAX)

const textOf = (address: string | { address: string }): string =>
  typeof address === 'string' ? address : address.address

export function createEmail(channel: Settings<'email'>, secretOf: (name: string) => string): Send {
  const { host, secure, from, to, user, passwordFrom } = channel
  /** By letter, who has it: the next try is for the others alone (fault C33). After a restart its id, the same, shows a repetition as one. */
  const has = new Map<string, ReadonlySet<string>>()
  return async (message: Message, signal) => {
    const { createTransport } = await import('nodemailer')
    const auth =
      user === undefined ? {} : { auth: { user, pass: passwordFrom === undefined ? '' : secretOf(passwordFrom) } }
    const transport = createTransport({
      host,
      port: channel.port ?? (secure ? 465 : 587),
      secure,
      requireTLS: !secure && !LOCAL.has(host),
      connectionTimeout: STEP_MS,
      greetingTimeout: STEP_MS,
      socketTimeout: STEP_MS,
      disableFileAccess: true,
      disableUrlAccess: true,
      ...auth,
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
    } finally {
      signal.removeEventListener('abort', stop)
      transport.close()
    }
  }
}
