/** An agent's socket at the level of bytes and connections: T24, T31, T32, T39, and openings that are counted like requests (T65). */
import { join } from 'node:path'
import { setTimeout as realMs } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createHarness, type Harness, puppet } from '../../../support/hub-harness.ts'
import { CHUNKS, hold, SMUGGLING, talk } from '../../../support/raw-wire.ts'

const agents = { one: { script: puppet } }
const config = { limits: { messages: { perSecond: 50_000 } } }
const recordsOf = (h: Harness, session: string) => h.audit().filter(({ principal }) => principal.includes(session))

test('T24: one spelling of the content type, whatever the signature says, and each refusal is one record', async () => {
  await using h = await createHarness({ agents, config })
  const [one] = await h.bring('one')
  const types = [
    '',
    'text/plain',
    'Application/JSON',
    'application/json;charset=utf-8',
    'application/json; charset=utf-8',
    'application/json,',
    'application/jsonx',
    'application/octet-stream',
  ]
  for (const type of types) {
    const before = recordsOf(h, one.session).length
    const body = { id: one.newId(), kind: 'log', body: { text: 'x' } }
    const { status } = await h.pumped(
      one.ask({ method: 'POST', path: '/v1/send', body, headers: { 'content-type': type } }),
    )
    expect(status, type).toBe(400)
    expect(recordsOf(h, one.session).length - before, type).toBe(1)
  }
  const doubled = `POST /v1/send HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}`
  expect((await h.pumped(talk({ path: one.socketPath }, doubled))).text).toContain('content-type must be exactly')
})

test('T31: bytes that two readers would read differently end the connection and reach nothing', async () => {
  await using h = await createHarness({ agents, config })
  const [one] = await h.bring('one')
  const path = { path: one.socketPath }
  const line = 'POST /v1/send HTTP/1.1\r\nHost: hub\r\nContent-Type: application/json\r\n'
  const next = 'GET /v1/artifacts HTTP/1.1\r\nHost: hub\r\n\r\n'
  const wire = [
    ...SMUGGLING.map((headers) => Buffer.from(`${line}${headers}\r\n{}${next}`, 'latin1')),
    ...CHUNKS.map((body) => Buffer.from(`${line}Transfer-Encoding: chunked\r\n\r\n${body}${next}`)),
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    Buffer.from(`CONNECT hub:1 HTTP/1.1\r\nHost: hub\r\n\r\n`),
    Buffer.from([0x16, 0x03, 0x01]),
  ]
  for (const bytes of wire) {
    const before = recordsOf(h, one.session).length
    const { statuses, closed } = await h.pumped(talk(path, bytes))
    const what = JSON.stringify(bytes.toString('latin1').slice(0, 200))
    expect(closed, what).toBe(true)
    expect(
      statuses.filter((status) => status < 400),
      what,
    ).toEqual([])
    expect(recordsOf(h, one.session).length - before, what).toBeLessThanOrEqual(1)
  }
  const big = `GET /v1/artifacts HTTP/1.1\r\nHost: hub\r\n${`X-Big: ${'a'.repeat(1000)}\r\n`.repeat(64)}\r\n`
  expect(await h.pumped(talk(path, big))).toMatchObject({ statuses: [431], closed: true })
})

test.each(['', ' HTTP/0.9', ' HTTP/2.0'])(
  'fault F18: a request line that ends in %j is refused, and opens no line',
  async (version) => {
    await using h = await createHarness({ agents, config })
    const [one] = await h.bring('one')
    const headers = 'Host: hub\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}'
    const { statuses } = await h.pumped(talk({ path: one.socketPath }, `POST /v1/send${version}\r\n${headers}`, 250))
    expect(statuses.filter((status) => status !== 400)).toEqual([])
    expect(recordsOf(h, one.session).at(-1)?.reason ?? '').toMatch(version === '' ? /./ : /use HTTP\/1.1/)
    const upgrade =
      'Host: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n'
    const opened = await h.pumped(talk({ path: one.socketPath }, `GET /v1/session${version}\r\n${upgrade}`, 250))
    expect(opened.text).not.toContain('101 Switching')
  },
)

test('T32: the tenth connection is refused while the first four go on', async () => {
  await using h = await createHarness({ agents, config })
  const [one] = await h.bring('one')
  const get = 'GET /v1/artifacts HTTP/1.1\r\nHost: hub\r\n\r\n'
  const held = [0, 1, 2, 3].map(() => hold({ path: one.socketPath }, get))
  await h.until(() => held.every(({ heard }) => heard().includes('401')))
  for (let at = 5; at <= 10; at += 1)
    expect(await h.pumped(talk({ path: one.socketPath }, get))).toEqual({ text: '', statuses: [], closed: true })
  for (const { socket } of held) socket.write(get)
  await h.until(() => held.every(({ heard }) => heard().match(/HTTP\/1\.1 401/g)?.length === 2))
  for (const { end } of held) end()
  // There is room again as soon as the hub has seen them go.
  const answer = () => h.pumped(one.ask({ method: 'GET', path: '/v1/artifacts' })).then(({ status }) => status, String)
  await expect.poll(answer).toBe(200)
})

test('fault F11: of thousands of pipelined requests a session is served its rate and 64 beyond it, then rests, and others are served', async () => {
  await using h = await createHarness({
    agents: { ...agents, two: { script: puppet } },
    config: { limits: { messages: { perSecond: 20 } } },
  })
  const [one, two] = await h.bring('one', 'two')
  const get = 'GET /v1/artifacts HTTP/1.1\r\nHost: hub\r\n\r\n'
  const held = [0, 1, 2].map(() => hold({ path: one.socketPath }, get.repeat(3000)))
  const answers = () => held.map(({ heard }) => heard().match(/HTTP\/1\.1 \d+/g)?.length ?? 0)
  const sum = () => answers().reduce((all, each) => all + each, 0)
  while (sum() < 40 + 64) await realMs(1)
  await realMs(100)
  // The hub's clock stands still: a burst of two seconds, and what is refused until it rests.
  expect(sum()).toBe(40 + 64)
  expect((await h.pumped(two.ask({ method: 'GET', path: '/v1/artifacts' }))).status).toBe(200)
  await h.clock.advance(250)
  await h.until(() => sum() >= 40 + 64 + 64)
  for (const { end } of held) end()
})

test('an upgrade elsewhere, or too many of them, is refused and recorded, a flood once (T22, T65)', async () => {
  await using h = await createHarness({ agents, config: { limits: { messages: { perSecond: 20 } } } })
  const [one] = await h.bring('one')
  const upgrade = (path: string) =>
    `GET ${path} HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`
  const before = recordsOf(h, one.session).length
  expect(await h.pumped(talk({ path: one.socketPath }, upgrade('/v1/tasks')))).toMatchObject({ text: '', closed: true })
  const [record] = recordsOf(h, one.session).slice(before)
  expect(record).toMatchObject({ action: 'session.opened', outcome: 'refused' })
  expect(record?.reason).toContain('unknown_operation')
  let refused = 0
  for (let at = 0; at < 100; at += 1) {
    const { socket, heard, end } = hold({ path: one.socketPath }, upgrade('/v1/session'))
    while (heard() === '' && !socket.destroyed) await realMs(1)
    if (heard() === '') refused += 1
    end()
  }
  // The hub's clock stands still, so that no quota grows back.
  expect(refused).toBeGreaterThanOrEqual(50)
  expect(recordsOf(h, one.session).filter(({ reason }) => reason.startsWith('rate_limited'))).toHaveLength(1)
})

test('T39: a fault while an agent is served shows nothing of itself, and is recorded as failed', async () => {
  await using h = await createHarness({ agents, config })
  const [one] = await h.bring('one')
  const { artifacts } = h.hub.work.catalogue
  artifacts.list = () => {
    throw new Error(`canary-77 in ${join(h.home, 'keys')}`)
  }
  const { status, body } = await h.pumped(one.ask({ method: 'GET', path: '/v1/artifacts' }))
  expect([status, body.code]).toEqual([500, 'internal'])
  expect(JSON.stringify(body)).not.toMatch(/canary|keys|\.ts|stack| at /)
  expect(recordsOf(h, one.session).at(-1)).toMatchObject({ outcome: 'failed' })
  expect(h.complaints.some(({ reason }) => reason?.includes('canary-77'))).toBe(true)
})
