/**
 * The two real processes, as `hub up` starts them and as somebody starts them by hand with core dumps, a debugger and a weakened TLS in the
 * environment: nothing writes their memory to a file (fault F15), SIGUSR1 opens no debugger (fault F19), and the environment is a list (fault F20).
 */
import { execFile, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isWeakening } from '../../hub/base/passed-on.ts'
import { type BareHome, openBareHome, seen } from '../support/bare-home.ts'

const root = resolve(import.meta.dirname, '../..')
let base: string
let template: string
beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'cs-'))
  template = join(base, 'template')
  execFileSync(process.execPath, [join(root, 'hub/main.ts'), 'init', '--home', template])
})
afterAll(() => rmSync(base, { recursive: true, force: true }))

const POISON = {
  NODE_TLS_REJECT_UNAUTHORIZED: '0',
  NODE_OPTIONS: '--title=poisoned --inspect=127.0.0.1:0',
  SSL_CERT_FILE: '/nowhere',
}
/** Of this machine, without what would be left out by itself. */
const ENV = Object.fromEntries(Object.entries(process.env).filter(([name]) => !isWeakening(name)))
/** As large as this machine lets them be. */
const CORES_ON = 'ulimit -S -c "$(ulimit -H -c)"; exec "$0" "$@"'
const of = (pid: number, file: string) => readFileSync(`/proc/${pid}/${file}`, 'utf8')
const environOf = (pid: number) => of(pid, 'environ').split('\0')
const coreOf = (pid: number) => /^Max core file size +(\S+) +(\S+)/m.exec(of(pid, 'limits'))?.slice(1, 3)
const pidIn = (file: string) => Number(readFileSync(file, 'utf8'))

/** Ports on which the process listens. */
function portsOf(pid: number): number[] {
  const own = new Set<string>()
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      own.add(readlinkSync(`/proc/${pid}/fd/${fd}`))
    } catch {
      // Closed meanwhile.
    }
  }
  const rows = ['tcp', 'tcp6'].flatMap((kind) => of(pid, `net/${kind}`).trim().split('\n').slice(1))
  return rows.flatMap((row) => {
    const [, local = '', , state, , , , , , inode] = row.trim().split(/\s+/)
    return state === '0A' && own.has(`socket:[${inode}]`) ? [Number.parseInt(local.split(':').at(-1) ?? '', 16)] : []
  })
}

const answersAt = (port: number): Promise<boolean> =>
  new Promise((done) => {
    const socket = connect(port, '127.0.0.1', () => done(true)).on('error', () => done(false))
    socket.on('connect', () => socket.destroy())
  })

async function judge(at: BareHome, pids: { hub: number; watchdog: number }): Promise<void> {
  const wasThere = await answersAt(9229)
  for (const [name, pid] of Object.entries(pids)) {
    expect(coreOf(pid), name).toEqual(expect.arrayContaining(['0']))
    expect(coreOf(pid)?.[0], name).toBe('0')
    expect(Number.parseInt(of(pid, 'coredump_filter'), 16), name).toBe(0)
    expect(
      environOf(pid).filter((each) => Object.keys(POISON).includes(each.split('=')[0] ?? '')),
      name,
    ).toEqual([])
    process.kill(pid, 'SIGUSR1')
  }
  // Two rounds of the watchdog after the signal: whatever it does has been done.
  const rounds = async () => (await at.askWatchdog('GET', '/v1/status')).body.rounds as number
  const then = await rounds()
  await seen('two rounds of the watchdog', async () => (await rounds()) > then + 2)
  expect((await at.askHub('GET', '/v1/agents')).status).toBe(200)
  expect(portsOf(pids.hub)).toEqual([at.ports.hub])
  expect(portsOf(pids.watchdog)).toEqual([at.ports.watchdog])
  expect(await answersAt(9229)).toBe(wasThere)
}

interface Row {
  name: string
  ok: boolean | null
  detail: string
}
async function rowsOf(at: BareHome): Promise<Record<string, Row>> {
  const { body } = await at.askHub('GET', '/v1/doctor')
  return Object.fromEntries((body.checks as Row[]).map((row) => [row.name, row]))
}

describe.skipIf(process.platform !== 'linux')('faults F15, F19, F20: hub and watchdog', () => {
  test('as `hub up` starts them', async () => {
    const at = await openBareHome(base, template)
    try {
      const words = [join(root, 'hub/client/cli.ts'), '--home', at.home, 'up']
      const env = { ...ENV, NODE_TLS_REJECT_UNAUTHORIZED: '0', SSL_CERT_FILE: '/nowhere', SMTP_SECRET: 'x' }
      await promisify(execFile)('/bin/sh', ['-c', CORES_ON, process.execPath, ...words], { env })
      const pids = { hub: pidIn(join(at.home, 'run', 'hub.pid')), watchdog: pidIn(at.paths.pid) }
      for (const pid of Object.values(pids)) {
        expect(of(pid, 'cmdline').split('\0')).toContain('--disable-sigusr1')
        expect(coreOf(pid)).toEqual(['0', '0'])
        expect(environOf(pid).filter((each) => each.startsWith('SMTP_'))).toEqual([])
      }
      await judge(at, pids)
      const rows = await rowsOf(at)
      expect(rows['core dumps']).toMatchObject({ ok: true, detail: 'hub and watchdog cannot write one' })
      expect(rows.environment).toMatchObject({
        ok: null,
        detail: 'these were kept out of hub and watchdog: NODE_TLS_REJECT_UNAUTHORIZED, SSL_CERT_FILE',
      })
    } finally {
      for (const file of [join(at.home, 'run', 'hub.pid'), at.paths.pid]) {
        try {
          process.kill(pidIn(file), 'SIGKILL')
        } catch {
          // It did not come up.
        }
      }
      at.close()
    }
  })

  test('as somebody starts them by hand, with core dumps, a debugger and no check of certificates', async () => {
    const at = await openBareHome(base, template)
    const started = (script: string, ...words: string[]) =>
      spawn('/bin/sh', [...['-c', CORES_ON, process.execPath], ...[join(root, script), ...words, '--home', at.home]], {
        stdio: 'ignore',
        env: { ...ENV, ...POISON, NODE_COMPILE_CACHE: join(base, 'cache') },
      })
    const children = [started('hub/main.ts', 'serve'), started('watchdog/main.ts')]
    try {
      await Promise.all([at.hubUp(), at.watchdogUp()])
      const [hub = 0, watchdog = 0] = children.map(({ pid }) => pid)
      await judge(at, { hub, watchdog })
      expect((await rowsOf(at)).environment?.detail).toBe(
        'these were kept out of hub and watchdog: NODE_OPTIONS, NODE_TLS_REJECT_UNAUTHORIZED, SSL_CERT_FILE',
      )
    } finally {
      for (const child of children) child.kill('SIGKILL')
      at.close()
    }
  })
})
