/** E-mail through SMTP. nodemailer is loaded with the first letter, so an idle watchdog does not carry it. */
import type { Clock } from '../clock.ts'
import type { EmailChannel } from '../config-channels.ts'
import { headerText, type Post, secretOf } from './letter.ts'

const TIMEOUT_MS = 10_000
const DEADLINE_MS = 20_000
/** Only there may a letter and a password go in the clear. */
const LOCAL: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '::1'])

/** Letters that somebody has not got yet; more than ever wait at once. */
const OPEN_MAX = 256

const textOf = (address: string | { address: string }): string =>
  typeof address === 'string' ? address : address.address

/** A sender that takes user and password from the named variables of `env`. */
export function createEmail(
  channel: EmailChannel,
  parts: { clock: Clock; env: Readonly<Record<string, string | undefined>> },
): Post {
  /** By letter, whom the server refused: the next try is for them alone (fault C33). */
  const left = new Map<string, string[]>()
  return {
    label: `email through ${channel.host}`,
    kind: 'email',
    loud: false,
    deadlineMs: DEADLINE_MS,
    async deliver(letter) {
      const { createTransport } = await import('nodemailer')
      const user = channel.userEnv === null ? null : secretOf(parts.env, channel.userEnv)
      const pass = channel.passwordEnv === null ? '' : secretOf(parts.env, channel.passwordEnv)
      const transport = createTransport({
        host: channel.host,
        port: channel.port,
        secure: channel.secure,
        // Else whoever stands between takes STARTTLS out of the greeting and reads both (T38).
        requireTLS: !channel.secure && !LOCAL.has(channel.host),
        connectionTimeout: TIMEOUT_MS,
        greetingTimeout: TIMEOUT_MS,
        socketTimeout: TIMEOUT_MS,
        disableFileAccess: true,
        disableUrlAccess: true,
        ...(user === null ? {} : { auth: { user, pass } }),
      })
      // The time-outs above are of silence; a server that dribbles is cut off by the whole.
      const whole = new AbortController()
      const cancel = parts.clock.after(DEADLINE_MS, () => whole.abort())
      const due = left.get(letter.id)
      try {
        const { rejected } = await transport.sendMail({
          ...(due === undefined ? {} : { envelope: { from: channel.from, to: due } }),
          from: channel.from,
          to: channel.to,
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
      } finally {
        cancel()
        transport.close()
      }
    },
  }
}
