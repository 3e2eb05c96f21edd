/** The ports of hub and watchdog (S0-26): held by whom they belong to, free for them, or taken by another. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { watchdogWord } from '../../../../hub/base/watchdog-words.ts'
import { createPortChecks, judgePort, type PortState, portOwners } from '../../../../hub/edge/doctor/ports.ts'

const hub = { name: 'hub', port: 7300, key: 'http.port in hub.yaml' } as const

test.each<[boolean, PortState, boolean, RegExp, RegExp]>([
  [true, 'taken', true, /^listens on 127\.0\.0\.1:7300$/, /^$/],
  [true, 'free', false, /^nothing listens/, /hub restart/],
  [false, 'free', true, /is free for it/, /^$/],
  [false, 'taken', false, /is taken by another program/, /ss -ltnp 'sport = :7300'.*http\.port in hub\.yaml/],
  [false, 'denied', false, /may not listen on/, /above 1023/],
])('up %s and %s: ok is %s', (isUp, state, ok, detail, mend) => {
  const row = judgePort({ ...hub, isUp }, state)
  expect([row.name, row.ok]).toEqual(['port of the hub', ok])
  expect(row.detail).toMatch(detail)
  expect(row.mend).toMatch(mend)
})

test.each<[boolean, boolean | undefined, PortState, boolean, RegExp]>([
  [true, false, 'taken', true, /^listens on 127\.0\.0\.1:9134$/],
  [true, true, 'taken', false, /is taken by another program, and the hub tries again/],
  [true, true, 'free', false, /^nothing listens/],
  [false, undefined, 'taken', false, /the hub would start without metrics/],
])('S0-12: the port of the metrics, with the hub up %s, not held %s, and %s', (isUp, isShut, state, ok, detail) => {
  const owner = { name: 'metrics', port: 9134, key: 'metrics.port in hub.yaml', isUp } as const
  const row = judgePort(isShut === undefined ? owner : { ...owner, isShut }, state)
  expect([row.name, row.ok]).toEqual(['port of the metrics', ok])
  expect(row.detail).toMatch(detail)
  if (!ok) expect(row.mend).toMatch(/metrics\.port in hub\.yaml/)
})

test('a port that is switched off is not asked for', async () => {
  const asked: number[] = []
  const checks = createPortChecks(
    async () => [{ ...hub, port: 0, isUp: true }],
    async (port) => {
      asked.push(port)
      return 'free'
    },
  )
  expect([await checks(), asked]).toMatchObject([[{ ok: null, detail: 'switched off' }], []])
})

test('a real port that another program holds is named, and the watchdog is asked whether it is up', async () => {
  const home = mkdtempSync(join(tmpdir(), 'ports-'))
  const other = createServer()
  await new Promise<void>((done) => other.listen({ host: '127.0.0.1', port: 0 }, done))
  try {
    const { port } = other.address() as { port: number }
    mkdirSync(join(home, 'watchdog'))
    writeFileSync(join(home, 'watchdog', 'config.json'), JSON.stringify({ port }))
    const rows = (isThere: boolean) =>
      createPortChecks(() =>
        portOwners(home, { port: 0, isUp: false, metrics: { port: 0 } }, () =>
          isThere ? Promise.resolve({}) : Promise.reject(new Error()),
        ),
      )()
    expect((await rows(false))[2]).toMatchObject({ name: 'port of the watchdog', ok: false })
    expect((await rows(true))[2]).toMatchObject({ ok: true })
  } finally {
    other.close()
    rmSync(home, { recursive: true, force: true })
  }
})

test.each([
  ['http:\n  # of mine\n  port: 7311\nengine:\n  socket: /run/e.sock\n', '7311', '/run/e.sock'],
  ['engine: { callTimeout: 2s, socket: "/run/e.sock" }\nhttp: {port: 7311}\n', '7311', '/run/e.sock'],
  ['{"http":{"port":7311},"engine":{"socket":"/run/e.sock"}}', '7311', '/run/e.sock'],
  ['# engine:\n#   socket: /other\noperator: { name: port }\n', undefined, undefined],
])('fault C6: the two words that others must know of the file of today are found in %j', (text, port, socket) => {
  const home = mkdtempSync(join(tmpdir(), 'ww-'))
  try {
    mkdirSync(join(home, 'watchdog'))
    writeFileSync(join(home, 'watchdog', 'config.yaml'), text)
    expect([watchdogWord(home, 'http.port'), watchdogWord(home, 'engine.socket')]).toEqual([port, socket])
  } finally {
    rmSync(home, { recursive: true })
  }
})
