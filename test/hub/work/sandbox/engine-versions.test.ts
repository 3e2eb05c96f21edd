/** An engine that changes its API versions below a running hub, or lies about them (fault A3): over a real socket, through the real client. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentLog } from '../../../../hub/base/telemetry.ts'
import { DEFAULT_LIMITS } from '../../../../hub/protocol/agent.ts'
import { createContainers } from '../../../../hub/work/sandbox/containers.ts'
import { createEngine, type Engine } from '../../../../hub/work/sandbox/engine.ts'
import { buildContainer } from '../../../../hub/work/sandbox/profile.ts'
import { createFakeClock, type FakeClock } from '../../../support/fake-clock.ts'
import { reapGrant } from '../../../support/probe-session.ts'
import { FACTS, HOST } from '../../../support/sandbox-facts.ts'

const SESSIONS = 12
const idOf = (at: number) => `${at}`.padStart(64, 'a')
const ID = idOf(0)

let folder = ''
let clock: FakeClock
let engine: Engine
let server: ReturnType<typeof createServer>
/** What it speaks, and what it says that it speaks. */
let speaks: { oldest: number; newest: number }
let tells: (response: ServerResponse) => void
let calls: string[]
/** Containers it has, and the waits that are open on them. */
let there: Set<string>
let waits: Map<string, ServerResponse>

const honest = (response: ServerResponse) =>
  response
    .writeHead(200, { 'api-version': `1.${speaks.newest}` })
    .end(JSON.stringify({ ApiVersion: `1.${speaks.newest}`, MinAPIVersion: `1.${speaks.oldest}`, Version: 'x' }))

function answer(request: IncomingMessage, response: ServerResponse): void {
  const { method, url = '' } = request
  calls.push(`${method} ${url.split('?')[0]}`)
  if (url === '/version') {
    tells(response)
    return
  }
  const head = { 'api-version': `1.${speaks.newest}` }
  const minor = Number(/^\/v1\.(\d+)\//.exec(url)?.[1])
  if (minor < speaks.oldest || minor > speaks.newest) {
    const text =
      minor < speaks.oldest
        ? `old. Minimum supported API version is 1.${speaks.oldest}`
        : `new. Maximum supported API version is 1.${speaks.newest}`
    response.writeHead(400, head).end(JSON.stringify({ message: `client version 1.${minor} is too ${text}` }))
    return
  }
  const id = /\/containers\/(\w{64})/.exec(url)?.[1] ?? ''
  if (url.includes('/containers/json')) {
    const labels = { 'hub.instance': 'hub-test' }
    const rows = [...there].map((Id) => ({ Id, Names: [`/${Id}`], State: 'running', Created: 1, Labels: labels }))
    response.writeHead(200, head).end(JSON.stringify(rows))
  } else if (url.includes('/containers/create')) {
    request.resume()
    response.writeHead(201, head).end(JSON.stringify({ Id: ID, Warnings: [] }))
  } else if (!there.has(id)) response.writeHead(404, head).end('{}')
  else if (url.includes('/wait')) {
    response.writeHead(200, head).flushHeaders()
    waits.set(id, response)
  } else if (method === 'GET')
    response.writeHead(200, head).end(JSON.stringify({ Id: id, State: { Status: 'running' } }))
  else {
    if (method === 'DELETE') {
      there.delete(id)
      waits.get(id)?.end('{"StatusCode":137}')
    }
    response.writeHead(204, head).end()
  }
}

beforeEach(async () => {
  folder = mkdtempSync('/tmp/hub-versions-')
  speaks = { oldest: 12, newest: 41 }
  tells = honest
  calls = []
  there = new Set(Array.from({ length: SESSIONS }, (_, at) => idOf(at)))
  waits = new Map()
  server = createServer(answer)
  await new Promise<void>((resolve) => server.listen(join(folder, 'engine.sock'), resolve))
  clock = createFakeClock()
  engine = createEngine({ socketPath: join(folder, 'engine.sock'), callMs: 5000 }, { clock })
})
afterEach(() => {
  server.closeAllConnections()
  server.close()
  rmSync(folder, { recursive: true, force: true })
})

const looked = () => calls.filter((call) => call.endsWith('/json') && call.includes('/containers/a')).length
const until = async (check: () => boolean) => {
  while (!check()) await new Promise((resolve) => setImmediate(resolve))
}

test('fault A3: agreed once for all calls, in the newest version that both know', async () => {
  speaks = { oldest: 44, newest: 52 }
  await Promise.all([engine.list('hub-test'), engine.inspect(ID), engine.stop(ID, 1)])
  await engine.kill(ID)
  expect(calls.filter((call) => call === 'GET /version')).toHaveLength(1)
  expect(calls.every((call) => call === 'GET /version' || call.includes(' /v1.52/'))).toBe(true)
})

test('fault A3: an engine that changes version under 12 running sessions: they stay adopted, and every stop works', async () => {
  const containers = createContainers({ instance: 'hub-test', host: HOST }, { engine, log: silentLog(), clock })
  const exits = [...there].map((id) => containers.adopt(id))
  // Each looks, waits, and looks once more.
  await until(() => looked() === 2 * SESSIONS)
  await new Promise((resolve) => setTimeout(resolve, 50))
  // The engine is upgraded: every connection breaks, and what comes back speaks nothing of what was agreed.
  speaks = { oldest: 44, newest: 56 }
  waits.clear()
  server.closeAllConnections()
  while (waits.size < SESSIONS) {
    await clock.advance(500)
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(await containers.list()).toHaveLength(SESSIONS)
  const stopped = await Promise.all(exits.map((_, at) => containers.recycle(reapGrant, idOf(at), { graceMs: 0 })))
  expect(stopped).toEqual(exits.map(() => ({ outcome: 'gone' })))
  expect(await Promise.all(exits)).toHaveLength(SESSIONS)
})

test.each([
  ['refuses what was agreed', { oldest: 44, newest: 56 }],
  ['speaks less than what was agreed', { oldest: 12, newest: 41 }],
  ['still takes what was agreed, but knows more', { oldest: 24, newest: 56 }],
])('fault A3: without a broken connection too: the engine %s', async (_how, next) => {
  speaks = next.newest === 41 ? { oldest: 24, newest: 48 } : { oldest: 12, newest: 41 }
  await engine.list('hub-test')
  speaks = next
  expect(await Promise.all([...there].map((id) => engine.stop(id, 1)))).toEqual(Array(SESSIONS).fill('done'))
  await engine.kill(ID)
  expect(calls.at(-1)).toBe(`POST /v1.${next.newest}/containers/${ID}/kill`)
})

test('fault A2: a container that another engine made, in the version of the one before, is not taken; the next is made in its own', async () => {
  const name = 'hub-hub-test-sabcdefghijklmno'
  const create = () => engine.create(name, buildContainer(FACTS, DEFAULT_LIMITS, HOST))
  await engine.list('hub-test')
  speaks = { oldest: 24, newest: 56 }
  await expect(create()).rejects.toThrow(/another engine answered meanwhile/)
  expect(await create()).toEqual({ id: ID, warnings: [] })
  expect(calls.filter((call) => call.endsWith('/create'))).toEqual([
    'POST /v1.41/containers/create',
    'POST /v1.56/containers/create',
  ])
})

test('fault A3: an engine that names a version and refuses it is refused by name, without a loop', async () => {
  tells = (response) => response.writeHead(200).end('{"ApiVersion":"1.56","MinAPIVersion":"1.24"}')
  await expect(engine.list('hub-test')).rejects.toThrow(/names API 1\.56 as one of its own and refuses it .* too new/)
  const { opened, exit } = engine.waitNextExit(ID)
  await expect(opened).rejects.toThrow(/refuses it/)
  await expect(exit).rejects.toThrow(/refuses it/)
  expect(calls).toHaveLength(6)
  expect(engine.disagreement()).toMatch(/refuses it/)
})

test('fault A3: one that hangs, is not JSON or not an engine ends every call by the deadline, by name', async () => {
  tells = () => {}
  const hung = engine.list('hub-test')
  hung.catch(() => {})
  await until(() => calls.length > 0)
  await clock.advance(5000)
  await expect(hung).rejects.toThrow(/GET \/version: nothing within 5000 ms/)
  expect(engine.disagreement()).toBeUndefined()
  tells = (response) => response.writeHead(200).end('<html>')
  expect(await engine.remove(ID)).toMatchObject({
    outcome: 'failed',
    reason: expect.stringMatching(/no Docker engine/),
  })
  tells = (response) => response.writeHead(503).end('busy')
  await expect(engine.inspect(ID)).rejects.toThrow(/did not tell its versions: it answered 503/)
  tells = honest
  expect(await engine.remove(ID)).toEqual({ outcome: 'gone' })
})

test('fault A3: where nothing can be agreed that is known, and over as soon as it can', async () => {
  speaks = { oldest: 60, newest: 61 }
  await expect(engine.list('hub-test')).rejects.toMatchObject({
    code: 'engine_unavailable',
    message: expect.stringMatching(/only API 1\.60 and later, this hub knows up to 1\.56; upgrade the hub/),
  })
  expect(engine.disagreement()).toMatch(/only API 1\.60/)
  speaks = { oldest: 44, newest: 61 }
  await engine.list('hub-test')
  expect(engine.disagreement()).toBeUndefined()
  expect(calls.at(-1)).toBe('GET /v1.56/containers/json')
})
