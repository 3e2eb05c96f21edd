/** CONNECT: a line only to the host that rules name and the hello says, and to nothing else (E6). */
import { type AddressInfo, connect, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { createServer as createSecured, connect as secure } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { createSystemClock } from '../../../../hub/base/clock.ts'
import { HubError } from '../../../../hub/base/errors.ts'
import { http } from '../../../../hub/base/node-http.ts'
import { createLines } from '../../../../hub/edge/egress/lines.ts'
import type { Ended } from '../../../../hub/edge/egress/records.ts'
import { createStanding } from '../../../../hub/edge/egress/standing.ts'
import { placeholderOf } from '../../../../hub/protocol/egress/placeholders.ts'
import { upstreamsShape } from '../../../../hub/protocol/egress/upstreams.ts'
import { eventually, SESSION } from '../../../support/egress-scene.ts'
import { createFakeClock, type FakeClock } from '../../../support/fake-clock.ts'
import { RELAY_CERTIFICATE, RELAY_KEY } from '../../../support/relay-certificate.ts'

const cleanups: (() => void)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup()
})
const portOf = (server: { address(): unknown }) => (server.address() as AddressInfo).port

/** The hub's end of CONNECT, and a TLS server as every host. */
async function scene(clock: FakeClock | undefined = undefined) {
  const told = {
    dialled: [] as string[],
    refused: [] as string[],
    proposed: [] as string[],
    foreign: [] as string[],
    ended: [] as Ended[],
    heard: '',
    room: 1e9,
    looked: 0,
    isSafe: false,
  }
  let allows = true
  let refusal = new HubError('policy_denied', 'no')
  const far = createSecured({ key: RELAY_KEY, cert: RELAY_CERTIFICATE }, (socket) => {
    socket.on('data', (piece) => {
      told.heard += piece
      socket.write(`heard ${piece}`)
    })
    socket.on('error', () => undefined)
  })
  await new Promise<void>((resolve) => far.listen(0, '127.0.0.1', () => resolve()))
  const ending = new AbortController()
  const time = clock ?? createSystemClock()
  const standing = createStanding(time, {
    most: () => 3,
    before() {
      told.looked += 1
      return { inARow: 0, agoMs: 0 }
    },
  })
  standing.begin(SESSION)
  const line = createLines({
    refused: () => undefined,
    clock: time,
    standing,
    gate: {
      admit(_call: unknown, effect: () => unknown) {
        if (!allows) throw refusal
        return effect()
      },
      refuse: (_call: unknown, { code, message }: HubError) => told.refused.push(`${code}: ${message}`),
      countRefused: () => told.refused.push('counted'),
    } as never,
    async dial({ place }) {
      told.dialled.push(`${place.host}:${place.port}`)
      return connect(portOf(far), '127.0.0.1')
    },
    upstreams: () =>
      upstreamsShape.parse({
        openai: { kind: 'openai', secret: 'k' },
        npm: { kind: 'npm', url: 'https://registry.example.org', files: 'https://archives.example.org/npm' },
      }),
    callerOf: () => ({ session: { agent: 'reader' }, principal: {}, proof: {} }) as never,
    heldBack: () => (told.isSafe ? new HubError('mode_safe', 'nothing goes outward') : undefined),
    onForeign: (_caller, host) => told.foreign.push(host),
    sends: (_session, bytes, isAsked) => {
      if (told.room < bytes) return new HubError('budget_exceeded', 'no more bytes')
      if (isAsked !== true) told.room -= bytes
      return undefined
    },
    propose: (agent, upstream, kind) => told.proposed.push(`${agent} ${upstream} ${kind}`),
    ended: (ended) => told.ended.push(ended),
  })
  const server = http.createServer()
  server.on('connect', (request, socket, head) => {
    socket.on('error', () => undefined)
    void line({ session: SESSION, request, ended: ending.signal }, socket, head)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  cleanups.push(() => {
    server.closeAllConnections()
    server.close()
    far.close()
  })
  const dial = () => {
    const socket = connect(portOf(server), '127.0.0.1').on('error', () => undefined)
    cleanups.push(() => socket.destroy())
    return socket
  }
  /** The answer to a CONNECT, and its connection. */
  const ask = async (authority: string, header = '') => {
    const socket = dial()
    let got = ''
    const hear = (piece: Buffer) => (got += piece)
    socket.on('data', hear)
    socket.write(`CONNECT ${authority} HTTP/1.1\r\nhost: ${authority}\r\n${header}\r\n`)
    await eventually(() => got.includes('\r\n\r\n'))
    socket.off('data', hear)
    return { socket, status: Number(got.split(' ')[1]), text: got }
  }
  return {
    ...told,
    told,
    ask,
    end: () => ending.abort(),
    deny: () => (allows = false),
    /** Until a person says yes. */
    holdBack() {
      refusal = new HubError('needs_approval', 'a person has to agree first')
      allows = false
    },
    allow: () => (allows = true),
  }
}
const tlsOver = (socket: Socket, servername: string | undefined) => {
  const secured = secure({ socket, rejectUnauthorized: false, ...(servername === undefined ? {} : { servername }) })
  let got = ''
  secured.on('data', (piece) => (got += piece)).on('error', () => undefined)
  return { secured, got: () => got }
}

describe('CONNECT [E6]', () => {
  it.each([
    `authorization: Bearer ${placeholderOf(SESSION, 'openai')}`,
    `proxy-authorization: Basic ${Buffer.from(`user:${placeholderOf(SESSION, 'openai')}`).toString('base64')}`,
    `cookie: a=b; key=${placeholderOf(SESSION, 'openai')}`,
  ])('with a placeholder of an upstream in a header is refused, and the operator is told: %s [E16]', async (header) => {
    const { ask, told } = await scene()
    const { status, text } = await ask('files.example.org:443', `${header}\r\n`)
    expect({ status, text }).toMatchObject({ status: 403, text: expect.not.stringContaining('hub-placeholder-openai') })
    expect(told).toMatchObject({ foreign: ['files.example.org:443'], dialled: [], proposed: [] })
    expect(told.refused).toEqual([expect.stringMatching(/^forbidden: a placeholder of an upstream/)])
  })

  it('carries TLS to the host that the hello names, and has a record of bytes', async () => {
    const { ask, told } = await scene()
    const { socket, status } = await ask('files.example.org:443')
    expect(status).toBe(200)
    const { secured, got } = tlsOver(socket, 'files.example.org')
    secured.write('hello')
    await eventually(() => got() === 'heard hello')
    expect(told.dialled).toEqual(['files.example.org:443'])
    secured.destroy()
    await eventually(() => told.ended.length === 1)
    expect(told.ended[0]).toMatchObject({ class: 'connect', upstream: 'files.example.org:443', why: '' })
    expect(told.ended[0]?.bytesOut).toBeGreaterThan(100)
    expect(told.ended[0]?.bytesIn).toBeGreaterThan(100)
  })

  it.each([
    ['another host', 'other.example.org'],
    ['no host', undefined],
  ])('with a hello that names %s is cut before anything is dialled', async (_what, servername) => {
    const { ask, told } = await scene()
    const { socket } = await ask('files.example.org:443')
    const { secured } = tlsOver(socket, servername)
    await eventually(() => told.ended.length === 1 && (socket.destroyed || secured.destroyed))
    expect(told.dialled).toEqual([])
    expect(told.ended[0]?.why).toMatch(/^egress_denied/)
  })

  it.each(['GET / HTTP/1.1\r\nhost: files.example.org\r\n\r\n', 'SSH-2.0-x\r\n', '\x05\x01\x00'])(
    'with another protocol than TLS (%j) is cut',
    async (text) => {
      const { ask, told } = await scene()
      const { socket } = await ask('files.example.org:443')
      socket.write(text)
      await eventually(() => told.ended.length === 1)
      expect(told.dialled).toEqual([])
    },
  )

  it('carries a hello that comes byte by byte, and cuts one in records of one byte [E12]', async () => {
    const { ask, told } = await scene()
    const { socket } = await ask('files.example.org:443')
    const slowly = new Duplex({
      read: () => undefined,
      write(bytes: Buffer, _encoding, done) {
        for (const byte of bytes) socket.write(Buffer.from([byte]))
        done()
      },
    })
    socket.setNoDelay(true)
    socket.on('data', (piece) => slowly.push(piece))
    const secured = secure({ socket: slowly, servername: 'files.example.org', rejectUnauthorized: false })
    secured.on('error', () => undefined)
    let got = ''
    secured.on('data', (piece) => (got += piece))
    secured.write('hello')
    await eventually(() => got === 'heard hello')
    expect(told.dialled).toEqual(['files.example.org:443'])

    const { socket: odd } = await ask('files.example.org:443')
    const record = (byte: number) => Buffer.from([0x16, 3, 1, 0, 1, byte])
    odd.write(Buffer.concat([1, 0, 0, 200, ...Buffer.alloc(100)].map(record)))
    await eventually(() => told.ended.length === 1)
    expect(told.ended[0]?.why).toMatch(/^egress_denied: its hello is cut into more than 64 records/)
  })

  it('that a rule asks about is refused with what to do next, and a yes is heard at once [ask-2]', async () => {
    const { ask, holdBack, allow } = await scene()
    holdBack()
    expect((await ask('files.example.org:443')).text).toMatch(
      /403 Refused[\s\S]*After a yes, do exactly the same again/,
    )
    allow()
    expect((await ask('files.example.org:443')).status).toBe(200)
  })

  it('without a hello is cut after five seconds', async () => {
    const clock = createFakeClock()
    const { ask, told } = await scene(clock)
    const { socket } = await ask('files.example.org:443')
    socket.write('\x16\x03\x01')
    await new Promise((resolve) => setTimeout(resolve, 20))
    await clock.advance(4900)
    expect(told.ended).toEqual([])
    await clock.advance(200)
    await eventually(() => told.ended.length === 1)
    expect(told.ended[0]?.why).toMatch(/^timed_out/)
  })

  it.each([
    ['api.openai.com:443', 'is the upstream openai'],
    ['archives.example.org:443', 'is the upstream npm'],
    ['registry.example.org:8443', 'is the upstream npm'],
    ['127.0.0.1:443', 'full name'],
    ['[::1]:443', 'full name'],
    ['localhost:443', 'full name'],
    ['2130706433:443', 'full name'],
    ['files.example.org:0', 'full name'],
    ['files.example.org:70000', 'full name'],
    ['files.example.org.:443', 'full name'],
    ['files.example.org', 'full name'],
    ['statsig.anthropic.com:443', 'reports and updates'],
  ])('to %s is refused, and a repeat is only counted', async (authority, says) => {
    const { ask, told } = await scene()
    const first = await ask(authority)
    expect(first.status).toBe(403)
    expect(first.text).toContain(says)
    await ask(authority)
    expect(told.refused).toHaveLength(2)
    expect(told.refused[1]).toBe('counted')
    expect(told.proposed).toEqual([])
  })

  it('that the rules deny leaves a proposal, with its port', async () => {
    const { ask, told, deny } = await scene()
    deny()
    expect((await ask('files.example.org:8443')).status).toBe(403)
    expect(told.proposed).toEqual(['reader files.example.org:8443 connect'])
  })

  it('to hosts that the agent made up leaves nothing behind, and asks no account about them [E20]', async () => {
    const { ask, told, deny } = await scene()
    deny()
    for (const n of [1, 2, 3]) expect((await ask(`host${n}.example.org:443`)).status).toBe(403)
    expect(told.looked).toBe(0)
  })

  it('ends after two minutes without a byte, and after half an hour with them [E12]', async () => {
    const clock = createFakeClock()
    const { ask, told } = await scene(clock)
    const opened = async () => {
      const { socket } = await ask('files.example.org:443')
      const line = tlsOver(socket, 'files.example.org')
      const say = async () => {
        const before = line.got().length
        line.secured.write('x')
        await eventually(() => line.got().length > before)
      }
      await say()
      return say
    }
    await opened()
    await clock.advance(119_000)
    expect(told.ended).toEqual([])
    await clock.advance(2000)
    await eventually(() => told.ended.length === 1)
    expect(told.ended[0]?.why).toBe('timed_out: nothing was carried for 120 s')
    const say = await opened()
    for (let n = 0; n < 17; n += 1) {
      await clock.advance(100_000)
      await say()
    }
    expect(told.ended).toHaveLength(1)
    await clock.advance(101_000)
    await eventually(() => told.ended.length === 2)
    expect(told.ended[1]?.why).toBe('timed_out: it lasted 1800 s')
  })

  it('ends with its session [E13]', async () => {
    const { ask, told, end } = await scene()
    const { socket } = await ask('files.example.org:443')
    const { secured, got } = tlsOver(socket, 'files.example.org')
    secured.write('hello')
    await eventually(() => got() !== '')
    end()
    await eventually(() => told.ended.length === 1)
    expect(told.ended[0]?.why).toBe('cancelled: the session ended')
  })

  it('is refused before it is dialled while safe mode holds everything back [E13]', async () => {
    const { ask, told } = await scene()
    told.isSafe = true
    expect((await ask('files.example.org:443')).status).toBe(503)
    expect([told.refused, told.dialled]).toEqual([['mode_safe: nothing goes outward'], []])
  })

  it('ends where its task has sent as much as it may, and another is refused before it is dialled [E15]', async () => {
    const { told, ask } = await scene()
    told.room = 3000
    const { socket } = await ask('files.example.org:443')
    const line = tlsOver(socket, 'files.example.org')
    line.secured.write('x'.repeat(1000))
    await eventually(() => told.heard.length === 1000)
    line.secured.write('y'.repeat(5000))
    await eventually(() => told.ended.length === 1)
    expect(told.heard).toBe('x'.repeat(1000))
    expect(told.ended[0]).toMatchObject({ why: 'budget_exceeded: no more bytes' })
    expect(told.ended[0]?.bytesOut).toBe(3000 - told.room)
    told.room = 0
    expect((await ask('files.example.org:443')).status).toBe(403)
    expect(told.dialled).toHaveLength(1)
  })
})
