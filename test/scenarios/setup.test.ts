/** `hub restart --watchdog` and `hub setup` over real processes, a real SMTP server and a real receiver; the engine has nothing (fault C6). */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBareHome } from '../support/bare-home.ts'
import { newHome } from '../support/home-process.ts'

const CLI = resolve(import.meta.dirname, '../../hub/client/cli.ts')
/** Short: sockets lie below it. */
let base: string
beforeAll(() => {
  base = mkdtempSync('/tmp/su-')
  newHome(join(base, 'template'))
})
afterAll(() => rmSync(base, { recursive: true, force: true }))

interface Said {
  code: number | null
  out: string
  err: string
}
/** Runs the command; `typed` is what a person would type, line by line. */
function hub(home: string, words: readonly string[], typed = ''): Promise<Said> {
  return new Promise((done) => {
    const env = { ...process.env, NODE_COMPILE_CACHE: join(base, 'cache') }
    const child: ChildProcess = spawn(process.execPath, [CLI, '--home', home, ...words], { env })
    const said = { out: '', err: '' }
    child.stdout?.on('data', (piece) => {
      said.out += piece
    })
    child.stderr?.on('data', (piece) => {
      said.err += piece
    })
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(typed)
    child.on('close', (code) => done({ code, ...said }))
  })
}

/** A home whose two processes run; the watchdog's file is what `watchdog` says, in the form of today. */
async function openHome() {
  const bare = await openBareHome(base, join(base, 'template'))
  rmSync(join(bare.home, 'watchdog', 'config.json'))
  const file = join(bare.home, 'watchdog', 'config.yaml')
  const usual = `interval: 10s\nstartGrace: 0s\nhubStop: 500ms\nhttp: { port: ${bare.ports.watchdog} }\nengine:\n  socket: ${join(bare.home, 'engine.sock')}\n`
  writeFileSync(file, usual, { mode: 0o600 })
  bare.startHub('ignore')
  await bare.hubUp()
  bare.startWatchdog('ignore')
  await bare.watchdogUp()
  const pidOf = (part: 'run/hub.pid' | 'watchdog/watchdog.pid') => readFileSync(join(bare.home, part), 'utf8').trim()
  return {
    ...bare,
    file,
    usual,
    pidOf,
    run: (words: readonly string[], typed = '') => hub(bare.home, words, typed),
    [Symbol.dispose]() {
      try {
        process.kill(Number(pidOf('watchdog/watchdog.pid')), 'SIGKILL')
      } catch {
        // It has ended.
      }
      bare.close()
    },
  }
}

describe('fault C6: hub restart --watchdog', () => {
  test('takes the watchdog over its file alone, judged first: a bad one leaves the old running, and says where', async () => {
    using home = await openHome()
    const [hubPid, before] = [home.pidOf('run/hub.pid'), home.pidOf('watchdog/watchdog.pid')]

    writeFileSync(home.file, `${home.usual}heartbeat:\n  due: never\n`)
    const refused = await home.run(['restart', '--watchdog'])
    expect(refused.code).toBe(3)
    expect(refused.err).toContain('config.yaml line 8, column 3: heartbeat.due: must be rolling, or daily at HH:MM')
    expect(home.pidOf('watchdog/watchdog.pid')).toBe(before)
    const check = await home.run(['config', 'check', '--json'])
    expect(check.code).toBe(3)
    expect(JSON.parse(check.out)).toMatchObject({
      ok: true,
      watchdog: { ok: false, faults: [{ line: 8, column: 3, key: 'heartbeat.due' }] },
    })

    writeFileSync(home.file, `${home.usual}heartbeat:\n  due: daily at 08:30\noperator: { name: Ada }\n`)
    expect(await home.run(['restart', '--watchdog'])).toMatchObject({ code: 0 })
    expect(home.pidOf('watchdog/watchdog.pid')).not.toBe(before)
    expect(home.pidOf('run/hub.pid')).toBe(hubPid)
    const { body } = await home.askWatchdog('POST', '/v1/contact', { action: 'show' })
    expect(body).toMatchObject({ people: { operator: 'Ada' } })
    // The lease of the old one outlives the moment: nothing was stopped and nothing waits.
    expect(JSON.stringify((await home.askHub('GET', '/v1/mode')).body)).toMatch(/^."mode":"normal","conditions":\[\]/)
    expect(existsSync(join(home.home, 'watchdog', 'run', 'judged.yaml'))).toBe(false)
  })
})
