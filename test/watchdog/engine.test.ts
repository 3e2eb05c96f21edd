/** The engine client against a real server on a real socket that plays the engine, badly when asked. */
import http from 'node:http'
import { afterEach, expect, test } from 'vitest'
import { createActs } from '../../watchdog/act/act.ts'
import { type Clock, createSystemClock } from '../../watchdog/base/clock.ts'
import { pathsOf } from '../../watchdog/base/home.ts'
import { createEngine } from '../../watchdog/observe/engine.ts'
import type { HubLine } from '../../watchdog/observe/hub-line.ts'
import { createHandDeadlines } from '../support/hand-deadlines.ts'
import { INSTANCE, makeContainer, makeHome } from '../support/watchdog-home.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})
const ID = 'a'.repeat(64)

/** A call that it leaves without an answer has its deadline pass at once. `versions`: its answer to the question for its versions, which `calls` leaves out; null: none ever comes. */
async function engineThat(
  say: (call: string) => { status: number; body?: unknown } | null,
  versions: () => unknown = () => ({ ApiVersion: '1.41', MinAPIVersion: '1.12' }),
) {
  const home = makeHome()
  const socketPath = pathsOf(home.home).hubSocket
  const calls: string[] = []
  const { clock, pass } = createHandDeadlines()
  const server = http.createServer((request, response) => {
    if (request.url === '/version') {
      const told = versions()
      if (told === null) pass()
      else response.writeHead(200).end(typeof told === 'string' ? told : JSON.stringify(told))
      return
    }
    calls.push(`${request.method} ${request.url}`)
    const said = say(`${request.method} ${request.url}`)
    if (said === null) return pass()
    response.writeHead(said.status)
    response.end(said.body === undefined ? '' : JSON.stringify(said.body))
  })
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))
  closers.push(() => {
    server.closeAllConnections()
    server.close()
    home.remove()
  })
  return { calls, engine: createEngine({ socketPath, instance: INSTANCE, timeoutMs: 200 }, clock) }
}

test('the list asks for our label only, in every state, and refuses a container that is not ours [watch-44]', async () => {
  const row = { Id: ID, Names: ['/hub-x'], State: 'created', Created: 5, Labels: { 'hub.instance': INSTANCE } }
  let rows = [row]
  const { calls, engine } = await engineThat(() => ({ status: 200, body: rows }))
  expect(await engine.list()).toEqual([
    { id: ID, name: 'hub-x', state: 'created', createdAtMs: 5000, labels: row.Labels },
  ])
  expect(decodeURIComponent(calls[0] ?? '')).toBe(
    `GET /v1.41/containers/json?all=1&limit=0&filters={"label":["hub.instance=${INSTANCE}"]}`,
  )
  rows = [{ ...row, Labels: { 'hub.instance': 'other' } }]
  await expect(engine.list()).rejects.toThrow(/not ours/)
})

test('a call that is not on the closed list is refused before a byte is sent [watch-26]', async () => {
  const { calls, engine } = await engineThat(() => ({ status: 200 }))
  for (const id of ['../../images', `${ID}/exec`, 'name', '', `${ID}?x=1`]) {
    for (const call of [
      () => engine.remove(id),
      () => engine.stop(id, 1),
      () => engine.kill(id),
      () => engine.inspect(id),
    ]) {
      await expect(call()).rejects.toThrow(/closed list/)
    }
  }
  expect(calls).toEqual([])
})

test('304 on stop and 404 are done and gone; a 500 and a hang are errors within the deadline', async () => {
  let status = 304
  const { engine } = await engineThat(() => (status === 0 ? null : { status, body: {} }))
  expect(await engine.stop(ID, 0)).toBe('done')
  status = 404
  expect([await engine.stop(ID, 0), await engine.remove(ID), await engine.inspect(ID)]).toEqual([
    'gone',
    'gone',
    'gone',
  ])
  status = 500
  await expect(engine.kill(ID)).rejects.toThrow(/answered 500/)
  status = 0
  await expect(engine.list()).rejects.toThrow(/no answer within 200 ms/)
})

test('T93: recycling a container whose stop hangs still kills and removes it, and gone is said only when inspect says so [stop-49]', async () => {
  let there = true
  const { calls, engine } = await engineThat((call) => {
    if (call.includes('/stop')) return null
    if (call.startsWith('DELETE')) there = false
    if (call.startsWith('GET')) return { status: there ? 200 : 404, body: { State: { Status: 'running' } } }
    return { status: 204 }
  })
  const acts = createActs(
    { stopGraceMs: 0, hubStopMs: 50 },
    {
      clock: createSystemClock(),
      engine,
      hub: { lease: async () => ({ kind: 'silent', reason: '' }), shutdown: async () => null },
    },
  )
  const one = { ...makeContainer(createSystemClock().read()), id: ID }
  expect(await acts.recycle([one])).toEqual([{ container: one.name, outcome: 'gone' }])
  expect(calls.map((call) => call.replace(`/containers/${ID}`, ''))).toEqual([
    'POST /stop?t=0',
    'POST /kill',
    'DELETE ?force=1&v=1',
    'GET /json',
  ])
})

test('T60: a container whose removal is under way by another hand is waited for, and counts as failed only when it stays', async () => {
  let shown = 2
  const { calls, engine } = await engineThat((call) => {
    if (call.startsWith('DELETE')) return { status: 409, body: { message: 'removal is already in progress' } }
    if (!call.startsWith('GET')) return { status: 204 }
    shown -= 1
    return { status: shown >= 0 ? 200 : 404, body: { State: { Status: 'removing' } } }
  })
  const clock = createSystemClock()
  const hub: HubLine = { lease: async () => ({ kind: 'silent', reason: '' }), shutdown: async () => null }
  // Half a second of waiting is a turn of the loop here.
  const quick: Clock = { ...clock, after: (_ms, run) => clock.after(0, run) }
  const acts = createActs({ stopGraceMs: 0, hubStopMs: 50 }, { clock: quick, engine, hub })
  const one = { ...makeContainer(clock.read()), id: ID }
  expect(await acts.recycle([one])).toEqual([{ container: one.name, outcome: 'gone' }])
  expect(calls.filter((call) => call.startsWith('GET'))).toHaveLength(3)
  shown = Number.POSITIVE_INFINITY
  expect(await acts.recycle([one])).toEqual([
    // Whether anything of it still runs is not known: the engine does not say, and its machine cannot be seen here (fault A6).
    { container: one.name, outcome: 'failed', reason: 'it is still removing' },
  ])
})

/** An engine that speaks these versions only, as a real one refuses others; a call without one is its newest. */
function speaking(oldest: number, newest: number) {
  const range = { oldest, newest }
  let there = true
  const say = (call: string) => {
    const minor = Number(/ \/v1\.(\d+)\//.exec(call)?.[1] ?? range.newest)
    const bad = minor < range.oldest ? 'old' : minor > range.newest ? 'new' : undefined
    if (bad !== undefined) return { status: 400, body: { message: `client version 1.${minor} is too ${bad}. Sorry` } }
    if (call.includes('/containers/json')) return { status: 200, body: [] }
    if (call.startsWith('DELETE')) there = false
    if (call.startsWith('GET')) return { status: there ? 200 : 404, body: { State: { Status: 'running' } } }
    return { status: 204 }
  }
  return { range, say, tells: () => ({ ApiVersion: `1.${range.newest}`, MinAPIVersion: `1.${range.oldest}` }) }
}
const stopAll = async (engine: Awaited<ReturnType<typeof engineThat>>['engine']) => [
  await engine.stop(ID, 0),
  await engine.kill(ID),
  await engine.remove(ID),
  await engine.inspect(ID),
]
const STOPPED = ['done', 'done', 'done', 'gone']

test.each([
  ['of 20.10', 12, 41, '/v1.41'],
  ['that refuses 1.41', 44, 52, '/v1.52'],
  ['that is newer than this', 44, 70, '/v1.56'],
])(
  'fault A3: with an engine %s the newest version that both know is spoken',
  async (_which, oldest, newest, prefix) => {
    const one = speaking(oldest, newest)
    const { calls, engine } = await engineThat(one.say, one.tells)
    await engine.list()
    expect(await stopAll(engine)).toEqual(STOPPED)
    expect(calls.every((call) => call.split(' ')[1]?.startsWith(`${prefix}/`))).toBe(true)
    expect(engine.disagreement()).toBeNull()
  },
)

test('fault A3: an engine upgraded below the watchdog refuses what was agreed: the very same stop goes through', async () => {
  const one = speaking(12, 41)
  const { calls, engine } = await engineThat(one.say, one.tells)
  await engine.list()
  Object.assign(one.range, { oldest: 44, newest: 56 })
  // All at once, as many containers are stopped.
  expect(await Promise.all(Array.from({ length: 12 }, () => engine.stop(ID, 0)))).toEqual(Array(12).fill('done'))
  expect(await stopAll(engine)).toEqual(STOPPED)
  await engine.list()
  expect(calls.at(-1)).toContain('/v1.56/')
})

test.each<[string, () => unknown, RegExp | null]>([
  ['only what is not known here', () => ({ ApiVersion: '1.70', MinAPIVersion: '1.60' }), /only API 1\.60 and later/],
  ['no version', () => ({ hello: 1 }), /names no API version/],
  ['no JSON', () => '<html>', /names no API version/],
  ['null', () => 'null', /names no API version/],
  ['a contradiction', () => ({ ApiVersion: '1.44', MinAPIVersion: '1.50' }), /1\.50 to 1\.44/],
  ['too little', () => ({ ApiVersion: '1.40', MinAPIVersion: '1.12' }), /up to 1\.40/],
  ['a version that it refuses', () => ({ ApiVersion: '1.56', MinAPIVersion: '1.12' }), null],
  ['nothing', () => null, null],
])('fault A3: an engine that tells %s is still listed and stopped [watch-6]', async (_what, tells, why) => {
  const one = speaking(60, 70)
  const { engine } = await engineThat(one.say, tells)
  expect(await engine.list()).toEqual([])
  expect(await stopAll(engine)).toEqual(STOPPED)
  if (why === null) expect(engine.disagreement()).toBeNull()
  else expect(engine.disagreement()).toMatch(why)
})
