/** The listeners of people: what bytes they take (T24, T31), how long they wait (T32), and what a fault shows (T39). */
import { mkdtempSync, rmSync } from 'node:fs'
import type { NetConnectOpts } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as realMs } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLog } from '../../../../hub/base/telemetry.ts'
import { createOperatorHttp } from '../../../../hub/edge/people/doors.ts'
import type { HttpParts } from '../../../../hub/edge/people/http-operations.ts'
import type { HttpLimits } from '../../../../hub/edge/people/listener.ts'
import { createLoopbackHttp } from '../../../../hub/edge/people/loopback.ts'
import { createServe, type Handlers, handler } from '../../../../hub/edge/serve.ts'
import { createArtifacts } from '../../../../hub/work/artifacts.ts'
import { type GuardHome, openGuardHome } from '../../../support/guard-home.ts'
import { CHUNKS, hold, SMUGGLING, talk } from '../../../support/raw-wire.ts'
import { createSeededRandom } from '../../../support/seeded-random.ts'

const SECRET = 'canary-2f7c1d'
let home: GuardHome
let folder: string
let logged: string[]
const closing: (() => Promise<unknown>)[] = []
beforeEach(() => {
  home = openGuardHome()
  home.guard.modes.clear('lease_pending')
  folder = mkdtempSync(join(tmpdir(), 'edge-'))
  logged = []
})
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
  home[Symbol.dispose]()
  rmSync(folder, { recursive: true })
})

function parts(limits: Partial<HttpLimits> = {}, handlers: Handlers = {}): HttpParts {
  const { gate, store, events } = home.guard
  const { clock } = home
  const nothing = handler({ effect: () => ({}) })
  const all = { 'operator.heartbeat': nothing, 'task.list': nothing, 'event.stream': nothing, ...handlers }
  return {
    serve: createServe({ gate, handlers: all, redaction: home.guard.redaction, learnSecrets: () => undefined }),
    gate,
    artifacts: createArtifacts(
      { folder },
      { store, clock, random: createSeededRandom('edge'), alerts: home.guard.alerts },
    ),
    events,
    clock,
    log: createLog('warn', { write: (line) => void logged.push(line) }),
    healthz: () => ({ status: 200, body: { mode: 'normal' } }),
    inputBytesMax: 1024 * 1024,
    limits,
  }
}
async function operator(limits?: Partial<HttpLimits>, handlers?: Handlers): Promise<{ path: string }> {
  const app = createOperatorHttp(parts(limits, handlers))
  const path = join(folder, 'o.sock')
  await app.listen({ path })
  closing.push(() => {
    app.server.closeAllConnections()
    return app.close()
  })
  return { path }
}
async function loopback(limits?: Partial<HttpLimits>): Promise<{ port: number; host: string }> {
  let port = 0
  const app = createLoopbackHttp(() => port, parts(limits))
  await app.listen({ host: '127.0.0.1', port: 0 })
  port = (app.server.address() as { port: number }).port
  closing.push(() => {
    app.server.closeAllConnections()
    return app.close()
  })
  return { port, host: '127.0.0.1' }
}
/** Until it has happened; a minute is more than any machine takes. */
const until = (holds: () => boolean) => expect.poll(holds, { interval: 5 }).toBe(true)
/** As long as bytes of this process need to this process: several turns of its loop. */
const passed = async () => {
  await realMs(10)
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}
const post = (path: string, headers: string, body: string, after: string) =>
  `POST ${path} HTTP/1.1\r\nHost: hub\r\nConnection: ${after}\r\n${headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
const beat = (headers: string, body = '{"note":"here"}', after = 'close') => post('/v1/heartbeat', headers, body, after)

describe('content types', () => {
  it('exactly one spelling is taken for JSON, every other is refused and recorded (T24)', async () => {
    const door = await operator()
    expect((await talk(door, beat('Content-Type: application/json\r\n'))).statuses).toEqual([200])
    const wrong = [
      '',
      'Content-Type: \r\n',
      'Content-Type: application/json; charset=utf-8\r\n',
      'Content-Type: application/json;\r\n',
      'Content-Type: application/json ;x=y\r\n',
      'Content-Type: application/json\ta\r\n',
      'Content-Type: application/json,text/plain\r\n',
      'Content-Type: Application/JSON\r\n',
      'Content-Type: application/JSON\r\n',
      'Content-Type: application/jsonx\r\n',
      'Content-Type: xapplication/json\r\n',
      'Content-Type: \xa0application/json\r\n',
      'Content-Type: "application/json"\r\n',
      'Content-Type: application/*\r\n',
      'Content-Type: text/plain\r\n',
      'Content-Type: text/json\r\n',
      'Content-Type: application/x-www-form-urlencoded\r\n',
      'Content-Type: multipart/form-data; boundary=x\r\n',
      'Content-Type: application/octet-stream\r\n',
      'Content-Type: application/json\r\nContent-Type: text/plain\r\n',
      'Content-Type: application/json\r\nContent-Type: application/json\r\n',
      'Content-Type: text/plain\r\nContent-Type: application/json\r\n',
    ]
    for (const headers of wrong) {
      const before = home.records().length
      const { statuses, text } = await talk(door, Buffer.from(beat(headers), 'latin1'))
      expect(statuses, JSON.stringify(headers)).toEqual([400])
      expect(text, headers).toContain('"code":"schema_invalid"')
      expect(home.records().slice(before), headers).toEqual([
        expect.objectContaining({ action: 'operator.heartbeat_given', outcome: 'refused' }),
      ])
    }
  })

  it('the shape is checked whatever the type says: a wrong type with a wrong body is no way around (T24)', async () => {
    const door = await operator()
    for (const type of ['application/json', 'text/plain', 'application/octet-stream', 'application/json;x'])
      expect((await talk(door, beat(`Content-Type: ${type}\r\n`, '{"nobody":1}'))).statuses, type).toEqual([400])
  })

  it('an upload takes bytes under their own type and nothing else (T24)', async () => {
    const door = await operator()
    const sha = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    const put = (headers: string) =>
      `PUT /v1/artifacts/${sha} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n${headers}Content-Length: 0\r\n\r\n`
    for (const headers of ['', 'Content-Type: application/json\r\n', 'Content-Type: application/octet-stream;x\r\n'])
      expect((await talk(door, put(headers))).statuses, headers).toEqual([400])
    expect(home.records().every(({ action, outcome }) => action === 'artifact.stored' && outcome === 'refused')).toBe(
      true,
    )
    expect((await talk(door, put('Content-Type: application/octet-stream\r\n'))).statuses).toEqual([200])
  })
})

describe('bytes that two readers would read differently (T31)', () => {
  const LISTENERS = { 'the operator socket': operator, 'the loopback port': loopback } as const
  for (const [name, open] of Object.entries(LISTENERS)) {
    it(`${name} refuses them and hangs up; nothing after them is served`, async () => {
      const door: NetConnectOpts = await open()
      const host = 'port' in door ? `127.0.0.1:${door.port}` : 'hub'
      const next = `GET /healthz HTTP/1.1\r\nHost: ${host}\r\n\r\n`
      expect((await talk(door, next, 250)).statuses).toEqual([200])
      const line = `POST /v1/heartbeat HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\n`
      for (const headers of SMUGGLING) {
        const before = home.records().length
        const { statuses, closed } = await talk(door, Buffer.from(`${line}${headers}\r\n{}${next}`, 'latin1'))
        expect([statuses, closed], JSON.stringify(headers)).toEqual([[400], true])
        expect(home.records().length - before, JSON.stringify(headers)).toBeLessThanOrEqual(1)
      }
      for (const body of CHUNKS) {
        const before = home.records().length
        const { statuses, closed } = await talk(door, `${line}Transfer-Encoding: chunked\r\n\r\n${body}${next}`)
        expect(closed, body).toBe(true)
        expect(
          statuses.filter((status) => status < 300),
          body,
        ).toEqual([])
        expect(home.records().length - before, body).toBeLessThanOrEqual(1)
      }
    })
  }

  it('pipelined requests are one record each, and junk after them ends the connection', async () => {
    const door = await operator()
    const one = beat('Content-Type: application/json\r\n', '{}', 'keep-alive')
    const both = hold(door, `${one}${one}`)
    await until(() => both.heard().match(/HTTP\/1\.1 200/g)?.length === 2)
    await passed()
    expect([both.heard().match(/HTTP\/1\.1 \d+/g)?.length, both.socket.destroyed]).toEqual([2, false])
    both.end()
    expect(home.records()).toHaveLength(2)
    const junk = await talk(door, `${one}\r\n\0\x16\x03\x01junk\r\n\r\n${one}`)
    expect(junk.closed).toBe(true)
    expect(junk.statuses.at(-1)).toBe(400)
    expect(home.records()).toHaveLength(3)
  })

  it('no other protocol is spoken: HTTP/2, TLS, a WebSocket, a proxy, a method nobody knows', async () => {
    for (const [where, host] of [
      [await operator(), 'hub'],
      ...[await loopback()].map((door) => [door, `127.0.0.1:${door.port}`] as const),
    ] as [NetConnectOpts, string][]) {
      const get = (headers: string) => `GET /healthz HTTP/1.1\r\nHost: ${host}\r\n${headers}\r\n`
      const upgrades = [
        'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n',
        'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n',
        'Upgrade: anything\r\n',
      ]
      for (const headers of upgrades) expect((await talk(where, get(headers), 250)).statuses, headers).toEqual([400])
      const others = [
        'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
        Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]),
        `CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
        `GARBAGE /healthz HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
        'GET /healthz HTTP/1.1\r\n\r\n',
      ]
      for (const bytes of others) {
        const { statuses, closed } = await talk(where, bytes)
        expect([statuses.filter((status) => status !== 400), closed], String(bytes)).toEqual([[], true])
      }
    }
  })

  it.each(['GET /healthz', 'GET /healthz HTTP/0.9', 'GET /healthz HTTP/2.0'])(
    'fault F18: %j is refused, with or without more behind it',
    async (line) => {
      for (const [where, host] of [
        [await operator(), 'hub'],
        ...[await loopback()].map((door) => [door, `127.0.0.1:${door.port}`] as const),
      ] as [NetConnectOpts, string][]) {
        for (const rest of [`\r\nHost: ${host}\r\n\r\n`, `\r\nHost: ${host}\r\nContent-Length: 0\r\n\r\n`]) {
          const { statuses } = await talk(where, `${line}${rest}`, 250)
          expect(statuses).toEqual([400])
        }
        expect((await talk(where, `GET /healthz HTTP/1.0\r\nHost: ${host}\r\n\r\n`, 250)).statuses).toEqual([200])
      }
    },
  )

  it('a path that cannot be decoded is a problem like any other, recorded, without an echo', async () => {
    const { statuses, text } = await talk(await operator(), 'GET /v1/tasks/%zz HTTP/1.1\r\nHost: hub\r\n\r\n', 250)
    expect(statuses).toEqual([400])
    expect(text).toContain('application/problem+json')
    expect(text).toContain('"code":"schema_invalid"')
    expect(home.records()).toHaveLength(1)
  })
})

describe('slow and many (T32)', () => {
  const quick = { headersMs: 100, requestMs: 60_000, bodyMs: 5000, stalledMs: 5000, connectionsMax: 3 }

  it('headers that do not come end the connection, also when nothing comes at all', async () => {
    for (const door of [await operator(quick), await loopback(quick)] as NetConnectOpts[]) {
      const held = ['', 'GET /healthz HT', 'GET /healthz HTTP/1.1\r\nHost: hub\r\nX-Slow: '].map((text) =>
        hold(door, text),
      )
      await expect(Promise.all(held.map(({ closed }) => closed))).resolves.toHaveLength(3)
    }
  })

  it('a whole request has a deadline too', async () => {
    const door = await operator({ ...quick, requestMs: 150 })
    const { closed } = hold(
      door,
      'POST /v1/heartbeat HTTP/1.1\r\nHost: hub\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
    )
    await expect(closed).resolves.toBeUndefined()
  })

  it('a JSON body that drips is ended by its deadline; its refusal is one record', async () => {
    const door = await operator({ ...quick, headersMs: 60_000 })
    const slow = hold(
      door,
      'POST /v1/heartbeat HTTP/1.1\r\nHost: hub\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{',
    )
    for (let second = 0; second < 5; second += 1) {
      await passed()
      slow.socket.write(' ')
      await home.clock.advance(1001)
    }
    await slow.closed
    await until(() => home.records().length > 0)
    await passed()
    expect(home.records()).toEqual([
      expect.objectContaining({ action: 'operator.heartbeat_given', outcome: 'refused' }),
    ])
    expect(logged).toEqual([])
  })

  it('an upload that moves is not cut, however long it takes; one that stops is', async () => {
    const door = await operator({ ...quick, headersMs: 60_000 })
    const bytes = 'x'.repeat(10)
    const sha = '8eefcfdf5990e441f0fb6f3fad709e21fc4a2a15a6bd2d5b4b2e1d1a5b8d5b1e'
    const start = `PUT /v1/artifacts/${sha} HTTP/1.1\r\nHost: hub\r\nContent-Type: application/octet-stream\r\nContent-Length: 10\r\n\r\n`
    const moving = hold(door, start)
    for (const byte of bytes) {
      await passed()
      moving.socket.write(byte)
      await passed()
      await home.clock.advance(4000)
    }
    await until(() => moving.heard() !== '')
    // Whole after forty seconds of the hub's clock: it is judged, here by its digest.
    expect(moving.heard()).toContain('does not match the digest')
    const stopping = hold(door, `${start}xx`)
    // However late its bytes were read, it is ended once nothing more comes.
    await expect
      .poll(async () => {
        await home.clock.advance(5001)
        return stopping.socket.destroyed
      })
      .toBe(true)
  })

  it('an event stream lives past every deadline', async () => {
    const door = await operator({ ...quick, headersMs: 1000, requestMs: 1000 })
    const stream = hold(door, 'GET /v1/events HTTP/1.1\r\nHost: hub\r\n\r\n')
    await until(() => stream.heard() !== '')
    await realMs(3000)
    await home.clock.advance(60_000)
    await until(() => stream.heard().split(': still here').length > 4)
    await passed()
    expect(stream.heard().split(': still here').length - 1).toBe(4)
    expect(stream.socket.destroyed).toBe(false)
    stream.end()
  })

  it('64 KiB of headers are 431', async () => {
    for (const door of [await operator(), await loopback()] as NetConnectOpts[]) {
      const many = `X-Big: ${'a'.repeat(1000)}\r\n`.repeat(64)
      const { statuses, closed } = await talk(door, `GET /healthz HTTP/1.1\r\nHost: hub\r\n${many}\r\n`)
      expect([statuses, closed]).toEqual([[431], true])
    }
  })

  it('past the cap the idle one that is oldest goes, and who asks is answered (I6)', async () => {
    for (const door of [
      await operator({ ...quick, headersMs: 60_000 }),
      await loopback({ ...quick, headersMs: 60_000 }),
    ]) {
      const where: NetConnectOpts = door
      const host = 'port' in door ? `127.0.0.1:${door.port}` : 'hub'
      const get = `GET /healthz HTTP/1.1\r\nHost: ${host}\r\n\r\n`
      const held: ReturnType<typeof hold>[] = []
      for (const _ of [0, 1, 2]) {
        const one = hold(where, get)
        await until(() => one.heard() !== '')
        held.push(one)
      }
      expect((await talk(where, get, 100)).statuses).toEqual([200])
      for (const { socket } of held.slice(1)) socket.write(get)
      const answers = () => held.map(({ heard }) => heard().match(/HTTP\/1\.1 200/g)?.length ?? 0)
      await until(() => held[0]?.socket.destroyed === true && answers().reduce((sum, each) => sum + each) >= 5)
      await passed()
      expect(held.map(({ heard }) => heard().match(/HTTP\/1\.1 200/g)?.length)).toEqual([1, 2, 2])
      expect(held[0]?.socket.destroyed).toBe(true)
      for (const { end } of held) end()
    }
  })
})

describe('a fault of ours (T39)', () => {
  it('is one constant body without its text or stack, and the log has it', async () => {
    const faulty = {
      effect: () => {
        throw new Error(`could not open ${SECRET}`)
      },
    }
    const late = { effect: () => undefined, after: () => Promise.reject(new TypeError(SECRET)) }
    const door = await operator(
      {},
      {
        'operator.heartbeat': faulty,
        'mode.show': late,
        'task.list': { ...late, effect: () => ({ x: 1n }), after: (x: never) => x },
      },
    )
    const bodies = new Set<string>()
    for (const request of [
      beat('Content-Type: application/json\r\n'),
      ...['/v1/mode', '/v1/tasks'].map((path) => `GET ${path} HTTP/1.1\r\nHost: hub\r\n\r\n`),
    ]) {
      const { statuses, text } = await talk(door, request, 250)
      expect(statuses).toEqual([500])
      bodies.add(text.slice(text.indexOf('\r\n\r\n') + 4))
    }
    expect(bodies.size).toBe(1)
    const [body = ''] = bodies
    expect(JSON.parse(body)).toMatchObject({ code: 'internal', status: 500 })
    for (const word of [SECRET, 'BigInt', 'TypeError', 'node_modules', '.ts', 'at ']) expect(body).not.toContain(word)
    expect(logged).toHaveLength(3)
    expect(logged.join('')).toContain(SECRET)
  })
})
