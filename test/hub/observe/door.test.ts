/** The listener of metrics (S0-12): who may ask, who cannot hold it up, and a port that somebody else has. */
import { connect, createServer, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { createLog } from '../../../hub/base/telemetry.ts'
import { createMetricsDoor, type MetricsDoor } from '../../../hub/observe/door.ts'
import { createFakeClock } from '../../support/fake-clock.ts'
import { freePort } from '../../support/free-port.ts'
import { send } from '../../support/plain-http.ts'

/** More than the buffers of both ends of a connection hold. */
const LARGE = 'x'.repeat(32 * 1024 ** 2)
const left: (() => unknown)[] = []
afterEach(async () => {
  for (const end of left.splice(0).reverse()) await end()
})

async function open(body: string, port?: number) {
  const clock = createFakeClock()
  const said: { msg: string; reason?: string }[] = []
  const door = createMetricsDoor(
    { port: port ?? (await freePort()) },
    {
      clock,
      log: createLog('info', { write: (line) => void said.push(JSON.parse(line)) }),
      healthz: () => ({ status: 200, body: { mode: 'normal' } }),
      text: async () => ({ type: 'text/plain; version=0.0.4; charset=utf-8', body }),
    },
  )
  await door.open()
  left.push(door.close)
  const get = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    send(door.port, { method, path, headers: { host: `127.0.0.1:${door.port}`, ...headers } })
  return { door, clock, said, get }
}

/** Asks, and never reads a byte of the answer. */
function deafReader({ port }: MetricsDoor): Promise<Socket> {
  return new Promise((resolve) => {
    const socket: Socket = connect({ port, host: '127.0.0.1' }, () => {
      socket.pause()
      socket.write(`GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`, () => resolve(socket))
    })
    socket.on('error', () => undefined)
    left.push(() => socket.destroy())
  })
}

test('S0-12: it serves its text and health, to GET and to this machine alone (T33, T34)', async () => {
  const { get } = await open('hub_up 1\n')
  const answer = await get('/metrics')
  expect([answer.status, answer.text, answer.headers['content-type']]).toEqual([
    200,
    'hub_up 1\n',
    'text/plain; version=0.0.4; charset=utf-8',
  ])
  expect((await get('/healthz')).status).toBe(200)
  for (const path of ['/', '/v1/tasks', '/console', '/stop', '/metrics/', '/metricss'])
    expect((await get(path)).status, path).toBeGreaterThanOrEqual(400)
  for (const method of ['POST', 'PUT', 'DELETE'])
    expect((await get('/metrics', {}, method)).status, method).toBeGreaterThanOrEqual(400)
  expect((await get('/metrics', { host: 'evil.example' })).status).toBe(403)
  expect((await get('/metrics', { origin: 'https://evil.example' })).status).toBe(403)
})

test('S0-12: readers that never read hold nobody up, and lose their connection after ten seconds (T32)', async () => {
  const { door, clock, get } = await open(LARGE)
  const deaf = await Promise.all(Array.from({ length: 12 }, () => deafReader(door)))
  // More of them than there are places: one who reads is still served, whole.
  expect((await get('/metrics')).text).toHaveLength(LARGE.length)
  const ended = Promise.all(deaf.map((socket) => new Promise((done) => socket.once('close', done))))
  await clock.advance(10_001)
  for (const socket of deaf) socket.resume()
  await ended
  // None of those who read nothing for so long got all of it.
  for (const { bytesRead } of deaf) expect(bytesRead).toBeLessThan(LARGE.length)
})

test('S0-12: a port that another program has keeps nothing from starting; it is said once, and taken when it is free', async () => {
  const port = await freePort()
  const other = createServer().listen({ host: '127.0.0.1', port })
  await new Promise((done) => other.once('listening', done))
  left.push(() => other.close())
  const { door, said, get } = await open('hub_up 1\n', port)
  await door.open()
  expect(door.isOpen()).toBe(false)
  expect(said.map(({ reason }) => reason)).toEqual([`port ${port} is in use`])
  expect(said[0]?.msg).toContain('metrics.port in hub.yaml')
  await new Promise((done) => other.close(done))
  await door.open()
  expect([door.isOpen(), (await get('/metrics')).status]).toEqual([true, 200])
  expect(said.map(({ msg }) => msg)[1]).toContain('served again')
})

test('S0-12: switched off, nothing listens', async () => {
  const { door } = await open('', 0)
  expect(door.isOpen()).toBe(false)
})
