/**
 * A secret on its whole way, on a real hub, a real watchdog and the real engine: the agent has it, and nothing else shows it (T35, T64).
 * One comes from a file of the home, one from the environment that `hub up` was given.
 */
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createSystemClock } from '../../hub/base/clock.ts'
import { inNormalMode, until } from '../support/container-home.ts'
import { ENGINE_SOCKET } from '../support/engine-socket.ts'
import { runHub } from '../support/fake-hub.ts'
import { createSigningClient } from '../support/signing-client.ts'

const root = resolve(import.meta.dirname, '../..')
/** Images are shared by the whole engine: a name of this run only. */
const name = `n${randomBytes(3).toString('hex')}-secrets`
const fromFile = `canary-file-${randomBytes(16).toString('hex')}\n`
const fromEnvironment = `canary-environment-${randomBytes(16).toString('hex')}`
const canaries = [fromFile.trim(), fromEnvironment]
const digest = (text: string | Buffer) => createHash('sha256').update(text).digest('hex')

function engine(method: string, path: string): Promise<{ status: number; text: string }> {
  return new Promise((done) => {
    const call = request({ socketPath: ENGINE_SOCKET, method, path }, async (answer) => {
      let text = ''
      for await (const piece of answer) text += piece
      done({ status: answer.statusCode ?? 0, text })
    })
    call.on('error', () => done({ status: 0, text: '' })).end()
  })
}
const here = (await engine('GET', '/_ping')).status === 200

/** Returns only what names nobody's secret: lengths, digests, modes, and whether any process of the container shows one. */
const PROGRAM = `
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { connect } from 'hub-sdk/agent.ts'

const hub = await connect()
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
hub.onTask(async ({ params }, signal) => {
  const folder = '/tmp/secrets'
  const names = readdirSync(folder).sort()
  const values = names.map((name) => readFileSync(folder + '/' + name))
  const files = names.map((name, at) => {
    const { mode, uid } = statSync(folder + '/' + name)
    return { name, mode: (mode & 0o777).toString(8), uid, length: values[at]?.length, sha256: sha256(values[at] ?? Buffer.alloc(0)) }
  })
  const shown = readdirSync('/proc').filter((pid) => /^\\d+$/.test(pid)).flatMap((pid) =>
    ['environ', 'cmdline'].filter((file) => values.some((value) => readFileSync('/proc/' + pid + '/' + file).includes(value.toString().trim()))))
  if (values.some((value) => JSON.stringify([process.env, process.argv]).includes(value.toString().trim()))) shown.push('process')
  const { mode, uid } = statSync(folder)
  const again = await Promise.all(names.map(async (name) => sha256(await hub.secret(name))))
  const mount = readFileSync('/proc/self/mountinfo', 'utf8').split('\\n').find((line) => line.split(' ')[4] === '/tmp') ?? ''
  const value = { uid: process.getuid?.(), folder: { mode: (mode & 0o777).toString(8), uid }, files, shown, again, tmpfs: mount.includes(' - tmpfs ') }
  await hub.log('ready to be looked at')
  if (params.stay === true) await new Promise((resolve) => signal.addEventListener('abort', resolve))
  return value
})
`
let home = ''
let work = ''

const hub = (...args: string[]) => inNormalMode(() => runHub(home, args, { cwd: work }))
async function done(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await hub(...args)
  expect(code, `hub ${args.join(' ')}: ${stdout}${stderr}`).toBe(0)
  return stdout
}
const json = async (...args: string[]) => JSON.parse(await done(...args, '--json'))

beforeAll(async () => {
  if (!here) return
  home = mkdtempSync(join(tmpdir(), 'cs-'))
  work = mkdtempSync(join(tmpdir(), 'cw-'))
  rmSync(home, { recursive: true })
  execFileSync(process.execPath, [join(root, 'hub/main.ts'), 'init', '--home', home])
  writeFileSync(
    join(home, 'hub.yaml'),
    `http: { port: 0 }\nmetrics: { port: 0 }\nengine: { socket: ${ENGINE_SOCKET} }\nlogLevel: trace\n`,
  )
  writeFileSync(
    join(home, 'watchdog', 'config.json'),
    JSON.stringify({ port: 0, intervalMs: 1000, engineSocket: ENGINE_SOCKET }),
  )
  writeFileSync(join(home, 'secrets', 'of-a-file'), fromFile, { mode: 0o600 })
  const folder = join(work, name)
  mkdirSync(folder)
  writeFileSync(join(folder, 'main.ts'), PROGRAM)
  const card = {
    name,
    description: 'holds two secrets',
    image: `hub/${name}`,
    run: ['node', `/app/agents/${name}/main.js`],
    limits: { ttl: '10m', memory: '256MiB' },
    may: { secrets: ['of-a-file', 'of-environment'] },
  }
  writeFileSync(join(folder, 'agent.yaml'), JSON.stringify(card))
  const env = { PATH: process.env.PATH, HOME: home, HUB_HOME: home, HUB_SECRET_OF_ENVIRONMENT: fromEnvironment }
  execFileSync(process.execPath, [join(root, 'hub/client/cli.ts'), 'up'], { env, stdio: 'pipe' })
  await done('agent', 'build', name)
  await done('agent', 'allow', name, '--yes')
})
afterAll(async () => {
  if (!here) return
  await hub('down')
  await engine('DELETE', `/images/hub/${name}:latest`)
  for (const folder of [home, work]) rmSync(folder, { recursive: true, force: true })
})

/** Whichever canary the bytes hold. */
const found = (bytes: Buffer | string) => canaries.filter((canary) => bytes.includes(canary))

/** Files below a folder that hold a canary; sockets and what vanishes meanwhile hold none. */
function filesWith(folder: string, except = ''): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.parentPath !== except)
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => found(bytesOf(file)).length > 0)
}
function bytesOf(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch {
    return Buffer.alloc(0)
  }
}
/** What the kernel shows of a process and its children. */
const shownBy = (pid: number) =>
  ['environ', 'cmdline'].filter((file) => found(readFileSync(`/proc/${pid}/${file}`)).length > 0)
/** Where on the host stands what a container has written, as its mounts say it: engines show it each in their own way, or not at all. */
const layerOf = (pid: number) =>
  /^\d+ \d+ \S+ \/ \/ .*[, ]upperdir=([^, ]+)/m.exec(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'))?.[1] ?? ''
const pidIn = (file: string) => Number(readFileSync(join(home, file), 'utf8'))

type Open = { id: string; task: string; containerId: string }
/** The session of this task, once it has its secrets and stays. */
async function looked(id: string): Promise<Open> {
  await until(
    'it is ready to be looked at',
    async () => (await hub('task', 'logs', id)).stdout,
    (text) => text.includes('ready to be looked at'),
  )
  return (await json('session', 'list')).find(({ task }: Open) => task === id)
}
const gone = (container: string) =>
  until(
    'the container is gone',
    async () => (await engine('GET', `/containers/${container}/json`)).status,
    (status) => status === 404,
  )

/** All that the operator can read of a task and its session, in the order of the command's table. */
async function told(task: string, session: string): Promise<string> {
  const words = [
    ['task', 'show', task],
    ['task', 'logs', task],
    ['session', 'show', session],
    ['session', 'logs', session],
    ['agent', 'show', name],
    ['audit', 'list', '--limit', '100'],
    ['events'],
    ['policy', 'status'],
    ['doctor'],
  ]
  const outcomes = await Promise.all(words.map((each) => hub(...each, '--json')))
  return JSON.stringify(outcomes)
}

describe.skipIf(!here)('a secret on its way', () => {
  const own = expect.toSatisfy((uid: number) => uid >= 60_928 && uid < 61_183)
  const EXPECTED = {
    uid: own,
    folder: { mode: '700', uid: own },
    files: [
      { name: 'of-a-file', mode: '400', uid: own, length: fromFile.length, sha256: digest(fromFile) },
      {
        name: 'of-environment',
        mode: '400',
        uid: own,
        length: fromEnvironment.length,
        sha256: digest(fromEnvironment),
      },
    ],
    shown: [],
    again: [digest(fromFile), digest(fromEnvironment)],
    tmpfs: true,
  }

  test("S1-53: the agent's own user reads it, 0400 in 0700 on tmpfs; a later session has it anew", async () => {
    for (const _ of [1, 2]) {
      const task = await json('submit', name, '--wait')
      expect(task).toMatchObject({ state: 'succeeded', outcome: { value: EXPECTED } })
    }
  })

  test('T35, T64: while it is in use neither engine, host, home, processes nor anything the operator is told shows it', async () => {
    const { id } = await json('submit', name, '--param', 'stay:=true')
    const session = await looked(id)
    const container = session.containerId
    const inspected = await engine('GET', `/containers/${container}/json`)
    expect(inspected.status).toBe(200)
    expect(found(inspected.text)).toEqual([])
    const image = await engine('GET', `/images/hub/${name}:latest/history`)
    expect([image.status, found(image.text)]).toEqual([200, []])
    const logs = await engine('GET', `/containers/${container}/logs?stdout=1&stderr=1`)
    expect([logs.status, found(logs.text)]).toEqual([200, []])
    const top = await engine('GET', `/containers/${container}/top?ps_args=-eo%20pid,args`)
    const pids = (JSON.parse(top.text) as { Processes: [string][] }).Processes.map(([pid]) => Number(pid))
    expect(pids.length).toBeGreaterThan(0)
    const { LogPath } = JSON.parse(inspected.text) as { LogPath: string }
    // Only root may look there; the program itself looked from inside.
    if (process.getuid?.() === 0) {
      for (const pid of pids) expect(shownBy(pid)).toEqual([])
      for (const folder of [dirname(LogPath), layerOf(pids[0] ?? 0)]) expect(filesWith(folder)).toEqual([])
    }
    expect(shownBy(pidIn('run/hub.pid'))).toEqual([])
    expect(shownBy(pidIn('watchdog/watchdog.pid'))).toEqual([])
    const everything = await told(id, session.id)
    expect(everything).toContain('secret:of-environment')
    expect(found(everything)).toEqual([])

    await done('session', 'stop', session.id, '--yes')
    await gone(container)
    expect(found(await told(id, session.id))).toEqual([])
    expect(filesWith(home, join(home, 'secrets'))).toEqual([])
    // The search itself sees what is there: the one place that holds one.
    expect(filesWith(home)).toEqual([join(home, 'secrets', 'of-a-file')])
    expect(readdirSync(join(home, 'run'), { recursive: true }).join()).not.toContain('of-a-file')
  })

  test('S1-66: quarantined, it leaves a hashed bundle of the real engine, without a secret, and its container is gone', async () => {
    const { id } = await json('submit', name, '--param', 'stay:=true')
    const session = await looked(id)
    const { evidence, withheld } = await json('session', 'quarantine', session.id)
    expect([evidence.faults, withheld]).toEqual([[], []])
    const read = (file: string) => readFileSync(join(evidence.folder, file))
    for (const { name: file, sha256 } of evidence.files) expect(digest(read(file)), file).toBe(sha256)
    const { processes } = JSON.parse(read('processes.json').toString()) as { processes: string[][] }
    expect(processes.some((row) => row.join(' ').includes('/app/images/agent/shim.js'))).toBe(true)
    const inspected = JSON.parse(read('inspect.json').toString()) as { Id: string; State: { Paused: boolean } }
    expect([inspected.Id, inspected.State.Paused]).toEqual([session.containerId, true])
    expect(read('audit.jsonl').toString()).toContain('secret.fetched')
    expect(read('transcript.jsonl').toString()).toContain('ready to be looked at')
    expect(filesWith(evidence.folder)).toEqual([])
    await gone(session.containerId)
    expect((await json('task', 'show', id)).task).toMatchObject({ state: 'failed', error: { code: 'forbidden' } })
  })

  test('S1-66, fault D7: stopped for a second key on its socket it leaves the same, paused before it is looked at [stop-62]', async () => {
    const { id } = await json('submit', name, '--param', 'stay:=true')
    const session = await looked(id)
    const socketPath = join(home, 'run', 's', session.id, 'hub.sock')
    const thief = createSigningClient({ socketPath, clock: createSystemClock(), ended: new AbortController().signal })
    await thief.ask({ method: 'POST', path: '/v1/join', body: { publicKey: thief.publicKey } })
    await gone(session.containerId)
    const [bundle, ...more] = await json('session', 'evidence', session.id)
    expect(more).toEqual([])
    expect(bundle).toMatchObject({ state: 'whole', files: 6, recorded: bundle.sha256 })
    const inspected = JSON.parse(readFileSync(join(bundle.folder, 'inspect.json'), 'utf8'))
    expect([inspected.Id, inspected.State.Paused]).toEqual([session.containerId, true])
    expect(filesWith(bundle.folder)).toEqual([])
  })

  test('a card whose secret nobody gives fails by name, and hub doctor says how to mend it', async () => {
    rmSync(join(home, 'secrets', 'of-a-file'))
    const { code, stdout } = await hub('submit', name, '--wait', '--json')
    expect(code).toBe(5)
    const task = JSON.parse(stdout) as { id: string; state: string }
    expect(JSON.stringify(task)).toContain('the secret of-a-file could not be fetched: the secret of-a-file is missing')
    const doctor = await hub('doctor')
    expect(doctor.stdout).toContain('secret of-a-file')
    expect(doctor.stdout).toContain(`cat > ${join(home, 'secrets', 'of-a-file')}`)
    expect(doctor.stdout).not.toContain('secret of-environment')
  })

  test('once the hub has ended nothing of it is left in the home, log and database included [stop-41]', async () => {
    await done('down')
    expect(readFileSync(join(home, 'logs', 'hub.log'), 'utf8').length).toBeGreaterThan(0)
    expect(filesWith(home)).toEqual([])
    expect(found(readFileSync(join(home, 'hub.db')))).toEqual([])
  })
})
