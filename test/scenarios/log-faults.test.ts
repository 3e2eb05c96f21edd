/**
 * The real processes with a standard error that takes nothing: a pipe that nobody reads, a reader that has gone, a device that is full
 * (faults B1, F1), and the hang-up (fault C31). Whatever becomes of the log, both answer, stop what is asked of them, and end when told to.
 */
import { execFileSync, type StdioOptions, spawn } from 'node:child_process'
import {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type BareHome, exitOf, openBareHome, seen } from '../support/bare-home.ts'

const root = resolve(import.meta.dirname, '../..')
const { O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY } = constants
let base: string
let template: string
beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'lf-'))
  template = join(base, 'template')
  execFileSync(process.execPath, [join(root, 'hub/main.ts'), 'init', '--home', template])
})
afterAll(() => rmSync(base, { recursive: true, force: true }))

let at: BareHome
let fds: number[]
beforeEach(async () => {
  at = await openBareHome(base, template)
  fds = []
})
afterEach(() => {
  at.close()
  for (const fd of fds) closeSync(fd)
})

const keep = (fd: number) => {
  fds.push(fd)
  return fd
}
const pipe = () => {
  const path = join(at.home, 'pipe')
  execFileSync('mkfifo', [path])
  return path
}
/** What is handed over as standard output and error. */
const OUTPUTS: Readonly<Record<string, () => number>> = {
  'a pipe that is full and that nobody reads': () => {
    const path = pipe()
    const fd = keep(openSync(path, O_RDWR))
    const brim = keep(openSync(path, O_WRONLY | O_NONBLOCK))
    for (const size of [4096, 1]) {
      try {
        for (;;) writeSync(brim, Buffer.alloc(size, 46))
      } catch {
        // Full at this size.
      }
    }
    return fd
  },
  'a pipe whose reader has gone': () => {
    const path = pipe()
    const reader = openSync(path, O_RDONLY | O_NONBLOCK)
    const fd = keep(openSync(path, O_WRONLY))
    closeSync(reader)
    return fd
  },
  'a device that is full': () => keep(openSync('/dev/full', 'a')),
}

const both = (fd: number): StdioOptions => ['ignore', fd, fd]

describe.each(Object.keys(OUTPUTS))('both with %s as their log', (name) => {
  test('faults B1, F1: they start, say what they see, stop everything by the hub and by the watchdog, and end when told to [stop-52]', async () => {
    const fd = OUTPUTS[name]?.() ?? 2
    const hub = at.startHub(both(fd))
    await at.hubUp()
    const watchdog = at.startWatchdog(both(fd))
    await at.watchdogUp()
    // Each of these is a line of the log.
    for (let turn = 0; turn < 20; turn += 1)
      expect((await at.askHub('POST', '/v1/sessions/none/stop', {})).status).toBeGreaterThanOrEqual(400)
    const stopped = await at.askHub('POST', '/v1/shutdown', { reason: 'tried' })
    expect([stopped.status, stopped.body]).toMatchObject([200, { path: 'hub', requested: 0 }])
    expect(await exitOf(hub)).toBe(0)

    const byWatchdog = await at.askWatchdog('POST', '/v1/shutdown', { by: 'operator', reason: 'tried' })
    expect([byWatchdog.status, byWatchdog.body]).toMatchObject([200, { path: 'watchdog' }])
    const rounds = async () => (await at.askWatchdog('GET', '/v1/status')).body.rounds as number
    const then = await rounds()
    await seen('the watch to go on', async () => (await rounds()) > then + 2)
    const over = exitOf(watchdog)
    await at.askWatchdog('POST', '/v1/exit', {})
    expect(await over).toBe(0)
  })
})

test('fault B1: a hub that cannot start and whose words nobody reads still ends with its code', async () => {
  writeFileSync(join(at.home, 'hub.yaml'), '{')
  for (const name of Object.keys(OUTPUTS)) {
    const child = at.startHub(both(OUTPUTS[name]?.() ?? 2))
    expect(await exitOf(child), name).toBe(2)
    rmSync(join(at.home, 'pipe'), { force: true })
  }
})

test('fault B1: what the command cannot print changes no stop; elsewhere it is a fault', async () => {
  const hub = at.startHub('ignore')
  await at.hubUp()
  const full = keep(openSync('/dev/full', 'a'))
  const command = (...words: string[]) =>
    exitOf(
      spawn(process.execPath, [join(root, 'hub/client/cli.ts'), '--home', at.home, ...words], { stdio: both(full) }),
    )
  expect(await command('agent', 'list')).toBe(1)
  const over = exitOf(hub)
  expect(await command('shutdown', '--yes')).toBe(0)
  expect(await over).toBe(0)
})

test('fault C31: a hang-up ends neither process, is logged, and makes both open a log again that was moved away [stop-52]', async () => {
  const hub = at.startHub(both(keep(openSync(at.logs.hub, 'a', 0o600))))
  await at.hubUp()
  const watchdog = at.startWatchdog(both(keep(openSync(at.logs.watchdog, 'a', 0o600))))
  await at.watchdogUp()
  for (const [name, child] of [
    ['hub', hub],
    ['watchdog', watchdog],
  ] as const) {
    renameSync(at.logs[name], `${at.logs[name]}.moved`)
    child.kill('SIGHUP')
    await seen(`the new log of the ${name}`, () => existsSync(at.logs[name]) || undefined)
    await seen('its word', () => readFileSync(at.logs[name], 'utf8').includes('SIGHUP') || undefined)
    expect(readFileSync(`${at.logs[name]}.moved`, 'utf8')).not.toContain('SIGHUP')
  }
  expect((await at.askHub('GET', '/v1/agents')).status).toBe(200)
  expect((await at.askWatchdog('GET', '/v1/status')).status).toBe(200)
  expect([hub.exitCode, hub.signalCode, watchdog.exitCode, watchdog.signalCode]).toEqual([null, null, null, null])
})

test('fault B1: the log of a home is turned over by size while the hub runs, the ready line included', async () => {
  const log = at.logs.hub
  writeFileSync(log, `${'x'.repeat(1023)}\n`.repeat(16 * 1024), { mode: 0o600 })
  at.startHub(both(keep(openSync(log, 'a'))))
  await at.hubUp()
  const text = await seen('the ready line', () => {
    const now = readFileSync(log, 'utf8')
    return now.includes('"ready":true') ? now : undefined
  })
  expect(text.length).toBeLessThan(100_000)
  expect(existsSync(`${log}.1`)).toBe(true)
})
