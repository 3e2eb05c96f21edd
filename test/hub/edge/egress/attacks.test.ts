/** What agents and lying upstreams tried against the gateway, each with the rule that holds it (E11, E12, E14, E16, E20). */
import { EventEmitter } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { afterEach, describe, expect, it } from 'vitest'
import { createSystemClock } from '../../../../hub/base/clock.ts'
import { createHeld, readWhole } from '../../../../hub/edge/egress/bodies.ts'
import { placeholderOf } from '../../../../hub/protocol/egress/placeholders.ts'
import {
  createEgressScene,
  type EgressScene,
  eventually,
  KEY,
  OTHER_SESSION,
  type SceneOptions,
} from '../../../support/egress-scene.ts'
import { createFakeClock } from '../../../support/fake-clock.ts'

let scene: EgressScene
afterEach(() => scene.close())
const start = async (options?: SceneOptions) => {
  scene = await createEgressScene(options)
  return scene
}
const CHAT = '/up/model/v1/chat/completions'
const chat = (more: Record<string, unknown> = {}, headers: Record<string, string> = {}) => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', ...headers },
  body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'hello' }], ...more }),
})

describe('a key never comes back [E14]', () => {
  it('in the very first answer after it was read, nor in the first after it was replaced', async () => {
    const secrets = { 'model-key': KEY }
    await start({ secrets })
    scene.serve((request, response) => response.end(`you sent ${request.headers['x-key']}`))
    expect((await scene.ask('/up/weather/v1/forecast')).text).toBe(`you sent ${'*'.repeat(KEY.length)}`)
    secrets['model-key'] = 'tok_9Yb2-another-Key7QwErTz'
    expect((await scene.ask('/up/weather/v1/forecast')).text).toMatch(/^you sent \*+$/)
  })

  it('in a header that passes, of an answer or of an error', async () => {
    await start()
    let status = 200
    scene.serve((request, response) => {
      request.resume()
      response.writeHead(status, { etag: `"${KEY}"`, 'x-request-id': Buffer.from(KEY).toString('hex') }).end('{}')
    })
    for (status of [200, 404, 429]) {
      for (const ask of [() => scene.ask('/up/weather/v1/forecast'), () => scene.ask(CHAT, chat())]) {
        const text = JSON.stringify((await ask()).headers)
        expect(text).not.toContain(KEY.slice(8, 20))
        expect(text).not.toContain(Buffer.from(KEY).toString('hex').slice(20, 40))
        expect(text).toContain('****')
      }
    }
    expect(scene.alerts).toEqual(expect.arrayContaining(['secret_leaving:weather', 'secret_leaving:model']))
  })
})

describe('what is remembered of a refusal [E16]', () => {
  it('answers no other request: neither a good one after a bad one, nor a foreign placeholder unseen', async () => {
    await start()
    expect((await scene.ask(CHAT, chat({ surprise: true }))).status).toBe(400)
    expect((await scene.ask(CHAT, chat({ surprise: true }))).status).toBe(400)
    expect(scene.refusals).toHaveLength(1)
    expect(scene.counted).toEqual(['egress_denied'])
    expect((await scene.ask(CHAT, chat())).status).toBe(200)
    const foreign = { authorization: `Bearer ${placeholderOf(OTHER_SESSION, 'model')}` }
    expect((await scene.ask(CHAT, chat({ surprise: true }, foreign))).status).toBe(400)
    expect(scene.refusals.map(({ code }) => code)).toEqual(['egress_denied', 'forbidden'])
    expect(scene.alerts).toEqual(['placeholder_foreign:reader'])
    expect((await scene.ask(CHAT, chat())).status).toBe(200)
  })
})

describe('bodies of agents', () => {
  it('of one session leave half of the memory to others, but one body of its upstream always has its chance [E20]', () => {
    const held = createHeld(100)
    const [one, other] = [held.of('one', 10), held.of('other', 10)]
    expect([one.take(50), one.take(1), held.of('one', 10).take(1), other.take(50), other.take(1)]).toEqual([
      ...[true, false, false, true, false],
    ])
    other.give(50)
    expect([held.bytes, one.bytes, other.bytes, held.of('one', 90).take(40), held.of('one', 90).take(1)]).toEqual([
      ...[50, 50, 0, true, false],
    ])
    expect([other.take(10), other.take(1), held.bytes]).toEqual([true, false, 100])
  })

  it('that come in pieces of one byte hold no more memory than their bytes [E20]', async () => {
    await start()
    const request = Object.assign(new EventEmitter(), { headers: {}, complete: false, resume: () => undefined })
    const held = createHeld()
    const whole = readWhole(request as unknown as IncomingMessage, {
      most: 1000,
      held: held.of('s', 1000),
      clock: createSystemClock(),
    })
    const read = Buffer.alloc(65_536, 'a')
    for (let n = 0; n < 100; n += 1) request.emit('data', read.subarray(n, n + 1))
    // A piece that was kept as it came would keep the whole read it was cut from, and show what is written there now.
    read.fill('b')
    request.complete = true
    request.emit('end')
    expect((await whole).toString()).toBe('a'.repeat(100))
    expect(held.bytes).toBe(100)
  })

  it('that are handed on piece by piece have the limit of the upstream too [E12]', async () => {
    await start({
      upstreams: (port) => ({
        notes: {
          ...{ kind: 'http', url: `http://127.0.0.1:${port}`, local: true },
          ...{ allow: ['POST /notes'], bodyBytes: '64KiB' },
        },
      }),
    })
    let [reached, got] = [0, 0]
    scene.serve((request, response) => {
      reached += 1
      request.on('data', (piece: Buffer) => (got += piece.length)).on('end', () => response.end('ok'))
      request.on('error', () => undefined)
    })
    const ask = (bytes: number, headers: Record<string, string>) =>
      scene.ask('/up/notes/notes', { method: 'POST', headers, body: Buffer.alloc(bytes, 'a') })
    expect((await ask(65_536, {})).status).toBe(200)
    expect((await ask(65_537, {})).text).toContain('too_large')
    expect(reached).toBe(1)
    got = 0
    await ask(1 << 20, { 'transfer-encoding': 'chunked' }).catch(() => undefined)
    expect(got).toBeLessThanOrEqual(65_536)
    expect(scene.records.at(-1)?.effect).toMatch(/too_large/)
  })

  it('end with the answer: an upstream that answers early is no line that nobody watches [E11]', async () => {
    await start()
    let [got, isCut] = [0, false]
    scene.serve((request, response) => {
      request.on('data', (piece: Buffer) => (got += piece.length)).on('error', () => undefined)
      request.socket.on('close', () => (isCut = !request.complete))
      response.end('early')
    })
    const socket = scene.raw()
    let heard = ''
    socket.on('data', (piece) => (heard += piece))
    socket.write('POST /up/weather/v1/notes HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n')
    await eventually(() => heard.includes('early') && scene.records.length === 2)
    await eventually(() => {
      if (!isCut) socket.write('3\r\nabc\r\n')
      return isCut
    })
    expect(scene.records.at(-1)?.effect).toMatch(/^weather write POST 200/)
    socket.destroy()
  })
})

describe('what is no request [E5] [E13]', () => {
  it('of a session that nobody can look up is answered, and ends nothing else', async () => {
    await start()
    scene.forget()
    for (const text of ['nonsense\r\n\r\n', 'GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n']) {
      const socket = scene.raw()
      let heard = ''
      socket.on('data', (piece) => (heard += piece)).write(text)
      await eventually(() => /^HTTP\/1.1 4/.test(heard))
      expect(heard).toMatch(/^HTTP\/1\.1 4(?:00|26) /)
    }
  })

  it('and a body that goes on after its refusal is not read for ever [E12]', async () => {
    const clock = createFakeClock()
    await start({ clock })
    const socket = scene.raw()
    let [heard, isOver] = ['', false]
    socket.on('data', (piece) => (heard += piece)).on('close', () => (isOver = true))
    socket.write('POST /up/weather/v1/no HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n')
    await eventually(() => heard.includes('egress_denied'))
    for (let n = 0; n < 3; n += 1) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      socket.write('3\r\nabc\r\n')
      expect(isOver).toBe(false)
      await clock.advance(10_001)
    }
    await eventually(() => isOver)
  })
})

describe('the pace of a session [E12]', () => {
  it('holds for lines too: a thousand CONNECTs to a thousand hosts are no thousand decisions at once', async () => {
    await start({ clock: createFakeClock() })
    let now = 0
    const one = (n: number) => {
      const socket = scene.raw()
      socket.write(`CONNECT x${n}:443 HTTP/1.1\r\nhost: x\r\n\r\n`)
      return new Promise<void>((resolve) => socket.resume().on('close', () => resolve()))
    }
    for (let n = 0; n < 208; n += 1) {
      now += 1
      void one(n).then(() => (now -= 1))
      if (n < 200) await eventually(() => now < 16)
    }
    await eventually(() => scene.refusals.length >= 200 && now <= 8)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(scene.refusals).toHaveLength(200)
  })
})
