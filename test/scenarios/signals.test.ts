/** SIGTERM as `systemctl stop`, an upgrade and a reboot send it, to the real processes: a row of the table of stops (S0-15, S1-30). */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openState } from '../../watchdog/act/state-file.ts'
import { exitOf, openBareHome, seen } from '../support/bare-home.ts'

const root = resolve(import.meta.dirname, '../..')
let base: string
let template: string
beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'sg-'))
  template = join(base, 'template')
  execFileSync(process.execPath, [join(root, 'hub/main.ts'), 'init', '--home', template])
})
afterAll(() => rmSync(base, { recursive: true, force: true }))

interface Status {
  hub: { announced: string | null; answering: boolean }
  heartbeat: { paused: boolean }
}

test('S0-15, S1-30: SIGTERM to the hub is as `hub restart`: the watchdog is told and silent, the clock runs, and nothing keeps the next start away [stop-8, stop-9, stop-10]', async () => {
  // A hub that lives but is late on a busy machine is not missed for ten seconds; one that is gone is, after ten rounds.
  const at = await openBareHome(base, template, { missesMax: 10 })
  try {
    const hub = at.startHub('ignore')
    await at.hubUp()
    at.startWatchdog('ignore')
    await at.watchdogUp()
    const status = async () => (await at.askWatchdog('GET', '/v1/status')).body as unknown as Status
    await seen('an answer of the hub', async () => (await status()).hub.answering)
    const runKept = () => {
      const file = openState(at.paths.state, 1)
      file.close()
      return file.found?.run
    }
    const run = runKept()
    expect(run, 'the process of the hub says which it is').toMatch(/^[\w-]{22}$/)
    const over = exitOf(hub)
    hub.kill('SIGTERM')
    expect(await over).toBe(0)
    // Long enough that an unannounced silence would be a finding.
    const rounds = async () => (await at.askWatchdog('GET', '/v1/status')).body.rounds as number
    const then = await rounds()
    await seen('more rounds without it than may be missed', async () => (await rounds()) > then + 12)
    expect(await status()).toMatchObject({ hub: { announced: 'restart' }, heartbeat: { paused: false } })
    expect(existsSync(at.paths.alerts) ? readFileSync(at.paths.alerts, 'utf8') : '').not.toContain('hub_health')
    for (const part of ['hub', 'watchdog']) expect(existsSync(join(at.home, 'stay-down', part)), part).toBe(false)
    at.startHub('ignore')
    await at.hubUp()
    await seen('the lease', async () => {
      const { body } = await at.askHub('GET', '/v1/mode')
      return body.mode === 'normal' || (body.mode === 'degraded' && !JSON.stringify(body).includes('lease'))
    })
    await seen('the announcement to be over', async () => (await status()).hub.announced === null)
    expect(runKept(), 'another process').toMatch(/^[\w-]{22}$/)
    expect(runKept()).not.toBe(run)
  } finally {
    at.close()
  }
})

test('S0-15, S1-30: SIGTERM to the watchdog ends it with 0; its clock runs on, and nothing keeps the next start away [stop-8, stop-9, stop-10]', async () => {
  const at = await openBareHome(base, template)
  try {
    at.startHub('ignore')
    await at.hubUp()
    const watchdog = at.startWatchdog('ignore')
    await at.watchdogUp()
    const over = exitOf(watchdog)
    watchdog.kill('SIGTERM')
    expect(await over).toBe(0)
    const file = openState(at.paths.state, 1)
    file.close()
    expect(file.found).toMatchObject({ announced: null, presence: { paused: false, safeSinceMs: null } })
    for (const part of ['hub', 'watchdog']) expect(existsSync(join(at.home, 'stay-down', part)), part).toBe(false)
    expect((await at.askHub('GET', '/v1/agents')).status, 'the hub goes on').toBe(200)
    at.startWatchdog('ignore')
    await at.watchdogUp()
  } finally {
    at.close()
  }
})
