/** The inner end of a session's way out, and what its program is told of it (docs/egress.md 1): bytes alone, and nothing for a session without. */
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { withEgress } from '../../images/agent/egress-environment.ts'
import { openEgressProxy } from '../../images/agent/egress-proxy.ts'
import { freePort } from '../support/free-port.ts'
import { createShimBench } from '../support/shim-process.ts'

const BASE = 'http://127.0.0.1:47080'
const NO_PROXY = { NO_PROXY: '127.0.0.1,localhost', no_proxy: '127.0.0.1,localhost' }
const model = (name: string, kind: 'anthropic' | 'openai' | 'google') => ({ name, kind, placeholder: `p-${name}` })

describe('the environment of a program', () => {
  test('E1: of a session without egress is the very same', () => {
    const env = { HTTP_PROXY: 'http://10.0.0.1', WORD: 'card' }
    expect(withEgress(env, undefined)).toBe(env)
  })

  test('names the way out, each upstream and its placeholder, and for the one model of a kind the variables of its usual clients', () => {
    const upstreams = [
      ...[model('my-claude', 'anthropic'), model('one', 'openai'), model('two', 'openai'), model('gemini', 'google')],
      { name: 'forge', kind: 'git' as const, placeholder: 'p-forge' },
    ]
    expect(withEgress({ WORD: 'card' }, { upstreams, lines: [] })).toEqual({
      ...NO_PROXY,
      WORD: 'card',
      HUB_EGRESS: BASE,
      HUB_EGRESS_MY_CLAUDE: `${BASE}/up/my-claude`,
      HUB_EGRESS_ONE: `${BASE}/up/one`,
      HUB_EGRESS_TWO: `${BASE}/up/two`,
      HUB_EGRESS_GEMINI: `${BASE}/up/gemini`,
      HUB_EGRESS_FORGE: `${BASE}/up/forge`,
      HUB_PLACEHOLDER_MY_CLAUDE: 'p-my-claude',
      HUB_PLACEHOLDER_ONE: 'p-one',
      HUB_PLACEHOLDER_TWO: 'p-two',
      HUB_PLACEHOLDER_GEMINI: 'p-gemini',
      HUB_PLACEHOLDER_FORGE: 'p-forge',
      ANTHROPIC_BASE_URL: `${BASE}/up/my-claude`,
      ANTHROPIC_API_KEY: 'p-my-claude',
      GOOGLE_GEMINI_BASE_URL: `${BASE}/up/gemini`,
      GEMINI_API_KEY: 'p-gemini',
    })
    expect(withEgress({}, { upstreams: [model('one', 'openai')], lines: [] })).toMatchObject({
      OPENAI_BASE_URL: `${BASE}/up/one/v1`,
      OPENAI_API_KEY: 'p-one',
    })
  })

  test('names a proxy for TLS only where there are lines, for plain requests never, and leaves the rest to the card', () => {
    const env = {
      http_proxy: 'http://10.0.0.1',
      ALL_PROXY: 'x',
      HTTPS_PROXY: 'y',
      no_proxy: 'z',
      OPENAI_BASE_URL: 'own',
    }
    const egress = { upstreams: [model('one', 'openai')], lines: ['api.example.org:443'] }
    const own = withEgress(env, egress)
    expect(own).toMatchObject({ HTTPS_PROXY: BASE, https_proxy: BASE, ...NO_PROXY, OPENAI_BASE_URL: 'own' })
    for (const name of ['HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy']) expect(own).not.toHaveProperty(name)
    const without = withEgress(env, { ...egress, lines: [] })
    expect(
      Object.keys(without)
        .filter((name) => /proxy/i.test(name))
        .sort(),
    ).toEqual(['NO_PROXY', 'no_proxy'])
  })
})

describe('the proxy', () => {
  let dir = ''
  let hub: Server
  let proxy: Server
  let taken: Socket[] = []
  let serve: (socket: Socket) => void = () => undefined
  const path = () => join(dir, 'egress.sock')
  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'eg-'))
    taken = []
    hub = createServer({ allowHalfOpen: true }, (socket) => {
      taken.push(socket.on('error', () => undefined))
      serve(socket)
    })
    await new Promise<void>((done) => hub.listen(path(), done))
    proxy = await openEgressProxy(path(), 0)
  })
  afterEach(() => {
    for (const socket of taken) socket.destroy()
    hub.close()
    proxy.close()
    rmSync(dir, { recursive: true })
  })
  const dial = () =>
    connect({ port: (proxy.address() as { port: number }).port, host: '127.0.0.1', allowHalfOpen: true })
  const whole = (socket: Socket) =>
    new Promise<Buffer>((resolve, reject) => {
      const pieces: Buffer[] = []
      socket.on('data', (piece: Buffer) => pieces.push(piece))
      socket.on('end', () => resolve(Buffer.concat(pieces))).on('error', reject)
    })
  const until = async (good: () => boolean) => {
    for (let looks = 0; looks < 6000; looks += 1) {
      if (good()) return
      await new Promise((done) => setTimeout(done, 10))
    }
    throw new Error(`it never came to this: ${good}`)
  }

  test('carries bytes both ways as they are, and each side ends its own direction', async () => {
    const sent = Buffer.from(Array.from({ length: 300_000 }, (_, at) => (at * 7) % 256))
    // The answer begins once everything was heard: the end of one direction does not end the other.
    serve = (socket) => void whole(socket).then((heard) => socket.end(Buffer.concat([heard, Buffer.from('heard')])))
    const program = dial()
    const answer = whole(program)
    program.end(sent)
    expect(await answer).toEqual(Buffer.concat([sent, Buffer.from('heard')]))
  })

  test('a program that has its answer may go on sending until it ends', async () => {
    let heard: Promise<Buffer> | undefined
    serve = (socket) => {
      heard = whole(socket)
      socket.end('early')
    }
    const program = dial()
    expect((await whole(program)).toString()).toBe('early')
    program.end('late')
    await until(() => heard !== undefined)
    expect((await heard)?.toString()).toBe('late')
  })

  test('E12: what the program does not read waits at the hub, and what the hub does not read waits in the program', async () => {
    const MIB = 1024 ** 2
    const piece = Buffer.alloc(MIB)
    const fill = (socket: Socket) => {
      for (let at = 0; at < 64; at += 1) socket.write(piece)
    }
    serve = fill
    const silent = dial().pause()
    await until(() => taken.length === 1)
    fill(silent)
    // Neither side reads: both come to rest long before everything has left.
    taken[0]?.pause()
    const left = () => [taken[0]?.writableLength ?? 0, silent.writableLength]
    let [last, still] = ['', 0]
    await until(() => {
      const now = JSON.stringify(left())
      still = now === last ? still + 1 : 0
      last = now
      return still === 30
    })
    for (const bytes of left()) expect(bytes).toBeGreaterThan(32 * MIB)
    silent.destroy()
  })

  test('a side that breaks off breaks the other, and a hub that is not there is a closed connection', async () => {
    const program = dial().on('error', () => undefined)
    await until(() => taken.length === 1)
    program.resetAndDestroy()
    await until(() => taken[0]?.destroyed === true || taken[0]?.readableEnded === true)
    const second = dial().on('error', () => undefined)
    await until(() => taken.length === 2)
    taken[1]?.destroy()
    second.resume()
    await until(() => second.readableEnded || second.destroyed)
    hub.close()
    for (const socket of taken) socket.destroy()
    rmSync(path(), { force: true })
    const third = dial().on('error', () => undefined)
    third.resume()
    await until(() => third.destroyed || third.readableEnded)
    expect(third.bytesRead).toBe(0)
  })

  test('E12: 32 connections at once, and no more; one that ends makes room', async () => {
    const open = Array.from({ length: 32 }, () => dial().on('error', () => undefined))
    await until(() => taken.length === 32)
    const more = dial().on('error', () => undefined)
    more.resume()
    await until(() => more.destroyed || more.readableEnded)
    expect(taken).toHaveLength(32)
    open[0]?.destroy()
    await until(() => taken.some(({ destroyed, readableEnded }) => destroyed || readableEnded))
    taken.find(({ readableEnded }) => readableEnded)?.destroy()
    let last: Socket | undefined
    await until(() => {
      if (last === undefined || last.destroyed || last.readableEnded)
        last = dial()
          .on('error', () => undefined)
          .resume()
      return taken.length === 33
    })
    for (const socket of open) socket.destroy()
    last?.destroy()
  })
})

describe('the shim', () => {
  let bench: ReturnType<typeof createShimBench>
  beforeEach(() => {
    bench = createShimBench()
  })
  afterEach(() => bench.close())

  test('opens the way out before the program of any driver runs, and writes none of its bytes down', async () => {
    const port = String(await freePort())
    const egress = { upstreams: [model('claude', 'anthropic')], lines: [] }
    const ask = `
import urllib.request
said = urllib.request.urlopen(os.environ["ANTHROPIC_BASE_URL"] + "/v1/x").read().decode()
say(op="result", id="r", value={"said": said, "key": os.environ["ANTHROPIC_API_KEY"], "way": os.environ["HUB_EGRESS"]})`
    const heard: string[] = []
    for (const driver of ['json-lines', 'command'] as const) {
      const ran = await bench.start({ program: { driver, run: bench.python(ask) }, egress }, { HUB_EGRESS_PORT: port })
      const hub = createServer((socket) => {
        socket.once('data', (bytes: Buffer) => {
          heard.push(bytes.toString())
          socket.end('HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nanswer')
        })
      }).listen(join(ran.session.socketPath, '..', 'egress.sock'))
      expect(await ran.session.result, ran.stderr()).toEqual({
        outcome: 'succeeded',
        value: { said: 'answer', key: 'p-claude', way: `http://127.0.0.1:${port}` },
      })
      expect(await ran.exit).toBe(0)
      expect(`${ran.stderr()}${ran.logs()}`).not.toContain('answer')
      hub.close()
    }
    expect(heard.map((text) => text.split('\r\n')[0])).toEqual(Array(2).fill('GET /up/claude/v1/x HTTP/1.1'))
  })

  test('fails the task, and runs no program, where it cannot open it', async () => {
    const port = await freePort()
    const other = createServer().listen(port, '127.0.0.1')
    const egress = { upstreams: [], lines: ['api.example.org:443'] }
    const ran = await bench.start(
      { program: { driver: 'command', run: bench.shell('echo ran') }, egress },
      { HUB_EGRESS_PORT: String(port) },
    )
    expect(await ran.session.result).toMatchObject({
      outcome: 'failed',
      error: expect.stringMatching(/the way out could not be opened: .*EADDRINUSE/),
    })
    other.close()
  })
})
