/** The line to the hub against a real HTTP server on a real socket that stands for it, honest and forging. */
import { rmSync } from 'node:fs'
import http from 'node:http'
import { afterEach, expect, test } from 'vitest'
import { createSystemClock } from '../../watchdog/base/clock.ts'
import { macHex } from '../../watchdog/base/digest.ts'
import { pathsOf } from '../../watchdog/base/home.ts'
import type { Lease } from '../../watchdog/judge/lease.ts'
import { createHubLine } from '../../watchdog/observe/hub-line.ts'
import { parseLedger } from '../../watchdog/observe/observe.ts'
import { createHandDeadlines } from '../support/hand-deadlines.ts'
import { INSTANCE, KEY, ledgerText, makeContainer, makeHome, sessionOf, ZEROS } from '../support/watchdog-home.ts'

const lease: Lease = {
  epoch: 7,
  bootId: 'boot-a',
  intervalMs: 30_000,
  heartbeatAgeMs: 5,
  deadlineInMs: 9,
  demand: 'normal',
  conditions: [],
  witnessSize: 0,
  witnessHead: '',
  ask: [],
  awayInMs: null,
  stopId: 0,
}
const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

interface Asked {
  path: string
  body: Record<string, unknown>
  text: string
  mac: string
}
type Say = (asked: Asked) => { status?: number; body: string; mac?: string } | null

/** A lease that it leaves without an answer has its deadline pass at once. */
async function hubThat(say: Say) {
  const home = makeHome()
  const { hubSocket } = pathsOf(home.home)
  const asked: Asked[] = []
  const { clock, pass } = createHandDeadlines()
  const server = http.createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part) => parts.push(part))
    request.on('end', () => {
      const text = Buffer.concat(parts).toString()
      const one = { path: request.url ?? '', body: JSON.parse(text), text, mac: String(request.headers['hub-mac']) }
      asked.push(one)
      const said = say(one)
      if (said === null) return pass()
      const label = one.path === '/v1/lease' ? 'hub-lease-answer-v1' : 'hub-shutdown-answer-v1'
      response.writeHead(said.status ?? 200, { 'hub-mac': said.mac ?? macHex(KEY, label, said.body) })
      response.end(said.body)
    })
  })
  await new Promise<void>((resolve) => server.listen(hubSocket, resolve))
  closers.push(() => {
    server.closeAllConnections()
    server.close()
    home.remove()
  })
  const line = createHubLine({ socketPath: hubSocket, key: KEY, instance: INSTANCE, timeoutMs: 300 }, clock)
  return { line, asked, hubSocket }
}
const honest = (body: Record<string, unknown>, over: object = {}) =>
  JSON.stringify({
    version: 1,
    instance: INSTANCE,
    epoch: body.epoch,
    counter: body.counter,
    mode: 'normal',
    conditions: [],
    dispatched: 3,
    queued: 1,
    auditSize: 0,
    auditHead: ZEROS,
    bufferSize: 0,
    bufferHead: null,
    checkpoints: [],
    sessions: [],
    announced: null,
    ...over,
  })

test('an honest hub is heard; the lease is the document of the contract, its MAC is over the raw bytes, its counter rises [presence-2, clock-15]', async () => {
  const { line, asked } = await hubThat(({ body }) => ({ body: honest(body) }))
  expect(await line.lease(lease)).toMatchObject({ kind: 'answer', answer: { dispatched: 3, mode: 'normal' } })
  await line.lease({ ...lease, demand: 'safe', conditions: ['heartbeat_missed'] })
  expect(asked[0]?.body).toEqual({ version: 1, instance: INSTANCE, counter: 1, ...lease })
  expect(asked[1]?.body).toMatchObject({ counter: 2, demand: 'safe', conditions: ['heartbeat_missed'] })
  for (const one of asked) expect(one.mac).toBe(macHex(KEY, 'hub-lease-v1', one.text))
})

test('T92: a wrong MAC, a wrong key, a replayed answer, another instance and another epoch are forged, not heard [presence-4, watch-35]', async () => {
  let replay = ''
  const cases: Say[] = [
    ({ body }) => ({ body: honest(body), mac: '00' }),
    ({ body }) => ({ body: honest(body), mac: macHex(Buffer.alloc(32, 8), 'hub-lease-answer-v1', honest(body)) }),
    ({ body, text }) => ({ body: honest(body), mac: macHex(KEY, 'hub-lease-v1', text) }),
    ({ body }) => ({ body: honest(body, { instance: 'other' }) }),
    ({ body }) => ({ body: honest(body, { epoch: 6 }) }),
    ({ body }) => ({ body: honest(body, { epoch: 6, version: 2 }) }),
    ({ body }) => ({ body: honest(body, { counter: undefined }) }),
    () => ({ body: 'no json', mac: '00' }),
    () => ({ body: replay }),
  ]
  let turn = -1
  const { line } = await hubThat((asked) => {
    turn += 1
    if (turn === 0) replay = honest(asked.body)
    const say = cases[turn - 1]
    return say === undefined ? { body: replay } : say(asked)
  })
  expect((await line.lease(lease)).kind).toBe('answer')
  for (const [index] of cases.entries()) expect((await line.lease(lease)).kind, `case ${index}`).toBe('forged')
})

test('T92: an answer that its MAC proves, of another version or shape, is not believed and is no forgery: a hub upgraded alone', async () => {
  const cases: Say[] = [
    ({ body }) => ({ body: honest(body, { version: 2 }) }),
    () => ({ body: JSON.stringify({ version: 2, lease: 'said otherwise' }) }),
    ({ body }) => ({ body: honest(body, { sessions: [{ session: 1 }] }) }),
    ({ body }) => ({ body: honest(body, { announced: { kind: 'forever' } }) }),
    () => ({ body: 'no json' }),
    () => ({ body: '[]' }),
  ]
  let turn = -1
  const { line } = await hubThat((asked) => {
    turn += 1
    return cases[turn]?.(asked) ?? null
  })
  for (const [index] of cases.entries()) expect((await line.lease(lease)).kind, `case ${index}`).toBe('unreadable')
})

test('a hub that refuses, hangs, says too much or is gone is a miss within the deadline [watch-30]', async () => {
  let turn = 0
  const { line, hubSocket } = await hubThat(({ body }) => {
    turn += 1
    if (turn === 1) return { status: 409, body: '{}' }
    if (turn === 2) return { body: honest(body, { raw: 'x'.repeat(5_000_000) }) }
    return null
  })
  expect((await line.lease(lease)).kind).toBe('refused')
  expect(await line.lease(lease)).toMatchObject({ kind: 'silent', reason: expect.stringContaining('larger') })
  expect(await line.lease(lease)).toMatchObject({ kind: 'silent', reason: 'no answer within 300 ms' })
  rmSync(hubSocket)
  expect((await line.lease(lease)).kind).toBe('silent')
})

test('a shutdown is believed only with its MAC', async () => {
  let mac: string | undefined
  const said = JSON.stringify({
    containers: [
      { container: 'a', outcome: 'gone' },
      { container: 'b', outcome: 'maybe' },
    ],
  })
  const { line, asked } = await hubThat(() => ({ body: said, ...(mac === undefined ? {} : { mac }) }))
  expect(await line.shutdown(7, { by: 'operator', reason: 'test' }, 300)).toEqual([{ container: 'a', outcome: 'gone' }])
  expect(asked[0]).toMatchObject({
    path: '/v1/shutdown',
    mac: macHex(KEY, 'hub-shutdown-v1', asked[0]?.text ?? ''),
    body: { epoch: 7, counter: 1, reason: 'test', by: 'operator' },
  })
  mac = 'ff'
  expect(await line.shutdown(7, { by: 'operator', reason: 'test' }, 300)).toBeNull()
})

test('S1-24: a ledger counts only whole, with its MAC and of this instance [watch-42]', () => {
  const session = sessionOf(makeContainer(createSystemClock().read()))
  const good = ledgerText([session])
  expect(parseLedger(good, KEY, INSTANCE)).toEqual({ kind: 'read', sessions: [session] })
  for (const bad of [
    good.slice(0, -1),
    good.replace('"attempt":1', '"attempt":2'),
    ledgerText([session], { instance: 'x' }),
    ledgerText([session], { version: 2 }),
    ledgerText([], { sessions: [{}] }),
    '[]',
    '',
    'null',
  ]) {
    expect(parseLedger(bad, KEY, INSTANCE).kind, bad).toBe('damaged')
  }
  expect(parseLedger(good, Buffer.alloc(32, 8), INSTANCE).kind).toBe('damaged')
})
