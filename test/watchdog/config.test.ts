import { chmodSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { judgeConfig as judgeHubConfig } from '../../hub/config.ts'
import { pathsOf, readInstance, readKey } from '../../watchdog/base/home.ts'
import { parseConfig } from '../../watchdog/config/config.ts'
import { judgeText, loadConfig } from '../../watchdog/config/file.ts'
import { createSecretOf } from '../../watchdog/config/secrets.ts'
import { HOUR, KEY, makeHome } from '../support/watchdog-home.ts'

const homes: { remove(): void }[] = []
afterEach(() => {
  for (const home of homes.splice(0)) home.remove()
})
const home = (config?: object) => {
  const made = makeHome(config)
  homes.push(made)
  return pathsOf(made.home)
}

test('without a file the spans are those of docs/safety.md [watch-29]', async () => {
  expect((await loadConfig(home().own)).config).toMatchObject({
    port: 7301,
    intervalMs: 30_000,
    missesMax: 3,
    leaseTimeoutMs: 5_000,
    orphanAgeMs: 60_000,
    ttlGraceMs: 15_000,
    throughputWindowMs: 6 * HOUR,
    remindFirstMs: 18 * HOUR,
    remindLastMs: 22 * HOUR,
    missedMs: 24 * HOUR,
    missedGraceMs: 2 * HOUR,
    safeRemindFirstMs: 12 * HOUR,
    safeRemindLastMs: 22 * HOUR,
    unattendedMs: 24 * HOUR,
    wakeGraceMs: 2 * HOUR,
    weakMaxMs: 168 * HOUR,
    restartSilenceMs: 300_000,
    channels: [{ kind: 'file' }],
    due: { kind: 'rolling' },
    operator: { zone: '', quiet: null },
    contact: { zone: '', quiet: null },
    awayWorkMaxMs: 0,
  })
})

test.each([
  [30_000, 5000],
  [3000, 5000],
  [1000, 2000],
  [50, 1000],
])(
  'fault A11: with rounds every %i ms a lease that is not answered is given up after %i ms',
  (intervalMs, leaseTimeoutMs) => expect(parseConfig({ intervalMs })).toMatchObject({ leaseTimeoutMs }),
)

test('the whole way takes fifty hours, and the README says each of its hours [time-12]', () => {
  const { missedMs, missedGraceMs, unattendedMs, remindFirstMs, remindLastMs, ...spans } = parseConfig({})
  const safeMs = missedMs + missedGraceMs
  const hours = (...ms: number[]) => ms.map((one) => `${one / HOUR} h`).join(', ')
  const table = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
  for (const [when, what] of [
    [hours(remindFirstMs, remindLastMs), 'a reminder to you'],
    [hours(missedMs), '"missed"'],
    [hours(safeMs), '**safe mode**'],
    [hours(safeMs + spans.safeRemindFirstMs, safeMs + spans.safeRemindLastMs), 'a reminder to both'],
    [hours(safeMs + unattendedMs), '**unattended stop**'],
  ])
    expect(table).toContain(`| ${when} | ${what}`)
  expect(safeMs + unattendedMs).toBe(50 * HOUR)
})

test('due times, zones and quiet hours of the two people are read as written [time-1, time-14]', () => {
  const people = parseConfig({
    zone: 'Europe/Berlin',
    heartbeat: { due: 'daily at 20:00, 08:30' },
    operator: { quiet: '22:30-07:00' },
    contact: { zone: 'America/New_York', quiet: '13:00-15:00' },
    away: { workMaxMs: 72 * HOUR },
  })
  expect(people).toMatchObject({
    due: { kind: 'daily', minutes: [510, 1200] },
    operator: { zone: 'Europe/Berlin', quiet: { fromMinute: 1350, toMinute: 420 } },
    contact: { zone: 'America/New_York', quiet: { fromMinute: 780, toMinute: 900 } },
    awayWorkMaxMs: 72 * HOUR,
  })
})

test.each([
  [{ intervall: 1 }, /intervall is not a known key/],
  // Fault A11: pairs that cannot work together.
  [{ intervalMs: 1000, leaseTimeoutMs: 3000 }, /leaseTimeoutMs must be below 3 times interval \(3s\)/],
  [{ leaseTimeoutMs: 30_000, intervalMs: 10_000 }, /leaseTimeoutMs must be below 3 times interval \(30s\)/],
  [{ intervalMs: 0 }, /intervalMs must be from 50ms to 1m, and is 0ms/],
  [{ intervalMs: 60_001 }, /intervalMs must be/],
  [{ missedMs: 10 * 365 * 24 * HOUR }, /missedMs must be/],
  [{ unattendedMs: Number.POSITIVE_INFINITY }, /unattendedMs must be/],
  [{ remindFirstMs: 23 * HOUR }, /must rise/],
  [{ unattendedFrom: 'never' }, /unattendedFrom must be/],
  [{ zone: 'Nowhere/Town' }, /zone must be an IANA/],
  [{ heartbeat: { due: 'daily' } }, /heartbeat.due must be rolling, or daily at HH:MM/],
  [{ heartbeat: { due: 'daily at 24:00' } }, /heartbeat.due must be/],
  [{ heartbeat: { due: 'daily at 9:00' } }, /heartbeat.due must be/],
  [{ heartbeat: { due: 'daily at 01:00,02:00,03:00,04:00,05:00,06:00,07:00' } }, /up to 6 times/],
  [{ heartbeat: { dew: 'rolling' } }, /heartbeat.dew is not a known key/],
  [{ operator: { zone: 'Mars' } }, /operator.zone must be an IANA/],
  [{ operator: { quiet: '22:00' } }, /operator.quiet must be two local times/],
  [{ contact: { quiet: '22:00-22:00' } }, /contact.quiet must be/],
  [{ contact: { quiet: '19:00-07:01' } }, /contact.quiet must be .* at most 12 h apart/],
  [{ contact: { quiet: '19:00-07:00-08:00' } }, /contact.quiet must be/],
  [{ away: { workMaxMs: 72 * HOUR + 1 } }, /away.workMaxMs must be from 0ms to 72h/],
  [{ away: { days: 1 } }, /away.days is not a known key/],
  [{ channels: [] }, /channels must list/],
  [{ channels: [{ kind: 'pigeon' }] }, /kind must be one of file, email, webhook, push, command/],
  [{ channels: [{ kind: 'email', host: 'h', from: 'a@b', to: 'c@d', password: 'x' }] }, /password is not a known key/],
  [
    { channels: [{ kind: 'email', host: 'h', from: 'a@b', to: 'c@d\nBcc: e@f' }] },
    /channels\[0\].to must be one plain address/,
  ],
  [{ channels: [{ kind: 'webhook', url: 'http://h.example/x', secretEnv: 'S' }] }, /url must be https/],
  [{ channels: [{ kind: 'webhook', url: 'https://u:p@h.example/x', secretEnv: 'S' }] }, /must not contain a user/],
  [{ channels: [{ kind: 'webhook', url: 'https://10.0.0.1/x', secretEnv: 'S' }] }, /list it under local/],
  [{ channels: [{ kind: 'webhook', url: 'https://h.example/x', secretEnv: 'tok en' }] }, /secretEnv must be the name/],
  [{ channels: [{ kind: 'push', url: 'https://h.example/x', token: 'x' }] }, /token is not a known key/],
  [{ channels: [{ kind: 'command', argv: 'mail me' }] }, /argv must list/],
  [{ channels: [{ kind: 'command', argv: ['mail', 'me'] }] }, /absolute path/],
  [{ channels: [{ kind: 'command', argv: ['/bin/mail'], timeoutMs: 1e9 }] }, /timeoutMs must be/],
  [{ contact: { name: 'C' } }, /contact.channels must list 1 to 8/],
  [{ contact: { channels: [{ kind: 'push', url: 'https://h.example/x' }] } }, /together with contact.name/],
  [{ contact: { name: 'C', channels: [{ kind: 'file' }] } }, /must reach a person/],
  [{ contact: { name: 'C', channels: [{ kind: 'pigeon' }] } }, /contact.channels\[0\].kind must be one of/],
  [{ contact: { name: 'C', channels: [{ kind: 'push', url: 'https://h.example/x' }], language: 'fr' } }, /en or de/],
  [{ outside: { url: 'https://169.254.169.254/x', local: true } }, /never reached/],
])('T96: %j is refused by name [time-1, away-12]', (value, message) => {
  expect(() => parseConfig(JSON.parse(JSON.stringify(value)))).toThrow(message)
})

describe('the files of hub init', () => {
  test('a key that others could read stops the start (T92)', () => {
    const paths = home()
    expect(readKey(paths.key)).toEqual(KEY)
    chmodSync(paths.key, 0o640)
    expect(() => readKey(paths.key)).toThrow(/mode 640/)
    chmodSync(paths.key, 0o600)
    writeFileSync(paths.key, 'short\n')
    expect(() => readKey(paths.key)).toThrow(/64 hex/)
  })

  test('a file that is none and an instance that is no UUID are refused with what to do', async () => {
    const paths = home()
    writeFileSync(path.join(paths.own, 'config.json'), '{')
    await expect(loadConfig(paths.own)).rejects.toThrow(/^watchdog\/config.json line 1, column 2: .*; correct it/)
    writeFileSync(paths.instance, 'me')
    expect(() => readInstance(paths.instance)).toThrow(/UUID/)
    expect(() => readInstance(path.join(paths.own, 'none'))).toThrow(/hub init/)
  })
})

describe('fault C6: the dialect of hub.yaml', () => {
  const CHANNELS = `
  channels:
    - kind: email
      host: mail.example.org
      from: hub@example.org
      to: [me@example.org, you@example.org]
      user: hub
      passwordFrom: mail-password
    - { name: chat, kind: webhook, urlFrom: chat-url, hosts: chat.example.org:443, secretFrom: chat-secret }
    - { kind: push, url: "http://127.0.0.1:2586/hub", local: "127.0.0.1:2586", tokenFrom: push-token }
    - { kind: command, run: [/usr/bin/true] }
  zone: Europe/Berlin
  quiet: { from: "22:30", to: "07:00" }
`

  test('the same lines of alerts are read by the hub and by the watchdog', async () => {
    const { config, faults } = await judgeText(`alerts:${CHANNELS}`)
    expect(faults).toEqual([])
    expect(config).toMatchObject({
      channels: [
        { kind: 'email', to: ['me@example.org', 'you@example.org'], user: 'hub', password: { file: 'mail-password' } },
        { name: 'chat', urlSecret: { file: 'chat-url' }, hosts: ['chat.example.org:443'] },
        { kind: 'push', url: 'http://127.0.0.1:2586/hub', local: ['127.0.0.1:2586'], token: { file: 'push-token' } },
        { kind: 'command', run: ['/usr/bin/true'] },
      ],
      zone: 'Europe/Berlin',
      operator: { zone: 'Europe/Berlin', quiet: { fromMinute: 1350, toMinute: 420 } },
    })
    expect(judgeHubConfig(`alerts:${CHANNELS}`).faults).toEqual([])
  })

  test('whatever the earlier form says means the same in the words of today', async () => {
    const old = {
      zone: 'Europe/Berlin',
      port: 7311,
      engineSocket: '/run/e.sock',
      engineTimeoutMs: 2000,
      intervalMs: 10_000,
      operator: { name: 'O', quiet: '22:00-07:00' },
      contact: {
        name: 'C',
        quiet: '23:00-06:00',
        channels: [{ kind: 'push', url: 'http://127.0.0.1/x', local: true }],
      },
      away: { workMaxMs: HOUR },
      outside: { url: 'http://127.0.0.1:81/x', local: true },
      channels: [{ kind: 'email', host: 'h', from: 'Hub <hub@example.org>', to: 'a@example.org, B <b@example.org>' }],
    }
    const now = `
interval: 10s
http: { port: 7311 }
engine: { socket: /run/e.sock, callTimeout: 2s }
operator: { name: O }
contact:
  name: C
  quiet: { from: "23:00", to: "06:00" }
  channels: [{ kind: push, url: "http://127.0.0.1/x", local: "127.0.0.1:80" }]
away: { workMax: 1h }
outside: { url: "http://127.0.0.1:81/x", local: "127.0.0.1:81" }
alerts:
  zone: Europe/Berlin
  quiet: { from: "22:00", to: "07:00" }
  channels: [{ kind: email, host: h, from: hub@example.org, to: [a@example.org, b@example.org] }]
`
    const { config, faults } = await judgeText(now)
    expect(faults).toEqual([])
    expect(config).toEqual(parseConfig(old))
  })

  test('every fault of a file is said with line, column and key, and a key of before with what it is called now', async () => {
    const { faults } = await judgeText('intervalMs: 30000\nhttp:\n  port: yes\nheartbeat:\n  due: never\n')
    expect(faults.map(({ line, column, key }) => [line, column, key])).toEqual([
      [1, 1, 'intervalMs'],
      [2 + 1, 3, 'http.port'],
      [5, 3, 'heartbeat.due'],
    ])
    expect(faults[0]?.message).toBe('is called interval here, with a unit, such as interval: 30s')
    expect((await judgeText('a: 1\na: 2\n')).faults[0]).toMatchObject({ line: 2, column: 1 })
  })

  test('a bare number, a secret in the open and a variable are no part of it', async () => {
    const message = async (text: string) => (await judgeText(text)).faults.map((each) => `${each.key} ${each.message}`)
    expect(await message('interval: 30\n')).toEqual([expect.stringMatching(/^interval .* with a unit/)])
    const channel = (more: string) => `alerts: { channels: [{ kind: push, url: "https://h.example/x", ${more} }] }\n`
    expect(await message(channel('token: x'))).toEqual([expect.stringMatching(/token is not a known key/)])
    expect(await message(channel('tokenFrom: { env: X }'))).toEqual([
      expect.stringMatching(/must be the name of a secret/),
    ])
  })

  test('the new file counts before the earlier one, and each is named', async () => {
    const paths = home({ port: 1 })
    expect(await loadConfig(paths.own)).toMatchObject({ config: { port: 1 }, note: expect.stringMatching(/hub setup/) })
    writeFileSync(path.join(paths.own, 'config.yaml'), 'http: { port: 2 }\n')
    expect(await loadConfig(paths.own)).toMatchObject({ config: { port: 2 }, note: expect.stringMatching(/remove it/) })
  })
})

describe('secrets of channels', () => {
  const place = () => {
    const folder = path.join(home().own, '..', 'secrets')
    mkdirSync(folder, { mode: 0o700 })
    writeFileSync(path.join(folder, 'pw'), 'geheim\n', { mode: 0o600 })
    return folder
  }

  test('fault C6: they are files of the home, and nothing of them is needed in the environment', () => {
    expect(createSecretOf(place(), {})({ file: 'pw' })).toBe('geheim')
  })

  test.each([
    ['is missing', (folder: string) => rmSync(path.join(folder, 'pw'))],
    ['others may read it; run: chmod 600', (folder: string) => chmodSync(path.join(folder, 'pw'), 0o640)],
    ['is not private; run: chmod 700', (folder: string) => chmodSync(folder, 0o750)],
    ['is empty', (folder: string) => writeFileSync(path.join(folder, 'pw'), '\n')],
    [
      'cannot be opened (ELOOP)',
      (folder: string) => {
        rmSync(path.join(folder, 'pw'))
        symlinkSync('/etc/hostname', path.join(folder, 'pw'))
      },
    ],
  ])('one that %s is refused (T35)', (said, spoil) => {
    const folder = place()
    spoil(folder)
    expect(() => createSecretOf(folder, {})({ file: 'pw' })).toThrow(said)
  })
})
