/** The console's entrance without a browser: its files, its one-time links, what a console may, and how it ends (S0-50, T16, T17, T33, T34). */
import { mkdtempSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import { createLog } from '../../hub/base/telemetry.ts'
import { readConsoleFiles } from '../../hub/edge/people/console-page.ts'
import { freeName } from '../../hub/edge/routes/console.ts'
import { openFakeWatchdog } from '../support/fake-watchdog.ts'
import { freePort } from '../support/free-port.ts'
import { createHarness, type Harness, puppet } from '../support/hub-harness.ts'
import { send } from '../support/plain-http.ts'
import { talk } from '../support/raw-wire.ts'

const MINUTE = 60_000
const HOUR = 3_600_000
const ALL = ['view', 'heartbeat', 'approve', 'stop', 'resume']
const REACH = { publicUrl: 'https://hub.example.net', hosts: ['10.1.2.3:7300'] }

async function opened(config: Record<string, unknown> = {}) {
  const port = await freePort()
  const h = await createHarness({ agents: { patient: { script: puppet } }, config: { http: { port }, ...config } })
  const watchdog = await openFakeWatchdog(h.home)
  return {
    h,
    port,
    watchdog,
    async [Symbol.asyncDispose]() {
      await watchdog.close()
      await h[Symbol.asyncDispose]()
    },
  }
}
type Opened = Awaited<ReturnType<typeof opened>>

const said = async ({ h, port }: Opened, method: string, path: string, body?: object, headers = {}) => {
  const json = body === undefined ? {} : { body: JSON.stringify(body) }
  const type = body === undefined ? {} : { 'content-type': 'application/json' }
  const answer = await h.pumped(send(port, { method, path, headers: { ...type, ...headers }, ...json }))
  return { ...answer, json: () => JSON.parse(answer.text) as Record<string, unknown> }
}
const codeOf = async ({ h }: Opened, wish: object = {}) => {
  const { status, body } = await h.operator('POST', '/v1/console', wish)
  expect(status, JSON.stringify(body)).toBe(200)
  return String(body.url).split('#')[1] ?? ''
}
const join = (s: Opened, code: string, headers = {}) => said(s, 'POST', '/console/session', { code }, headers)
const joined = async (s: Opened, wish: object = {}) => String((await join(s, await codeOf(s, wish))).json().secret)
const by = (secret: string) => ({ authorization: `Bearer ${secret}` })
const records = (h: Harness, principal: string) =>
  h
    .audit()
    .filter((row) => row.principal === principal)
    .map(({ action, outcome, effect }) => [action, outcome, effect].join(' ').trim())

describe('the files of the page', () => {
  const FILES = ['/console', '/console/console.css', '/console/console.js', '/console/preact.js', '/console/htm.js']

  test('T33: each comes with a policy that lets nothing else run, load or frame it, without a cookie, and is kept nowhere', async () => {
    await using s = await opened()
    for (const path of FILES) {
      const { status, headers } = await said(s, 'GET', path)
      expect([status, path]).toEqual([200, path])
      expect(headers['content-security-policy']).toBe(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
      )
      expect(headers).toMatchObject({
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-resource-policy': 'same-origin',
        'x-frame-options': 'DENY',
      })
      expect(headers).not.toHaveProperty('set-cookie')
      expect(headers).not.toHaveProperty('access-control-allow-origin')
    }
    const page = (await said(s, 'GET', '/console')).text
    expect(page).not.toMatch(/<style|style=|\son\w+=|<script(?![^>]* src=)|https?:/)
  })

  test('T33: GET and HEAD alone, of these very paths: nothing of a request becomes a path of a file', async () => {
    await using s = await opened()
    const head = await said(s, 'HEAD', '/console')
    expect([head.status, head.text, Number(head.headers['content-length'])]).toEqual([200, '', expect.any(Number)])
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'])
      expect((await said(s, method, '/console')).status, method).toBe(404)
    const none = ['/console/', '/console/index.html', '/console/view.js/', '/console/../hub.yaml', '/console/view.ts']
    const tricks = [
      '/console/%2e%2e/keys/token.key',
      '/console/..%2fhub.yaml',
      '/console/view.js%00',
      '/console//etc/passwd',
    ]
    for (const path of [...none, ...tricks]) {
      const { text } = await s.h.pumped(
        talk(
          { port: s.port, host: '127.0.0.1' },
          `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${s.port}\r\nConnection: close\r\n\r\n`,
        ),
      )
      expect(text, path).toMatch(/^HTTP\/1\.1 40[04] /)
    }
  })

  test("T33: they and the exchange are served under this machine's own names alone, never under those of reach", async () => {
    await using s = await opened({ reach: REACH })
    const code = await codeOf(s)
    const names = ['hub.example.net', '10.1.2.3:7300', 'evil.example', 'localhost', `127.0.0.1:${s.port + 1}`]
    for (const host of names) {
      for (const path of FILES) expect((await said(s, 'GET', path, undefined, { host })).status, host).toBe(403)
      expect((await join(s, code, { host })).status, host).toBe(403)
    }
    const origins = ['https://hub.example.net', 'https://evil.example', 'null', `http://127.0.0.1:${s.port + 1}`]
    for (const origin of origins) expect((await join(s, code, { origin })).status, origin).toBe(403)
    for (const type of ['text/plain', 'application/x-www-form-urlencoded'])
      expect((await join(s, code, { 'content-type': type })).status, type).toBe(400)
    const own = { host: `localhost:${s.port}`, origin: `http://localhost:${s.port}` }
    expect((await said(s, 'GET', '/console', undefined, own)).status).toBe(200)
    expect((await join(s, code, own)).status).toBe(200)
  })

  test('where a file is missing no page is served, the log says what to do, and the hub goes on', () => {
    const lines: string[] = []
    const log = createLog('warn', { write: (line) => void lines.push(line) })
    expect(readConsoleFiles(log, pathToFileURL(`${mkdtempSync(`${tmpdir()}/no-`)}/`))).toEqual([])
    expect(lines.join()).toContain('npm ci')
    expect(readConsoleFiles(log).length).toBeGreaterThan(8)
  })
})

describe('a one-time link', () => {
  test('counts once, is recorded on both sides, and makes a device of its own name with the rights and the life that were chosen', async () => {
    await using s = await opened()
    const wish = { rights: ['view', 'stop'], expiresInMs: HOUR, name: 'desk' }
    const code = await codeOf(s, wish)
    const first = await join(s, code)
    expect(first.json()).toEqual({
      name: 'desk',
      rights: ['view', 'stop'],
      expiresAtMs: expect.any(Number),
      secret: expect.stringMatching(/^[\w-]{43}$/),
    })
    const second = await join(s, code)
    expect([second.status, second.json().code]).toEqual([401, 'unauthenticated'])
    const { devices } = (await s.h.operator('GET', '/v1/devices')).body as { devices: Record<string, unknown>[] }
    expect(devices).toMatchObject([{ name: 'desk', kind: 'console', scope: ['view', 'stop'], revokedAtMs: null }])
    expect(Number(devices[0]?.expiresAtMs) - Number(devices[0]?.createdAtMs)).toBe(HOUR)
    expect(records(s.h, 'operator')).toContain('console.opened ok device:desk')
    expect(records(s.h, 'device:desk')).toEqual(['console.joined ok'])
    expect(records(s.h, 'device:unknown')).toEqual(['console.joined refused'])
    const all = JSON.stringify([s.h.audit(), s.h.complaints])
    expect(all).not.toContain(code)
    expect(all).not.toContain(String(first.json().secret))
  })

  test('counts for five minutes and no longer than this run of the hub; of many the newest eight count', async () => {
    await using s = await opened()
    const late = await codeOf(s)
    await s.h.clock.advance(5 * MINUTE)
    expect((await join(s, late)).status).toBe(401)
    await s.h.clock.advance(MINUTE)
    const many: string[] = []
    for (let n = 0; n < 9; n += 1) many.push(await codeOf(s))
    expect((await join(s, many[0] ?? '')).status).toBe(401)
    expect((await join(s, many[1] ?? '')).status).toBe(200)
    await s.h.stop()
    await s.h.start()
    expect((await join(s, many[8] ?? '')).status).toBe(401)
  })

  test('T16, T17: guesses are answered alike, slowed and recorded now and then; the right code never waits for them', async () => {
    await using s = await opened()
    const code = await codeOf(s)
    const before = s.h.audit().length
    const seen = new Set<string>()
    for (let n = 0; n < 100; n += 1) {
      const { status, json } = await join(s, n % 2 === 0 ? 'x' : `${code.slice(0, -1)}${n % 10}`)
      seen.add(`${status} ${json().code}`)
    }
    expect([...seen].sort()).toEqual(['401 unauthenticated', '429 rate_limited'])
    expect(s.h.audit().length - before).toBeLessThan(20)
    expect((await join(s, code)).status).toBe(200)
    for (const body of [{}, { code: 7 }, { code, more: 1 }, { code: 'x'.repeat(65) }])
      expect((await said(s, 'POST', '/console/session', body)).status).toBe(400)
  })

  test("T18: is made on the operator's socket alone; a device and a token are refused by name", async () => {
    await using s = await opened()
    const console = await joined(s)
    const refused = await said(s, 'POST', '/v1/console', {}, by(console))
    expect([refused.status, refused.json().code]).toEqual([403, 'forbidden'])
    const { body } = await s.h.operator('POST', '/v1/tokens', {
      name: 'ci',
      actions: ['task.show'],
      expiresInMs: HOUR,
    })
    expect((await said(s, 'POST', '/v1/console', {}, by(String(body.secret)))).status).toBe(403)
    expect(records(s.h, 'device:console')).toContain('console.opened refused')
  })

  test('is made in safe mode too: it starts nothing, and who comes back needs it then', async () => {
    await using s = await opened()
    await s.h.operator('POST', '/v1/mode/safe', {})
    expect(await joined(s)).toMatch(/^[\w-]{43}$/)
  })

  test('promises no more than a console can hold to: it may view, its heartbeat goes with resume, its life has an end', async () => {
    await using s = await opened()
    const tries = [
      { rights: ['stop'] },
      { rights: [] },
      { rights: ['view', 'heartbeat'] },
      { rights: ['view', 'everything'] },
      { expiresInMs: 7 * 24 * HOUR + 1 },
      { expiresInMs: 1 },
      { name: 'No Name' },
    ]
    for (const wish of tries)
      expect((await s.h.operator('POST', '/v1/console', wish)).body, JSON.stringify(wish)).toMatchObject({
        code: 'schema_invalid',
      })
    await using off = await createHarness({ agents: {} })
    expect((await off.operator('POST', '/v1/console', {})).body).toMatchObject({
      code: 'conflict',
      detail: expect.stringContaining('http.port'),
    })
  })

  test('takes the first name that is free, and never one that is in force or promised', async () => {
    expect(freeName(new Set())).toBe('console')
    expect(freeName(new Set(['console', 'console-3']))).toBe('console-2')
    await using s = await opened()
    await joined(s)
    const { body } = await s.h.operator('POST', '/v1/console', {})
    expect(body.name).toBe('console-2')
    for (const name of ['console', 'console-2'])
      expect((await s.h.operator('POST', '/v1/console', { name })).body).toMatchObject({ code: 'conflict' })
    await s.h.operator('POST', '/v1/devices/console/revoke', {})
    expect((await s.h.operator('POST', '/v1/console', {})).body.name).toBe('console')
  })
})

describe('a console', () => {
  test('S1-25: its heartbeat is strong, of the source console at the watchdog and in the record; without the right it is refused by name [presence-11]', async () => {
    await using s = await opened()
    s.watchdog.answers['/v1/heartbeat'] = { dueAtMs: 1 }
    const whole = await said(s, 'POST', '/v1/heartbeat', {}, by(await joined(s)))
    expect([whole.status, whole.json().dueAtMs]).toEqual([200, 1])
    expect(s.watchdog.heard.filter(({ path }) => path === '/v1/heartbeat').map(({ body }) => body)).toEqual([
      { source: 'console' },
    ])
    expect(records(s.h, 'device:console')).toContain('operator.heartbeat_given ok source:console')
    const looks = await said(s, 'POST', '/v1/heartbeat', {}, by(await joined(s, { rights: ['view'], name: 'looks' })))
    expect([looks.status, looks.json().code]).toEqual([403, 'policy_denied'])
    expect(records(s.h, 'device:looks')).toContain('operator.heartbeat_given refused')
  })

  test('sees the deadlines as the watchdog has them, and is told where that does not answer; a token is not', async () => {
    await using s = await opened()
    const secret = await joined(s)
    const presence = {
      ...{ strongAgeMs: 1, weakAgeMs: null, dueInMs: 5, safeInMs: 6, stopInMs: 7, weakMostInMs: 8 },
      ...{ due: 'rolling', zone: 'Europe/Berlin', paused: false, quiet: false, away: null },
      ...{ stopped: false, stopReport: null },
    }
    s.watchdog.answers['/v1/status'] = { heartbeat: presence, alerts: ['not this'] }
    const { json } = await said(s, 'GET', '/v1/presence', undefined, by(secret))
    expect(json()).toEqual({ presence, problem: null, atMs: expect.any(Number) })
    const wish = { name: 'ci', actions: ['operator.show'], expiresInMs: HOUR }
    expect((await s.h.operator('POST', '/v1/tokens', wish)).body).toMatchObject({ code: 'schema_invalid' })
    await s.watchdog.close()
    const away = await said(s, 'GET', '/v1/presence', undefined, by(secret))
    expect(away.json()).toMatchObject({ presence: null, problem: expect.stringContaining('hub up') })
  })

  test('T33: one that is taken back or whose time is over has no further word, nor a further event on the stream it had open', async () => {
    await using s = await opened()
    const secret = await joined(s)
    const lives = await joined(s, { expiresInMs: 3 * MINUTE })
    const listen = (bearer: string) => {
      const heard = { text: '', isOver: false }
      const asked = request(
        { host: '127.0.0.1', port: s.port, path: '/v1/events', headers: by(bearer), agent: false },
        (answer) => {
          answer.on('data', (part: Buffer) => {
            heard.text += part.toString()
          })
          answer.on('error', () => undefined)
          answer.on('close', () => {
            heard.isOver = true
          })
        },
      )
      asked.on('error', () => undefined).end()
      return heard
    }
    const first = listen(secret)
    const second = listen(lives)
    await s.h.until(() => first.text.includes(': here') && second.text.includes(': here'))
    await s.h.operator('POST', '/v1/devices/console/revoke', {})
    await s.h.submit('patient')
    await s.h.until(() => first.isOver)
    expect(first.text).not.toContain('task.queued')
    await s.h.until(() => second.text.includes('task.queued'))
    expect(second.isOver).toBe(false)
    expect((await said(s, 'GET', '/v1/tasks', undefined, by(secret))).status).toBe(401)
    expect((await said(s, 'GET', '/v1/tasks', undefined, by(lives))).status).toBe(200)
    await s.h.clock.advance(3 * MINUTE)
    await s.h.until(() => second.isOver)
    expect((await said(s, 'GET', '/v1/tasks', undefined, by(lives))).status).toBe(401)
  })

  test('outlives a restart of the hub', async () => {
    await using s = await opened()
    const secret = await joined(s, { rights: ALL })
    await s.h.stop()
    await s.h.start()
    expect((await said(s, 'GET', '/v1/health', undefined, by(secret))).status).toBe(200)
  })
})
