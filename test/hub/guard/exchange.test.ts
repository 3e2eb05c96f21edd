/** The streaming exchange with an upstream, against real sockets (E2, E3, E11). */
import { once } from 'node:events'
import {
  createServer as createPlain,
  type Server as HttpServer,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import { createServer as createSecured } from 'node:https'
import { type AddressInfo, connect, createServer as createRaw, type Server, type Socket } from 'node:net'
import os from 'node:os'
import { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, it } from 'vitest'
import { createSystemClock } from '../../../hub/base/clock.ts'
import { placesOf, reachShape } from '../../../hub/edge/people/reach.ts'
import { whyNever } from '../../../hub/guard/outward/dial.ts'
import { createExchange, type Exchange, type Limits, type Outward } from '../../../hub/guard/outward/exchange.ts'
import type { Address } from '../../../hub/guard/outward/target.ts'
import { createFakeClock } from '../../support/fake-clock.ts'
import { RELAY_CERTIFICATE, RELAY_KEY } from '../../support/relay-certificate.ts'

const LIMITS: Limits = {
  connectMs: 10_000,
  firstByteMs: 60_000,
  idleMs: 120_000,
  totalMs: 1_800_000,
  bytesMax: 1 << 24,
}
const never = new AbortController().signal
const cleanups: (() => void)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup()
})

async function listening<S extends Server | HttpServer>(server: S, host = '127.0.0.1'): Promise<number> {
  const open = new Set<Socket>()
  server.on('connection', (socket: Socket) => open.add(socket).size)
  cleanups.push(() => {
    for (const socket of open) socket.destroy()
    server.close()
  })
  await new Promise<void>((resolve) => server.listen(0, host, () => resolve()))
  return (server.address() as AddressInfo).port
}

function exchangeTo(
  options: {
    addresses?: () => readonly Address[]
    clock?: ReturnType<typeof createFakeClock>
    own?: number[]
    ownPlaces?: Set<string>
  } = {},
): Exchange {
  const made = createExchange({
    clock: options.clock ?? createSystemClock(),
    resolve: async () => options.addresses?.() ?? [{ address: '127.0.0.1', family: 4 }],
    ownPorts: () => new Set(options.own ?? []),
    ownPlaces: () => options.ownPlaces ?? new Set(),
    ca: RELAY_CERTIFICATE,
  })
  cleanups.push(made.close)
  return made
}
const asking = (port: number, more: Partial<Outward> = {}): Outward => ({
  url: new URL(`http://upstream.test:${port}`),
  method: 'GET',
  target: '/v1/models',
  headers: [],
  local: true,
  body: undefined,
  limits: LIMITS,
  ...more,
})
async function whole(exchange: Exchange, asked: Outward, signal = never) {
  const answer = await exchange.open(asked, signal)
  const pieces: Buffer[] = []
  await answer.read((piece) => {
    pieces.push(piece)
    return undefined
  })
  return { status: answer.status, text: Buffer.concat(pieces).toString() }
}
const serving = (serve: (request: IncomingMessage, response: ServerResponse) => void) => listening(createPlain(serve))
/** A raw upstream: what it does with each connection. */
const speaking = (speak: (socket: Socket, n: number) => void) => {
  let n = 0
  return listening(
    createRaw((socket) => {
      socket.on('error', () => undefined)
      n += 1
      speak(socket, n)
    }),
  )
}
const until = async (isSo: () => boolean) => {
  for (let n = 0; n < 6000 && !isSo(); n += 1) await new Promise((resolve) => setTimeout(resolve, 10))
  expect(isSo()).toBe(true)
}

describe('addresses', () => {
  it('of this hub under the names of its tunnel or proxy are refused, wherever they lead [E3]', async () => {
    let came = 0
    const port = await serving((_request, response) => {
      came += 1
      response.end('the door of the operator')
    })
    const reach = reachShape.parse({
      publicUrl: `http://upstream.test:${port}`,
      hosts: ['hub.example.net', '[fd00::7]:7300'],
    })
    const ownPlaces = placesOf(reach)
    expect([...ownPlaces].sort()).toEqual(
      ['hub.example.net:443', 'hub.example.net:80', 'fd00::7:7300', `upstream.test:${port}`].sort(),
    )
    const exchange = exchangeTo({ ownPlaces })
    await expect(exchange.open(asking(port), never)).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining('a name of this hub itself'),
    })
    const line = { host: 'hub.example.net', port: 443, local: false }
    await expect(exchange.dial({ place: line, secured: false, connectMs: 1000 }, never)).rejects.toMatchObject({
      code: 'forbidden',
    })
    expect(came).toBe(0)
    // Another port of the same name is another program's.
    expect(await whole(exchangeTo({ ownPlaces: new Set(['upstream.test:1']) }), asking(port))).toMatchObject({
      status: 200,
    })
  })

  it.each([
    ['100.64.0.1', true],
    ['100.127.255.254', true],
    ['0.0.0.0', true],
    ['0.1.2.3', true],
    ['198.18.0.1', true],
    ['198.19.255.255', true],
    ['169.254.169.254', true],
    ['64:ff9b::7f00:1', true],
    ['64:ff9b:1::1', true],
    ['2002:7f00:1::', true],
    ['2001:0:53aa:64c::1', true],
    ['::ffff:127.0.0.1', true],
    ['::ffff:a00:1', true],
    ['::127.0.0.1', true],
    ['fe80::1', true],
    ['10.0.0.1', false],
    ['127.0.0.1', false],
    ['::1', false],
    ['fd00::1', false],
  ])('%s is refused, and under local too where it is of a kind that is never used (E3)', (address, alsoLocal) => {
    expect(whyNever(address, false, false)).toBeDefined()
    expect(whyNever(address, true, false) !== undefined).toBe(alsoLocal)
  })

  it('under local a public address is refused: its key could go out in plain text', () => {
    expect(whyNever('9.9.9.9', false, false)).toBeUndefined()
    expect(whyNever('9.9.9.9', true, false)).toMatch(/public/)
  })

  it('refuses the doors of the hub itself on every interface, under local too (E3)', async () => {
    const port = await serving((_request, response) => response.end('the operator'))
    const outside = Object.values(os.networkInterfaces())
      .flat()
      .filter((each) => each !== undefined && each.family === 'IPv4')
    expect(outside.length).toBeGreaterThan(0)
    for (const { address } of outside as { address: string }[]) {
      const exchange = exchangeTo({ own: [port], addresses: () => [{ address, family: 4 }] })
      await expect(whole(exchange, asking(port))).rejects.toMatchObject({ code: 'forbidden' })
    }
    expect(await whole(exchangeTo({ own: [port + 1] }), asking(port))).toMatchObject({ text: 'the operator' })
  })

  it('refuses the whole name if one of its addresses is not permitted', async () => {
    const port = await serving((_request, response) => response.end('inside'))
    const mixed = exchangeTo({
      addresses: () => [
        { address: '127.0.0.1', family: 4 },
        { address: '169.254.169.254', family: 4 },
      ],
    })
    await expect(whole(mixed, asking(port))).rejects.toMatchObject({ code: 'forbidden' })
  })

  it('connects to the address it judged, whatever the name says a moment later, and judges again after 60 s (E2)', async () => {
    const clock = createFakeClock()
    let asked = 0
    const port = await serving((_request, response) => response.end('judged'))
    const exchange = exchangeTo({
      clock,
      addresses: () => {
        asked += 1
        return asked === 1 ? [{ address: '127.0.0.1', family: 4 }] : [{ address: '169.254.169.254', family: 4 }]
      },
    })
    for (let n = 0; n < 10; n += 1) {
      expect(await whole(exchange, asking(port))).toMatchObject({ text: 'judged' })
      clock.jump(3000)
    }
    expect(asked).toBe(1)
    // In use without a rest: only its age counts.
    for (let n = 0; n < 20; n += 1) {
      const told = await whole(exchange, asking(port)).catch(({ code }) => ({ text: code }))
      if (told.text === 'forbidden') break
      clock.jump(3000)
    }
    expect(asked).toBe(2)
    await expect(whole(exchange, asking(port))).rejects.toMatchObject({ code: 'forbidden' })
  })

  it('tries the next address at once if one refuses, and after 250 ms if one is silent', async () => {
    const port = await serving((_request, response) => response.end('second'))
    const exchange = exchangeTo({
      addresses: () => [
        { address: '127.0.0.9', family: 4 },
        { address: '127.0.0.1', family: 4 },
      ],
    })
    expect(await whole(exchange, asking(port))).toMatchObject({ text: 'second' })
    exchange.close()
    // A listener that accepts nobody, with its queue full: what knocks there hears nothing.
    const held = new Int32Array(new SharedArrayBuffer(4))
    const mute = new Worker(
      `const { parentPort, workerData } = require('node:worker_threads')
       require('node:net').createServer().listen({ host: '127.0.0.9', port: workerData.port, backlog: 1 }, () => {
         parentPort.postMessage('listens')
         setTimeout(() => Atomics.wait(workerData.held, 0, 0), 20)
       })`,
      { eval: true, workerData: { port, held } },
    )
    cleanups.push(() => {
      Atomics.store(held, 0, 1)
      Atomics.notify(held, 0)
      mute.terminate()
    })
    await once(mute, 'message')
    await new Promise((resolve) => setTimeout(resolve, 100))
    for (let n = 0; n < 6; n += 1) {
      const knocking = connect({ host: '127.0.0.9', port }).on('error', () => undefined)
      cleanups.push(() => knocking.destroy())
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
    const clock = createFakeClock()
    const told = whole(
      exchangeTo({
        clock,
        addresses: () => [
          { address: '127.0.0.9', family: 4 },
          { address: '127.0.0.1', family: 4 },
        ],
      }),
      asking(port),
    )
    let isOver = false
    told.then(() => (isOver = true))
    await clock.advance(249)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(isOver).toBe(false)
    await clock.advance(1)
    expect(await told).toMatchObject({ text: 'second' })
  })
})

describe('TLS', () => {
  const secured = (protocols: string[]) =>
    listening(
      createSecured({ key: RELAY_KEY, cert: RELAY_CERTIFICATE, ALPNProtocols: protocols }, (_request, response) =>
        response.end('secured'),
      ) as unknown as HttpServer,
    )

  it('verifies the certificate against the name', async () => {
    const port = await secured(['http/1.1'])
    const exchange = exchangeTo()
    expect(await whole(exchange, asking(port, { url: new URL(`https://debian:${port}`) }))).toMatchObject({
      text: 'secured',
    })
    await expect(whole(exchange, asking(port, { url: new URL(`https://other.test:${port}`) }))).rejects.toMatchObject({
      code: 'upstream_failed',
      message: expect.stringMatching(/ERR_TLS_CERT_ALTNAME_INVALID/),
    })
  })
})

describe('an upstream that does not behave (E11)', () => {
  it('is given up when its head does not come, by the clock handed in', async () => {
    const clock = createFakeClock()
    let sockets = 0
    const port = await speaking((socket) => socket.once('data', () => (sockets += 1)))
    const told = whole(exchangeTo({ clock }), asking(port)).catch((thrown) => thrown)
    await until(() => sockets === 1)
    await clock.advance(59_000)
    let isOver = false
    told.then(() => (isOver = true))
    await clock.advance(500)
    expect(isOver).toBe(false)
    await clock.advance(2000)
    expect(await told).toMatchObject({ code: 'upstream_failed', facts: { by: 'upstream' } })
  })

  it('is given up when it stalls between two pieces, and when it drips for longer than all may take', async () => {
    const clock = createFakeClock()
    let drip: (() => void) | undefined
    let got = 0
    const port = await speaking((socket) =>
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n')
        drip = () => socket.write('1\r\nx\r\n')
      }),
    )
    const start = async () => {
      const answer = await exchangeTo({ clock }).open(asking(port), never)
      return answer.read(() => {
        got += 1
        return undefined
      })
    }
    const stalled = start().catch((thrown) => thrown)
    await until(() => got === 1)
    await clock.advance(121_000)
    expect(await stalled).toMatchObject({ message: 'the upstream sent nothing for 120 s' })
    const dripping = start().catch((thrown) => thrown)
    await until(() => got === 2)
    for (let n = 3; n < 20; n += 1) {
      await clock.advance(110_000)
      drip?.()
      if (n < 18) await until(() => got === n)
    }
    expect(await dripping).toMatchObject({ message: 'it took longer than 1800 s in all', facts: { by: 'limit' } })
  })

  it('is cut at the limit of bytes, however much it would send', async () => {
    const chunk = Buffer.alloc(65_536)
    let sent = 0
    const port = await serving((_request, response) => {
      const more = () => {
        while (!response.destroyed && response.write(chunk)) sent += chunk.length
      }
      response.on('drain', more)
      more()
    })
    const told = await whole(exchangeTo(), asking(port, { limits: { ...LIMITS, bytesMax: 1 << 20 } })).catch((t) => t)
    expect(told).toMatchObject({
      code: 'upstream_failed',
      message: 'its answer is over 1048576 bytes',
      facts: { by: 'limit' },
    })
    expect(sent).toBeLessThan(1 << 26)
  })

  it.each([
    ['garbage', 'SSH-2.0-OpenSSH_9.9\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx'],
    [
      'a length and chunks',
      'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n',
    ],
    ['a head without an end', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(70_000)}`],
    ['an odd status', 'HTTP/1.1 999 No\r\ncontent-length: 0\r\n\r\n'],
    ['another protocol', 'HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'],
    ['nothing at all', ''],
  ])('with %s for an answer is upstream_failed', async (_what, text) => {
    const port = await speaking((socket) => socket.once('data', () => socket.end(text)))
    await expect(whole(exchangeTo(), asking(port))).rejects.toMatchObject({ code: 'upstream_failed' })
  })

  it('that breaks off in mid body is upstream_failed, not a whole answer', async () => {
    const port = await speaking((socket) =>
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf')),
    )
    await expect(whole(exchangeTo(), asking(port))).rejects.toMatchObject({ facts: { by: 'upstream' } })
  })

  it('does not follow its redirects', async () => {
    let asked = 0
    const port = await serving((_request, response) => {
      asked += 1
      response.writeHead(302, { location: '/elsewhere' }).end()
    })
    expect(await whole(exchangeTo(), asking(port))).toMatchObject({ status: 302 })
    expect(asked).toBe(1)
  })
})

describe('streams', () => {
  it('holds back an upstream whose reader does not read, and says whose fault it was', async () => {
    const clock = createFakeClock()
    const chunk = Buffer.alloc(65_536)
    let sent = 0
    const port = await serving((_request, response) => {
      const more = () => {
        while (!response.destroyed && response.write(chunk)) sent += chunk.length
      }
      response.on('drain', more)
      more()
    })
    const answer = await exchangeTo({ clock }).open(asking(port, { limits: { ...LIMITS, bytesMax: 1e12 } }), never)
    let took = 0
    const told = answer
      .read((piece) => {
        took += piece.length
        return new Promise(() => undefined)
      })
      .catch((thrown) => thrown)
    await until(() => took > 0)
    const before = took
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(took).toBe(before)
    expect(sent).toBeLessThan(64 << 20)
    await clock.advance(121_000)
    expect(await told).toMatchObject({ code: 'timed_out', facts: { by: 'reader' } })
  })

  it.each([
    [4000, 'upstream'],
    [6000, 'reader'],
  ])('that an upstream breaks off after they were not read for %d ms end by fault of the %s', async (restMs, by) => {
    const clock = createFakeClock()
    let socket: Socket | undefined
    const port = await speaking((came) =>
      came.once('data', () => {
        came.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx')
        socket = came
      }),
    )
    const answer = await exchangeTo({ clock }).open(asking(port), never)
    let go = () => {}
    const told = answer.read(() => new Promise<void>((resolve) => (go = resolve))).catch((thrown) => thrown)
    await clock.advance(restMs)
    go()
    await new Promise((resolve) => setTimeout(resolve, 5))
    socket?.destroy()
    expect(await told).toMatchObject({ facts: { by } })
  })

  it('sends a body piece by piece, as fast as the upstream takes it', async () => {
    let got = 0
    let go: (() => void) | undefined
    const port = await serving((request, response) => {
      go = () => request.on('data', (piece: Buffer) => (got += piece.length)).on('end', () => response.end('took it'))
    })
    let made = 0
    async function* body() {
      for (; made < 400; made += 1) yield Buffer.alloc(65_536)
    }
    const told = whole(exchangeTo(), asking(port, { method: 'POST', body: body() }))
    await until(() => go !== undefined)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(made).toBeLessThan(400)
    go?.()
    expect(await told).toMatchObject({ text: 'took it' })
    expect(got).toBe(400 * 65_536)
  })

  it('ends with its signal, and closes the connection', async () => {
    let isClosed = false
    const port = await speaking((socket) => socket.on('close', () => (isClosed = true)).resume())
    const ending = new AbortController()
    const told = whole(exchangeTo(), asking(port), ending.signal).catch((thrown) => thrown)
    await new Promise((resolve) => setTimeout(resolve, 20))
    ending.abort()
    expect(await told).toMatchObject({ code: 'cancelled' })
    await until(() => isClosed)
  })
})

describe('connections used again', () => {
  const FORGED = 'HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged'
  /** What comes behind an answer to its first request must be no answer to the next. */
  async function twice(method: string, first: string, status = 200) {
    let connections = 0
    let isClosed = false
    let behind = () => {}
    const port = await speaking((socket, n) => {
      connections = n
      let asked = 0
      socket.on('close', () => (isClosed = true))
      if (n === 1) behind = () => socket.write(FORGED)
      socket.on('data', () => {
        asked += 1
        if (n > 1) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ntrue')
        else socket.write(asked === 1 ? first : FORGED)
      })
    })
    const exchange = exchangeTo()
    expect(await whole(exchange, asking(port, { method }))).toMatchObject({ status })
    return { exchange, port, behind: () => behind(), isClosed: () => isClosed, connections: () => connections }
  }

  it('are not those of a HEAD: a body behind its answer would be the answer to somebody else [E5]', async () => {
    const { exchange, port, connections } = await twice('HEAD', 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n')
    expect(await whole(exchange, asking(port))).toMatchObject({ text: 'true' })
    expect(connections()).toBe(2)
  })

  it.each([204, 304])('are not those of a %i, for the same reason [E5]', async (status) => {
    const { exchange, port, connections } = await twice(
      'GET',
      `HTTP/1.1 ${status} Odd\r\ncontent-length: 6\r\n\r\n`,
      status,
    )
    expect(await whole(exchange, asking(port))).toMatchObject({ text: 'true' })
    expect(connections()).toBe(2)
  })

  it('are closed as soon as a byte comes that nobody asked for [E5]', async () => {
    const { exchange, port, behind, isClosed, connections } = await twice(
      'GET',
      'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
    )
    expect(isClosed()).toBe(false)
    behind()
    await until(isClosed)
    expect(await whole(exchange, asking(port))).toMatchObject({ text: 'true' })
    expect(connections()).toBe(2)
  })

  it('serves many requests over one, and asks once more only what may be asked twice', async () => {
    const seen: string[] = []
    let connections = 0
    const port = await speaking((socket, n) => {
      connections = n
      let served = 0
      socket.on('data', (piece: Buffer) => {
        seen.push(piece.toString().split(' ', 1)[0] ?? '')
        served += 1
        // The third on a connection finds it closed.
        if (served === 3) return socket.resetAndDestroy()
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
      })
    })
    const exchange = exchangeTo()
    for (let n = 0; n < 3; n += 1) expect(await whole(exchange, asking(port))).toMatchObject({ text: 'ok' })
    expect(connections).toBe(2)
    expect(await whole(exchange, asking(port, { method: 'POST', body: [Buffer.from('x')] }))).toMatchObject({
      text: 'ok',
    })
    await expect(whole(exchange, asking(port, { method: 'POST', body: [Buffer.from('x')] }))).rejects.toMatchObject({
      code: 'upstream_failed',
    })
    expect(seen.filter((each) => each === 'POST')).toHaveLength(2)
  })
})
