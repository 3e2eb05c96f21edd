/** The real process with real receivers: kill -9 between raising and delivering, a channel that hangs, a damaged outbox, every channel tested. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { createSystemClock } from '../../watchdog/base/clock.ts'
import { pathsOf } from '../../watchdog/base/home.ts'
import { exchange } from '../../watchdog/base/wire.ts'
import { httpSink, mailSink, silentSink } from '../support/alert-sinks.ts'
import { createEmptyEngine } from '../support/empty-engine.ts'
import { makeHome } from '../support/watchdog-home.ts'

const MAIN = path.join(import.meta.dirname, '../../watchdog/main.ts')
const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close()
})
const kept = <T extends { close(): void }>(sink: T): T => {
  closers.push(() => sink.close())
  return sink
}
/** For a busy machine; nothing waits so long that goes well. */
const UNTIL_MS_MAX = 120_000
async function until<T>(what: string, look: () => T | Promise<T> | undefined | false | null): Promise<T> {
  for (const giveUpAt = performance.now() + UNTIL_MS_MAX; performance.now() < giveUpAt; ) {
    const seen = await look()
    if (seen) return seen
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`never seen: ${what}`)
}

/** A home whose hub is dead and whose engine answers; `hub_health` is raised in the third round. */
async function scene(
  config: object,
  env: Record<string, string> = {},
  prepare: (own: string) => () => void = () => () => {},
) {
  const home = makeHome()
  const paths = pathsOf(home.home)
  const undo = prepare(paths.own)
  const engineSocket = path.join(home.home, 'engine.sock')
  const engine = createEmptyEngine()
  await new Promise<void>((resolve) => engine.listen(engineSocket, resolve))
  writeFileSync(
    path.join(paths.own, 'config.json'),
    JSON.stringify({ port: 0, engineSocket, intervalMs: 60, startGraceMs: 0, ...config }),
  )
  const children: ChildProcess[] = []
  closers.push(() => {
    for (const child of children) child.kill('SIGKILL')
    engine.close()
    undo()
    home.remove()
  })
  execFileSync(process.execPath, [MAIN, '--home', home.home, '--init'])
  const start = async () => {
    const log: string[] = []
    const child = spawn(process.execPath, [MAIN, '--home', home.home], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    })
    children.push(child)
    child.stderr.on('data', (part) => log.push(String(part)))
    await new Promise((resolve) => child.stdout.once('data', resolve))
    const kill = async () => {
      const gone = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await gone
    }
    return { child, log, kill }
  }
  const ask = async (method: 'GET' | 'POST', route: string, body?: object) => {
    const reply = await exchange(createSystemClock(), {
      socketPath: paths.socket,
      method,
      path: route,
      ...(body ? { body: JSON.stringify(body) } : {}),
      deadlineMs: 60_000,
      bytesMax: 1e6,
    })
    return JSON.parse(reply.body.toString()) as Record<string, unknown>
  }
  const told = (finding: string) =>
    existsSync(paths.alerts)
      ? readFileSync(paths.alerts, 'utf8')
          .split('\n')
          .filter((line) => line.includes(`"finding":"${finding}"`) && line.includes('"event":"raised"')).length
      : 0
  /** Every whole line of the file: what was told, in order. */
  const lines = () =>
    !existsSync(paths.alerts)
      ? []
      : readFileSync(paths.alerts, 'utf8')
          .split('\n')
          .flatMap((line) => {
            try {
              const { id, event, finding } = JSON.parse(line) as Record<'id' | 'event' | 'finding', string>
              return [{ id, said: `${event} ${finding}` }]
            } catch {
              return []
            }
          })
  /** The engine gone, or there again. */
  const engineGoes = () =>
    new Promise<void>((resolve) => {
      engine.close(() => resolve())
      engine.closeAllConnections()
    })
  const engineComes = () => new Promise<void>((resolve) => engine.listen(engineSocket, resolve))
  return { paths, start, ask, told, lines, engineGoes, engineComes }
}

test('S1-34, X5: an alert raised while its channel refuses survives kill -9, is told once in the file and delivered by the next process [alert-26]', async () => {
  const sink = kept(await httpSink())
  sink.status = 503
  const { start, told } = await scene({ channels: [{ kind: 'push', url: `${sink.url}/t`, local: true }] })
  const first = await start()
  await until('a refused try', () => sink.received.some(({ body }) => body.includes('did not answer')))
  await first.kill()
  const before = sink.received.length
  sink.status = 200
  await start()
  const again = await until('the delivery', () =>
    sink.received.slice(before).find(({ body }) => body.includes('did not answer')),
  )
  expect(again.headers['hub-delivery'], 'the same id').toBe(sink.received[0]?.headers['hub-delivery'])
  await new Promise((resolve) => setTimeout(resolve, 500))
  expect(told('hub_health')).toBe(1)
  expect(
    sink.received.slice(before).filter(({ body }) => body.includes('raised: The hub did not answer')),
  ).toHaveLength(1)
})

const ENGINE = 'engine_unavailable'
const ofEngine = (all: { said: string }[]) => all.map(({ said }) => said).filter((said) => said.endsWith(ENGINE))

test('S1-34, X5: the file alone over kill -9: each alert stands in it once, whatever moment it was, and is resolved once by a later process', async () => {
  const { paths, start, lines, engineGoes, engineComes } = await scene({ channels: [{ kind: 'file' }] })
  const first = await start()
  await until('the hub is missed', () => lines().some(({ said }) => said === 'raised hub_health'))
  const early = readFileSync(paths.state)
  await engineGoes()
  await until('the engine is missed', () => ofEngine(lines()).length > 0)
  await first.kill()
  // Killed between file and state: the state knows nothing of the last alert. What it was about has gone meanwhile.
  writeFileSync(paths.state, early)
  await engineComes()
  const second = await start()
  await until('it is resolved', () => ofEngine(lines()).includes(`resolved ${ENGINE}`))
  await second.kill()

  // Killed in the middle of the line, with the cause still there: told again, and the half line hides no other.
  await engineGoes()
  const third = await start()
  await until('it is raised again', () => ofEngine(lines()).length > 2)
  await third.kill()
  const whole = readFileSync(paths.alerts)
  writeFileSync(paths.alerts, whole.subarray(0, whole.length - 40))
  writeFileSync(paths.state, early)
  const fourth = await start()
  await until('it is told again', () => ofEngine(lines()).length > 2)
  await fourth.kill()

  // Killed as soon as anything is seen of it, again and again.
  for (let turn = 0; turn < 3; turn += 1) {
    const before = ofEngine(lines()).length
    await (turn % 2 === 0 ? engineComes() : engineGoes())
    const child = await start()
    await until('a line', () => ofEngine(lines()).length > before)
    await child.kill()
  }
  const told = lines()
  const said = ofEngine(told)
  expect(said).toEqual(said.map((_, index) => `${index % 2 === 0 ? 'raised' : 'resolved'} ${ENGINE}`))
  expect(told.filter((one) => one.said === 'raised hub_health')).toHaveLength(1)
  expect(new Set(told.map(({ id }) => id)).size, 'no line stands twice').toBe(told.length)
})

/** Less than the ten seconds after which the silence of the mail server is over. */
const AT_ONCE_MS = 9_000

test('T98: with a mail server that hangs, rounds go on, the other channel delivers, a shutdown answers at once, and the silence is told [alert-30]', async () => {
  const silent = kept(await silentSink())
  const sink = kept(await httpSink())
  const mail = { kind: 'email', host: '127.0.0.1', port: silent.port, from: 'a@example.org', to: 'b@example.org' }
  const hangs = { kind: 'command', argv: ['/bin/sleep', '600'], timeoutMs: 300 }
  const push = { kind: 'push', url: `${sink.url}/t`, local: true }
  const { start, ask } = await scene({ channels: [mail, hangs, push] })
  const one = await start()
  await until('the push', () => sink.received.some(({ body }) => body.includes('did not answer')))
  const { rounds } = await ask('GET', '/v1/status')
  await until('more rounds', async () => Number((await ask('GET', '/v1/status')).rounds) > Number(rounds) + 5)
  const asked = performance.now()
  expect(await ask('POST', '/v1/shutdown', { reason: 'test' })).toMatchObject({ path: 'watchdog', requested: 0 })
  expect(performance.now() - asked).toBeLessThan(AT_ONCE_MS)
  await until('its silence', () => sink.received.some(({ body }) => body.includes('Alerts do not arrive: command')))
  const status = (await ask('GET', '/v1/status')) as { alerting: { channels: object[] } }
  expect(status.alerting.channels).toMatchObject([
    { channel: 'email through 127.0.0.1', lastOkAgeMs: null, waiting: expect.any(Number) },
    { channel: 'command /bin/sleep', failures: expect.any(Number) },
    { channel: expect.stringMatching(/^push to 127/), failures: 0, lastOkAgeMs: expect.any(Number) },
  ])
  const gone = new Promise((resolve) => one.child.once('exit', resolve))
  const left = performance.now()
  one.child.kill('SIGTERM')
  await gone
  expect(performance.now() - left, 'nor does a channel delay the end').toBeLessThan(AT_ONCE_MS)
})

test('alert-test proves mail, webhook, push and command of a real process, and names the one that does not work [watch-23, alert-25]', async () => {
  const sink = kept(await httpSink())
  const office = kept(await mailSink('me'))
  const mail = { kind: 'email', host: '127.0.0.1', port: office.port, from: 'a@example.org', to: 'b@example.org' }
  const { paths, start, ask } = await scene(
    {
      channels: [
        { kind: 'file' },
        { ...mail, userEnv: 'WD_USER', passwordEnv: 'WD_PASSWORD' },
        { kind: 'webhook', url: `${sink.url}/hook`, local: true, secretEnv: 'WD_SECRET' },
        { kind: 'command', argv: ['/bin/sh', '-c', 'cat > "$OUT"'], passEnv: ['OUT'] },
        { kind: 'push', url: 'http://127.0.0.1:1/t', local: true },
      ],
      contact: { name: 'Carl', language: 'de', channels: [{ kind: 'push', url: `${sink.url}/carl`, local: true }] },
    },
    { WD_USER: 'me', WD_PASSWORD: 'secret', WD_SECRET: 's' },
  )
  const out = path.join(paths.own, 'out')
  writeFileSync(out, '')
  chmodSync(out, 0o600)
  process.env.OUT = out
  closers.push(() => void delete process.env.OUT)
  const one = await start()
  const { channels } = (await ask('POST', '/v1/alert-test', { who: 'both', code: '4711' })) as {
    channels: { channel: string; ok: boolean; why: string }[]
  }
  expect(channels.map(({ channel, ok }) => `${channel.replace(/:\d+/, '')} ${ok}`)).toEqual([
    'email through 127.0.0.1 true',
    'webhook to 127.0.0.1 true',
    'command /bin/sh true',
    'push to 127.0.0.1 false',
    'push to 127.0.0.1 true',
  ])
  expect(channels[3]?.why).toMatch(/ECONNREFUSED/)
  expect(office.letters[0]).toContain('Nothing is wrong.')
  expect(sink.received.find(({ url }) => url === '/carl')?.body).toContain('4711')
  expect(one.log.join('')).not.toContain('no_channel')
})

test('a damaged outbox costs what was damaged: the process starts, keeps a copy, tells it, and delivers the rest [watch-16]', async () => {
  const sink = kept(await httpSink())
  sink.status = 503
  const { paths, start } = await scene({ channels: [{ kind: 'push', url: `${sink.url}/t`, local: true }] })
  const first = await start()
  await until('a refused try', () => sink.received.some(({ body }) => body.includes('did not answer')))
  await first.kill()
  const bytes = readFileSync(paths.outbox)
  bytes.fill(1, 200 * 4096, 201 * 4096)
  writeFileSync(paths.outbox, bytes)
  sink.status = 200
  await start()
  await until('the rest', () => sink.received.filter(({ body }) => body.includes('did not answer')).length > 1)
  await until('the alert', () =>
    sink.received.some(({ body }) => body.includes('places for waiting messages were damaged')),
  )
  expect(readdirSync(paths.own).filter((name) => name.startsWith('outbox.corrupt-'))).toHaveLength(1)
})

/** Whether this user may mount: a disk that is really full needs one of its own. */
function mayMount(): boolean {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'wd-mount-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder], { stdio: 'ignore' })
    execFileSync('umount', [folder])
    return true
  } catch {
    return false
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

test.skipIf(!mayMount())(
  'T98: on a disk that is full to the last byte alerts are kept over kill -9 and delivered, and the file that fails is no reason to be silent',
  async () => {
    const sink = kept(await httpSink())
    sink.status = 503
    const { paths, start } = await scene(
      { channels: [{ kind: 'push', url: `${sink.url}/t`, local: true }] },
      {},
      (own) => {
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', own])
        mkdirSync(path.join(own, 'run'))
        return () => void execFileSync('umount', ['-l', own])
      },
    )
    for (let size = 65_536; size >= 1; size = Math.floor(size / 2)) {
      try {
        for (;;) appendFileSync(path.join(paths.own, 'filler'), Buffer.alloc(size))
      } catch {
        // Full at this size.
      }
    }
    const first = await start()
    await until('a refused try', () => sink.received.some(({ body }) => body.includes('did not answer')))
    await until('the file that fails', () => first.log.join('').includes('the alert file could not be written'))
    await first.kill()
    const before = sink.received.length
    sink.status = 200
    await start()
    const again = await until('the delivery', () =>
      sink.received.slice(before).find(({ body }) => body.includes('did not answer')),
    )
    expect(again.headers['hub-delivery'], 'the same id').toBe(sink.received[0]?.headers['hub-delivery'])
  },
)

test('with no channel but the file the start says so loudly, and the status keeps saying it [alert-24]', async () => {
  const { start, ask } = await scene({})
  const { log } = await start()
  await until('the warning', () => log.join('').includes('nobody is told'))
  const { alerting } = (await ask('GET', '/v1/status')) as { alerting: { lacks: object[] } }
  expect(alerting.lacks).toContainEqual(expect.objectContaining({ name: 'no_channel', ok: false }))
})
