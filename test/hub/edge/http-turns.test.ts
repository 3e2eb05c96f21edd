/** Requests of one connection, one at a time; whoever floods is read no further (fault F11, T65). Real sockets, a clock that is handed in. */
import { createServer, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { FLOODED_FRAMES_MAX, REST_MS } from '../../../hub/edge/brake.ts'
import { createTurns, type Pace } from '../../../hub/edge/http-turns.ts'
import { keepPlaces } from '../../../hub/edge/places.ts'
import { createFakeClock } from '../../support/fake-clock.ts'
import { hold } from '../../support/raw-wire.ts'

const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
const settle = async () => {
  for (let nth = 0; nth < 50; nth += 1) await turn()
}

async function started(pace?: Pace) {
  const clock = createFakeClock()
  const turns = createTurns(clock, pace)
  const served: string[] = []
  const bodies: string[] = []
  const open: { response: ServerResponse; socket: Socket }[] = []
  let parsed = 0
  const server = createServer((request, response) => {
    parsed += 1
    turns.take(request, response, async () => {
      served.push(request.url ?? '')
      open.push({ response, socket: request.socket })
      let body = ''
      for await (const chunk of request) body += chunk
      bodies.push(body)
    })
  })
  if (pace !== undefined) keepPlaces(server, 2, turns.isOverPace)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const connect = () => {
    const line = hold({ host: '127.0.0.1', port })
    ends.push(line.end)
    return line
  }
  ends.push(
    () => void server.close(),
    () => server.closeAllConnections(),
  )
  return {
    clock,
    turns,
    served,
    bodies,
    open,
    connect,
    parsed: () => parsed,
    answer: () => open.shift()?.response.end('ok'),
  }
}
const get = (nth: number | string) => `GET /${nth} HTTP/1.1\r\nHost: x\r\n\r\n`
const post = (nth: number, body: string) =>
  `POST /${nth} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`
const range = (count: number) => Array.from({ length: count }, (_, nth) => nth)
const until = async (check: () => boolean) => {
  for (const giveUpAt = performance.now() + 60_000; !check() && performance.now() < giveUpAt; ) await turn()
  expect(check()).toBe(true)
}

test('fault F11: of pipelined requests one is served at a time, in their order, and the socket is not read meanwhile', async () => {
  const { served, open, answer, connect, parsed } = await started()
  const line = connect()
  const all = 6000
  line.socket.write(range(all).map(get).join(''))
  await until(() => served.length === 1)
  await settle()
  // What one read brought, and no more of it.
  expect([served.length, open.length]).toEqual([1, 1])
  expect(parsed()).toBeLessThan(3000)
  const before = parsed()
  for (let nth = 0; nth < 100; nth += 1) {
    answer()
    await until(() => served.length === nth + 2)
  }
  expect(parsed()).toBe(before)
  // Another connection does not wait for it.
  const other = connect()
  other.socket.write(get('other'))
  await until(() => served.includes('/other'))
  other.end()
  await until(() => {
    answer()
    return served.length === all + 1
  })
  expect(served.filter((url) => url !== '/other')).toEqual(range(all).map((nth) => `/${nth}`))
})

test('fault F11: bodies reach the request they belong to, also one that is cut by a read', async () => {
  const { bodies, answer, connect } = await started()
  const line = connect()
  const texts = range(40).map((nth) => `${nth}:${'x'.repeat(5000)}`)
  line.socket.write(texts.map((text, nth) => post(nth, text)).join(''))
  await until(() => {
    answer()
    return bodies.length === texts.length
  })
  expect(bodies).toEqual(texts)
})

test('fault F11: 64 refusals for its rate cost all connections of a session a rest in which nothing of it is served', async () => {
  const { turns, served, answer, connect, clock } = await started()
  const [one, two] = [connect(), connect()]
  one.socket.write(range(2).map(get).join(''))
  await until(() => served.length === 1)
  for (let nth = 0; nth < FLOODED_FRAMES_MAX; nth += 1) turns.flooded()
  answer()
  two.socket.write(get('two'))
  await settle()
  expect(served).toEqual(['/0'])
  await clock.advance(REST_MS - 1)
  await settle()
  expect(served).toEqual(['/0'])
  await clock.advance(1)
  await until(() => served.length === 3)
})

test('fault F11: over the pace of a connection its requests wait, and each is served in the end', async () => {
  const { served, answer, connect, clock } = await started({ perSecond: 10 })
  connect().socket.write(range(40).map(get).join(''))
  /** Until so many are served, and then for a while in which no more may be. */
  const drain = async (count: number) => {
    await until(() => {
      answer()
      return served.length >= count
    })
    for (let nth = 0; nth < 100; nth += 1) {
      answer()
      await turn()
    }
  }
  await drain(20)
  // A burst of two seconds.
  expect(served.length).toBe(20)
  await clock.advance(1000)
  await drain(21)
  for (let step = 0; step < 25; step += 1) {
    await clock.advance(100)
    await drain(0)
  }
  await drain(40)
  expect(served.length).toBe(40)
})

test('fault F11: whoever takes every place and then asks faster than its pace makes room for a newcomer (I6)', async () => {
  const { served, answer, connect } = await started({ perSecond: 10 })
  const held = [connect(), connect()]
  for (const { socket } of held) socket.write(range(40).map(get).join(''))
  await until(() => {
    answer()
    return served.length === 40
  })
  // A burst of two seconds each, and no more.
  for (let nth = 0; nth < 100; nth += 1) {
    answer()
    await turn()
  }
  expect(served.length).toBe(40)
  connect().socket.write(get('newcomer'))
  await until(() => served.includes('/newcomer'))
  await until(() => held.some(({ socket }) => socket.destroyed))
})

test('what waits of a connection that has gone, or of a session that has ended, is never served', async () => {
  const { turns, served, open, answer, connect } = await started()
  const gone = connect()
  gone.socket.write(range(3).map(get).join(''))
  await until(() => served.length === 1)
  open[0]?.socket.destroy()
  await settle()
  expect(served).toEqual(['/0'])
  open.length = 0
  const ended = connect()
  ended.socket.write(range(3).map(get).join(''))
  await until(() => served.length === 2)
  turns.stop()
  answer()
  await settle()
  expect(served).toEqual(['/0', '/0'])
})
