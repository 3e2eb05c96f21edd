/** The engine client against an engine that is old, slow, talkative or lies; and that nothing unlisted leaves the process (T62, T63). */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { DEFAULT_LIMITS } from '../../../../hub/protocol/agent.ts'
import { createEngine, type Engine } from '../../../../hub/work/sandbox/engine.ts'
import { plainLog } from '../../../../hub/work/sandbox/engine-answers.ts'
import { buildContainer } from '../../../../hub/work/sandbox/profile.ts'
import { createFakeClock, type FakeClock } from '../../../support/fake-clock.ts'
import { FACTS, HOST } from '../../../support/sandbox-facts.ts'

const ID = 'a'.repeat(64)
let folder = ''
let asked: string[] = []
let answer: (request: IncomingMessage, response: ServerResponse) => void = () => {}
/** What it says of its versions; `asked` counts the calls that are made in one. */
let versions: (response: ServerResponse) => void
let server: ReturnType<typeof createServer>
let engine: Engine
let clock: FakeClock

beforeEach(async () => {
  folder = mkdtempSync('/tmp/hub-engine-')
  asked = []
  speaks('1.12', '1.41')
  server = createServer((request, response) => {
    if (request.url === '/version') return versions(response)
    asked.push(`${request.method} ${request.url}`)
    answer(request, response)
  })
  await new Promise<void>((resolve) => server.listen(join(folder, 'engine.sock'), resolve))
  clock = createFakeClock()
  engine = createEngine({ socketPath: join(folder, 'engine.sock'), callMs: 5000 }, { clock })
})
afterEach(() => {
  server.closeAllConnections()
  server.close()
  rmSync(folder, { recursive: true, force: true })
})

const says = (status: number, value: unknown) => {
  answer = (_request, response) =>
    response.writeHead(status).end(typeof value === 'string' ? value : JSON.stringify(value))
}
/** Tells of these versions, in its head too, and refuses every other as an engine does. */
const speaks = (oldest: string, newest: string) => {
  const body = JSON.stringify({ ApiVersion: newest, MinAPIVersion: oldest, Version: 'x' })
  versions = (response) => response.writeHead(200, { 'api-version': newest }).end(body)
}
const arrived = async () => {
  while (asked.length === 0) await new Promise((resolve) => setImmediate(resolve))
}

test('an engine of API 1.40 is refused by name, one of 1.41 and later taken', async () => {
  speaks('1.12', '1.40')
  await expect(engine.ping()).rejects.toThrow(/it speaks 1\.40; install Engine 20\.10 or later/)
  versions = (response) => response.writeHead(400).end('{"message":"no"}')
  await expect(engine.ping()).rejects.toMatchObject({ code: 'engine_unavailable' })
  for (const [ApiVersion, apiVersion] of [
    ['1.41', '1.41'],
    ['1.51', '1.51'],
    ['2.0', '1.56'],
  ]) {
    const said = { ApiVersion, Version: 'x', Components: [{ Name: 'runc', Version: '1.1.5' }] }
    versions = (response) => response.writeHead(200).end(JSON.stringify(said))
    expect(await engine.ping()).toEqual({ apiVersion, engineVersion: 'x', components: { runc: '1.1.5' } })
  }
})

test('what an engine says of itself is read; what it leaves out is empty, and nonsense is no answer', async () => {
  says(200, {
    DockerRootDir: '/var/lib/docker',
    Driver: 'overlay2',
    CgroupVersion: '1',
    MemoryLimit: true,
    SecurityOptions: ['name=seccomp,profile=default'],
    Warnings: null,
  })
  expect(await engine.info()).toMatchObject({
    dataRoot: '/var/lib/docker',
    storageDriver: 'overlay2',
    cgroupVersion: '1',
    memoryLimit: true,
    swapLimit: false,
    securityOptions: ['name=seccomp,profile=default'],
    architecture: '',
    warnings: [],
  })
  expect(asked).toEqual(['GET /v1.41/info'])
  says(200, 'null')
  await expect(engine.info()).rejects.toThrow(/nothing about itself/)
})

test('no engine at all is an error that says what to do', async () => {
  const none = createEngine({ socketPath: join(folder, 'none.sock'), callMs: 5000 }, { clock })
  await expect(none.ping()).rejects.toThrow(/scripts\/engine up/)
  expect(await none.remove(ID)).toMatchObject({ outcome: 'failed' })
})

test('T62: a call that is not on the list never reaches the engine', async () => {
  const tries = [
    () => engine.inspect('../images/json?x='),
    () => engine.inspect('someone-else'),
    () => engine.start(`${ID}/exec`),
    () => engine.inspectImage('../containers'),
    () => engine.create('web', buildContainer(FACTS, DEFAULT_LIMITS, HOST)),
    () =>
      engine.create('hub-hub-test-sabcdefghijklmno', { ...buildContainer(FACTS, DEFAULT_LIMITS, HOST), User: '0:0' }),
    () => engine.list('x"],"name":["y'),
    () => engine.logs(`${ID}/../../info`, 1),
  ]
  for (const attempt of tries) await expect(attempt()).rejects.toMatchObject({ code: 'internal' })
  expect(asked).toEqual([])
})

test('T62: an engine that redirects is not followed', async () => {
  answer = (_request, response) => response.writeHead(307, { location: '/v1.41/images/prune' }).end()
  await expect(engine.inspect(ID)).rejects.toMatchObject({ code: 'engine_unavailable' })
  expect(asked).toHaveLength(1)
})

test.each([
  ['before its head', () => {}],
  ['in the middle of its answer', (response: ServerResponse) => response.writeHead(200).write('{"Id":')],
])('an engine that falls silent %s is given up at the deadline', async (_when, begin) => {
  answer = (_request, response) => begin(response)
  const result = engine.inspect(ID)
  result.catch(() => {})
  await arrived()
  await clock.advance(5000)
  await expect(result).rejects.toThrow(/nothing within 5000 ms/)
})

test('an answer over 8 MiB is not taken into memory', async () => {
  answer = (_request, response) => {
    response.writeHead(200)
    const more = () => {
      while (response.writable && response.write(Buffer.alloc(1024 ** 2, 32)));
      response.once('drain', more)
    }
    more()
  }
  await expect(engine.inspect(ID)).rejects.toThrow(/over 8388608 bytes/)
})

test('304 on stop and 404 on removal are done; 409 on kill too; 500 is failed with its reason', async () => {
  says(304, '')
  expect(await engine.stop(ID, 5)).toBe('done')
  says(404, { message: 'No such container' })
  expect([await engine.stop(ID, 5), await engine.kill(ID), await engine.remove(ID)]).toEqual([
    'gone',
    'gone',
    { outcome: 'already_gone' },
  ])
  says(409, { message: 'is not running' })
  expect(await engine.kill(ID)).toBe('done')
  says(500, { message: 'driver failed to remove root filesystem' })
  expect(await engine.remove(ID)).toMatchObject({ outcome: 'failed', reason: expect.stringContaining('driver failed') })
})

test('stop is given its grace on top of the deadline', async () => {
  answer = () => {}
  const stopped = engine.stop(ID, 5)
  stopped.catch(() => {})
  await arrived()
  await clock.advance(9999)
  expect(asked).toEqual([`POST /v1.41/containers/${ID}/stop?t=5`])
  await clock.advance(1)
  await expect(stopped).rejects.toThrow(/nothing within 10000 ms/)
})

test('the wait is opened once the head has come, outlives the deadline and then tells the code', async () => {
  let open: ServerResponse | undefined
  answer = (_request, response) => {
    open = response
    response.writeHead(200).flushHeaders()
  }
  const { opened, exit } = engine.waitNextExit(ID)
  await opened
  await clock.advance(60_000)
  open?.end('{"Error":null,"StatusCode":9}\n')
  expect(await exit).toEqual({ statusCode: 9 })
  expect(asked).toEqual([`POST /v1.41/containers/${ID}/wait?condition=next-exit`])
})

test('a wait that is cut, refused or given up rejects', async () => {
  answer = (_request, response) => response.writeHead(200).flushHeaders()
  const given = engine.waitNextExit(ID)
  await given.opened
  given.cancel()
  await expect(given.exit).rejects.toMatchObject({ code: 'engine_unavailable' })
  says(404, { message: 'No such container' })
  const refused = engine.waitNextExit(ID)
  // An answer, and no absence (fault A4).
  await expect(refused.opened).rejects.toMatchObject({ code: 'engine_refused' })
  await expect(refused.exit).rejects.toMatchObject({ code: 'engine_refused' })
})

test('T93: giving up a wait that was just refused, at whatever moment, does not end the process', async () => {
  says(500, { message: 'no' })
  for (let turns = 0; turns < 24; turns += 1) {
    const refused = engine.waitNextExit(ID)
    await refused.opened.catch(() => undefined)
    for (let turn = 0; turn < turns; turn += 1) await undefined
    refused.cancel()
    await new Promise((resolve) => setImmediate(resolve))
  }
  says(200, { Id: 'x' })
  expect(await engine.inspect(ID)).toEqual({ Id: 'x' })
})

test('fault A4: no answer, a no and nonsense are three things, at every call', async () => {
  const body = buildContainer(FACTS, DEFAULT_LIMITS, HOST)
  const calls: [string, () => Promise<unknown>][] = [
    ['create', () => engine.create('hub-hub-test-sabcdefghijklmno', { ...body })],
    ['inspect', () => engine.inspect(ID)],
    ['inspectImage', () => engine.inspectImage(`sha256:${ID}`)],
    ['start', () => engine.start(ID)],
    ['stop', () => engine.stop(ID, 1)],
    ['kill', () => engine.kill(ID)],
    ['pause', () => engine.pause(ID)],
    ['top', () => engine.top(ID)],
    ['list', () => engine.list('hub-test')],
    ['list of others', () => engine.listOthers('hub-test')],
    ['info', () => engine.info()],
    ['logs', () => engine.logs(ID, 100)],
    ['wait', () => engine.waitNextExit(ID).opened],
  ]
  const words = 'failed to create task for container: \\"docker-init\\": executable file not found'
  for (const [name, call] of calls) {
    says(500, `{"message":"${words}"}`)
    const no = await call().catch((thrown: unknown) => thrown)
    expect(no, name).toMatchObject({ code: 'engine_refused', facts: { engineStatus: 500 } })
    if (name !== 'wait') expect((no as Error).message, name).toContain(words)
    expect((no as Error).message, name).not.toMatch(/Start it|scripts\/engine up/)
    answer = (_request, response) => response.destroy()
    await expect(call(), name).rejects.toMatchObject({ code: 'engine_unavailable' })
    await expect(call(), name).rejects.toThrow(/Start it/)
    if (['stop', 'kill', 'pause', 'logs', 'wait'].includes(name)) continue
    says(200, '<html>')
    await expect(call(), name).rejects.toMatchObject({ code: 'engine_unavailable' })
    await expect(call(), name).rejects.toThrow(/something else listening/)
  }
})

test('T61: a container that is not ours in the list is a fault, not a row', async () => {
  const row = { Id: ID, Names: ['/x'], State: 'running', Created: 1, ImageID: '', Labels: { 'hub.instance': 'other' } }
  says(200, [row])
  await expect(engine.list('hub-test')).rejects.toThrow(/does not belong to this hub/)
  const ours = { ...row, Labels: { 'hub.instance': 'hub-test' }, State: 'exited', Status: 'Exited (137) 1 second ago' }
  says(200, [ours])
  expect(await engine.list('hub-test')).toMatchObject([
    { name: 'x', state: 'exited', exitCode: 137, createdAtMs: 1000 },
  ])
})

test('fault F14: sessions of other hubs are listed apart, without ours and without what belongs to no hub', async () => {
  const row = (labels: object | null) => ({
    Id: ID,
    Names: ['/x'],
    State: 'running',
    Created: 1,
    ImageID: '',
    Labels: labels,
  })
  const ours = row({ 'hub.instance': 'hub-test', 'hub.session': 's1' })
  says(200, [ours, row({ 'hub.instance': 'other', 'hub.session': 's2' }), row({ 'hub.session': 's3' }), row(null)])
  expect(await engine.listOthers('hub-test')).toMatchObject([{ labels: { 'hub.instance': 'other' }, session: 's2' }])
})

test('events come one by one, whatever the pieces; a stream that ends is an error, an abort is not', async () => {
  const event = JSON.stringify({ Action: 'die', Actor: { ID, Attributes: { exitCode: '3', 'hub.session': 's1' } } })
  answer = (_request, response) => {
    response.writeHead(200)
    response.write(event.slice(0, 10))
    response.write(`${event.slice(10)}\n${event}\n`)
    response.end()
  }
  const seen: unknown[] = []
  const over = new AbortController()
  await expect(engine.events('hub-test', (each) => seen.push(each), over.signal)).rejects.toThrow(/closed the stream/)
  expect(seen).toHaveLength(2)
  expect(seen[0]).toMatchObject({ action: 'die', id: ID, exitCode: 3 })
  answer = (_request, response) => response.writeHead(200).flushHeaders()
  asked = []
  const listening = engine.events('hub-test', () => {}, over.signal)
  await arrived()
  over.abort()
  await listening
})

test('create names a missing image and a taken name', async () => {
  const body = buildContainer(FACTS, DEFAULT_LIMITS, HOST)
  const create = () => engine.create('hub-hub-test-sabcdefghijklmno', { ...body })
  says(404, { message: 'No such image' })
  await expect(create()).rejects.toMatchObject({ code: 'image_missing' })
  says(409, { message: 'Conflict' })
  await expect(create()).rejects.toMatchObject({ code: 'conflict' })
  says(201, { Id: ID, Warnings: ['w'] })
  expect(await create()).toEqual({ id: ID, warnings: ['w'] })
  says(201, { Id: 'short' })
  await expect(create()).rejects.toMatchObject({ code: 'engine_unavailable' })
})

test('frames of a log become plain text, of which the end is kept; a torn one does no harm', () => {
  const frame = (text: string) => {
    const head = Buffer.alloc(8)
    head.writeUInt32BE(Buffer.byteLength(text), 4)
    return Buffer.concat([head, Buffer.from(text)])
  }
  const log = Buffer.concat([frame('one\n'), frame('two\n'), frame('three\n').subarray(0, 10)])
  expect(plainLog(log, 100)).toBe('one\ntwo\nth')
  expect(plainLog(log, 4)).toBe('o\nth')
})
