/** The engine client against a real server on a real socket that plays the engine, badly when asked. */
import http from 'node:http'
import { afterEach, expect, test } from 'vitest'
import { createActs } from '../../watchdog/act.ts'
import { type Clock, createSystemClock } from '../../watchdog/clock.ts'
import { createEngine } from '../../watchdog/engine.ts'
import { pathsOf } from '../../watchdog/home.ts'
import type { HubLine } from '../../watchdog/lease.ts'
import { INSTANCE, makeContainer, makeHome } from '../support/watchdog-home.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})
const ID = 'a'.repeat(64)

async function engineThat(say: (call: string) => { status: number; body?: unknown } | null) {
  const home = makeHome()
  const socketPath = pathsOf(home.home).hubSocket
  const calls: string[] = []
  const server = http.createServer((request, response) => {
    calls.push(`${request.method} ${request.url}`)
    const said = say(`${request.method} ${request.url}`)
    if (said === null) return
    response.writeHead(said.status)
    response.end(said.body === undefined ? '' : JSON.stringify(said.body))
  })
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))
  closers.push(() => {
    server.closeAllConnections()
    server.close()
    home.remove()
  })
  return { calls, engine: createEngine({ socketPath, instance: INSTANCE, timeoutMs: 200 }, createSystemClock()) }
}

test('the list asks for our label only, in every state, and refuses a container that is not ours', async () => {
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

test('a call that is not on the closed list is refused before a byte is sent', async () => {
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

test('T93: recycling a container whose stop hangs still kills and removes it, and gone is said only when inspect says so', async () => {
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
  expect(calls.map((call) => call.replace(`/v1.41/containers/${ID}`, ''))).toEqual([
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
    { container: one.name, outcome: 'failed', reason: 'it is still removing' },
  ])
})
