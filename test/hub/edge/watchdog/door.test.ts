/** The hub's door for the watchdog: what it refuses, that each refusal is one record, and that it stays open for the true key. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { listenOn } from '../../../../hub/edge/unix-socket.ts'
import { createWatchdogDoor } from '../../../../hub/edge/watchdog/link.ts'
import { macOf } from '../../../../hub/guard/operator/lease.ts'
import { type GuardHome, openGuardHome } from '../../../support/guard-home.ts'
import { ask } from '../../../support/hub-harness.ts'
import { CHUNKS, hold, SMUGGLING, talk } from '../../../support/raw-wire.ts'

let home: GuardHome
let folder: string
let path: string
let stops: number
let holds: number
let door: ReturnType<typeof createWatchdogDoor>
beforeEach(async () => {
  home = openGuardHome()
  folder = mkdtempSync(join(tmpdir(), 'door-'))
  path = join(folder, 'w.sock')
  stops = 0
  holds = 0
  const { gate, lease } = home.guard
  door = createWatchdogDoor({
    key: home.keys.watchdog,
    gate,
    lease,
    report: () => ({}),
    judgeWitness: () => undefined,
    holdAll: () => {
      holds += 1
      return 3
    },
    shutdown: async () => {
      stops += 1
      return { outcome: 'stopped' }
    },
  })
  await listenOn(door, path)
})
afterEach(() => {
  door.close()
  door.closeAllConnections()
  home[Symbol.dispose]()
  rmSync(folder, { recursive: true })
})

let counter = 0
function word(over: object = {}) {
  counter += 1
  const { bootId } = home.clock
  const times = { intervalMs: 30_000, heartbeatAgeMs: 0, deadlineInMs: 1000 }
  return {
    version: 1,
    instance: 'test-hub',
    epoch: 1,
    counter,
    bootId,
    ...times,
    demand: 'normal',
    conditions: [],
    ...over,
  }
}
const macked = (label: string, body: object) => ({ 'hub-mac': macOf(home.keys.watchdog, label, JSON.stringify(body)) })
const lease = (body: object = word(), headers: Record<string, string> = {}, method = 'POST', url = '/v1/lease') =>
  ask(path, method, url, body, { ...macked('hub-lease-v1', body), ...headers })

it('a wrong, missing, doubled or borrowed MAC, another type, path or method is refused, each with one record', async () => {
  expect((await lease()).status).toBe(200)
  const good = word()
  const mac = macked('hub-lease-v1', good)['hub-mac']
  const other = `${mac.slice(0, -1)}${mac.endsWith('0') ? '1' : '0'}`
  const refused: [number, () => ReturnType<typeof lease>][] = [
    [401, () => lease(good, { 'hub-mac': other })],
    [401, () => lease(good, { 'hub-mac': '' })],
    [401, () => lease(good, { 'hub-mac': mac.toUpperCase().replace(/^[0-9]*$/, 'A') })],
    [401, () => lease(good, { 'hub-mac': `${mac}, ${mac}` })],
    [401, () => lease(good, { 'hub-mac': `${mac}00` })],
    [401, () => ask(path, 'POST', '/v1/lease', good, {})],
    [401, () => lease(good, {}, 'GET')],
    [401, () => lease(good, {}, 'PUT')],
    [401, () => lease(good, {}, 'POST', '/v1/shutdown')],
    [404, () => lease(good, {}, 'POST', '/v1/look')],
    [404, () => lease(good, {}, 'POST', '/v1/lease/')],
    [404, () => lease(good, {}, 'POST', '/v1/tasks')],
    [400, () => lease(good, { 'content-type': 'text/plain' })],
    [400, () => lease(good, { 'content-type': 'application/json; charset=utf-8' })],
    [400, () => lease(word({ nobody: 1 }))],
    [400, () => lease(word({ epoch: 'x' }))],
    [401, () => lease(word({ instance: 'another' }))],
    [413, () => lease(word({ bootId: 'x'.repeat(70_000) }))],
  ]
  for (const [at, [status, call]] of refused.entries()) {
    const before = home.records().length
    expect((await call()).status, String(at)).toBe(status)
    const records = home.records().slice(before)
    expect(
      records.map(({ outcome }) => outcome),
      String(at),
    ).toEqual(['refused'])
  }
  expect(stops).toBe(0)
  // Nothing of all that moved the position: the word that stood by is still good, once.
  const again = word()
  expect((await lease(again)).status).toBe(200)
  expect((await lease(again)).status).toBe(401)
  const stop = { version: 1, instance: 'test-hub', epoch: 1, counter: counter + 1 }
  expect((await ask(path, 'POST', '/v1/shutdown', stop, macked('hub-shutdown-v1', stop))).status).toBe(200)
  expect(stops).toBe(1)
})

it('T31, T32: doubtful bytes and 64 KiB of headers are refused; of more than eight connections the one that asks nothing gives its place', async () => {
  const line = 'POST /v1/lease HTTP/1.1\r\nHost: hub\r\nContent-Type: application/json\r\n'
  for (const headers of SMUGGLING) {
    const heard = await talk({ path }, Buffer.from(`${line}${headers}\r\n{}`, 'latin1'))
    expect([heard.statuses, heard.closed], JSON.stringify(headers)).toEqual([[400], true])
  }
  for (const body of CHUNKS) {
    const heard = await talk({ path }, `${line}Transfer-Encoding: chunked\r\n\r\n${body}`)
    expect([heard.statuses.filter((status) => status < 400), heard.closed], body).toEqual([[], true])
  }
  const big = `${line}${`X-Big: ${'a'.repeat(1000)}\r\n`.repeat(64)}\r\n`
  expect(await talk({ path }, big)).toMatchObject({ statuses: [431], closed: true })
  const held = Array.from({ length: 8 }, () => hold({ path }))
  await Promise.all(held.map(({ socket }) => new Promise((resolve) => socket.once('connect', resolve))))
  expect((await talk({ path }, `${line}\r\n`)).statuses).toEqual([401])
  await held[0]?.closed
  expect(held.slice(1).map(({ socket }) => socket.destroyed)).toEqual(Array.from({ length: 7 }, () => false))
  for (const { end } of held) end()
})

it('a stop that the hub slept through: its tasks are held once, recorded, before the first lease of it lets anything start', async () => {
  await lease(word({ stopId: 77 }))
  expect(holds).toBe(1)
  expect(home.records().at(-1)).toMatchObject({
    action: 'lease.renewed',
    effect: '3 tasks are held: everything was stopped',
  })
  expect(home.guard.modes.current()).toBe('normal')
  const records = home.records().length
  await lease(word({ stopId: 77 }))
  expect([holds, home.records().length]).toEqual([1, records])
  await lease(word({ stopId: 78 }))
  expect(holds).toBe(2)
})

it('where the store cannot take the holding the hub stays degraded, and the next lease tries again', async () => {
  home.guard.store.prepare('pragma query_only = 1').run()
  expect((await lease(word({ stopId: 77 }))).status).toBe(200)
  expect(home.guard.modes.has('lease_pending')).toBe(true)
  home.guard.store.prepare('pragma query_only = 0').run()
  home.guard.recoverStore()
  const before = holds
  await lease(word({ stopId: 77 }))
  expect(holds).toBe(before + 1)
  expect(home.guard.modes.current()).toBe('normal')
})
