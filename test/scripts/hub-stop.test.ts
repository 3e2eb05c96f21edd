/** `hub-stop` as anybody at the machine runs it: another account, a copy of the script, nothing but bash (S1-32). */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { type CardFacts, cardPage, cardText } from '../../hub/client/cli/stopping/card.ts'
import { createSystemClock } from '../../watchdog/base/clock.ts'
import { openContact } from '../../watchdog/door/contact-card.ts'
import { createLastStop } from '../../watchdog/last-stop.ts'
import { repositoryRoot } from '../house/source.ts'
import { createListEngine } from '../support/empty-engine.ts'
import { freePort } from '../support/free-port.ts'
import { createHarness, puppet } from '../support/hub-harness.ts'
import { cardOf, INSTANCE, OTHER, scene as openScene, WORDS } from '../support/stop-scene.ts'
import { INSTANCE as HOME_INSTANCE, makeHome } from '../support/watchdog-home.ts'

const NOBODY = 65534
const CARD: CardFacts = {
  words: WORDS.split('-'),
  address: 'https://stop.example.net',
  contact: 'Bea',
  operator: 'Ada',
  phone: '',
  lastResort: '',
  stopsAfter: null,
  command: 'hub-stop',
  id: '0123456789ab',
  madeAt: 'today',
}
const folder = mkdtempSync(join(tmpdir(), 'stop-'))
chmodSync(folder, 0o755)
const script = join(folder, 'hub-stop')
copyFileSync(join(import.meta.dirname, '../../scripts/hub-stop'), script)
chmodSync(script, 0o755)

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

interface Ended {
  code: number
  out: string
  err: string
}
/** Runs it with an empty environment, as another account where this one may become one. `hear` is told what it has said so far. */
function run(
  words: string[],
  typed = '',
  path = '/usr/bin:/bin',
  program = script,
  hear: (err: string) => void = () => undefined,
): Promise<Ended> {
  const other = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}
  const child: ChildProcess = spawn(program, words, { cwd: '/', env: { PATH: path }, ...other })
  child.stdin?.on('error', () => undefined)
  child.stdin?.end(typed)
  let [out, err] = ['', '']
  child.stdout?.on('data', (part) => {
    out += part
  })
  child.stderr?.on('data', (part) => {
    err += part
    hear(err)
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({ code: code ?? -1, out, err }))
  })
}
/** A program of somebody else's on a port, which hears whole requests; answers the port. */
async function open(onRequest: (text: string, socket: Socket) => void): Promise<string> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    // Bash writes a request line by line.
    let text = ''
    socket.on('data', (part) => {
      text += part.toString()
      const [head, body] = text.split('\r\n\r\n')
      const length = Number(/^content-length: (\d+)/im.exec(head ?? '')?.[1] ?? 0)
      if (body !== undefined && body.length >= length) onRequest(text, socket)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => server.close())
  return String((server.address() as { port: number }).port)
}
async function scene() {
  const opened = await openScene()
  closers.push(opened.close)
  await opened.contact({ action: 'set', ...cardOf(WORDS) })
  return { ...opened, nobody: String(await freePort()) }
}

/** The last stop as systemd starts it, in a home with two containers and the card of `WORDS`. */
async function lastStop() {
  const home = makeHome()
  const containers = new Set(['a'.repeat(64), 'b'.repeat(64)])
  const engine = createListEngine(containers, HOME_INSTANCE)
  const socket = join(home.home, 'engine.sock')
  await new Promise<void>((resolve) => engine.listen(socket, resolve))
  const config = { engineSocket: socket, stopGraceMs: 0 }
  writeFileSync(join(home.home, 'watchdog', 'config.json'), JSON.stringify(config))
  openContact(join(home.home, 'watchdog', 'contact.json'), 1).set(cardOf(WORDS))
  const held = createServer()
  await new Promise<void>((resolve) => held.listen(0, '127.0.0.1', resolve))
  const port = String((held.address() as { port: number }).port)
  // As systemd does it: the socket it listens on is descriptor 3 of whom it starts.
  const fd = (held as unknown as { _handle: { fd: number } })._handle.fd
  const started = spawn(
    process.execPath,
    [join(repositoryRoot, 'scripts/systemd/last-stop.ts'), '--home', home.home, '--port', port],
    {
      stdio: ['ignore', 'ignore', 'ignore', fd],
      env: { LISTEN_FDS: '1', NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE },
    },
  )
  held.close()
  closers.push(
    () => started.kill(),
    () => engine.close(),
    () => home.remove(),
  )
  const contactFile = join(home.home, 'watchdog', 'contact.json')
  return { home, containers, port, contactFile }
}

/** A home with one container and the card, and nobody who answers for it: for `hub-stop` in its owner's account. */
async function deadHome() {
  const home = makeHome()
  const containers = new Set(['a'.repeat(64)])
  const engine = createListEngine(containers, HOME_INSTANCE)
  const socket = join(home.home, 'engine.sock')
  await new Promise<void>((resolve) => engine.listen(socket, resolve))
  closers.push(
    () => engine.close(),
    () => home.remove(),
  )
  writeFileSync(join(home.home, 'watchdog', 'config.json'), JSON.stringify({ engineSocket: socket }))
  openContact(join(home.home, 'watchdog', 'contact.json'), 1).set(cardOf(WORDS))
  async function byOwner(ports: string[]): Promise<unknown> {
    const { PATH, NODE_COMPILE_CACHE } = process.env
    const env = { PATH, NODE_COMPILE_CACHE, HUB_HOME: home.home }
    const own = spawn(join(repositoryRoot, 'scripts/hub-stop'), ports, { env, stdio: ['pipe', 'ignore', 'ignore'] })
    own.stdin?.end(WORDS)
    return new Promise((resolve) => own.on('close', resolve))
  }
  return { containers, byOwner }
}

describe('hub-stop', () => {
  it('S1-32: asks for the words, stops by the watchdog, shows how far it is, and ends when everything has stopped [contact-31]', async () => {
    const s = await scene()
    let said = ''
    const typed = ` 1 Able 2 bacon 3 CABIN dad\neager fabric gain habit\n icon, jar keen label.\n`
    const ending = run([String(s.port), s.nobody], typed, undefined, undefined, (err) => {
      said = err
    })
    await expect.poll(() => s.stops.length).toBe(1)
    for (const id of [...s.engine.present.keys()].slice(0, 7)) s.engine.present.delete(id)
    await expect.poll(() => said).toContain('Stopping: 7 of 12 confirmed')
    s.finish()
    const { code, out, err } = await ending
    expect([code, out]).toEqual([0, 'Everything has stopped. Nothing was deleted.\n'])
    expect(err).toContain('4 words so far; go on:')
    expect(err).toContain('Stopping: 7 of 12 confirmed')
    expect(err + out).not.toContain('bacon')
    const again = await run([String(s.port)], `${WORDS}\n`)
    expect([again.code, again.out]).toEqual([
      0,
      'It was already stopped: everything has stopped. Nothing was deleted.\n',
    ])
    expect(s.stops).toHaveLength(1)
  })

  it('S1-32: with the watchdog gone it goes to the hub, and takes the words from the card as page or as text', async () => {
    const port = await freePort()
    await using h = await createHarness({ agents: { a: { script: puppet } }, config: { http: { port } } })
    await h.bring('a')
    const { body } = await h.operator('POST', '/v1/contact/card', { name: 'Bea', operator: 'Ada' })
    const words = String(body.words).split('-')
    const nobody = String(await freePort())
    for (const [name, text] of [
      ['card.html', cardPage({ ...CARD, words })],
      ['card.txt', cardText({ ...CARD, words, address: null })],
    ] as const) {
      const file = join(folder, name)
      writeFileSync(file, text, { mode: 0o644 })
      const { code, out } = await h.pumped(run(['--card', file, nobody, String(port)]), 50)
      expect([code, out], name).toEqual([0, expect.stringContaining('verything has stopped. Nothing was deleted.')])
    }
    expect(h.engine.containers.size).toBe(0)
    expect(h.hub.guard.modes.has('emergency_stop')).toBe(true)
  })

  it('says honestly what it could not do, and that the machine may be switched off: wrong words, nobody there, something left [contact-31]', async () => {
    const s = await scene()
    const wrong = await run([String(s.port), s.nobody], `${OTHER}\n`)
    expect([wrong.code, s.stops]).toEqual([3, []])
    expect(wrong.err).toContain('not the words of the card')
    const alone = await run([s.nobody, String(await freePort())], `${WORDS}\n`)
    expect(alone.code).toBe(4)
    const [stuck = ''] = s.engine.present.keys()
    s.engine.stubborn.add(stuck)
    const ending = run([String(s.port)], `${WORDS}\n`)
    await expect.poll(() => s.stops.length).toBe(1)
    s.finish()
    await expect.poll(() => s.engine.present.size).toBe(1)
    await new Promise((resolve) => setImmediate(resolve))
    s.clock.move(46_000)
    const left = await ending
    expect([left.code, left.out]).toEqual([1, ''])
    for (const { err } of [wrong, alone, left]) expect(err).toContain('You may switch this machine off now')
  })

  it('is not taken in by a program that answers something else there, or breaks off', async () => {
    for (const answer of [
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
      'hub-stop: stopped 1 1\r\n\r\n',
      '',
      '\0\0\r\n',
    ]) {
      const server = createServer((socket) => {
        socket.on('error', () => undefined)
        socket.once('data', () => socket.end(answer))
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const { port } = server.address() as { port: number }
      const { code } = await run([String(port)], `${WORDS}\n`)
      server.close()
      expect(code, JSON.stringify(answer)).toBe(4)
    }
  })

  it('fault F13: a stranger on the port who says that all has stopped, or repeats a proven answer, is not believed and hears no word; the hub is asked [contact-10]', async () => {
    const s = await scene()
    const heard: string[] = []
    /** What it got of a real one, word for word, for whoever asks next. */
    let recorded = 'HTTP/1.1 200 OK\r\nHub-Stop: stopped 5 5\r\nConnection: close\r\n\r\n'
    const stranger = await open((text, socket) => {
      heard.push(text)
      socket.end(recorded)
    })
    expect((await run([stranger, s.nobody], `${WORDS}\n`)).code).toBe(4)
    const relay = await open((text, socket) => {
      const real = connect(s.port, '127.0.0.1', () => real.end(text.replaceAll(relay, String(s.port))))
      recorded = ''
      real.on('data', (part) => {
        recorded += part.toString()
      })
      real.on('close', () => socket.end(recorded))
    })
    // Through one that passes everything on it works, and what was passed on is of no use to the next one.
    const ending = run([relay], `${WORDS}\n`)
    await expect.poll(() => s.stops.length).toBe(1)
    s.finish()
    expect((await ending).code).toBe(0)
    expect(recorded).toContain('hub-stop: stopped 12 12')
    const { code, err, out } = await run([stranger, s.nobody], `${WORDS}\n`)
    expect([code, out]).toEqual([4, ''])
    expect(err).toContain(`Another program answers on port ${stranger}`)
    expect(heard.join()).not.toContain('bacon')
    expect(heard.join()).toContain('act=look')
    // Beside it the real one is heard.
    expect((await run([stranger, String(s.port)], `${WORDS}\n`)).code).toBe(0)
  })

  it('fault F13: who passes the look on and keeps the stop has two minutes: later it stops nothing, as long as the process may live', async () => {
    const s = await scene()
    const passed = (text: string, own: string) =>
      new Promise<string>((resolve) => {
        let said = ''
        const real = connect(s.port, '127.0.0.1', () => real.end(text.replaceAll(own, String(s.port))))
        real.on('data', (part) => {
          said += part.toString()
        })
        real.on('close', () => resolve(said))
      })
    const kept: string[] = []
    const keeper = await open((text, socket) => {
      if (!text.includes('act=stop')) return void passed(text, keeper).then((said) => socket.end(said))
      kept.push(text)
      socket.destroy()
    })
    expect((await run([keeper, s.nobody], `${WORDS}\n`)).code).toBe(1)
    s.clock.move(120_001)
    expect(await passed(kept.at(-1) ?? '', keeper)).toContain('hub-stop: ask')
    expect(s.stops).toEqual([])
    // It is the age alone: one that is passed on at once does stop.
    await run([keeper, s.nobody], `${WORDS}\n`)
    expect(await passed(kept.at(-1) ?? '', keeper)).toContain('hub-stop: stopping')
    expect(s.stops).toHaveLength(1)
  })

  it('fault F13: a stop that comes too late after its look, as over a suspend, is not lost: it presses again by itself', async () => {
    const s = await scene()
    let presses = 0
    const slow = await open((text, socket) => {
      const isStop = text.includes('act=stop')
      if (isStop) presses += 1
      if (isStop && presses < 3) s.clock.move(120_001)
      const real = connect(s.port, '127.0.0.1', () => real.end(text.replaceAll(slow, String(s.port))))
      real.pipe(socket)
    })
    const ending = run([slow], `${WORDS}\n`)
    await expect.poll(() => s.stops.length).toBe(1)
    s.finish()
    expect([(await ending).code, presses]).toEqual([0, 3])
  })

  it('fault F13: what the engine shows to this account counts for more than any answer [contact-10]', async () => {
    const s = await scene()
    const tools = join(folder, 'tools')
    mkdirSync(tools)
    const docker = join(tools, 'docker')
    writeFileSync(docker, `#!/bin/sh\n[ "$5" = label=hub.instance=${INSTANCE} ] && printf 'a\\nb\\n'\n`)
    chmodSync(docker, 0o755)
    const ending = run([String(s.port)], `${WORDS}\n`, `${tools}:/usr/bin:/bin`)
    await expect.poll(() => s.stops.length).toBe(1)
    s.finish()
    const { code, out, err } = await ending
    expect([code, out]).toEqual([1, ''])
    expect(err).toContain('the container engine still shows 2 of its containers')
  })

  it('fault F12: with hub and watchdog dead the words alone stop, by a port that systemd holds: the process it starts has the right, an order stays for both, wrong words do nothing [contact-10]', async () => {
    const { home, containers, port } = await lastStop()
    const order = () => readFileSync(join(home.home, 'stop-order'), 'utf8').replaceAll('\0', '')
    const dead = [String(await freePort()), String(await freePort())]
    expect((await run([...dead, port], `${OTHER}\n`)).code).toBe(3)
    expect(containers.size).toBe(2)
    const { code, out } = await run([...dead, port], `${WORDS}\n`)
    expect([code, out]).toEqual([0, 'Everything has stopped. Nothing was deleted.\n'])
    expect(containers.size).toBe(0)
    expect(JSON.parse(order())).toMatchObject({ by: 'contact' })
    expect((await run([...dead, port], `${WORDS}\n`)).out).toContain('already stopped')
  })

  it('fault F12: whoever keeps the last stop alive keeps no card alive: one that was replaced meanwhile is refused and does not come back', async () => {
    const { containers, port, contactFile } = await lastStop()
    const dead = [String(await freePort()), String(await freePort())]
    // It has been started, and has read the card that is in force.
    expect((await run([...dead, port], `${OTHER}\n`)).code).toBe(3)
    const third = WORDS.replace('able', 'zeal')
    expect(openContact(contactFile, 1).set(cardOf(third))).toBe(true)
    expect((await run([...dead, port], `${WORDS}\n`)).code).toBe(3)
    expect(containers.size).toBe(2)
    expect((await run([...dead, port], `${third}\n`)).code).toBe(0)
    expect(containers.size).toBe(0)
    const kept = openContact(contactFile, 1)
    expect(kept.judge(third, 2).kind).toBe('accepted')
    expect(kept.judge(WORDS, 2).kind).toBe('refused')
    expect(kept.usedAtMs).not.toBeNull()
  })

  it('fault F12: a stop that the operator has ended since is no answer to the next one, however long the process has lived', async () => {
    const { home, containers } = await lastStop()
    const real = createSystemClock()
    let aheadMs = 0
    const read = () => ({ ...real.read(), monotonicMs: real.read().monotonicMs + aheadMs })
    const own = await freePort()
    const log = { warn: () => undefined }
    const server = await createLastStop(
      { home: home.home, port: own },
      { clock: { ...real, read }, log, random: randomBytes, onIdle: () => undefined },
    )
    await new Promise<void>((resolve) => server.listen(own, '127.0.0.1', resolve))
    closers.push(() => server.close())
    const file = join(home.home, 'stop-order')
    expect((await run([String(own)], `${WORDS}\n`)).code).toBe(0)
    expect(containers.size).toBe(0)
    // `hub resume` ends the order; nothing runs yet when the words are used again.
    writeFileSync(file, Buffer.alloc(512))
    aheadMs = 151_000
    const { code, out } = await run([String(own)], `${WORDS}\n`)
    expect([code, out]).toEqual([0, 'Everything has stopped. Nothing was deleted.\n'])
    expect(readFileSync(file, 'utf8')).toContain('contact')
  })

  it('fault F12: the account that the home belongs to starts that process itself; another account is told who gives it the right [contact-10]', async () => {
    const { containers, byOwner } = await deadHome()
    const ports = [String(await freePort()), String(await freePort()), String(await freePort())]
    const other = await run(ports, `${WORDS}\n`)
    expect([other.code, containers.size]).toEqual([4, 1])
    expect(other.err).toContain('sudo scripts/systemd/install')
    expect([await byOwner(ports), containers.size]).toEqual([0, 0])
  })

  it('fault F13: a stranger who says that the words are wrong, which nobody can prove, keeps the owner from nothing', async () => {
    const { containers, byOwner } = await deadHome()
    const stranger = await open((_text, socket) => socket.end('HTTP/1.1 403 no\r\nHub-Stop: refused\r\n\r\n'))
    const ports = [stranger, String(await freePort()), String(await freePort())]
    expect([await byOwner(ports), containers.size]).toEqual([0, 0])
  })

  it('fault F13: a stranger who never ends its answer, a line at a time or a thousand, holds nobody up: the hub is asked', async () => {
    const s = await scene()
    const quick = join(folder, 'hub-stop-quick')
    writeFileSync(quick, readFileSync(script, 'utf8').replace('\nanswer_seconds_max=20\n', '\nanswer_seconds_max=5\n'))
    chmodSync(quick, 0o755)
    const endless = (everyMs: number, line: string) =>
      open((_text, socket) => {
        const timer = setInterval(() => socket.write(line), everyMs)
        socket.on('close', () => clearInterval(timer))
        closers.push(() => socket.destroy())
      })
    const slow = await endless(500, 'x: y\r\n')
    const fast = await endless(1, 'x: y\r\n'.repeat(1000))
    const long = await endless(1, 'x'.repeat(1000))
    s.engine.present.clear()
    const ending = run([slow, fast, long, String(s.port)], `${WORDS}\n`, '/usr/bin:/bin', quick)
    await expect.poll(() => s.stops.length).toBe(1)
    s.finish()
    expect((await ending).code).toBe(0)
  })

  it.each([
    [['--card', '/nowhere/card.html'], ''],
    [['--card'], ''],
    [['--what'], ''],
    [['73o1'], ''],
    [[], ''],
    [[], 'one two three\n'],
    [[], `${'abc '.repeat(13)}\n`],
  ] as [string[], string][])('wrong use stops nothing and ends with 2: %j %j', async (words, typed) => {
    expect((await run(words, typed)).code).toBe(2)
  })
})

process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
