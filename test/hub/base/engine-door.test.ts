/** Fault C22: an account outside the engine's group reads one line that says so and the remedy, from every program that asks the engine. */
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { deniedLine, deniedWords, isDenied } from '../../../hub/base/engine-door.ts'

const root = resolve(import.meta.dirname, '../../..')
const LINE =
  /^(\S+) may not use the container engine's socket (\S+): sudo usermod -aG docker \1, log in again, then .+; anyone in that group has in effect the rights of root on this machine$/

let folder = ''
let server: http.Server
let socket = ''
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'door-'))
  chmodSync(folder, 0o755)
  socket = join(folder, 'e.sock')
  server = http.createServer((_, response) => response.end('{}'))
  await new Promise<void>((done) => server.listen(socket, done))
  chmodSync(socket, 0o000)
})
afterEach(async () => {
  await new Promise((done) => server.close(done))
  rmSync(folder, { recursive: true, force: true })
})

/** Root may use every socket: its tests run a program as somebody else. */
const somebody = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}

test('the words name account, socket, remedy, and what the remedy gives away', () => {
  const line = deniedLine(deniedWords('/var/run/docker.sock', 'ada'))
  expect(LINE.exec(line)?.slice(1)).toEqual(['ada', '/var/run/docker.sock'])
  expect(isDenied(Object.assign(new Error(''), { code: 'EACCES' }))).toBe(true)
  expect(isDenied(Object.assign(new Error(''), { code: 'ENOENT' }))).toBe(false)
})

/** Asks in a process that has given its rights away after it was loaded: the checkout need not be readable to anybody else. */
function asSomebody(work: string): { out: string; err: string } {
  const text = `${work.replaceAll('ROOT', root).replaceAll('SOCKET', socket)}`
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', text], { encoding: 'utf8' })
  return { out: stdout.trim(), err: stderr.trim() }
}
const AWAY = process.getuid?.() === 0 ? 'process.setegid(65534); process.seteuid(65534)' : ''

describe('a socket that this account may not use', () => {
  test('the hub says it, and doctor shows the remedy in its own place', async () => {
    const { out, err } = asSomebody(`
      import { createSystemClock } from 'ROOT/hub/base/clock.ts'
      import { createEngineChecks } from 'ROOT/hub/edge/doctor/engine.ts'
      import { createEngine } from 'ROOT/hub/work/sandbox/engine.ts'
      const engine = createEngine({ socketPath: 'SOCKET', callMs: 5000 }, { clock: createSystemClock() })
      ${AWAY}
      const said = await engine.ping().catch((error) => error.message)
      const [row] = await createEngineChecks(engine, { kernel: '6.1', node: 'v24.0.0' })()
      console.log(JSON.stringify({ said, row }))`)
    const { said, row } = JSON.parse(out || JSON.stringify({ said: err })) as { said: string; row?: unknown }
    expect(said).toMatch(LINE)
    const [why = '', ...mend] = said.split(': ')
    expect(row).toEqual({ name: 'engine', ok: false, detail: why, mend: mend.join(': ') })
  })

  test('the loader of images says it', () => {
    const { out } = asSomebody(`
      import { createImageEngine } from 'ROOT/scripts/images/loading.ts'
      const engine = createImageEngine({ socketPath: 'SOCKET', deadlineMs: 5000, loadDeadlineMs: 5000 })
      ${AWAY}
      console.log(await engine.inspect('x').catch((error) => error.message))`)
    expect(out).toMatch(LINE)
  })

  test('the command that stops containers by itself says it, with the remedy as what is next', () => {
    const { out } = asSomebody(`
      import { mkdirSync, writeFileSync } from 'node:fs'
      import { listContainers } from 'ROOT/hub/client/cli/engine.ts'
      import { pathsOf } from 'ROOT/hub/client/cli/home.ts'
      const home = '${folder}/home'
      mkdirSync(home + '/watchdog', { recursive: true })
      writeFileSync(home + '/instance', '0d0c0b0a-0000-4000-8000-000000000001')
      writeFileSync(home + '/watchdog/config.yaml', 'engine:\\n  socket: SOCKET\\n')
      ${AWAY}
      console.log(await listContainers(pathsOf(home)).catch(({ message, next }) => message + ': ' + next))`)
    expect(out).toMatch(LINE)
  })

  test('scripts/engine, and with it quickstart, names it before anything is installed', () => {
    const script = join(folder, 'engine')
    copyFileSync(join(root, 'scripts/engine'), script)
    chmodSync(script, 0o755)
    const env = { PATH: process.env.PATH, HUB_ENGINE_SOCKET: socket }
    const { status, stderr } = spawnSync(script, ['up'], { encoding: 'utf8', env, ...somebody })
    expect(stderr.trim().replace(/^scripts\/engine: /, '')).toMatch(LINE)
    expect(status).toBe(4)
  })

  test('`hub up` says it in the first words of the hub that has started', async () => {
    const home = join(folder, 'own')
    const argv = (verb: string) => [join(root, 'hub/main.ts'), verb, '--home', home]
    chmodSync(folder, 0o777)
    expect(spawnSync(process.execPath, argv('init'), { encoding: 'utf8', ...somebody }).stderr).toBe('')
    writeFileSync(join(home, 'hub.yaml'), `http: { port: 0 }\nmetrics: { port: 0 }\nengine: { socket: ${socket} }\n`)
    const hub = spawn(process.execPath, argv('serve'), { stdio: ['ignore', 'pipe', 'ignore'], ...somebody })
    let ready = '{}'
    for await (const line of createInterface(hub.stdout)) {
      if (!line.includes('"ready":true')) continue
      ready = line
      hub.kill('SIGKILL')
    }
    expect((JSON.parse(ready) as { notes?: string[] }).notes).toEqual([expect.stringMatching(LINE)])
  })
})
