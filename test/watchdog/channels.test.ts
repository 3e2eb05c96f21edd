/** S1-34: each channel against a real receiver: taken, refused, redirected, hanging, flooding; and that no secret and no header leaks. */
import { execFileSync } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { createSystemClock } from '../../watchdog/base/clock.ts'
import { channelOf, type PersonChannel } from '../../watchdog/config/channels.ts'
import { fromOldChannel } from '../../watchdog/config/earlier-form.ts'
import { createSecretOf } from '../../watchdog/config/secrets.ts'
import type { Letter } from '../../watchdog/tell/channels/letter.ts'
import { createOpenPost } from '../../watchdog/tell/channels/open.ts'
import { createOutward } from '../../watchdog/tell/channels/outward.ts'
import { httpSink, mailSink, makeLetter, silentSink } from '../support/alert-sinks.ts'
import { createHandDeadlines } from '../support/hand-deadlines.ts'
import { OTHER_CERTIFICATE, RELAY_CERTIFICATE, RELAY_KEY } from '../support/relay-certificate.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})
const kept = <T extends { close(): void }>(sink: T): T => {
  closers.push(() => sink.close())
  return sink
}
const clock = createSystemClock()
/** Deadlines that pass at once, for what must be cut off. */
const hasty = { ...clock, after: (_ms: number, fn: () => void) => clock.after(300, fn) }

/** One that has ended and that nobody has waited for yet counts as gone. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\t[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

function deliver(row: object, letter: Letter, env: Record<string, string> = {}, time = clock): Promise<void> {
  const outward = createOutward({ clock: time, resolve: async () => [] })
  const secretOf = createSecretOf('/none', env)
  const channel = channelOf(fromOldChannel(row), 0) as PersonChannel
  return createOpenPost({ clock: time, outward, env, secretOf })(channel).deliver(letter)
}

test('the webhook carries the shape of Alertmanager 4 and a signature over time and body [alert-19]', async () => {
  const sink = kept(await httpSink())
  const row = { kind: 'webhook', url: `${sink.url}/in`, local: true, secretEnv: 'HOOK_SECRET' }
  await deliver(row, makeLetter({ id: 'a1\r\nevil: 1' }), { HOOK_SECRET: 'between us' })
  const [got] = sink.received
  const [id, seconds] = [got?.headers['webhook-id'], got?.headers['webhook-timestamp']]
  const mac = (key: string | Buffer) =>
    `v1,${createHmac('sha256', key).update(`${id}.${seconds}.${got?.body}`).digest('base64')}`
  expect(got?.headers['webhook-signature']).toBe(mac('between us'))
  expect(Math.abs(Number(seconds) * 1000 - clock.read().wallMs)).toBeLessThan(10_000)
  expect(got?.headers).toMatchObject({ 'content-type': 'application/json', 'webhook-id': 'a1 evil: 1' })
  expect(got?.headers.evil).toBeUndefined()
  expect(JSON.parse(got?.body ?? '')).toMatchObject({
    version: '4',
    status: 'firing',
    truncatedAlerts: 0,
    alerts: [
      {
        status: 'firing',
        labels: { alertname: 'hub_health', severity: 'warning' },
        annotations: { description: 'The hub does not answer.' },
        startsAt: '2026-01-05T09:00:00.000Z',
        endsAt: '0001-01-01T00:00:00Z',
        fingerprint: 'hub_health-3',
      },
    ],
  })
  await expect(deliver(row, makeLetter())).rejects.toThrow(/HOOK_SECRET is not set/)
})

test('T37, T98: what answers 500, redirects, hangs, floods or cuts the line has not taken the message, and the flood is not read', async () => {
  const sink = kept(await httpSink())
  const elsewhere = kept(await httpSink())
  const row = { kind: 'push', url: `${sink.url}/topic`, local: true }
  sink.status = 500
  await expect(deliver(row, makeLetter())).rejects.toThrow(/answered 500/)
  sink.answer = (response) => response.writeHead(307, { location: `${elsewhere.url}/topic` }).end()
  await expect(deliver(row, makeLetter())).rejects.toThrow(/307; redirects are not followed/)
  expect(elsewhere.received).toEqual([])
  sink.answer = () => {}
  await expect(deliver(row, makeLetter(), {}, hasty)).rejects.toThrow(/did not answer within/)
  sink.answer = (response) => void response.socket?.destroy()
  await expect(deliver(row, makeLetter())).rejects.toThrow()
  let sent = 0
  let cut = false
  sink.answer = (response) => {
    response.on('close', () => {
      cut = true
    })
    const more = () => {
      while (!cut && response.write(Buffer.alloc(65_536))) sent += 65_536
      if (!cut) response.once('drain', more)
    }
    more()
  }
  await deliver(row, makeLetter())
  await expect.poll(() => cut, { message: 'the line is cut once the status is known' }).toBe(true)
  expect(sent).toBeLessThan(64 * 1024 * 1024)
  const silent = kept(await silentSink())
  await expect(deliver({ ...row, url: `http://127.0.0.1:${silent.port}/t` }, makeLetter(), {}, hasty)).rejects.toThrow(
    /did not answer within/,
  )
})

test('T98: a resolver that hangs is cut off by the same deadline, and what it says later starts nothing', async () => {
  const sink = kept(await httpSink())
  let answer = (_addresses: string[]) => {}
  const outward = createOutward({
    clock: hasty,
    resolve: () =>
      new Promise((resolve) => {
        answer = resolve
      }),
  })
  const url = sink.url.replace('127.0.0.1', 'slow.example')
  const call = { url, local: true, method: 'POST' as const, headers: {}, body: '', deadlineMs: 5000 }
  await expect(outward(call)).rejects.toThrow(/did not answer within/)
  answer(['127.0.0.1'])
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(sink.received).toEqual([])
})

test('a push has title, priority and tags as ntfy reads them; a subject cannot add a header, and the token comes from its variable [alert-21, alert-27]', async () => {
  const sink = kept(await httpSink())
  const row = { kind: 'push', url: `${sink.url}/topic`, local: true, tokenEnv: 'PUSH_TOKEN' }
  await deliver(row, makeLetter({ subject: 'stop\r\nX-Evil: 1\u2028now', severity: 'critical' }), { PUSH_TOKEN: 'tk' })
  await deliver(row, makeLetter({ subject: 'Gerät steht' }), { PUSH_TOKEN: 'tk' })
  expect(sink.received[0]).toMatchObject({
    url: '/topic',
    body: 'The hub does not answer.',
    headers: { title: 'stop X-Evil: 1 now', priority: '5', tags: 'rotating_light', authorization: 'Bearer tk' },
  })
  expect(sink.received[0]?.headers['x-evil']).toBeUndefined()
  const coded = String(sink.received[1]?.headers.title)
  expect(Buffer.from(coded.replace(/^=\?UTF-8\?B\?|\?=$/g, ''), 'base64').toString()).toBe('Gerät steht')
})

test('a command gets its words without a shell, the text on standard input, named variables only, and is killed with its children [alert-22]', async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'wd-cmd-'))
  closers.push(() => rmSync(folder, { recursive: true, force: true }))
  const program = (name: string, body: string) => {
    const file = path.join(folder, name)
    writeFileSync(file, `#!/bin/sh\n${body}\n`)
    chmodSync(file, 0o755)
    return file
  }
  const out = path.join(folder, 'out')
  const take = program('take', `{ printf '%s|' "$@"; cat; echo; env; } > ${out}`)
  const env = { PATH: process.env.PATH ?? '', MAIL_PASSWORD: 'secret', PHONE: '123' }
  const argv = [take, '$(touch /tmp/x); `id`', '--to=a b']
  await deliver({ kind: 'command', argv, passEnv: ['PHONE'] }, makeLetter({ subject: 'a\nb' }), env)
  const said = readFileSync(out, 'utf8')
  expect(said).toContain('$(touch /tmp/x); `id`|--to=a b|The hub does not answer.')
  expect(said).toMatch(/^PHONE=123$/m)
  expect(said).toMatch(/^HUB_ALERT_SUBJECT=a b$/m)
  expect(said).not.toContain('secret')

  const fails = program('fails', 'echo no line >&2; exit 3')
  await expect(deliver({ kind: 'command', argv: [fails] }, makeLetter(), env)).rejects.toThrow(/ended with 3: no line/)
  await expect(deliver({ kind: 'command', argv: ['/none/here'] }, makeLetter(), env)).rejects.toThrow(/not be started/)
  const mark = path.join(folder, 'child')
  const hangs = program('hangs', `sleep 600 & echo $! > ${mark}; wait`)
  const deadlines = createHandDeadlines()
  const cut = deliver({ kind: 'command', argv: [hangs] }, makeLetter(), env, deadlines.clock)
  cut.catch(() => undefined)
  await expect.poll(() => existsSync(mark) && readFileSync(mark, 'utf8')).toMatch(/^\d+\n$/)
  const child = Number(readFileSync(mark, 'utf8'))
  expect(isAlive(child)).toBe(true)
  deadlines.pass()
  await expect(cut).rejects.toThrow(/was killed/)
  await expect.poll(() => isAlive(child), { message: 'its child died with it' }).toBe(false)
})

test('fault C24: under a unit without new privileges it is said why a command fails', async () => {
  const argv = ['/bin/sh', '-c', 'grep NoNewPrivs /proc/self/status >&2; exit 4']
  const of = (file: string) => JSON.stringify(new URL(`../../watchdog/${file}`, import.meta.url).href)
  const source = `import { createCommand } from ${of('tell/channels/command.ts')}
    import { createSystemClock } from ${of('base/clock.ts')}
    const channel = { kind: 'command', name: '', run: ${JSON.stringify(argv)}, timeoutMs: 60_000, passEnv: [], loud: false }
    await createCommand(channel, { clock: createSystemClock(), env: {} }).deliver(${JSON.stringify(makeLetter())}).catch((e) => console.log(e.message))`
  const said = execFileSync('setpriv', ['--no-new-privs', process.execPath, '--input-type=module', '-e', source])
  expect(said.toString()).toMatch(
    /^it ended with 4: NoNewPrivs: 1; this process cannot gain privileges \(NoNewPrivileges of its unit\)/,
  )
  await expect(deliver({ kind: 'command', argv }, makeLetter())).rejects.toThrow(
    /^it ended with 4: NoNewPrivs: (0 ?$|1 ?; this process)/,
  )
})

const mail = (port: number, over: object = {}) => ({
  kind: 'email',
  host: '127.0.0.1',
  port,
  from: 'hub@example.org',
  to: 'o@example.org',
  ...over,
})

test('of whom the server refuses is told, and tried again for him alone (fault C33)', async () => {
  const refuses = ['b@example.org']
  const office = kept(await mailSink(undefined, refuses))
  const outward = createOutward({ clock, resolve: async () => [] })
  const row = channelOf(mail(office.port, { to: ['a@example.org', 'b@example.org'] }), 0) as PersonChannel
  const post = createOpenPost({ clock, outward, env: {}, secretOf: () => '' })(row)
  await expect(post.deliver(makeLetter())).rejects.toThrow('the server refused b@example.org; the others have it')
  await expect(post.deliver(makeLetter())).rejects.toThrow('no such mailbox')
  refuses.length = 0
  await post.deliver(makeLetter())
  expect(office.recipients).toEqual(['a@example.org', 'b@example.org'])
  expect(office.letters).toHaveLength(2)
})

test('a letter arrives through a real SMTP conversation, and its subject cannot add a header or a recipient [alert-18, alert-27]', async () => {
  const office = kept(await mailSink())
  await deliver(
    mail(office.port),
    makeLetter({ subject: 'one\r\nBcc: evil@example.org', text: 'Safe mode since Mon.' }),
  )
  expect(office.recipients).toEqual(['o@example.org'])
  expect(office.letters[0]).toContain('Subject: one Bcc: evil@example.org')
  expect(office.letters[0]).not.toMatch(/^Bcc:/m)
  expect(office.letters[0]).toContain('Safe mode since Mon.')
  expect(office.letters[0]).toMatch(/^Message-ID: <a1@/m)
})

test('fault C32: a relay on this machine with a certificate signed by itself takes letters by caFile or plain, and by neither says so', async () => {
  const office = kept(await mailSink(undefined, [], { key: RELAY_KEY, cert: RELAY_CERTIFICATE }))
  const folder = mkdtempSync(path.join(os.tmpdir(), 'ca-'))
  closers.push(() => rmSync(folder, { recursive: true }))
  const pem = (name: string, text: string) => {
    writeFileSync(path.join(folder, name), text)
    return path.join(folder, name)
  }
  await deliver(mail(office.port, { caFile: pem('relay', RELAY_CERTIFICATE) }), makeLetter())
  await deliver(mail(office.port, { plain: true }), makeLetter())
  expect([office.letters.length, office.secured]).toEqual([2, [true, false]])
  await expect(deliver(mail(office.port), makeLetter())).rejects.toThrow(/self-signed.*caFile.*, or set plain: true/)
  const other = pem('other', OTHER_CERTIFICATE)
  await expect(deliver(mail(office.port, { caFile: other }), makeLetter())).rejects.toThrow(`${other} does not hold`)
  await expect(deliver(mail(office.port, { caFile: '/none' }), makeLetter())).rejects.toThrow('/none cannot be read')
  expect(office.letters).toHaveLength(2)
  for (const over of [{ plain: true, host: '127.0.0.2' }, { plain: true, secure: true }, { caFile: 'x.pem' }])
    expect(() => channelOf(mail(25, over), 0)).toThrow(/plain|caFile/)
})

test('user and password come from the named variables; a wrong or missing one rejects', async () => {
  const office = kept(await mailSink('me'))
  const secured = mail(office.port, { userEnv: 'MAIL_USER', passwordEnv: 'MAIL_PASSWORD' })
  await deliver(secured, makeLetter(), { MAIL_USER: 'me', MAIL_PASSWORD: 'secret' })
  expect(office.letters).toHaveLength(1)
  await expect(deliver(secured, makeLetter(), { MAIL_USER: 'me', MAIL_PASSWORD: 'no' })).rejects.toThrow()
  await expect(deliver(secured, makeLetter())).rejects.toThrow(/MAIL_USER is not set/)
  expect(office.letters).toHaveLength(1)
})

test('T38: beyond this machine no letter and no password goes in the clear, whatever the other side offers', async () => {
  const office = kept(await mailSink('me'))
  const row = mail(office.port, { host: '127.1', userEnv: 'MAIL_USER', passwordEnv: 'MAIL_PASSWORD' })
  await expect(deliver(row, makeLetter(), { MAIL_USER: 'me', MAIL_PASSWORD: 'secret' })).rejects.toThrow(/TLS/)
  expect(office.letters).toEqual([])
})

test('T98: a post office that is not there rejects, and one that hangs is cut off', async () => {
  await expect(deliver(mail(1), makeLetter())).rejects.toThrow(/ECONNREFUSED/)
  const silent = kept(await silentSink())
  await expect(deliver(mail(silent.port), makeLetter(), {}, hasty)).rejects.toThrow()
})
