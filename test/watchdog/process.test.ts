/** The real process with short spans: real sockets, real state, a small server standing for the hub and one for the engine. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { deadlinesShape } from '../../hub/protocol/views-guard.ts'
import { openState } from '../../watchdog/act/state-file.ts'
import { createSystemClock } from '../../watchdog/base/clock.ts'
import { macHex } from '../../watchdog/base/digest.ts'
import { pathsOf } from '../../watchdog/base/home.ts'
import { exchange } from '../../watchdog/base/wire.ts'
import { createEmptyEngine } from '../support/empty-engine.ts'
import { freePort } from '../support/free-port.ts'
import { INSTANCE, KEY, makeHome, ZEROS } from '../support/watchdog-home.ts'

const MAIN = path.join(import.meta.dirname, '../../watchdog/main.ts')
const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close()
})

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

interface Leased {
  epoch: number
  counter: number
  demand: string
  heartbeatAgeMs: number
  deadlineInMs: number
  conditions: string[]
}

async function scene(spans: object) {
  const port = await freePort()
  const home = makeHome()
  const paths = pathsOf(home.home)
  const engineSocket = path.join(home.home, 'engine.sock')
  writeFileSync(
    path.join(paths.own, 'config.json'),
    JSON.stringify({ port, engineSocket, intervalMs: 60, startGraceMs: 0, ...spans }),
  )
  const leases: Leased[] = []
  const engine = createEmptyEngine()
  await new Promise<void>((resolve) => engine.listen(engineSocket, resolve))
  const openHub = async () => {
    const hub = http.createServer((request, response) => {
      request.on('data', (part: Buffer) => {
        const lease = JSON.parse(part.toString()) as Leased
        // The word to stop is no lease, and has no conditions.
        if (request.url === '/v1/lease') leases.push(lease)
        const body = JSON.stringify({
          version: 1,
          instance: INSTANCE,
          epoch: lease.epoch,
          counter: lease.counter,
          mode: 'normal',
          conditions: [],
          dispatched: 0,
          queued: 0,
          auditSize: 0,
          auditHead: ZEROS,
          bufferSize: 0,
          bufferHead: null,
          checkpoints: [],
          sessions: [],
          announced: null,
        })
        response.setHeader('hub-mac', macHex(KEY, 'hub-lease-answer-v1', body))
        response.end(body)
      })
    })
    await new Promise<void>((resolve) => hub.listen(paths.hubSocket, resolve))
    return () => new Promise((resolve) => hub.close(resolve))
  }
  const children: ChildProcess[] = []
  closers.push(() => {
    for (const child of children) child.kill('SIGKILL')
    engine.close()
    home.remove()
  })
  const run = (...words: string[]) =>
    new Promise<{ code: number; err: string }>((resolve) => {
      execFile(process.execPath, [MAIN, '--home', home.home, ...words], { timeout: 120_000 }, (error, _out, err) =>
        resolve({ code: Number(error?.code ?? 0), err }),
      )
    })
  const start = async () => {
    const child = spawn(process.execPath, [MAIN, '--home', home.home], { stdio: ['ignore', 'pipe', 'ignore'] })
    children.push(child)
    const line = await new Promise<string>((resolve) => child.stdout.once('data', (part) => resolve(String(part))))
    expect(JSON.parse(line)).toEqual({ ready: true, socket: paths.socket, port })
    return child
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
  const told = () =>
    (existsSync(paths.alerts)
      ? readFileSync(paths.alerts, 'utf8')
          .split('\n')
          .filter((one) => one.endsWith('}'))
          .map((one) => JSON.parse(one) as { event: string; finding: string })
      : []
    ).map((one) => `${one.event} ${one.finding}`)
  return { paths, port, leases, openHub, run, start, ask, told }
}
const ended = (child: ChildProcess) =>
  new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)))

test('from init to exit: refuses without a state, leases with the first heartbeat, one alert for a dead hub over its own kill -9, ends with 0 [cond-29, presence-1]', async () => {
  const { paths, port, leases, openHub, run, start, ask, told } = await scene({})
  expect(await run()).toMatchObject({ code: 1, err: expect.stringContaining('hub init') })
  expect((await run('--init')).code).toBe(0)
  expect(await run('--init')).toMatchObject({ code: 1, err: expect.stringContaining('initialised') })
  expect(await run('--inti')).toMatchObject({ code: 1, err: expect.stringContaining('unknown argument --inti') })

  const closeHub = await openHub()
  const first = await start()
  await until('three leases', () => leases.length >= 3)
  // The first heartbeat is of the init: the first lease has nearly all of its time left.
  expect(leases[0]?.heartbeatAgeMs).toBeLessThan(60_000)
  expect(leases[0]?.deadlineInMs).toBeGreaterThan(25 * 3_600_000)
  expect(leases[1]).toMatchObject({ counter: 2, epoch: leases[0]?.epoch, demand: 'normal' })
  // Rounds are 60 ms apart here: on a loaded machine one may be late.
  await until('health', async () => (await fetch(`http://127.0.0.1:${port}/healthz`)).status === 200)
  expect((await fetch(`http://127.0.0.1:${port}/v1/shutdown`, { method: 'POST' })).status).toBe(404)
  expect(await run()).toMatchObject({ code: 1, err: expect.stringContaining('already running') })
  const status = await ask('GET', '/v1/status')
  expect(status).toMatchObject({ hub: { answering: true }, engine: 'ok', demand: 'normal' })
  // The hub passes this part on as its own answer, in the shape that its clients read it by.
  expect(deadlinesShape.safeParse(status.heartbeat).error?.issues).toBeUndefined()

  await closeHub()
  await until('the alert', () => told().includes('raised hub_health'))
  // The round that told of it also remembers it, at its end: killed in between, it would rightly tell again.
  const rounds = async () => (await ask('GET', '/v1/status')).rounds as number
  const then = await rounds()
  await until('the round to be over', async () => (await rounds()) > then + 1)
  first.kill('SIGKILL')
  await ended(first)
  const second = await start()
  await until('rounds without the hub', async () => ((await ask('GET', '/v1/status')).rounds as number) > 5)
  await openHub().then((close) => closers.push(() => void close()))
  await until('the all-clear', () => told().includes('resolved hub_health'))
  expect(told().filter((one) => one.endsWith('hub_health'))).toEqual(['raised hub_health', 'resolved hub_health'])
  expect(leases.at(-1)?.epoch).toBe((leases[0]?.epoch ?? 0) + 1)

  const over = ended(second)
  expect(await ask('POST', '/v1/exit')).toEqual({ exiting: true })
  expect(await over).toBe(0)
  expect([existsSync(paths.pid), existsSync(paths.socket)]).toEqual([false, false])
})

test('T95, T97: a passed deadline demands safe within a round, sticks over kill -9, and one heartbeat at the door ends it [cond-28, presence-9, time-7]', async () => {
  const { leases, openHub, run, start, ask } = await scene({
    remindFirstMs: 1_500,
    remindLastMs: 2_000,
    missedMs: 3_000,
    missedGraceMs: 1_000,
  })
  await run('--init')
  await ask('GET', '/v1/status').catch(() => {})
  const close = await openHub()
  closers.push(() => void close())
  const first = await start()
  // Normal for four seconds: whoever looks late still finds it among the leases.
  const isNormalSince = (from: number) => leases.slice(from).some(({ demand }) => demand === 'normal')
  const begun = leases.length
  await ask('POST', '/v1/heartbeat', { source: 'cli' })
  await until('a normal lease', () => isNormalSince(begun))
  await until('safe mode', () => leases.at(-1)?.demand === 'safe')
  first.kill('SIGKILL')
  await ended(first)
  leases.length = 0
  await start()
  const again = await until('a lease of the second start', () => leases[0])
  expect(again).toMatchObject({ demand: 'safe', conditions: ['heartbeat_missed'] })
  await ask('POST', '/v1/heartbeat', { source: 'webhook' })
  const count = leases.length
  await until('leases after the weak one', () => leases.length > count + 2)
  expect(leases.at(-1)?.demand).toBe('safe')
  const missed = leases.length
  expect(await ask('POST', '/v1/heartbeat', { source: 'cli' })).toMatchObject({ dueInMs: 3_000 })
  await until('normal again', () => isNormalSince(missed))
})

test('a state corrupt in both slots starts safe, says so, and keeps a copy [watch-11]', async () => {
  const { paths, leases, openHub, run, start, ask, told } = await scene({})
  await run('--init')
  writeFileSync(paths.state, Buffer.alloc(8192, 1))
  const close = await openHub()
  closers.push(() => void close())
  await start()
  expect(await until('a lease', () => leases[0])).toMatchObject({ demand: 'safe', conditions: ['heartbeat_missed'] })
  await until('the alert', () => told().includes('raised state_lost'))
  await ask('POST', '/v1/heartbeat')
  await until('normal', () => leases.at(-1)?.demand === 'normal')
  await until('the all-clear', () => told().includes('resolved state_lost'))
})

test('`hub down`: announced, hub gone, exit: the last look pauses the presence clock, and days later nobody is alarmed [stop-14]', async () => {
  const { paths, run, start, ask, told, leases, openHub } = await scene({ intervalMs: 60_000 })
  await run('--init')
  const closeHub = await openHub()
  const child = await start()
  await until('a lease', () => leases[0])
  await ask('POST', '/v1/announce', { kind: 'down', forMs: 300_000 })
  await closeHub()
  const over = ended(child)
  await ask('POST', '/v1/exit')
  expect(await over).toBe(0)
  const file = openState(paths.state, 1)
  file.close()
  expect(file.found).toMatchObject({ announced: { kind: 'down', away: true }, presence: { paused: true } })
  expect(told()).toEqual([])
})

test('T95, T97: an absence that nobody ends, over kill -9 at each step: safe mode, the stop, and only `hub up` and then a heartbeat end it [cond-17, away-9, stop-26]', async () => {
  const { leases, openHub, run, start, ask, told } = await scene({
    missedGraceMs: 300,
    safeRemindFirstMs: 100,
    safeRemindLastMs: 200,
    unattendedMs: 600,
    hubStopMs: 200,
  })
  await run('--init')
  const close = await openHub()
  closers.push(() => void close())
  let child = await start()
  const killed = async () => {
    child.kill('SIGKILL')
    await ended(child)
    leases.length = 0
    child = await start()
    return await until('a lease of the next start', () => leases[0])
  }
  await until('a normal lease', () => leases.at(-1)?.demand === 'normal')
  const far = Date.now() + 22 * 86_400_000
  expect(await ask('POST', '/v1/away', { untilMs: far })).toMatchObject({ error: expect.stringContaining('21 days') })
  expect(await ask('POST', '/v1/away', { untilMs: Date.now() + 8_000 })).toMatchObject({ conditions: ['away'] })
  // On a slow machine its end may pass while nobody runs.
  expect(['away', 'heartbeat_missed']).toContain((await killed()).conditions[0])
  await until('safe mode', () => leases.at(-1)?.conditions.includes('heartbeat_missed'))
  expect(
    leases.every(({ demand }) => demand === 'safe'),
    'without a gap between',
  ).toBe(true)
  await until('the stop', () => leases.at(-1)?.conditions.includes('unattended_stop'))
  await until('its report', () => told().includes('raised unattended_stop'))
  // The round that told of it also remembers it, at its end: killed in between, it would rightly tell again.
  const rounds = async () => (await ask('GET', '/v1/status')).rounds as number
  const then = await rounds()
  await until('the round to be over', async () => (await rounds()) > then + 1)
  expect((await killed()).conditions).toEqual(['heartbeat_missed', 'unattended_stop'])

  expect(await ask('POST', '/v1/heartbeat')).toMatchObject({
    conditions: ['unattended_stop'],
    text: expect.stringContaining('hub up, then hub heartbeat'),
  })
  expect(await ask('POST', '/v1/up')).toEqual({ conditions: ['unattended_stop'] })
  expect((await killed()).conditions).toEqual(['unattended_stop'])
  expect(await ask('POST', '/v1/heartbeat')).toMatchObject({
    conditions: [],
    text: expect.stringMatching(/^next due /),
  })
  await until('normal again', () => leases.at(-1)?.demand === 'normal')
  await until('its all-clear', () => told().includes('resolved unattended_stop'))
  expect(told().filter((one) => one.endsWith('unattended_stop'))).toEqual([
    'raised unattended_stop',
    'resolved unattended_stop',
  ])
})
