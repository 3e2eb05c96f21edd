import { chmodSync, writeFileSync } from 'node:fs'
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
  })
})

test.each([
  [{ intervall: 1 }, /intervall is not a known key/],
  [{ intervalMs: 0 }, /intervalMs must be a whole number/],
  [{ intervalMs: 60_001 }, /intervalMs must be/],
  [{ missedMs: 10 * 365 * 24 * HOUR }, /missedMs must be/],
  [{ unattendedMs: Number.POSITIVE_INFINITY }, /unattendedMs must be/],
  [{ remindFirstMs: 23 * HOUR }, /must rise/],
  [{ unattendedFrom: 'never' }, /unattendedFrom must be/],
  [{ zone: 'Nowhere/Town' }, /zone must be an IANA/],
  [{ channels: [] }, /channels must list/],
  [{ channels: [{ kind: 'pigeon' }] }, /kind must be file or email/],
  [{ channels: [{ kind: 'email', host: 'h', from: 'a@b', to: 'c@d', password: 'x' }] }, /password is not a known key/],
  [{ channels: [{ kind: 'email', host: 'h', from: 'a@b', to: 'c@d\nBcc: e@f' }] }, /to must be a text/],
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
