/**
 * E-mail by SMTP (T38). Recipients and sender come from the configuration alone, as addresses already taken apart for nodemailer to parse
 * nothing; a subject is one line of ASCII; whatever an agent wrote is in the body. nodemailer is loaded with the first letter.
 */
import type { Message, Send } from '../message.ts'
import type { Settings } from '../settings.ts'

const STEP_MS = 8000
const SUBJECT_MAX = 150
const BODY_MAX = 16_000
const LOCAL: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '::1'])

/** No control character, nothing but ASCII, capped. */
const headerText = (text: string): string => text.replaceAll(/[^\x20-\x7e]+/g, ' ').slice(0, SUBJECT_MAX)

export function createEmail(channel: Settings<'email'>, secretOf: (name: string) => string): Send {
  const { host, secure, from, to, user, passwordFrom } = channel
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
    try {
      const { response } = await transport.sendMail({
        envelope: { from, to },
        from: { name: '', address: from },
        to: to.map((address) => ({ name: '', address })),
        subject: headerText(message.subject),
        text: message.body.slice(0, BODY_MAX),
        messageId: `<${message.id}@hub.invalid>`,
        headers: { 'Auto-Submitted': 'auto-generated', 'X-Hub-Delivery': message.id },
      })
      return response
    } finally {
      signal.removeEventListener('abort', stop)
      transport.close()
    }
  }
}
