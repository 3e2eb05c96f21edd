/** E-mail through SMTP. nodemailer is loaded with the first letter, so an idle watchdog does not carry it. */
import type { SendLetter } from './alerts.ts'

const TIMEOUT_MS = 10_000

/** Control characters out of everything that becomes a header. */
const headerText = (text: string): string => text.replaceAll(/\p{Cc}+/gu, ' ')

/** A sender that takes user and password from the named variables of `env`. */
export function createMailer(env: Readonly<Record<string, string | undefined>>): SendLetter {
  return async (channel, letter) => {
    const { createTransport } = await import('nodemailer')
    const user = channel.userEnv === null ? undefined : env[channel.userEnv]
    const pass = channel.passwordEnv === null ? undefined : env[channel.passwordEnv]
    if (channel.userEnv !== null && user === undefined) throw new Error(`the variable ${channel.userEnv} is not set`)
    const transport = createTransport({
      host: channel.host,
      port: channel.port,
      secure: channel.secure,
      connectionTimeout: TIMEOUT_MS,
      greetingTimeout: TIMEOUT_MS,
      socketTimeout: TIMEOUT_MS,
      disableFileAccess: true,
      disableUrlAccess: true,
      ...(user === undefined ? {} : { auth: { user, pass: pass ?? '' } }),
    })
    try {
      const subject = headerText(letter.subject)
      await transport.sendMail({ from: channel.from, to: channel.to, subject, text: letter.text })
    } finally {
      transport.close()
    }
  }
}
