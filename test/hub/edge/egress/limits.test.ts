/** The gateway against agents and upstreams that waste its time, connections and memory (E9, E11, E12, E20). */
import { createHash, randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  createEgressScene,
  type EgressScene,
  eventually,
  OTHER_SESSION,
  type SceneOptions,
  SESSION,
} from '../../../support/egress-scene.ts'
import { createFakeClock } from '../../../support/fake-clock.ts'

let scene: EgressScene
afterEach(() => scene.close())
const start = async (options?: SceneOptions) => {
  scene = await createEgressScene(options)
  return scene
}
const CHAT = '/up/model/v1/chat/completions'
const body = JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content: 'hello' }] })
const metered = { method: 'POST', headers: { 'content-type': 'application/json' }, body }
const asked = (path: string, text = '', more = '') =>
  `${text === '' ? 'GET' : 'POST'} ${path} HTTP/1.1\r\nhost: h\r\n${text === '' ? '' : `content-type: application/json\r\ncontent-length: ${text.length}\r\n`}${more}\r\n${text}`
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe('an agent that leaves a metered answer [E9]', () => {
  it('is read on for, and pays what the answer says if it comes within five seconds', async () => {
    await start()
    let finish: (() => void) | undefined
    scene.serve((request, response) => {
      request.resume()
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: one\n\n')
      finish = () => response.end('data: usage\n\n')
    })
    const socket = scene.raw()
    let got = ''
    socket.on('data', (piece) => (got += piece))
    socket.write(asked(CHAT, body))
    await eventually(() => got.includes('one'))
    socket.destroy()
    await wait(30)
    expect(scene.settled).toEqual([])
    finish?.()
    await eventually(() => scene.settled.length === 1)
    expect(scene.settled).toMatchObject([{ end: { kind: 'answered', outcome: { why: '24 bytes' } } }])
  })

  it('pays the reserve if it does not; three such in a row stop the egress of that session, whatever it reads for nothing between', async () => {
    const clock = createFakeClock()
    await start({ clock })
    let begun = 0
    scene.serve((request, response) => {
      request.resume()
      if (request.method === 'GET') return response.end('free')
      begun += 1
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: one\n\n')
    })
    for (let n = 1; n <= 3; n += 1) {
      expect((await scene.ask('/up/rates/today')).text).toBe('free')
      const socket = scene.raw()
      let got = ''
      socket.on('data', (piece) => (got += piece))
      socket.write(asked(CHAT, body))
      await eventually(() => got.includes('one'))
      socket.destroy()
      await wait(30)
      await clock.advance(4900)
      expect(scene.settled).toHaveLength(n - 1)
      await clock.advance(200)
      await eventually(() => scene.settled.length === n)
      expect(scene.settled.at(-1)).toMatchObject({ end: { kind: 'lost' } })
    }
    expect(scene.alerts).toContain('egress_stopped:reader')
    expect((await scene.ask(CHAT, metered)).text).toMatch(/reaches nothing more/)
    expect(begun).toBe(3)
  })
})

describe('an upstream that does not accept the key', () => {
  it.each([401, 403])(
    'costs nothing, and its %i is told to the account, which counts such answers over restarts [E9]',
    async (status) => {
      await start()
      scene.serve((request, response) => {
        request.resume()
        response.writeHead(status).end('{"error":{"type":"billing_error"}}')
      })
      const { text } = await scene.ask(CHAT, metered)
      expect(text).not.toContain('billing_error')
      await eventually(() => scene.settled.length === 1)
      expect(scene.settled).toMatchObject([{ end: { kind: 'failed_before', answer: { status } } }])
      const end = scene.settled[0]?.end
      expect(String(end?.kind === 'failed_before' ? end.answer?.body : '')).toContain('billing_error')
    },
  )
})

describe('an upstream that breaks off [E9] [E11]', () => {
  it('costs the reserve, looks broken to the agent, and rests for 30 s after two in a row', async () => {
    const clock = createFakeClock()
    await start({ clock })
    let reached = 0
    let breaks = true
    scene.serve((request, response) => {
      reached += 1
      request.resume()
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: half')
      setTimeout(() => (breaks ? response.destroy() : response.end('data: whole\n\n')), 10)
    })
    await expect(scene.ask(CHAT, metered)).rejects.toThrow()
    await expect(scene.ask(CHAT, metered)).rejects.toThrow()
    await eventually(() => scene.settled.length === 2)
    expect(scene.settled).toMatchObject([{ end: { kind: 'lost' } }, { end: { kind: 'lost' } }])
    expect(await scene.ask(CHAT, metered)).toMatchObject({ status: 503, headers: { 'retry-after': '30' } })
    expect(reached).toBe(2)
    breaks = false
    await clock.advance(30_001)
    expect((await scene.ask(CHAT, metered)).status).toBe(200)
  })

  it('because it wants no more of a body rests for nobody: an agent could make it do that', async () => {
    await start({
      rawUpstream(socket) {
        let got = ''
        socket.on('data', (piece) => {
          got += piece
          if (got.startsWith('GET')) socket.end('HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok')
          else if (got.includes('xx')) socket.end('HTTP/1.1 413 Too large\r\ncontent-length: 100\r\n\r\nno')
        })
      },
    })
    for (const n of [1, 2]) {
      const socket = scene.raw()
      socket.write('POST /up/weather/v1/notes HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n2\r\nxx\r\n')
      await eventually(
        () => scene.records.filter(({ effect }) => effect.includes('weather write POST 413')).length === n,
      )
      socket.destroy()
    }
    expect(await scene.ask('/up/weather/v1/forecast', { session: OTHER_SESSION })).toMatchObject({
      status: 200,
      text: 'ok',
    })
  })

  it('before it answered costs nothing if it cannot have got the request', async () => {
    await start({
      upstreams: () => ({ model: { kind: 'openai', url: 'http://127.0.0.1:1', local: true, price: 'free' } }),
    })
    expect((await scene.ask(CHAT, metered)).status).toBe(502)
    expect(scene.settled).toMatchObject([{ end: { kind: 'failed_before' } }])
  })

  it('and has answered an error costs nothing', async () => {
    await start()
    scene.serve((request, response) => void request.resume().on('end', () => response.writeHead(529).end('busy')))
    expect(await scene.ask(CHAT, metered)).toMatchObject({ status: 529, text: 'busy' })
    expect(scene.settled).toMatchObject([{ end: { kind: 'failed_before' } }])
  })
})

describe('an agent that wastes [E12]', () => {
  it('gets 32 connections and no more; others are not touched by that', async () => {
    await start()
    scene.serve(() => undefined)
    const held = Array.from({ length: 40 }, () => scene.raw())
    let closed = 0
    for (const socket of held) {
      socket.on('close', () => (closed += 1)).resume()
      socket.write(asked('/up/rates/x'))
    }
    await eventually(() => closed === 8)
    expect(scene.egress.meters.turnedAway).toBe(8)
    await eventually(() => scene.egress.meters.open === 32)
    scene.serve((_request, response) => response.end('served'))
    expect((await scene.ask('/up/rates/x', { session: 'sbbbbbbbbbbbbbbb' })).text).toBe('served')
    for (const socket of held) socket.destroy()
    await eventually(() => scene.egress.meters.open === 0)
  })

  it('and drips a body is cut after 30 s of silence, and after five minutes in all', async () => {
    const clock = createFakeClock()
    await start({ clock })
    for (const dripping of [false, true]) {
      const socket = scene.raw()
      let got = ''
      socket.on('data', (piece) => (got += piece))
      socket.write(
        `POST ${CHAT} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{`,
      )
      await eventually(() => scene.egress.meters.open === 1)
      await wait(20)
      for (let n = 0; n < (dripping ? 11 : 1); n += 1) {
        if (dripping) socket.write('a')
        await wait(5)
        await clock.advance(dripping ? 29_000 : 31_000)
      }
      await eventually(() => got.includes('timed_out'))
      expect(scene.refusals.at(-1)?.code).toBe('timed_out')
      socket.destroy()
      await eventually(() => scene.egress.meters.open === 0)
    }
  })

  it('and never reads holds back its upstream, and is cut after two minutes', async () => {
    const clock = createFakeClock()
    await start({ clock })
    const chunk = Buffer.alloc(65_536, 'a')
    let sent = 0
    let isCut = false
    scene.serve((_request, response) => {
      const more = () => {
        do sent += chunk.length
        while (!response.destroyed && response.write(chunk))
      }
      response.on('drain', more).on('close', () => (isCut = true))
      more()
    })
    const socket = scene.raw()
    socket.pause()
    socket.write(asked('/up/weather/large'))
    await eventually(() => sent > 0)
    let before = -1
    while (before !== sent) {
      before = sent
      await wait(100)
    }
    expect(sent).toBeLessThan(64 << 20)
    await clock.advance(121_000)
    await eventually(() => isCut)
    await eventually(() => scene.egress.meters.open === 0)
    socket.destroy()
    await clock.advance(1001)
    expect(scene.records.at(-1)?.effect).toMatch(/timed_out: the answer was not read for 120 s/)
  })

  it('and asks a thousand things at once is served at a pace, and one at a time on each connection', async () => {
    const clock = createFakeClock()
    await start({ clock })
    let [most, now, served] = [0, 0, 0]
    scene.serve((_request, response) => {
      now += 1
      most = Math.max(most, now)
      served += 1
      setImmediate(() => {
        now -= 1
        response.end('ok')
      })
    })
    const socket = scene.raw()
    socket.resume()
    socket.write(asked('/up/rates/x').repeat(1000))
    await eventually(() => served === 200)
    await wait(100)
    expect(served).toBe(200)
    expect(most).toBe(1)
    await clock.advance(1000)
    await eventually(() => served === 300)
    socket.destroy()
  })
})

describe('memory [E20]', () => {
  it('for bodies is bounded over all sessions together, and no session has more than half of it', async () => {
    await start({
      upstreams: (port) => ({
        model: { kind: 'openai', url: `http://127.0.0.1:${port}`, local: true, price: 'free', bodyBytes: '64MiB' },
      }),
    })
    const open: { socket: Socket; got: () => string }[] = []
    for (let n = 0; n < 5; n += 1) {
      const socket = connect(scene.path(n < 3 ? SESSION : OTHER_SESSION))
      let got = ''
      socket.on('data', (piece) => (got += piece)).on('error', () => undefined)
      socket.write(
        `POST ${CHAT} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: ${60 << 20}\r\n\r\n`,
      )
      socket.setMaxListeners(100)
      for (let mib = 0; mib < 59; mib += 1)
        if (!socket.write(Buffer.alloc(1 << 20, 'a')))
          await new Promise((resolve) => socket.once('drain', resolve).once('close', resolve))
      open.push({ socket, got: () => got })
    }
    await eventually(() => open.some(({ got }) => got().includes('rate_limited')))
    expect(open.findIndex(({ got }) => got().includes('rate_limited'))).toBe(2)
    expect(scene.refusals.map(({ code }) => code)).toEqual(['rate_limited'])
    for (const { socket } of open) socket.destroy()
    await eventually(() => scene.egress.meters.open === 0)
    // What was held is given back, by those that left and by those that are answered: five such are more than there is room for.
    const headers = { 'content-type': 'application/json' }
    const body = Buffer.alloc(58 << 20, 'a')
    for (let n = 0; n < 5; n += 1) {
      const { status, text } = await scene.ask(CHAT, { method: 'POST', headers, body })
      expect([status, text]).toEqual([400, expect.stringContaining('JSON')])
    }
  })

  it('of a large answer is given back piece by piece once it was sent, so that nothing need search for it; the answer is whole', async () => {
    await start()
    const sent = randomBytes(24 << 20)
    // What may begin the key waits for the next piece.
    for (let at = 65_536; at < sent.length; at += 65_536) sent.write('sk-proj-Zq8', at - 11)
    scene.serve((_request, response) => response.writeHead(200, { 'content-length': sent.length }).end(sent))
    let given = 0
    const transfer = ArrayBuffer.prototype.transfer
    const spy = vi.spyOn(ArrayBuffer.prototype, 'transfer').mockImplementation(function (this: ArrayBuffer, length) {
      given += this.byteLength
      return transfer.call(this, length)
    })
    const socket = scene.raw()
    const got: Buffer[] = []
    let bytes = 0
    socket.on('data', (piece) => {
      got.push(piece)
      bytes += piece.length
      // A reader that stops now and then: pieces wait in the gateway meanwhile.
      if (got.length % 16 !== 0) return
      socket.pause()
      setTimeout(() => socket.resume(), 2)
    })
    socket.write(asked('/up/weather/large'))
    await eventually(() => bytes > sent.length && given >= 2 * sent.length)
    socket.destroy()
    spy.mockRestore()
    const answer = Buffer.concat(got)
    const body = answer.subarray(answer.indexOf('\r\n\r\n') + 4)
    const digest = (of: Buffer) => createHash('sha256').update(of).digest('hex')
    expect(digest(body)).toBe(digest(sent))
  })
})

describe('bytes that a task sends outward [E15]', () => {
  const NOTES = '/up/weather/v1/notes'
  const note = (bytes: number) => ({ method: 'POST', body: 'x'.repeat(bytes) })

  it('end at the limit, which the refusal names; a smaller one still passes, and a raised limit counts at once', async () => {
    let limit = 4000
    await start({ taskBytes: () => limit })
    let got = 0
    scene.serve((request, response) => {
      request.on('data', (piece: Buffer) => {
        got += piece.length
      })
      request.on('end', () => response.end('ok'))
    })
    expect((await scene.ask(NOTES, note(3000))).status).toBe(200)
    const refused = await scene.ask(NOTES, note(2000))
    expect([refused.status, got]).toEqual([403, 3000])
    expect(refused.text).toMatch(/budget_exceeded: .*the limit is 4kB, 30\d\d bytes are sent.*egress\.taskBytes/)
    expect(scene.alerts).toEqual(['egress_bytes:reader'])
    // What is asked for counts too: a path can carry as much as a body.
    expect((await scene.ask(`/up/rates/${'y'.repeat(2000)}`)).status).toBe(403)
    expect((await scene.ask(NOTES, note(500))).status).toBe(200)
    limit = 8000
    expect((await scene.ask(NOTES, note(2000))).status).toBe(200)
    expect(got).toBe(5500)
    const [sum = 0] = scene.sums.values()
    expect(sum).toBeGreaterThanOrEqual(got)
  })

  it('hold for what a counting endpoint is asked: nothing of it goes out above the limit', async () => {
    let got = 0
    await start({
      taskBytes: () => 2000,
      meter: { needsCount: () => true },
      upstreams: (port) => ({
        claude: { kind: 'anthropic', url: `http://127.0.0.1:${port}`, local: true, price: 'free', secret: 'model-key' },
      }),
    })
    scene.serve((request, response) => {
      request.on('data', (piece: Buffer) => {
        got += piece.length
      })
      request.on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end('{"input_tokens":1}'))
    })
    const send = async (bytes: number) => {
      const text = JSON.stringify({
        ...{ model: 'm', max_tokens: 9, messages: [{ role: 'user', content: 'z'.repeat(bytes) }] },
      })
      const headers = { 'content-type': 'application/json', 'transfer-encoding': 'chunked' }
      return scene.ask('/up/claude/v1/messages', { method: 'POST', headers, body: text })
    }
    expect((await send(3000)).text).toContain('budget_exceeded')
    expect([got, scene.reserved]).toEqual([0, []])
    expect((await send(100)).status).toBe(200)
    const [sum = 0] = scene.sums.values()
    expect(sum).toBeGreaterThanOrEqual(got)
  })

  it('hold for a body that does not say how long it is, and for a call that is refused before anything is reserved', async () => {
    await start({ taskBytes: () => 100_000 })
    let got = 0
    scene.serve((request) => {
      request.on('data', (piece: Buffer) => {
        got += piece.length
      })
    })
    const socket = scene.raw()
    socket.write(`POST ${NOTES} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n`)
    const piece = `2710\r\n${'x'.repeat(10_000)}\r\n`
    for (let n = 0; n < 20; n += 1) socket.write(piece)
    await eventually(() => scene.records.some(({ effect }) => /budget_exceeded/.test(effect)))
    expect(got).toBeLessThanOrEqual(100_000)
    const long = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'z'.repeat(100_000) }] })
    expect((await scene.ask(CHAT, { ...metered, body: long })).text).toContain('budget_exceeded')
    expect([scene.reserved, scene.settled]).toEqual([[], []])
  })
})
