/**
 * A hub that lives and does not work, because no descriptor is left to it (T88, X1): it is not waited for, the watchdog stops everything and
 * says so, and what hangs is ended. One that stands still altogether is in stops.test.ts.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { createServer } from 'node:net'
import { resolve } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { hasEnded, openStopHome, type StopHome, until } from '../support/stop-home.ts'

let home: StopHome
afterEach(() => home?.close())

/** Below what it holds: whatever it opens or accepts from now on fails. The soft limit alone, which can be raised again. */
const starve = (pid: number, most: number) => execFileSync('prlimit', ['--pid', String(pid), `--nofile=${most}:`])
const FEW = 8
const MANY = 1024
const mayStarve = () => spawnSync('prlimit', ['--version']).status === 0

test('T88: no descriptor is left to it: `hub shutdown` goes by the watchdog', { timeout: 600_000 }, async ({
  skip,
}) => {
  if (!mayStarve()) return skip('there is no prlimit here')
  home = await openStopHome()
  await home.place('idle')
  await home.place('idle')
  starve(home.hubPid, FEW)
  const before = performance.now()
  const view = await home.shutdown()
  expect(view).toMatchObject({ path: 'watchdog', requested: 2, code: 0 })
  expect(view.stderr).toContain('the hub could not stop everything: ')
  expect(performance.now() - before).toBeLessThan(90_000)
  expect(await home.left()).toBe(0)
  await until('what hung is ended', () => hasEnded(home.hubPid), Boolean)
})

test('T88: no descriptor is left to it: `hub-stop` says that everything has stopped, and so does the page once there are some again', {
  timeout: 600_000,
}, async ({ skip }) => {
  if (!mayStarve()) return skip('there is no prlimit here')
  home = await openStopHome()
  const words = await home.newCard()
  await home.place('idle')
  starve(home.hubPid, FEW)
  const { code, said } = await home.hubStop(words)
  expect([code, said]).toEqual([0, expect.stringContaining('Everything has stopped. Nothing was deleted.')])
  expect(await home.left()).toBe(0)
  if (!hasEnded(home.hubPid)) {
    starve(home.hubPid, MANY)
    await until('it has heard of it', home.conditions, (names) => names.includes('emergency_stop'))
  }
})

test('fault F12: hub and watchdog dead, the words alone stop real containers, through a port as systemd holds it; the engine shows nothing, and both obey the order when they start', {
  timeout: 600_000,
}, async () => {
  home = await openStopHome()
  const words = await home.newCard()
  await home.place('idle')
  await home.place('idle')
  home.signal('SIGKILL', home.hubPid, home.watchdogPid)
  await until('both are dead', () => hasEnded(home.hubPid) && hasEnded(home.watchdogPid), Boolean)
  expect((await home.hubStop(words)).code, 'without that port').toBe(4)
  expect(await home.left()).toBe(2)
  const held = createServer()
  await new Promise<void>((done) => held.listen(0, '127.0.0.1', done))
  const port = String((held.address() as { port: number }).port)
  const fd = (held as unknown as { _handle: { fd: number } })._handle.fd
  const script = resolve(import.meta.dirname, '../../scripts/systemd/last-stop.ts')
  const started = spawn(process.execPath, [script, '--home', home.home, '--port', port], {
    stdio: ['ignore', 'ignore', 'ignore', fd],
    env: { LISTEN_FDS: '1', NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE },
  })
  held.close()
  try {
    const dead = [String(await freePort()), String(await freePort())]
    const { code, said } = await home.hubStop(words, ...dead, port)
    expect([code, said]).toEqual([0, expect.stringContaining('Everything has stopped. Nothing was deleted.')])
    expect(await home.left()).toBe(0)
  } finally {
    started.kill()
  }
  await home.startHub()
  expect(await home.conditions()).toContain('emergency_stop')
})
