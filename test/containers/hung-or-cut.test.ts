/** Hub and watchdog on the real engine, each hung, replaced or cut off from the other: what each does by itself, and that it is over when it heals (I5). */
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { openStopHome, type StopHome, until } from '../support/stop-home.ts'

let home: StopHome
afterEach(() => home?.close())

const normal = () => until('normal mode', home.health, (answer) => answer.mode === 'normal')
const told = () => {
  const file = join(home.home, 'watchdog', 'alerts.log')
  return existsSync(file)
    ? [...readFileSync(file, 'utf8').matchAll(/"event":"(\w+)","finding":"(\w+)"/g)].map((m) => `${m[1]} ${m[2]}`)
    : []
}

describe('hub and watchdog, each hung, dead or cut off', () => {
  test('T88, T91: a hub that hangs is an alert, one that comes back is an all-clear; a socket that is cut makes the hub safe by itself until it heals (I5) [presence-6, watch-31]', async () => {
    home = await openStopHome({ watchdog: { port: 0 } })
    const one = await home.place('idle')
    await home.place('idle')
    home.signal('SIGSTOP', home.hubPid)
    await until('the alert', told, (all) => all.includes('raised hub_health'))
    home.signal('SIGCONT', home.hubPid)
    await until('the all-clear', told, (all) => all.includes('resolved hub_health'))
    await normal()

    const socket = join(home.home, 'run', 'watchdog.sock')
    renameSync(socket, `${socket}.cut`)
    await until('safe by itself', home.conditions, (names) => names.includes('lease_lapsed'))
    expect((await home.hub('submit', 'deaf')).code).toBe(3)
    expect((await home.session(one.id)).state, 'what runs goes on').not.toBe('recycled')
    renameSync(`${socket}.cut`, socket)
    await normal()
    expect(await home.left()).toBe(2)
    expect(
      told()
        .filter((each) => each.startsWith('raised'))
        .every((each) => each === 'raised hub_health'),
    ).toBe(true)
  })

  test('T91: a watchdog that was stopped and replaced is fenced off when it comes back: its leases are refused, the hub obeys the new one', async () => {
    home = await openStopHome({ watchdog: { port: 0 } })
    await normal()
    home.signal('SIGSTOP', home.watchdogPid)
    await until('safe by itself', home.conditions, (names) => names.includes('lease_lapsed'))
    // Its socket still answers the kernel, so the new one would take it for alive.
    rmSync(join(home.home, 'watchdog', 'run', 'watchdog.sock'))
    await home.startWatchdog()
    await normal()
    home.signal('SIGCONT', home.watchdogPid)
    const refusals = async () => {
      const { stdout } = await home.hub('audit', 'list', '--action', 'lease.renewed', '--outcome', 'refused', '--json')
      return (JSON.parse(stdout) as { reason: string }[]).filter(({ reason }) => reason.includes('not newer'))
    }
    await until('a refused lease of the old one', refusals, (rows) => rows.length > 0)
    expect((await home.health()).mode).toBe('normal')
  })
})
