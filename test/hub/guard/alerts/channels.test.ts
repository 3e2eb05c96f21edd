/** Each channel against the real thing: an SMTP server, HTTP sinks, a program, a file (S1-34, T37, T38). */
import { execFileSync } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SMTPServer } from 'smtp-server'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createSystemClock } from '../../../../hub/base/clock.ts'
import { createCommand } from '../../../../hub/guard/alerts/channels/command.ts'
import { createEmail } from '../../../../hub/guard/alerts/channels/email.ts'
import { createFile } from '../../../../hub/guard/alerts/channels/file.ts'
import { createPush } from '../../../../hub/guard/alerts/channels/push.ts'
import { createWebhook } from '../../../../hub/guard/alerts/channels/webhook.ts'
import type { Alert, Delivery } from '../../../../hub/guard/alerts/kinds.ts'
import { messageOf } from '../../../../hub/guard/alerts/message.ts'
import { alertsShape, type ChannelSettings, type Settings } from '../../../../hub/guard/alerts/settings.ts'
import { createPostOutward } from '../../../../hub/guard/outward/post.ts'
import { mailSink } from '../../../support/alert-sinks.ts'
import { OTHER_CERTIFICATE, RELAY_CERTIFICATE, RELAY_KEY } from '../../../support/relay-certificate.ts'

const closing: (() => void)[] = []
let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ch-'))
})
afterEach(() => {
  for (const close of closing.splice(0)) close()
  rmSync(folder, { recursive: true })
})
const never = new AbortController().signal
const clock = createSystemClock()

const alert: Alert = {
  id: '019c0000-0000-7000-8000-000000000001',
  cause: 'agent_breaker:reader',
  severity: 'warning',
  text: 'reader failed five times.',
  state: 'raised',
  holds: false,
  lastsMs: null,
  raisedAtMs: Date.UTC(2026, 10, 21, 13),
  resolvedAtMs: null,
}
const facts = {
  nowMs: Date.UTC(2026, 10, 21, 13),
  zone: 'Europe/Berlin',
  instance: 'my-hub',
  mode: 'normal',
  audit: { size: 12, head: 'f'.repeat(64) },
}
const message = (over: Partial<Alert & Delivery> = {}) =>
  messageOf(
    {
      id: over.id ?? '019c0000-0000-7000-8000-000000000002',
      event: over.event ?? 'raised',
      text: over.text ?? alert.text,
      severity: alert.severity,
      createdAtMs: facts.nowMs,
    },
    { ...alert, ...over, id: alert.id },
    facts,
  )
function settings<Kind extends ChannelSettings['kind']>(
  given: Record<string, unknown> & { kind: Kind },
): Settings<Kind> {
  const [channel] = alertsShape.parse({ channels: [given] }).channels ?? []
  return channel as Settings<Kind>
}
const secrets = (values: Record<string, string>) => (name: string) => {
  const value = values[name]
  if (value === undefined) throw new Error(`the secret ${name} is missing`)
  return value
}

/** A real SMTP server that keeps envelope and letter. */
async function postOffice(options: { user?: string; hangs?: boolean; address?: string; refuses?: string[] } = {}) {
  const got: { from: string; to: string[]; letter: string }[] = []
  const server = new SMTPServer({
    authOptional: options.user === undefined,
    allowInsecureAuth: true,
    disabledCommands: ['STARTTLS'],
    onAuth: (auth, _session, done) =>
      auth.username === options.user && auth.password === 'pass word'
        ? done(null, { user: 'x' })
        : done(new Error('no')),
    onRcptTo: ({ address }, _session, done) =>
      options.refuses?.includes(address) ? done(new Error('no such mailbox')) : done(),
    onData(stream, session, done) {
      const parts: Buffer[] = []
      stream.on('data', (part: Buffer) => parts.push(part))
      stream.on('end', () => {
        if (options.hangs) return
        const { mailFrom, rcptTo } = session.envelope
        got.push({
          from: mailFrom === false ? '' : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
          letter: Buffer.concat(parts).toString(),
        })
        done()
      })
    },
  })
  closing.push(() => server.close())
  await new Promise<void>((resolve) => server.listen(0, options.address ?? '127.0.0.1', resolve))
  server.server.unref()
  return { port: (server.server.address() as { port: number }).port, got }
}
const mail = (port: number, over: Record<string, unknown> = {}) =>
  settings({ kind: 'email', host: '127.0.0.1', port, from: 'hub@example.org', to: 'o@example.org', ...over })

describe('e-mail', () => {
  it('its subject says what it is about in words: the id of a question is no word', () => {
    expect(message({ cause: `question:${alert.id}` }).subject).toBe('[hub] warning: question of an agent')
    expect(message().subject).toBe('[hub] warning: agent breaker reader')
  })

  it('of whom the server refuses is told, and tried again for him alone (fault C33)', async () => {
    const refuses = ['b@example.org']
    const office = await postOffice({ refuses })
    const send = createEmail(
      mail(office.port, { to: ['a@example.org', 'b@example.org', 'c@example.org'] }),
      secrets({}),
    )
    const told = 'the server refused b@example.org; the others have it'
    await expect(send(message(), never)).rejects.toThrow(told)
    await expect(send(message(), never)).rejects.toThrow('no such mailbox')
    refuses.length = 0
    expect(await send(message(), never)).toMatch(/^250 /)
    expect(office.got.map(({ to }) => to)).toEqual([['a@example.org', 'c@example.org'], ['b@example.org']])
    // The letter names all of them all the same, and another one goes to all.
    expect(office.got[1]?.letter).toContain('To: a@example.org, b@example.org, c@example.org')
    await send(message({ id: '019c0000-0000-7000-8000-000000000009' }), never)
    expect(office.got[2]?.to).toHaveLength(3)
  })

  it('arrives through a real SMTP conversation, with the head of the audit log in it [alert-18, audit-24]', async () => {
    const office = await postOffice()
    const answer = await createEmail(mail(office.port), secrets({}))(message(), never)
    expect(answer).toMatch(/^250 /)
    const [{ from, to, letter } = { from: '', to: [], letter: '' }] = office.got
    expect([from, to]).toEqual(['hub@example.org', ['o@example.org']])
    expect(letter).toContain('Subject: [hub] warning: agent breaker reader')
    expect(letter).toContain('reader failed five times.')
    expect(letter).toContain('Sat 21 Nov 2026, 14:00 CET (now)')
    expect(letter.replace(/=\r\n/g, '')).toContain('f'.repeat(64))
  })

  it.each([
    'x\r\nBcc: evil@example.org',
    'x\nTo: evil@example.org\n\nbody',
    '"evil@example.org x"@example.org',
    'a>, <evil@example.org',
    'x\u2028Bcc: evil@example.org',
    'x\0\x0bBcc: evil@example.org',
    'y'.repeat(1_000_000),
  ])('takes nothing of a cause or text into envelope or headers (T38): %# [alert-27, alert-28]', async (hostile) => {
    const office = await postOffice()
    const evil = message({ cause: `kind:${hostile}`, text: hostile, id: '019c0000-0000-7000-8000-000000000003' })
    await createEmail(mail(office.port), secrets({}))(evil, never)
    const [{ to, letter } = { to: [], letter: '' }] = office.got
    expect(to).toEqual(['o@example.org'])
    const headers = letter.slice(0, letter.indexOf('\r\n\r\n'))
    expect(headers).not.toContain('evil')
    expect(headers).toContain('Subject: [hub] warning: kind\r\n')
    expect(headers.length).toBeLessThan(1200)
    expect(letter.length).toBeLessThan(60_000)
  })

  it.each([
    ['o@example.org, evil@example.org'],
    ['"o evil@example.org"@example.org'],
    ['O <o@example.org>'],
    ['o@example.org\r\nBcc: evil@example.org'],
    ['(c)o@example.org'],
  ])('has recipients that are one plain address each, from the configuration alone (T38): %j [alert-27]', (to) => {
    expect(() => mail(25, { to })).toThrow()
  })

  it('takes its password from the secret of that name; a wrong or missing one is said', async () => {
    const office = await postOffice({ user: 'me' })
    const secured = mail(office.port, { user: 'me', passwordFrom: 'smtp' })
    await createEmail(secured, secrets({ smtp: 'pass word' }))(message(), never)
    expect(office.got).toHaveLength(1)
    await expect(createEmail(secured, secrets({ smtp: 'no' }))(message(), never)).rejects.toThrow(/Invalid login/)
    await expect(createEmail(secured, secrets({}))(message(), never)).rejects.toThrow(/secret smtp is missing/)
  })

  it('goes to a server that is not this machine by name or address only over TLS', async () => {
    const office = await postOffice({ address: '127.0.0.2' })
    const plain = createEmail(mail(office.port, { host: '127.0.0.2' }), secrets({}))
    await expect(plain(message(), never)).rejects.toThrow(/STARTTLS|TLS/)
    expect(office.got).toEqual([])
  })

  describe('fault C32: a relay on this machine that offers STARTTLS with a certificate signed by itself', () => {
    const relay = async () => {
      const office = await mailSink(undefined, [], { key: RELAY_KEY, cert: RELAY_CERTIFICATE })
      closing.push(() => office.close())
      return office
    }
    const pem = (text: string) => {
      const file = join(folder, 'relay.pem')
      writeFileSync(file, text)
      return file
    }
    const send = (port: number, over: Record<string, unknown>) =>
      createEmail(mail(port, over), secrets({}))(message(), never)

    it('takes a letter over TLS once its certificate is named, and plain once that is said', async () => {
      const office = await relay()
      await send(office.port, { caFile: pem(RELAY_CERTIFICATE) })
      await send(office.port, { plain: true })
      expect([office.letters.length, office.secured]).toEqual([2, [true, false]])
    })

    it('takes none without either, and both ways out are said', async () => {
      const office = await relay()
      await expect(send(office.port, {})).rejects.toThrow(/self-signed.*caFile.*, or set plain: true/)
      const other = pem(OTHER_CERTIFICATE)
      await expect(send(office.port, { caFile: other })).rejects.toThrow(`${other} does not hold the certificate`)
      await expect(send(office.port, { caFile: '/none/here' })).rejects.toThrow(
        'caFile /none/here cannot be read: ENOENT',
      )
      expect(office.letters).toEqual([])
    })

    it.each([
      [{ plain: true, host: 'mail.example.org' }, /relay on this machine/],
      [{ plain: true, host: '127.0.0.2' }, /relay on this machine/],
      [{ plain: true, secure: true }, /without TLS/],
      [{ plain: true, caFile: '/x' }, /without TLS/],
      [{ caFile: 'x.pem' }, /absolute path/],
    ])('%j is refused by the configuration', (over, why) => {
      expect(() => mail(25, over)).toThrow(why)
    })
  })

  it('lets go when it is told to', async () => {
    const office = await postOffice({ hangs: true })
    const ending = new AbortController()
    const sending = createEmail(mail(office.port), secrets({}))(message(), ending.signal)
    sending.catch(() => undefined)
    await new Promise((resolve) => setTimeout(resolve, 200))
    ending.abort()
    await Promise.race([sending.catch(() => undefined), new Promise((resolve) => setTimeout(resolve, 3000))])
    expect(office.got).toEqual([])
  })
})

interface Heard {
  headers: IncomingMessage['headers']
  body: string
  url: string
}
async function sink(answer: (nth: number, response: ServerResponse) => void) {
  const heard: Heard[] = []
  const server: Server = createServer((request, response) => {
    let body = ''
    request.on('data', (part) => {
      body += part
    })
    request.on('end', () => {
      heard.push({ headers: request.headers, body, url: request.url ?? '' })
      answer(heard.length, response)
    })
  })
  closing.push(() => {
    server.closeAllConnections()
    server.close()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  return { heard, port, url: `http://127.0.0.1:${port}/in`, local: [`127.0.0.1:${port}`] }
}
const status = (code: number) => (_nth: number, response: ServerResponse) => void response.writeHead(code).end('said')
const parts = (values: Record<string, string> = {}, nowMs = facts.nowMs) => ({
  post: createPostOutward({ clock }),
  secretOf: secrets(values),
  wallMs: () => nowMs,
})

describe('a webhook', () => {
  it("brings Alertmanager's shape under CloudEvents headers, signed over id, time and body [alert-19]", async () => {
    const { heard, url, local } = await sink(status(202))
    const send = createWebhook(settings({ kind: 'webhook', url, local, secretFrom: 'hook' }), parts({ hook: 'key' }))
    expect(await send(message(), never)).toBe('HTTP 202')
    const [{ headers, body } = { headers: {} as Heard['headers'], body: '' }] = heard
    const id = '019c0000-0000-7000-8000-000000000002'
    const time = String(facts.nowMs / 1000)
    const signature = createHmac('sha256', 'key').update(`${id}.${time}.${body}`).digest('base64')
    expect(headers).toMatchObject({
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': time,
      'webhook-signature': `v1,${signature}`,
      'ce-specversion': '1.0',
      'ce-id': id,
      'ce-type': 'hub.alert.raised.v1',
      'ce-source': '/hub/my-hub',
      'ce-time': '2026-11-21T13:00:00.000Z',
    })
    expect(JSON.parse(body)).toMatchObject({
      version: '4',
      status: 'firing',
      receiver: 'webhook',
      commonLabels: { alertname: 'agent_breaker', severity: 'warning' },
      alerts: [{ status: 'firing', startsAt: '2026-11-21T13:00:00.000Z', fingerprint: alert.id }],
    })
    await send(message({ event: 'resolved' }), never)
    expect(JSON.parse(heard[1]?.body ?? '')).toMatchObject({ status: 'resolved' })
  })

  it('takes a key as Standard Webhooks writes it', async () => {
    const { heard, url, local } = await sink(status(200))
    const key = Buffer.from('a key of bytes')
    const send = createWebhook(
      settings({ kind: 'webhook', url, local, secretFrom: 'hook' }),
      parts({ hook: `whsec_${key.toString('base64')}` }),
    )
    await send(message(), never)
    const [{ headers, body } = { headers: {} as Heard['headers'], body: '' }] = heard
    const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`
    expect(headers['webhook-signature']).toBe(`v1,${createHmac('sha256', key).update(signed).digest('base64')}`)
  })

  it('that answers anything but yes did not take it, and what it wrote is not repeated', async () => {
    const { url, local } = await sink((nth, response) => status(nth === 1 ? 500 : 200)(nth, response))
    const send = createWebhook(settings({ kind: 'webhook', url, local }), parts())
    await expect(send(message(), never)).rejects.toThrow(/^it answered 500$/)
    expect(await send(message(), never)).toBe('HTTP 200')
  })

  it('whose whole address is a secret leads only where the hosts beside it allow (T37)', async () => {
    const { heard, port, url, local } = await sink(status(200))
    const given = settings({ kind: 'webhook', urlFrom: 'address', hosts: local, local })
    expect(await createWebhook(given, parts({ address: `${url}\n` }))(message(), never)).toBe('HTTP 200')
    for (const address of [`http://127.0.0.1:${port + 1}/`, 'http://169.254.169.254/', `http://localhost:${port}/`])
      await expect(createWebhook(given, parts({ address }))(message(), never)).rejects.toMatchObject({
        code: 'forbidden',
      })
    expect(heard).toHaveLength(1)
  })

  it('to this machine is refused unless that host and port are listed as local (T37) [alert-20]', async () => {
    const { heard, url } = await sink(status(200))
    await expect(createWebhook(settings({ kind: 'webhook', url }), parts())(message(), never)).rejects.toMatchObject({
      code: 'forbidden',
    })
    expect(heard).toEqual([])
  })
})

describe('a push', () => {
  it('is what ntfy takes: text, title, priority by severity, a token of that name [alert-21]', async () => {
    const { heard, url, local } = await sink(status(200))
    const send = createPush(settings({ kind: 'push', url, local, tokenFrom: 'ntfy' }), parts({ ntfy: 'tk_1\n' }))
    await send(message({ severity: 'critical', text: 'ä'.repeat(9000) }), never)
    await send(message({ event: 'resolved', severity: 'critical' }), never)
    expect(heard[0]?.headers).toMatchObject({
      title: '[hub] critical: agent breaker reader',
      priority: '5',
      authorization: 'Bearer tk_1',
    })
    expect(Buffer.byteLength(heard[0]?.body ?? '')).toBeLessThanOrEqual(4000)
    expect(heard[1]?.headers.priority).toBe('2')
  })
})

describe('a command', () => {
  const script = (text: string) => {
    const path = join(folder, 'told.sh')
    writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o700 })
    return path
  }
  const out = () => join(folder, 'out')

  it('gets its words as they are, the letter on its input, and nothing of the environment [alert-22]', async () => {
    const run = [script(`{ echo "$#:$1"; env; cat; } > ${out()}`), '$(touch /tmp/never); `id` "']
    expect(await createCommand(settings({ kind: 'command', run }), { clock })(message(), never)).toBe('exit code 0')
    const said = readFileSync(out(), 'utf8')
    expect(said.split('\n')[0]).toBe('1:$(touch /tmp/never); `id` "')
    expect(said).toContain('HUB_ALERT_SEVERITY=warning')
    expect(said).toContain('reader failed five times.')
    expect(said).not.toContain('HOME=')
  })

  it('that fails says how, and one that does not read its input has still done its work', async () => {
    const failing = settings({ kind: 'command', run: [script('exit 3')] })
    await expect(createCommand(failing, { clock })(message(), never)).rejects.toThrow('exit code 3')
    const deaf = settings({ kind: 'command', run: ['/bin/true'] })
    expect(await createCommand(deaf, { clock })(message({ text: 'x'.repeat(200_000) }), never)).toBe('exit code 0')
    const absent = settings({ kind: 'command', run: ['/nowhere/at-all'] })
    await expect(createCommand(absent, { clock })(message(), never)).rejects.toThrow(/ENOENT/)
  })

  it('fault C24: what it writes to its standard error is kept, bounded and in one line, of one that works too', async () => {
    const send = (text: string) =>
      createCommand(settings({ kind: 'command', run: [script(text)] }), { clock })(message(), never)
    await expect(send('printf "no\\033[31m such\\nuser" >&2; exit 3')).rejects.toThrow(
      'exit code 3, it said: no [31m such user',
    )
    const long = await send('head -c 3000000 /dev/zero | tr "\\0" x >&2')
    expect(long).toBe(`exit code 0, it said: ${'x'.repeat(300)}`)
    // What it has started may hold the pipe: its own end is what counts.
    expect(await send('sleep 300 & echo begun >&2')).toBe('exit code 0, it said: begun')
  })

  it('fault C24: under a unit without new privileges it is said why it fails', async () => {
    const run = [script('grep NoNewPrivs /proc/self/status >&2; exit 4')]
    // Unless the tests themselves run so.
    if (/^NoNewPrivs:\s*0$/m.test(readFileSync('/proc/self/status', 'utf8')))
      await expect(createCommand(settings({ kind: 'command', run }), { clock })(message(), never)).rejects.not.toThrow(
        /NoNewPrivileges/,
      )
    const of = (file: string) => JSON.stringify(new URL(`../../../../hub/${file}`, import.meta.url).href)
    const source = `import { createCommand } from ${of('guard/alerts/channels/command.ts')}
      import { createSystemClock } from ${of('base/clock.ts')}
      await createCommand({ kind: 'command', name: 'x', run: ${JSON.stringify(run)} }, { clock: createSystemClock() })({ body: '' }, new AbortController().signal).catch((e) => console.log(e.message))`
    const said = execFileSync('setpriv', ['--no-new-privs', process.execPath, '--input-type=module', '-e', source])
    expect(said.toString()).toMatch(
      /^exit code 4, it said: NoNewPrivs: 1; this process cannot gain privileges \(NoNewPrivileges of its unit\)/,
    )
  })

  it('that does not end is ended at its deadline, with all that it started [alert-22]', async () => {
    const ending = new AbortController()
    const run = [script(`sleep 300 & echo $! > ${out()}; sleep 300`)]
    const sending = createCommand(settings({ kind: 'command', run }), { clock })(message(), ending.signal)
    sending.catch(() => undefined)
    let child = ''
    while (child === '') {
      await new Promise((resolve) => setTimeout(resolve, 20))
      child = readdirSync(folder).includes('out') ? readFileSync(out(), 'utf8').trim() : ''
    }
    ending.abort()
    await expect(sending).rejects.toThrow(/took too long/)
    const isGone = () => {
      try {
        return readFileSync(`/proc/${child}/stat`, 'utf8').includes(') Z ')
      } catch {
        return true
      }
    }
    while (!isGone()) await new Promise((resolve) => setTimeout(resolve, 20))
  })
})

describe('a file', () => {
  const lines = (name: string) =>
    readFileSync(join(folder, 'logs', name), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))

  it('gets a line of JSON for each event, and is put aside at its size, three at most [alert-23]', async () => {
    const send = createFile(settings({ kind: 'file', sizeMax: '2KiB' }), folder)
    for (let n = 0; n < 40; n += 1) await send(message({ text: `number ${n}` }), never)
    expect(readdirSync(join(folder, 'logs')).sort()).toEqual([
      'alerts.log',
      'alerts.log.1',
      'alerts.log.2',
      'alerts.log.3',
    ])
    expect(lines('alerts.log').at(-1)).toMatchObject({
      text: 'number 39',
      cause: alert.cause,
      severity: 'warning',
      when: 'Sat 21 Nov 2026, 14:00 CET',
    })
    for (const name of readdirSync(join(folder, 'logs')))
      expect(readFileSync(join(folder, 'logs', name)).length).toBeLessThanOrEqual(2048)
  })

  it('that is a link or no file is not written to', async () => {
    mkdirSync(join(folder, 'logs'))
    writeFileSync(join(folder, 'target'), '')
    symlinkSync(join(folder, 'target'), join(folder, 'logs', 'alerts.log'))
    await expect(createFile(settings({ kind: 'file' }), folder)(message(), never)).rejects.toThrow(/ELOOP/)
    await expect(createFile(settings({ kind: 'file', path: folder }), folder)(message(), never)).rejects.toThrow()
    expect(readFileSync(join(folder, 'target'), 'utf8')).toBe('')
  })
})
