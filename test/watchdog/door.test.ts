/** The doors over real sockets; the watch behind them is a real one over a fake engine. */
import { randomBytes } from 'node:crypto'
import { linkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { createSystemClock } from '../../watchdog/base/clock.ts'
import { pathsOf } from '../../watchdog/base/home.ts'
import { exchange } from '../../watchdog/base/wire.ts'
import { parseConfig } from '../../watchdog/config/config.ts'
import { openContactEntrance } from '../../watchdog/door/contact.ts'
import { answerHealth, freeSocket, openDoors } from '../../watchdog/door/door.ts'
import { ROUTES } from '../../watchdog/door/routes.ts'
import type { AlertTest } from '../../watchdog/tell/alert-test.ts'
import type { Watch } from '../../watchdog/watch/watch.ts'
import { createFakeEngine, makeHome } from '../support/watchdog-home.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

const ANSWER = {
  acceptedAtMs: 1,
  dueAtMs: 2,
  dueInMs: 1,
  safeAtMs: 3,
  stopAtMs: 4,
  zone: 'UTC',
  conditions: [],
  text: 'next due soon',
}

async function doors(over: Partial<Watch> = {}) {
  const home = makeHome()
  const { socket } = pathsOf(home.home)
  const heard: string[] = []
  const alertTest: AlertTest = async (request) => {
    heard.push(`alert-test ${JSON.stringify(request)}`)
    return request.kind === 'rehearsal' ? 'it is not day for Carl' : { channels: [] }
  }
  const watch: Watch = {
    round: async () => false,
    renew: async () => undefined,
    heartbeat(strong, { source, note }) {
      heard.push(`${strong ? 'strong' : 'weak'} ${source} ${note}`.trim())
      return ANSWER
    },
    away(request, { source, note }) {
      heard.push(`away ${JSON.stringify(request)} ${source} ${note}`.trim())
      return request.untilMs === 7 ? 'until is too far' : ANSWER
    },
    back: ({ source }) => {
      heard.push(`back ${source}`)
      return ANSWER
    },
    up: () => {
      heard.push('up')
      return { conditions: ['unattended_stop'] }
    },
    announce: (kind, forMs, by) => void heard.push(`${kind} ${forMs}${by === undefined ? '' : ` by ${by}`}`),
    async shutdown(reason, by) {
      heard.push(`shutdown ${reason} by ${by}`)
      return { path: 'hub', requested: 0, containers: [] }
    },
    async drill(session) {
      heard.push(`drill ${session}`)
      return { path: 'watchdog', requested: 1, containers: [] }
    },
    resume() {
      heard.push('resume')
      return { ended: true, stopId: 5 }
    },
    witness(shown) {
      heard.push(`witness ${shown.auditSize}`)
      return shown.auditSize === 1 ? 'mismatch' : 'accepted'
    },
    acceptHead: (head) => head === 'good',
    status: () => ({ version: 1 }),
    roundAgeMs: () => 0,
    ...over,
  }
  const { side, stop } = openContactEntrance(
    { paths: pathsOf(home.home), config: parseConfig({ port: 0 }), instance: 'i' },
    {
      clock: createSystemClock(),
      engine: createFakeEngine(),
      watch,
      log: { info: () => {}, warn: () => {} },
      random: randomBytes,
    },
  )
  const opened = await openDoors(
    { socket, port: 0, staleMs: 1000 },
    {
      watch,
      alertTest,
      wake: () => void heard.push('wake'),
      exit: () => void heard.push('exit'),
      contact: side,
      stop,
    },
  )
  closers.push(() => {
    opened.close()
    home.remove()
  })
  const ask = async (method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown) => {
    const text = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }
    const reply = await exchange(createSystemClock(), {
      socketPath: socket,
      method,
      path,
      ...text,
      deadlineMs: 60_000,
      bytesMax: 1e6,
    })
    return { status: reply.status, body: JSON.parse(reply.body.toString()) as Record<string, unknown> }
  }
  return { ask, heard, socket }
}

test('the routes of the socket are these and no others', () => {
  expect(Object.keys(ROUTES)).toEqual([
    'GET /v1/status',
    'POST /v1/heartbeat',
    'POST /v1/away',
    'POST /v1/back',
    'POST /v1/up',
    'POST /v1/announce',
    'POST /v1/shutdown',
    'POST /v1/resume',
    'POST /v1/witness',
    'POST /v1/accept-head',
    'POST /v1/alert-test',
    'POST /v1/look',
    'POST /v1/contact',
    'POST /v1/exit',
  ])
})

test('T92: the socket is 0600', async () => {
  const { socket } = await doors()
  expect(statSync(socket).mode & 0o777).toBe(0o600)
})

test('a heartbeat is strong from cli, api, console and device, weak from a webhook, and wakes the next round [presence-8, time-19]', async () => {
  const { ask, heard } = await doors()
  expect(await ask('POST', '/v1/heartbeat')).toEqual({
    status: 200,
    body: ANSWER,
  })
  for (const source of ['cli', 'api', 'console', 'device', 'webhook'])
    await ask('POST', '/v1/heartbeat', { note: 'n', source })
  expect(heard.filter((one) => one !== 'wake')).toEqual([
    'strong cli',
    'strong cli n',
    'strong api n',
    'strong console n',
    'strong device n',
    'weak webhook n',
  ])
  expect(heard).toContain('wake')
})

test('a heartbeat the disk did not take is answered 503 and not as accepted [presence-19, watch-12]', async () => {
  const { ask } = await doors({
    heartbeat() {
      throw new Error('EIO')
    },
  })
  expect(await ask('POST', '/v1/heartbeat')).toEqual({ status: 503, body: { error: 'not accepted: EIO' } })
})

test('away and back are strong words with their source; a refusal is 409 and says why; a webhook may say neither [presence-13, away-5]', async () => {
  const { ask, heard } = await doors()
  expect(await ask('POST', '/v1/away', { untilMs: 5, note: 'sea', source: 'console' })).toEqual({
    status: 200,
    body: ANSWER,
  })
  expect(await ask('POST', '/v1/away', { untilMs: 7, keepWorking: true })).toEqual({
    status: 409,
    body: { error: 'until is too far' },
  })
  expect((await ask('POST', '/v1/back', { source: 'device' })).status).toBe(200)
  expect((await ask('POST', '/v1/up')).body).toEqual({ conditions: ['unattended_stop'] })
  for (const path of ['/v1/away', '/v1/back'])
    expect((await ask('POST', path, { untilMs: 5, source: 'webhook' })).status, path).toBe(400)
  expect(heard).toEqual([
    'away {"untilMs":5,"keepWorking":false} console sea',
    'wake',
    'away {"untilMs":7,"keepWorking":true} cli',
    'back device',
    'wake',
    'up',
  ])
})

test('announce, shutdown, accept-head and exit do what they say', async () => {
  const { ask, heard } = await doors()
  expect((await ask('POST', '/v1/announce', { kind: 'restart', forMs: 60_000 })).status).toBe(200)
  expect((await ask('POST', '/v1/shutdown', { reason: 'r' })).body).toEqual({
    path: 'hub',
    requested: 0,
    containers: [],
  })
  expect((await ask('POST', '/v1/accept-head', { head: 'good' })).status).toBe(200)
  expect((await ask('POST', '/v1/accept-head', { head: 'bad' })).status).toBe(400)
  expect((await ask('POST', '/v1/exit')).status).toBe(200)
  expect(heard).toEqual(expect.arrayContaining(['restart 60000', 'shutdown r by operator', 'exit']))
})

test('T97: a stop says by whom, an announced one too, and only resume ends what the contact began', async () => {
  const { ask, heard } = await doors()
  await ask('POST', '/v1/shutdown', { reason: 'r', by: 'contact' })
  await ask('POST', '/v1/announce', { kind: 'shutdown', forMs: 1, by: 'emergency' })
  expect(await ask('POST', '/v1/resume')).toEqual({ status: 200, body: { ended: true, stopId: 5 } })
  expect(heard).toEqual(['shutdown r by contact', 'wake', 'shutdown 1 by emergency', 'wake', 'resume', 'wake'])
})

test('the last head of a hub is taken in its shape only, and a mismatch is said', async () => {
  const { ask, heard } = await doors()
  const shown = { auditSize: 2, auditHead: 'a', checkpoints: [] }
  expect(await ask('POST', '/v1/witness', shown)).toEqual({ status: 200, body: { witness: 'accepted' } })
  expect((await ask('POST', '/v1/witness', { ...shown, auditSize: 1 })).status).toBe(409)
  expect(heard).toEqual(['witness 2', 'witness 1', 'wake'])
})

test('a drill names one session, or nothing is done', async () => {
  const { ask, heard } = await doors()
  expect((await ask('POST', '/v1/shutdown', { by: 'drill', session: 'saaaaaaaaaaaaaaa' })).status).toBe(200)
  for (const session of [undefined, '', 'all', 's', 'SAAAAAAAAAAAAAAA'])
    expect((await ask('POST', '/v1/shutdown', { by: 'drill', session })).status).toBe(400)
  expect((await ask('POST', '/v1/shutdown', { by: 'operator', session: 'saaaaaaaaaaaaaaa' })).status).toBe(400)
  expect(heard).toEqual(['drill saaaaaaaaaaaaaaa'])
})

test.each([
  ['POST', '/v1/witness', { auditSize: -1, auditHead: '', checkpoints: [] }, /auditSize must be a count/],
  ['POST', '/v1/witness', { auditSize: 1, auditHead: '', checkpoints: [{}] }, /list of signed checkpoints/],
  ['POST', '/v1/shutdown', { by: 'agent' }, /by must be one of operator, contact, emergency/],
  ['POST', '/v1/shutdown', { by: 'unattended' }, /by must be one of/],
  ['POST', '/v1/announce', { kind: 'shutdown', forMs: 1, by: 'toString' }, /by must be one of/],
  ['POST', '/v1/resume', { by: 'contact' }, /by is not a known field/],
  ['POST', '/v1/heartbeat', { source: 'agent' }, /source must be one of/],
  ['POST', '/v1/heartbeat', { source: 'toString' }, /source must be one of/],
  ['POST', '/v1/heartbeat', { sorce: 'cli' }, /sorce is not a known field/],
  ['POST', '/v1/heartbeat', '{', /not JSON/],
  ['POST', '/v1/heartbeat', '[]', /must be an object/],
  ['POST', '/v1/heartbeat', { note: 'x'.repeat(5000) }, /larger than 4096/],
  // A caller's instant is never taken: a heartbeat is of now, or of nothing.
  ['POST', '/v1/heartbeat', { atMs: 9e12 }, /atMs is not a known field/],
  ['POST', '/v1/away', {}, /untilMs must be an instant/],
  ['POST', '/v1/away', { untilMs: 1.5 }, /untilMs must be an instant/],
  ['POST', '/v1/away', { untilMs: 5, keepWorking: 'yes' }, /keepWorking must be true or false/],
  ['POST', '/v1/away', { untilMs: 5, source: 'webhook' }, /a webhook may only give a heartbeat/],
  ['POST', '/v1/back', { untilMs: 5 }, /untilMs is not a known field/],
  ['POST', '/v1/alert-test', { who: 'everybody' }, /who must be one of/],
  ['POST', '/v1/alert-test', { kind: 'emergency' }, /kind must be one of/],
  ['POST', '/v1/alert-test', { code: 'a\nb' }, /code must have/],
  ['POST', '/v1/announce', { kind: 'forever', forMs: 1 }, /kind must be/],
  ['POST', '/v1/announce', { kind: 'down' }, /forMs must be/],
  ['POST', '/v1/announce', { kind: 'down', forMs: -1 }, /forMs must be/],
] as const)('%s %s with %j is refused by name and does nothing', async (method, path, body, message) => {
  const { ask, heard } = await doors()
  const said = await ask(method, path, body)
  expect(said.status).toBe(400)
  expect(said.body.error).toMatch(message)
  expect(heard).toEqual([])
})

test('alert-test asks for the test of every channel; what may not be now is a conflict with its reason', async () => {
  const { ask, heard } = await doors()
  expect(await ask('POST', '/v1/alert-test')).toEqual({ status: 200, body: { channels: [] } })
  await ask('POST', '/v1/alert-test', { who: 'contact', code: '47-11' })
  expect(await ask('POST', '/v1/alert-test', { who: 'contact', kind: 'rehearsal' })).toEqual({
    status: 409,
    body: { error: 'it is not day for Carl' },
  })
  expect(heard).toEqual([
    'alert-test {"who":"operator","kind":"test","code":""}',
    'alert-test {"who":"contact","kind":"test","code":"47-11"}',
    'alert-test {"who":"contact","kind":"rehearsal","code":""}',
  ])
})

test('GET never acts, and what is not in the table is 404', async () => {
  const { ask, heard } = await doors()
  for (const path of [
    '/v1/heartbeat',
    '/v1/away',
    '/v1/back',
    '/v1/up',
    '/v1/shutdown',
    '/v1/exit',
    '/v1/announce',
    '/v1/alert-test',
    '/stop/x',
    '/',
    '/toString',
  ]) {
    expect((await ask('GET', path)).status, path).toBe(404)
  }
  expect((await ask('DELETE', '/v1/status')).status).toBe(404)
  expect(heard).toEqual([])
})

test('health is 200 while rounds end in time, else 503, and answers only to loopback names [watch-21]', () => {
  const at = (ageMs: number | null, request: object = {}) =>
    answerHealth(
      { method: 'GET', url: '/healthz', host: '127.0.0.1:7301', ...request },
      { roundAgeMs: () => ageMs } as Watch,
      1000,
    ).status
  expect([at(null), at(1000), at(1001)]).toEqual([503, 200, 503])
  expect([at(0, { host: 'evil.example' }), at(0, { url: '/v1/status' }), at(0, { method: 'POST' })]).toEqual([
    421, 404, 404,
  ])
})

test('a dead socket is replaced; a living one and a plain file are not', async () => {
  const { socket } = await doors()
  await expect(freeSocket(socket)).rejects.toThrow(/already running/)
  const other = `${socket}2`
  writeFileSync(other, '')
  await expect(freeSocket(other)).rejects.toThrow(/not a socket/)
  rmSync(other)
  const server = net.createServer()
  await new Promise<void>((resolve) => server.listen(other, resolve))
  const dead = `${socket}3`
  // A socket file without a listener: a hard link outlives the server's own name.
  linkSync(other, dead)
  await new Promise((resolve) => server.close(resolve))
  await freeSocket(dead)
  expect(statSync(dead, { throwIfNoEntry: false })).toBeUndefined()
})
