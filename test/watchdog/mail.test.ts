import { SMTPServer } from 'smtp-server'
import { afterEach, expect, test } from 'vitest'
import type { EmailChannel } from '../../watchdog/config-channels.ts'
import { createMailer } from '../../watchdog/mail.ts'

const servers: SMTPServer[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

/** A real SMTP server that keeps what it got. */
async function postOffice(user?: string): Promise<{ port: number; letters: string[]; recipients: string[] }> {
  const letters: string[] = []
  const recipients: string[] = []
  const server = new SMTPServer({
    authOptional: user === undefined,
    allowInsecureAuth: true,
    disabledCommands: ['STARTTLS'],
    onAuth: (auth, _session, done) =>
      auth.username === user && auth.password === 'secret' ? done(null, { user }) : done(new Error('who are you')),
    onRcptTo: (address, _session, done) => {
      recipients.push(address.address)
      done()
    },
    onData(stream, _session, done) {
      const parts: Buffer[] = []
      stream.on('data', (part) => parts.push(part))
      stream.on('end', () => {
        letters.push(Buffer.concat(parts).toString())
        done()
      })
    },
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { port: (server.server.address() as { port: number }).port, letters, recipients }
}
const channel = (port: number, over: Partial<EmailChannel> = {}): EmailChannel => ({
  kind: 'email',
  host: '127.0.0.1',
  port,
  from: 'hub@example.org',
  to: 'o@example.org',
  secure: false,
  userEnv: null,
  passwordEnv: null,
  ...over,
})

test('a letter arrives through a real SMTP conversation, and its subject cannot add a header or a recipient', async () => {
  const office = await postOffice()
  await createMailer({})(channel(office.port), {
    subject: 'one\r\nBcc: evil@example.org',
    text: 'Safe mode since Mon.',
  })
  expect(office.recipients).toEqual(['o@example.org'])
  expect(office.letters[0]).toContain('Subject: one Bcc: evil@example.org')
  expect(office.letters[0]).not.toMatch(/^Bcc:/m)
  expect(office.letters[0]).toContain('Safe mode since Mon.')
})

test('user and password come from the named variables; a wrong or missing one rejects', async () => {
  const office = await postOffice('me')
  const secured = channel(office.port, { userEnv: 'MAIL_USER', passwordEnv: 'MAIL_PASSWORD' })
  const letter = { subject: 's', text: 't' }
  await createMailer({ MAIL_USER: 'me', MAIL_PASSWORD: 'secret' })(secured, letter)
  expect(office.letters).toHaveLength(1)
  await expect(createMailer({ MAIL_USER: 'me', MAIL_PASSWORD: 'no' })(secured, letter)).rejects.toThrow()
  await expect(createMailer({})(secured, letter)).rejects.toThrow(/MAIL_USER is not set/)
  expect(office.letters).toHaveLength(1)
})

test('a post office that is not there rejects', async () => {
  await expect(createMailer({})(channel(1), { subject: 's', text: 't' })).rejects.toThrow(/ECONNREFUSED/)
})
