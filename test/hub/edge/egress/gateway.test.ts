/** The way of one request outward, on real sockets: what passes, what never does, and what is written down (E5, E6, E11, E13, E14, E16). */
import { afterEach, describe, expect, it } from 'vitest'
import { HubError } from '../../../../hub/base/errors.ts'
import { placeholderOf } from '../../../../hub/protocol/egress/placeholders.ts'
import {
  createEgressScene,
  type EgressScene,
  eventually,
  KEY,
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
const chat = (more: Record<string, unknown> = {}) => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'hello' }], ...more }),
})
const CHAT = '/up/model/v1/chat/completions'

describe('a request that passes', () => {
  it('is written anew: the key of the hub, its host, no header that is not on the list', async () => {
    await start()
    const seen: { url: string | undefined; headers: Record<string, unknown>; raw: string[] }[] = []
    scene.serve((request, response) => {
      seen.push({ url: request.url, headers: request.headers, raw: request.rawHeaders })
      response.writeHead(200, { 'content-type': 'text/plain', 'set-cookie': 'a=b', 'x-account': 'me' }).end('sunny')
    })
    const answer = await scene.ask('/up/weather/v1/./x/../forecast?city=Bern', {
      headers: {
        'x-key': 'own key of the agent',
        authorization: 'Bearer own',
        cookie: 'a=b',
        'x-forwarded-for': '10.0.0.1',
        'accept-encoding': 'gzip',
        'x-http-method-override': 'DELETE',
      },
    })
    expect(answer).toMatchObject({ status: 200, text: 'sunny' })
    expect(answer.headers).not.toHaveProperty('set-cookie')
    expect(answer.headers).not.toHaveProperty('x-account')
    const [{ url, headers, raw } = { url: '', headers: {}, raw: [] }] = seen
    expect(url).toBe('/base/v1/forecast?city=Bern')
    expect(headers).toMatchObject({ 'x-key': KEY, host: `127.0.0.1:${scene.port}`, 'accept-encoding': 'identity' })
    for (const name of ['authorization', 'cookie', 'x-forwarded-for', 'x-http-method-override'])
      expect(headers).not.toHaveProperty(name)
    expect(raw.filter((each) => each.toLowerCase() === 'host')).toHaveLength(1)
  })

  it('has a record of upstream, class, status and bytes, without path and query; those alike share one', async () => {
    await start()
    for (let n = 0; n < 3; n += 1) await scene.ask('/up/weather/v1/forecast?city=Secretville')
    await eventually(() => scene.records.length > 0)
    expect(scene.records).toHaveLength(1)
    expect(scene.records[0]).toMatchObject({ operation: 'egress.settle', resource: `session:${SESSION}` })
    expect(scene.records[0]?.effect).toBe('weather read GET 200; 3 requests; 0 bytes out, 6 in')
  })

  it('that costs or writes has a record before it goes out, and one at its end', async () => {
    await start()
    await scene.ask(CHAT, chat())
    expect(scene.records.map(({ operation }) => operation)).toEqual(['egress.request', 'egress.settle'])
    expect(scene.settled).toMatchObject([{ id: 'r1', end: { kind: 'answered' } }])
  })

  it('streams each event when it comes, and a body as it is written', async () => {
    await start()
    let next: (() => void) | undefined
    scene.serve((request, response) => {
      request.resume()
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: one\n\n')
      next = () => response.end('data: two\n\n')
    })
    const socket = scene.raw()
    let got = ''
    socket.on('data', (piece) => (got += piece))
    const { body } = chat({ stream: true })
    socket.write(
      `POST ${CHAT} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    await eventually(() => got.includes('data: one'))
    expect(got).not.toContain('data: two')
    next?.()
    await eventually(() => got.includes('data: two'))
    socket.destroy()
  })
})

describe('two parsers never read a request differently [E5]', () => {
  const cases: [string, string][] = [
    ['an absolute form', 'GET http://127.0.0.1/up/rates/ HTTP/1.1\r\nhost: h\r\n\r\n'],
    ['two hosts', 'GET /up/rates/ HTTP/1.1\r\nhost: h\r\nhost: i\r\n\r\n'],
    ['a folded header', 'GET /up/rates/ HTTP/1.1\r\nhost: h\r\naccept: a\r\n b\r\n\r\n'],
    [
      'two lengths',
      'POST /up/weather/v1/notes HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab',
    ],
    [
      'a length and chunks',
      'POST /up/weather/v1/notes HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    [
      'another coding',
      'POST /up/weather/v1/notes HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    ],
    [
      'a coding that hides',
      'POST /up/weather/v1/notes HTTP/1.1\r\nhost: h\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n',
    ],
    ['a name with a space', 'GET /up/rates/ HTTP/1.1\r\nhost: h\r\naccept : a\r\n\r\n'],
    ['a GET with a body', 'GET /up/rates/ HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\n\r\na'],
    ['another version', 'GET /up/rates/ HTTP/2.0\r\nhost: h\r\n\r\n'],
    ['no host', 'GET /up/rates/ HTTP/1.1\r\n\r\n'],
    ['a control character', 'GET /up/rates/ HTTP/1.1\r\nhost: h\r\naccept: a\x01\r\n\r\n'],
    ['an upgrade', 'GET /up/rates/ HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n'],
    ['a head of 70 KiB', `GET /up/rates/ HTTP/1.1\r\nhost: h\r\naccept: ${'a'.repeat(70_000)}\r\n\r\n`],
  ]
  it.each(cases)('%s never goes outward', async (what, text) => {
    await start()
    let reached = 0
    scene.serve((_request, response) => {
      reached += 1
      response.end()
    })
    const socket = scene.raw()
    let got = ''
    let isOver = false
    socket.on('data', (piece) => (got += piece)).on('close', () => (isOver = true))
    socket.write(text)
    await eventually(() => isOver || /^HTTP\/1\.1 \d+ [\s\S]*\r\n\r\n/.test(got))
    const status = Number(/^HTTP\/1\.1 (\d+)/.exec(got)?.[1] ?? 400)
    if (what === 'an upgrade') expect(status).toBe(426)
    else expect(status).toBeGreaterThanOrEqual(400)
    expect(reached).toBe(0)
    socket.destroy()
  })

  it('trailers and what follows a request on its connection are no part of it', async () => {
    await start()
    const seen: string[] = []
    scene.serve((request, response) => {
      request.resume().on('end', () => {
        seen.push(`${request.method} ${request.url} ${JSON.stringify(request.trailers)}`)
        response.end('ok')
      })
    })
    const socket = scene.raw()
    let got = ''
    socket.on('data', (piece) => (got += piece))
    socket.write(
      'POST /up/weather/v1/notes HTTP/1.1\r\nhost: h\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\ntrailer: x-key\r\n\r\n3\r\nabc\r\n0\r\nx-key: mine\r\n\r\nGET /up/rates/second HTTP/1.1\r\nhost: h\r\n\r\n',
    )
    await eventually(() => seen.length === 2)
    expect(seen).toEqual(['POST /base/v1/notes {}', 'GET /second {}'])
    socket.destroy()
  })
})

describe('a refusal', () => {
  it('by the rules leaves a proposal, has the shape of the kind, and is answered from memory for ten seconds', async () => {
    await start()
    scene.rule(() => new HubError('policy_denied', 'agent reader may not reach model (metered)'))
    const first = await scene.ask(CHAT, chat())
    const second = await scene.ask(CHAT, chat())
    expect(first.status).toBe(400)
    expect(JSON.parse(first.text)).toMatchObject({ error: { code: 'policy_denied' } })
    expect(second.text).toBe(first.text)
    expect(scene.refusals).toHaveLength(1)
    expect(scene.counted).toEqual(['policy_denied'])
    expect(scene.proposals).toEqual(['reader model metered'])
  })

  it('by the closed list reaches neither rules nor upstream', async () => {
    await start()
    let asked = 0
    scene.rule(() => {
      asked += 1
      return undefined
    })
    expect((await scene.ask('/up/weather/v1/admin')).status).toBe(403)
    expect((await scene.ask('/up/nobody/v1')).status).toBe(404)
    expect(asked).toBe(0)
    expect(scene.refusals.map(({ code }) => code)).toEqual(['egress_denied', 'unknown_upstream'])
  })
})

describe('a key never comes back [E14]', () => {
  it('in a body, however it is cut; and an alert says so', async () => {
    await start()
    scene.serve((_request, response) => {
      response.write(`{"echo":"${KEY.slice(0, 20)}`)
      setTimeout(() => response.end(`${KEY.slice(20)}"}`), 20)
    })
    const answer = await scene.ask('/up/rates/x', {})
    // It is known once it was used.
    expect(answer.text).toContain(KEY)
    await scene.ask('/up/weather/v1/forecast')
    const again = await scene.ask('/up/weather/v1/forecast')
    expect(again.text).toBe(`{"echo":"${'*'.repeat(KEY.length)}"}`)
    expect(scene.alerts).toContain('secret_leaving:weather')
  })

  it('in the body of a 401 or 403, nor in a redirect or an error', async () => {
    await start()
    let status = 401
    scene.serve((_request, response) =>
      response.writeHead(status, { location: `/?k=${KEY}` }).end(`bad key ${KEY.slice(0, 10)}***`),
    )
    for (status of [401, 403, 302, 307, 500]) {
      const { text, headers, status: got } = await scene.ask('/up/weather/v1/forecast')
      // Shorter than what the scan knows: only the whole body in its place hides it.
      if (status !== 500) expect(text).not.toContain(KEY.slice(0, 10))
      expect(JSON.stringify(headers)).not.toContain(KEY)
      expect(got).toBe(status < 400 ? 502 : status)
    }
  })

  it('is left alone for ten minutes after three answers 401 or 403 in a row, and anew after each one more', async () => {
    const clock = createFakeClock()
    await start({ clock })
    let reached = 0
    scene.serve((_request, response) => {
      reached += 1
      response.writeHead(403).end()
    })
    let n = 0
    const ask = (session = SESSION) => scene.ask(`/up/weather/v1/forecast?n=${n++}`, { session })
    for (let times = 0; times < 5; times += 1) await ask()
    expect(reached).toBe(3)
    expect(scene.alerts).toEqual(['upstream_refuses:weather'])
    await ask(OTHER_SESSION)
    expect(reached).toBe(4)
    await clock.advance(599_000)
    expect((await ask()).text).toMatch(/3 times in a row; look at its secret. This session asks it again in 1 min/)
    await clock.advance(2000)
    for (let times = 0; times < 2; times += 1) await ask()
    expect(reached).toBe(5)
  })

  it('that was refused before a restart of the hub is left alone for the rest of the ten minutes', async () => {
    const clock = createFakeClock()
    await start({ clock, meter: { keyRefusals: { most: () => 3, before: () => ({ inARow: 3, agoMs: 590_000 }) } } })
    let reached = 0
    scene.serve((_request, response) => {
      reached += 1
      response.end()
    })
    await scene.ask('/up/weather/v1/forecast?n=1')
    expect(reached).toBe(0)
    await clock.advance(10_001)
    await scene.ask('/up/weather/v1/forecast?n=2')
    await scene.ask('/up/weather/v1/forecast?n=3')
    expect(reached).toBe(2)
  })

  it('is not shown again by a call that waited for money while others were refused', async () => {
    let go: (() => void) | undefined
    const waits = new Promise<void>((resolve) => (go = resolve))
    await start({
      meter: {
        async atTurn(_caller, _upstream, _metered, admit) {
          await waits
          return admit(() => ({ id: 'r', cap: 9 }))
        },
      },
    })
    let reached = 0
    scene.serve((_request, response) => {
      reached += 1
      response.writeHead(401).end()
    })
    const waiting = scene.ask(CHAT, chat())
    for (let n = 0; n < 3; n += 1) await scene.ask(`/up/model/v1/models/m${n}`)
    expect(reached).toBe(3)
    go?.()
    expect((await waiting).text).toMatch(/refused the key of this hub 3 times in a row/)
    expect(scene.refusals.at(-1)).toMatchObject({ code: 'upstream_failed' })
    expect(reached).toBe(3)
  })

  it('a call that waited for money goes nowhere once the quota is used up meanwhile, and takes no look away', async () => {
    let isUsedUp = false
    const looked: boolean[] = []
    await start({
      meter: {
        async atTurn(_caller, _upstream, _metered, admit) {
          isUsedUp = true
          return admit(() => ({ id: 'r', cap: 9 }))
        },
        paused(_upstream, looks) {
          looked.push(looks)
          return isUsedUp ? { untilMs: 7_000_000, text: 'the quota of model is used up' } : undefined
        },
      },
    })
    let reached = 0
    scene.serve((_request, response) => {
      reached += 1
      response.end('{}')
    })
    expect((await scene.ask(CHAT, chat())).text).toMatch(/the quota of model is used up/)
    expect(scene.refusals.at(-1)).toMatchObject({ code: 'upstream_exhausted' })
    expect([reached, looked]).toEqual([0, [true, false]])
  })

  it('an answer in an encoding that nobody asked for is no answer [E11]', async () => {
    await start()
    scene.serve((_request, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end('bomb'))
    expect((await scene.ask('/up/weather/v1/forecast')).status).toBe(502)
  })
})

describe('registries and git', () => {
  it('a page of a registry leads back to the hub, one redirect to its second host is followed without the key, and no other', async () => {
    await start({
      upstreams: (port) => ({
        npm: {
          kind: 'npm',
          url: `http://127.0.0.1:${port}`,
          files: `http://localhost:${port}`,
          local: true,
          secret: 'model-key',
        },
      }),
    })
    const seen: string[] = []
    let location = ''
    scene.serve((request, response) => {
      seen.push(
        `${request.headers.host?.split(':')[0]} ${request.url} ${request.headers.authorization === undefined ? 'no key' : 'key'}`,
      )
      if (request.url === '/tool') {
        const dist = { tarball: `http://127.0.0.1:${scene.port}/tool/-/tool-1.0.0.tgz` }
        response.setHeader('content-type', 'application/json')
        response.end(JSON.stringify({ name: 'tool', versions: { '1.0.0': { name: 'tool', version: '1.0.0', dist } } }))
      } else if (request.headers.host?.startsWith('127')) response.writeHead(302, { location }).end()
      else response.end('archive')
    })
    expect((await scene.ask('/up/npm/tool')).text).toContain(
      '"tarball":"http://127.0.0.1:47080/up/npm/tool/-/tool-1.0.0.tgz"',
    )
    location = `http://localhost:${scene.port}/blob/1`
    expect((await scene.ask('/up/npm/tool/-/tool-1.0.0.tgz')).text).toBe('archive')
    expect(seen.slice(-2)).toEqual(['127.0.0.1 /tool/-/tool-1.0.0.tgz key', 'localhost /blob/1 no key'])
    location = `http://127.0.0.2:${scene.port}/blob/1`
    expect((await scene.ask('/up/npm/tool/-/tool-1.0.0.tgz')).status).toBe(502)
  })

  it('a push to a branch that is not listed never leaves', async () => {
    await start({
      upstreams: (port) => ({
        forge: {
          kind: 'git',
          url: `http://127.0.0.1:${port}`,
          local: true,
          secret: 'model-key',
          repositories: ['me/tool'],
          push: ['hub/*'],
        },
      }),
    })
    let reached = 0
    scene.serve((request, response) => {
      reached += 1
      request.resume()
      response.end()
    })
    const line = `${'0'.repeat(40)} ${'1'.repeat(40)} refs/heads/main\0report-status`
    const body = `${(line.length + 4).toString(16).padStart(4, '0')}${line}0000`
    await scene.ask('/up/forge/me/tool.git/git-receive-pack', {
      method: 'POST',
      headers: { 'content-type': 'application/x-git-receive-pack-request' },
      body,
    })
    expect(reached).toBe(0)
    expect(scene.refusals).toHaveLength(1)
    expect(scene.refusals[0]?.detail).toMatch(/main/)
  })
})

describe('placeholders [E16]', () => {
  it('of the own session and upstream pass and open nothing; any other is refused with an alarm', async () => {
    await start()
    const bearer = (text: string) => ({ ...chat(), headers: { ...chat().headers, authorization: `Bearer ${text}` } })
    let seen = ''
    scene.serve((request, response) => {
      seen = request.headers.authorization ?? ''
      response.end('{}')
    })
    expect((await scene.ask(CHAT, bearer(placeholderOf(SESSION, 'model')))).status).toBe(200)
    expect(seen).toBe(`Bearer ${KEY}`)
    expect(scene.alerts).toEqual([])
    expect((await scene.ask(CHAT, bearer(placeholderOf(OTHER_SESSION, 'model')))).status).toBe(400)
    expect((await scene.ask(CHAT, { ...bearer(placeholderOf(SESSION, 'weather')), session: SESSION })).status).toBe(400)
    expect(scene.alerts).toContain('placeholder_foreign:reader')
  })
})

describe('sessions, modes and ends [E13]', () => {
  const hanging = () => {
    const closed: string[] = []
    scene.serve((request, response) => {
      request.resume()
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: one\n\n')
      response.on('close', () => closed.push(request.url ?? ''))
    })
    return closed
  }

  it('a session that ends takes its calls with it, and they settle at the reserve', async () => {
    // No limit of time ends it, and nobody reads on: only the end of the session does.
    await start({ clock: createFakeClock() })
    const closed = hanging()
    const call = scene.ask(CHAT, chat({ stream: true })).catch(() => 'cut')
    await eventually(() => scene.reserved.length === 1 && scene.egress.meters.open === 1)
    await new Promise((resolve) => setTimeout(resolve, 50))
    scene.egress.close(SESSION)
    await eventually(() => closed.length === 1 && scene.settled.length === 1)
    expect(await call).toBe('cut')
    expect(scene.settled).toMatchObject([{ end: { kind: 'lost' } }])
    await expect(scene.ask(CHAT, chat())).rejects.toThrow()
  })

  it('in safe mode calls go on; with egress.inSafe: false new ones are refused and running ones end', async () => {
    await start()
    scene.mode('safe')
    expect((await scene.ask('/up/rates/x')).status).toBe(200)
    await scene.close()
    // No limit of time ends it: only the mode does.
    await start({ inSafe: false, clock: createFakeClock() })
    const closed = hanging()
    const call = scene.ask(CHAT, chat({ stream: true })).catch(() => 'cut')
    await eventually(() => scene.reserved.length === 1)
    await new Promise((resolve) => setTimeout(resolve, 50))
    scene.mode('safe')
    await eventually(() => closed.length === 1 && scene.settled.length === 1)
    expect(await call).toBe('cut')
    expect((await scene.ask('/up/rates/x')).status).toBe(403)
    expect(scene.refusals).toMatchObject([{ code: 'mode_safe' }])
  })
})
