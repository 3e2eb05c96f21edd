/**
 * Engines that are not Docker as root, as far as they can be had here: each is refused by name, by a whole hub on the real thing (fault A5).
 * Podman over its API socket; Docker Desktop cannot be run here and stands in test/hub/work/sandbox/fitness.test.ts with the rootless one.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { ModeView } from '../../hub/client/answers.ts'
import { hubDoor } from '../../hub/client/cli/home.ts'
import { hubArgv } from '../../hub/client/cli/processes.ts'
import { createConnection } from '../../hub/client/connection.ts'

const root = resolve(import.meta.dirname, '../..')
const hasPodman = spawnSync('podman', ['--version']).status === 0 && process.getuid?.() === 0
if (!hasPodman) console.log('skipped: Podman is not installed here, or this is not root (apt-get install podman)')

/** What the hub on this engine says once it has looked: the reason of `engine_unfit`. */
async function refusalOn(socket: string, home: string): Promise<string> {
  execFileSync(process.execPath, hubArgv(home, 'init'), { stdio: 'ignore' })
  writeFileSync(join(home, 'hub.yaml'), JSON.stringify({ http: { port: 0 }, metrics: { port: 0 }, engine: { socket } }))
  const hub = spawn(process.execPath, hubArgv(home, 'serve'), { cwd: root, stdio: 'ignore' })
  try {
    const line = createConnection(hubDoor(home))
    for (const endAt = performance.now() + 120_000; performance.now() < endAt; await sleep(100)) {
      const view = (await line.call('health.show').catch(() => undefined)) as ModeView | undefined
      const found = view?.conditions.find(({ name }) => name === 'engine_unfit')
      if (found !== undefined) return found.reason
    }
    throw new Error(`nothing was said of it: ${JSON.stringify(await line.call('health.show'))}`)
  } finally {
    hub.kill('SIGKILL')
  }
}

test.skipIf(!hasPodman)('fault A5: Podman is refused by name, before anything is created on it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'pm-'))
  const socket = join(folder, 'p.sock')
  const own = ['--root', join(folder, 'root'), '--runroot', join(folder, 'run')]
  let podman: ChildProcess | undefined
  try {
    podman = spawn('podman', [...own, 'system', 'service', '--time=0', `unix://${socket}`], { stdio: 'ignore' })
    for (let look = 0; !existsSync(socket) && look < 1200; look += 1) await sleep(100)
    const reason = await refusalOn(socket, join(folder, 'h'))
    expect(reason).toMatch(/^this is Podman \d.*not supported.*install Docker Engine 20\.10/)
    expect(execFileSync('podman', [...own, 'ps', '-aq']).toString()).toBe('')
    expect(readFileSync(join(folder, 'h', 'ledger.json'), 'utf8')).not.toContain('runtime-probe')
  } finally {
    podman?.kill('SIGTERM')
    await sleep(300)
    rmSync(folder, { recursive: true, force: true })
  }
})
