import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { loadConfig, parseConfig } from '../../watchdog/config.ts'
import { pathsOf, readInstance, readKey } from '../../watchdog/home.ts'
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

test('without a file the spans are those of safety.md', () => {
  expect(loadConfig(home().config)).toMatchObject({
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

test('the whole way takes fifty hours, and the README says each of its hours', () => {
  const { missedMs, missedGraceMs, unattendedMs, remindFirstMs, remindLastMs, ...spans } = loadConfig(home().config)
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

test('due times, zones and quiet hours of the two people are read as written', () => {
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
  [{ intervalMs: 1000, leaseTimeoutMs: 3000 }, /leaseTimeoutMs must be below 3 times intervalMs \(3000\)/],
  [{ leaseTimeoutMs: 30_000, intervalMs: 10_000 }, /leaseTimeoutMs must be below 3 times intervalMs \(30000\)/],
  [{ intervalMs: 0 }, /intervalMs must be a whole number/],
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
  [{ away: { workMaxMs: 72 * HOUR + 1 } }, /workMaxMs must be a whole number/],
  [{ away: { days: 1 } }, /away.days is not a known key/],
  [{ channels: [] }, /channels must list/],
  [{ channels: [{ kind: 'pigeon' }] }, /kind must be one of file, email, webhook, push, command/],
  [{ channels: [{ kind: 'email', host: 'h', from: 'a@b', to: 'c@d', password: 'x' }] }, /password is not a known key/],
  [{ channels: [{ kind: 'email', host: 'h', from: 'a@b', to: 'c@d\nBcc: e@f' }] }, /to must be a text/],
  [{ channels: [{ kind: 'webhook', url: 'http://h.example/x', secretEnv: 'S' }] }, /url must be https/],
  [{ channels: [{ kind: 'webhook', url: 'https://u:p@h.example/x', secretEnv: 'S' }] }, /must not hold a user/],
  [{ channels: [{ kind: 'webhook', url: 'https://10.0.0.1/x', secretEnv: 'S' }] }, /"local": true allows it/],
  [{ channels: [{ kind: 'webhook', url: 'https://h.example/x' }] }, /secretEnv must be the name/],
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
])('T96: %j is refused by name', (value, message) => {
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

  test('a file that is not JSON and an instance that is no UUID are refused with what to do', () => {
    const paths = home()
    writeFileSync(paths.config, '{')
    expect(() => loadConfig(paths.config)).toThrow(/not JSON; correct it/)
    writeFileSync(paths.instance, 'me')
    expect(() => readInstance(paths.instance)).toThrow(/UUID/)
    expect(() => readInstance(path.join(paths.own, 'none'))).toThrow(/hub init/)
  })
})
