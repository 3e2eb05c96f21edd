/** What the entrances refuse, each from the operations table or a list of hostile input, on a whole hub (T17, T22, T25-T30, T33-T36). */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import type { z } from 'zod'
import { createLog } from '../../hub/base/telemetry.ts'
import { clean, columns, jsonText, plain } from '../../hub/client/cli/text.ts'
import { readConfig } from '../../hub/config.ts'
import { OPERATIONS, type Operation, type OperationName } from '../../hub/protocol/operations.ts'
import { ROUTES } from '../../hub/protocol/routes.ts'
import { freePort } from '../support/free-port.ts'
import { recordEach } from '../support/guard-home.ts'
import { BAD_BODIES, BAD_VALUES, HOSTILE, MOVES_TERMINAL, ODD_VALUES } from '../support/hostile-text.ts'
import {
  ask,
  createHarness,
  type Harness,
  type OperatorAnswer,
  puppet,
  type TestAgent,
} from '../support/hub-harness.ts'
import { talk } from '../support/raw-wire.ts'

const TYPES = { work: null, said: null }
const messages = { sends: TYPES, receives: TYPES }
const agents = {
  one: { script: puppet, card: { messages, may: { message: ['two'], delegate: ['two'], topics: ['news'] } } },
  two: { script: puppet, card: { messages, may: { message: ['one'], topics: ['news'] } } },
}
/** The fuzz runs are one agent's flood: its quota is not what they are about. */
const config = { limits: { messages: { perSecond: 50_000 } } }
const ROWS = (Object.entries(OPERATIONS) as [OperationName, Operation][]).flatMap(([name, row]) =>
  ROUTES[name] === undefined
    ? []
    : [{ name, row, http: ROUTES[name], fields: Object.keys((row.request as z.ZodObject).shape) }],
)
/** Recorded although they read: they disclose someone's work. */
const DISCLOSING = new Set<OperationName>(['artifact.get', 'task.logs', 'session.logs', 'session.turns'])
const UUID = '018f0000-0000-7000-8000-000000000001'
const SHA = 'a'.repeat(64)
const EMPTY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
const IDS = new Set(['id', 'name', 'sha256', 'agent', 'task', 'parent', 'jti'])
/** Answers never end. */
const ENDLESS = new Set<OperationName>(['event.stream'])

const builtIns = () =>
  JSON.stringify(
    [Object.prototype, Array.prototype, Function.prototype].map((proto) => Reflect.ownKeys(proto).map(String)),
  )
let before: string
beforeAll(() => {
  before = builtIns()
})

/** One call of the table as the CLI would make it; what is not in the path goes into body or query. */
function call(h: Harness, row: (typeof ROWS)[number], request: Record<string, unknown>): Promise<OperatorAnswer> {
  const { method, path } = row.http
  const rest = { ...request }
  const place = path.replace(/:([a-z0-9]+)/g, (_, field: string) => {
    delete rest[field]
    return encodeURIComponent(String(request[field] ?? ''))
  })
  const query = new URLSearchParams(
    Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, String(value)])),
  ).toString()
  const door = join(h.home, 'run', 'operator.sock')
  if (method === 'POST') return h.operator('POST', place, rest)
  if (method === 'GET') return h.operator('GET', query === '' ? place : `${place}?${query}`)
  return h.pumped(
    ask(door, method, query === '' ? place : `${place}?${query}`, Buffer.from(''), {
      'content-type': 'application/octet-stream',
    }),
  )
}
const lastRecord = (h: Harness) =>
  h.hub.guard.store.prepare('select max(seq) from audit_record').pluck().get() as number
const recordsOf = (h: Harness, who: RegExp, since: number) =>
  h.audit(since).filter(({ principal }) => who.test(principal))

/** I1 for one call of the operator: exactly one record, or none for an admitted read; a refusal's record gives its reason. */
async function lawful(
  h: Harness,
  row: (typeof ROWS)[number],
  request: Record<string, unknown>,
): Promise<OperatorAnswer> {
  const since = lastRecord(h)
  const { status, body } = await call(h, row, request)
  const records = recordsOf(h, /^operator/, since)
  const what = `${row.name} ${JSON.stringify(request).slice(0, 200)} ${status} ${JSON.stringify(body).slice(0, 200)}`
  expect(status, what).not.toBe(500)
  if (status < 300 && row.row.standing === 'read' && !DISCLOSING.has(row.name)) expect(records, what).toEqual([])
  else expect(records, what).toHaveLength(1)
  const [record] = records
  if (record !== undefined) {
    // There is no watchdog here to hear of the operator's presence: the word is given, and then not passed on.
    const admitted = status < 300 || (row.name.startsWith('operator.') && body.code === 'timed_out')
    expect(record.outcome === 'ok', what).toBe(admitted)
    if (admitted && row.row.standing === 'stop') expect(record.reason, what).toContain('stopping')
    else if (admitted) expect(record.decision_id, what).toMatch(/./)
    else expect(record.reason, what).toMatch(new RegExp(`^${String(body.code)}`))
  }
  return { status, body }
}

const verified = async (h: Harness) => (await h.operator('GET', '/v1/audit/verify')).body
const FIELDS = { id: UUID, name: 'one', sha256: SHA, agent: 'one', reason: 'x', note: 'x', approve: true, text: 'x' }
const pick = (fields: readonly string[]) =>
  Object.fromEntries(Object.entries(FIELDS).filter(([field]) => fields.includes(field)))

describe('every operation, every kind of call', () => {
  test('T22, I1: an admitted act has one record with its decision, a refusal one with its reason, and the chain verifies', async () => {
    await using h = await createHarness({ agents, config })
    const [one] = await h.bring('one')
    const [session] = h.sessionsOf(one.joined?.task.task ?? '')
    const idOf = (name: OperationName) => (name.startsWith('session.') ? session?.id : one.joined?.task.task)
    let admitted = 0
    for (const row of ROWS.filter(({ name }) => name !== 'hub.shutdown')) {
      const good = { ...pick(row.fields), ...(row.fields.includes('id') ? { id: idOf(row.name) } : {}) }
      const wrong: Record<string, unknown>[] = [
        { ...good, nobody: 1 },
        ...row.fields.map((field) => ({ ...good, [field]: [] })),
        ...row.fields.map((field) => ({ ...good, [field]: -1 })),
      ]
      for (const request of ENDLESS.has(row.name) ? [wrong[0] ?? {}] : [...wrong, good]) {
        if ((await lawful(h, row, request)).status < 300) admitted += 1
      }
    }
    expect(admitted).toBeGreaterThan(20)
    const shutdown = ROWS.find(({ name }) => name === 'hub.shutdown')
    if (shutdown !== undefined) await lawful(h, shutdown, { reason: 'x', exit: 'nowhere' })
    expect(await verified(h)).toMatchObject({ ok: true })
    if (shutdown !== undefined) expect((await lawful(h, shutdown, {})).status).toBe(200)
    expect(h.complaints.filter(({ level }) => level >= 50)).toEqual([])
  })

  test('T22: the same for an agent, on every path of its socket', async () => {
    await using h = await createHarness({ agents, config })
    recordEach(h.hub.guard)
    const [one] = await h.bring('one')
    await h.bring('two')
    const envelope = (more: Record<string, unknown>) => ({ id: one.newId(), ...more })
    const bytes = Buffer.from('some bytes')
    const stored = await h.pumped(one.put('a.txt', bytes))
    const octets = { 'content-type': 'application/octet-stream' }
    type Case = [records: number, ok: boolean, Parameters<TestAgent['ask']>[0]]
    const send = (more: Record<string, unknown>): Case[2] => ({
      method: 'POST',
      path: '/v1/send',
      body: envelope(more),
    })
    const put = (path: string, headers: Record<string, string> = {}): Case[2] => ({
      method: 'PUT',
      path,
      body: bytes,
      headers: { ...octets, ...headers },
    })
    const same = envelope({ kind: 'log', body: { text: 'once' } })
    const cases: Case[] = [
      [1, true, { method: 'POST', path: '/v1/join', body: { publicKey: one.publicKey }, token: null }],
      [1, false, { method: 'POST', path: '/v1/join', body: { publicKey: 'x' }, token: null }],
      [1, false, { method: 'POST', path: '/v1/join', body: '{"publicKey":1}', token: null }],
      [1, true, { method: 'POST', path: '/v1/renew', body: {}, token: null }],
      [1, false, { method: 'POST', path: '/v1/renew', body: {}, token: null, timestampMs: 1 }],
      [1, true, send({ kind: 'log', body: { text: 'x' } })],
      [1, true, send({ kind: 'progress', body: { text: 'x' } })],
      [1, true, send({ kind: 'request', to: 'agent:two', type: 'work' })],
      [1, true, send({ kind: 'event', to: 'topic:news', type: 'said' })],
      [1, true, send({ kind: 'delegate', body: { agent: 'two' } })],
      [1, true, { method: 'POST', path: '/v1/send', body: same }],
      [1, true, { method: 'POST', path: '/v1/send', body: same }],
      [1, false, send({ kind: 'request', to: 'agent:nobody', type: 'work' })],
      [1, false, send({ kind: 'request', to: 'nowhere', type: 'work' })],
      [1, false, send({ kind: 'request', to: 'agent:one', type: 'work' })],
      [1, false, send({ kind: 'reply', correlationId: UUID })],
      [1, false, send({ kind: 'delegate', body: { agent: 'one' } })],
      [1, false, send({ kind: 'delegate', body: { nobody: 1 } })],
      [1, false, send({ kind: 'result', body: {} })],
      [1, false, send({ kind: 'ask', body: {} })],
      [1, false, send({ kind: 'command' })],
      [1, false, send({ kind: 'log', from: 'two', body: { text: 'x' } })],
      [1, false, { method: 'POST', path: '/v1/send', body: envelope({ kind: 'log' }), token: null }],
      [1, false, { method: 'POST', path: '/v1/send', body: envelope({ kind: 'log' }), token: 'x.y.z' }],
      [1, false, { method: 'POST', path: '/v1/send', body: '{' }],
      [1, false, { ...send({ kind: 'log', body: { text: 'x' } }), headers: { 'content-type': 'text/plain' } }],
      [
        1,
        false,
        {
          ...send({ kind: 'log', body: { text: 'x' } }),
          headers: { 'content-type': 'application/json; charset=utf-8' },
        },
      ],
      [1, true, { method: 'POST', path: '/v1/subscribe', body: { topic: 'news' } }],
      [1, false, { method: 'POST', path: '/v1/subscribe', body: { topic: 'secret-plans' } }],
      [1, false, { method: 'POST', path: '/v1/subscribe', body: { topic: '../news' } }],
      [0, true, { method: 'GET', path: '/v1/receive?after=99&waitMs=0' }],
      [1, false, { method: 'GET', path: '/v1/receive?after=-1&waitMs=0' }],
      [1, false, { method: 'GET', path: '/v1/receive?after=0&waitMs=0&__proto__=1' }],
      [
        1,
        false,
        { method: 'GET', path: '/v1/receive?after=0&waitMs=0', body: '{}', headers: { 'x-signed-digest': EMPTY } },
      ],
      [1, true, put(`/v1/artifacts/${stored.sha256}?name=b.txt`, { 'x-signed-digest': stored.sha256 })],
      [1, false, put(`/v1/artifacts/${stored.sha256}?name=..%2Fb.txt`, { 'x-signed-digest': stored.sha256 })],
      [1, false, put(`/v1/artifacts/${SHA}?name=c.txt`, { 'x-signed-digest': SHA })],
      [1, false, put(`/v1/artifacts/${stored.sha256}`, { 'content-type': 'application/json' })],
      [1, true, { method: 'GET', path: `/v1/artifacts/${stored.sha256}` }],
      [1, true, { method: 'GET', path: `/v1/artifacts/${stored.sha256}`, headers: { range: 'bytes=1-3' } }],
      [1, false, { method: 'GET', path: `/v1/artifacts/${stored.sha256}`, headers: { range: 'bytes=9-1' } }],
      [1, false, { method: 'GET', path: `/v1/artifacts/${SHA}` }],
      [0, true, { method: 'GET', path: '/v1/artifacts' }],
      ...(['GET', 'POST', 'PUT'] as const).flatMap((method) =>
        [
          '/',
          '/v1',
          '/v1/nothing',
          '/v1/tasks',
          '/v1/shutdown',
          '/v1/send/',
          '//v1/send',
          '/v1//send',
          '/v1/./send',
          '/x/../v1/send',
          '/v1/%73end',
          '/V1/send',
        ].map(
          (path): Case => [
            1,
            false,
            { method, path, ...(method === 'GET' ? {} : { body: envelope({ kind: 'log', body: { text: 'x' } }) }) },
          ],
        ),
      ),
    ]
    for (const [count, ok, given] of cases) {
      const since = lastRecord(h)
      const { status, body } = await h.pumped(one.ask(given))
      const records = recordsOf(h, new RegExp(`/${one.session}`), since)
      const what = `${JSON.stringify(given).slice(0, 160)} ${status} ${JSON.stringify(body).slice(0, 160)} ${JSON.stringify(records)}`
      expect(status < 300, what).toBe(ok)
      expect(status, what).toBeLessThan(500)
      expect(records, what).toHaveLength(count)
      const [record] = records
      if (record?.outcome === 'ok') expect(record.decision_id, what).toMatch(/./)
      else if (record !== undefined) expect(record.reason, what).toMatch(/^[a-z_]+: ?/)
    }
    expect(await verified(h)).toMatchObject({ ok: true })
  })
})

describe('documents', () => {
  const wrap = (value: string | Buffer, head: string, tail: string) =>
    Buffer.concat([Buffer.from(head), Buffer.from(value), Buffer.from(tail)])

  test('T25, T27: what is no good JSON is refused and recorded at both entrances, never a fault; what is odd but good passes', async () => {
    await using h = await createHarness({ agents, config })
    recordEach(h.hub.guard)
    const [one] = await h.bring('one')
    await h.bring('two')
    const operator = (body: Buffer) => h.operator('POST', '/v1/tasks', body)
    const agent = (body: Buffer) => h.pumped(one.ask({ method: 'POST', path: '/v1/send', body }))
    const inTask = (value: string | Buffer) => wrap(value, '{"agent":"one","hold":true,"params":', '}')
    const inMessage = (value: string | Buffer) =>
      wrap(value, `{"id":"${one.newId()}","kind":"request","to":"agent:two","type":"work","body":`, '}')
    for (const [entrance, who, wrapped] of [
      [operator, /^operator/, inTask],
      [agent, /one/, inMessage],
    ] as const) {
      const bad = [...BAD_BODIES.map((body) => Buffer.from(body)), ...BAD_VALUES.map((value) => wrapped(value))]
      for (const body of bad) {
        const since = lastRecord(h)
        const { status } = await entrance(body)
        const what = `${entrance === operator} ${body.subarray(0, 90).toString('latin1')}`
        expect(status >= 400 && status < 500, `${what}: ${status}`).toBe(true)
        expect(
          recordsOf(h, who, since).map(({ outcome }) => outcome),
          what,
        ).toEqual(['refused'])
      }
      for (const value of ODD_VALUES) expect((await entrance(wrapped(value))).status, value).toBe(200)
    }
    expect(builtIns()).toBe(before)
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
    expect(await verified(h)).toMatchObject({ ok: true })
  })
})

describe('hostile text in every field (T28, T29, T30)', () => {
  test('it is refused or kept as what it is: ids stay ids, tables stay, the log is lines, the terminal is safe', async () => {
    await using h = await createHarness({ agents, config })
    const [one] = await h.bring('one')
    await h.bring('two')
    for (const row of ROWS.filter(({ name }) => !ENDLESS.has(name) && name !== 'hub.shutdown')) {
      for (const field of row.fields) {
        for (const text of HOSTILE) {
          const { body } = await lawful(h, row, { ...pick(row.fields), [field]: text })
          // Well-formed, if odd: a name may be dashes.
          if (!IDS.has(field) || row.name === 'artifact.put' || /^[a-z0-9-]{1,63}$/.test(text)) continue
          // By its form, before anything looks it up.
          const code = text.length > 100 ? /schema_invalid|unknown_operation/ : /schema_invalid/
          expect(String(body.code), `${row.name} ${field} ${JSON.stringify(text)}`).toMatch(code)
        }
      }
      if (row.name === 'mode.safe') expect((await h.operator('POST', '/v1/mode/resume', {})).status).toBe(200)
    }
    // However long that took by the clock: its token lives for minutes.
    await h.pumped(one.renew())
    const send = async (more: Record<string, unknown>) =>
      (await h.pumped(one.ask({ method: 'POST', path: '/v1/send', body: { id: one.newId(), ...more } }))).status
    for (const text of HOSTILE) {
      for (const field of ['id', 'kind', 'to', 'type', 'correlationId', 'traceparent', 'timeoutMs']) {
        // A type that is only a dash is well-formed too.
        if (field === 'type' && /^[a-z0-9-]{1,63}$/.test(text)) continue
        expect(
          await send({ kind: 'request', to: 'agent:two', type: 'work', [field]: text }),
          `${field} ${text}`,
        ).toBeGreaterThanOrEqual(400)
      }
      expect(await send({ kind: 'log', body: { text } })).toBe(200)
      expect(await send({ kind: 'progress', body: { text } })).toBe(200)
      expect(await send({ kind: 'delegate', body: { agent: text } })).toBeGreaterThanOrEqual(400)
      expect(await send({ kind: 'request', to: `agent:${text}`, type: 'work' })).toBeGreaterThanOrEqual(400)
    }
    expect(await send({ kind: 'ask', body: { text: HOSTILE.join('') } })).toBe(200)
    await h.submit('one', { text: HOSTILE.join('') }, { hold: true })

    const shown: unknown[] = []
    for (const path of [
      'tasks',
      'sessions',
      'agents',
      'approvals',
      'audit?limit=100',
      'mode',
      'health',
      `tasks/${one.joined?.task.task}`,
      `tasks/${one.joined?.task.task}/logs`,
    ]) {
      const { status, body } = await h.operator('GET', `/v1/${path}`)
      expect(status, path).toBe(200)
      shown.push(body)
    }
    const text = JSON.stringify(shown)
    expect(JSON.stringify(shown)).toContain('\u202e')
    for (const value of [...shown, h.events()]) {
      const printed = jsonText(value)
      for (const line of printed.split('\n')) expect(MOVES_TERMINAL.test(line), line).toBe(false)
      expect(JSON.parse(printed)).toEqual(JSON.parse(JSON.stringify(value)))
    }
    expect(MOVES_TERMINAL.test(clean(text))).toBe(false)
    const table = columns(
      ['A', 'B'],
      HOSTILE.map((hostile) => [hostile, 'x']),
      plain,
    )
    expect(table.split('\n')).toHaveLength(HOSTILE.length + 1)
    for (const line of table.split('\n')) expect(MOVES_TERMINAL.test(line), line).toBe(false)
    expect(await verified(h)).toMatchObject({ ok: true })
    const tables = h.hub.guard.store.prepare("select count(*) from sqlite_master where type = 'table'").pluck().get()
    expect(tables).toBeGreaterThan(8)
    expect(builtIns()).toBe(before)
  })

  test('a log entry is one line of JSON, whatever it says (T30)', () => {
    const lines: string[] = []
    const log = createLog('info', { write: (line) => void lines.push(line) })
    for (const text of HOSTILE) log.warn({ session: text, [text]: text, err: new Error(text) }, text)
    expect(lines).toHaveLength(HOSTILE.length)
    for (const [at, line] of lines.entries()) {
      expect(line.indexOf('\n')).toBe(line.length - 1)
      // Fault F17: DEL, C1, separators and marks of direction too.
      expect(MOVES_TERMINAL.test(line.slice(0, -1)), line).toBe(false)
      expect(JSON.parse(line)).toMatchObject({ msg: HOSTILE[at], session: HOSTILE[at] })
    }
  })
})

describe('the loopback port', () => {
  const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND', 'QUERY']

  test('T34: of every path and method exactly one answers without a credential, and it is health', async () => {
    const port = await freePort()
    await using h = await createHarness({ agents, config: { http: { port } } })
    const paths = new Set(ROWS.map(({ http }) => http.path.replace(/:[a-z0-9]+/g, UUID)))
    for (const path of [
      '/healthz',
      '/healthz/',
      '/',
      '/v1/join',
      '/v1/send',
      '/v1/lease',
      '/v1/session',
      '/metrics',
      '/console',
      '/stop',
    ])
      paths.add(path)
    const before = lastRecord(h)
    const open: string[] = []
    for (const path of paths) {
      for (const method of METHODS) {
        const head = `${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n`
        const body = method === 'POST' ? 'Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}' : '\r\n'
        const { statuses, text } = await talk({ port, host: '127.0.0.1' }, head + body)
        expect(text.toLowerCase()).not.toContain('access-control')
        if (statuses[0] === 200) open.push(`${method} ${path}`)
        else expect(statuses[0], `${method} ${path}`).toBeGreaterThanOrEqual(400)
      }
    }
    // The console's page holds nothing of this hub until its link is exchanged. The stop page without words is a form; every word of the contact's is walked in contact-walk.test.ts (T18).
    expect(open).toEqual(['GET /healthz', 'GET /console', 'HEAD /console', 'GET /stop', 'HEAD /stop'])
    expect(recordsOf(h, /^operator/, before)).toEqual([])
  })

  test('T33: another Host, any Origin, a doubled Host, an absolute target, an upgrade: refused on health and everywhere', async () => {
    const port = await freePort()
    await using _h = await createHarness({ agents, config: { http: { port } } })
    const where = { port, host: '127.0.0.1' }
    const good = `Host: 127.0.0.1:${port}\r\n`
    const get = async (headers: string, target = '/healthz') =>
      (await talk(where, `GET ${target} HTTP/1.1\r\nConnection: close\r\n${headers}\r\n`)).statuses
    expect(await get(good)).toEqual([200])
    expect(await get(`Host: localhost:${port}\r\n`)).toEqual([200])
    const hosts = [
      'evil.example',
      `evil.example:${port}`,
      '127.0.0.1',
      'localhost',
      `localhost.evil.example:${port}`,
      `127.0.0.1.nip.io:${port}`,
      `127.0.0.1:${port + 1}`,
      `[::1]:${port}`,
      `0.0.0.0:${port}`,
      `127.1:${port}`,
      `2130706433:${port}`,
      `127.0.0.1:0${port}`,
      `localhost.:${port}`,
      `user@127.0.0.1:${port}`,
      `127.0.0.1:${port}/`,
      '',
    ]
    const refused = [
      ...hosts.map((host) => `Host: ${host}\r\n`),
      `${good}${good}`,
      `${good}Host: evil.example\r\n`,
      ...['http://evil.example', 'null', `http://127.0.0.1:${port}`, `http://localhost:${port}`, ''].map(
        (origin) => `${good}Origin: ${origin}\r\n`,
      ),
      `${good}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n`,
    ]
    for (const headers of refused) {
      for (const target of ['/healthz', '/v1/tasks']) {
        const [status = 0] = await get(headers, target)
        expect([400, 401, 403, 429], `${target} ${JSON.stringify(headers)} ${status}`).toContain(status)
      }
    }
    expect(await get(good, `http://evil.example/healthz`)).toEqual([400])
    expect(await get('')).toEqual([400])
  })

  test('T36: it listens on loopback alone, and no key of the configuration says otherwise', async () => {
    const port = await freePort()
    await using _h = await createHarness({ agents, config: { http: { port } } })
    const outside = Object.values(networkInterfaces())
      .flat()
      .filter((address) => address !== undefined && !address.internal && address.family === 'IPv4')
    for (const address of outside)
      expect((await talk({ port, host: address?.address ?? '' }, 'GET /healthz HTTP/1.1\r\n\r\n')).text).toBe('')
    expect((await talk({ port, host: '127.0.0.2' }, 'GET /healthz HTTP/1.1\r\n\r\n')).text).toBe('')
    const folder = mkdtempSync(join(tmpdir(), 'bind-'))
    try {
      const path = join(folder, 'hub.yaml')
      const bad = [
        'host: 0.0.0.0',
        'bind: 0.0.0.0',
        'address: "::"',
        'listen: 0.0.0.0',
        'hosts: [evil.example]',
        'origins: ["*"]',
        'port: 0.0.0.0:7300',
        'port: 70000',
        'port: -1',
        'port: 7300.5',
        'port: "7300"',
      ]
      for (const line of bad) {
        writeFileSync(path, `http:\n  ${line}\n`)
        expect(() => readConfig(path), line).toThrow(
          expect.objectContaining({ code: 'config_invalid', message: expect.stringMatching(/http/) }),
        )
      }
      for (const text of ['http: 0.0.0.0:7300', 'host: 0.0.0.0', 'bind: 0.0.0.0', 'HTTP: {port: 1}']) {
        writeFileSync(path, `${text}\n`)
        expect(() => readConfig(path), text).toThrow(expect.objectContaining({ code: 'config_invalid' }))
      }
      writeFileSync(path, 'http:\n  port: 7301\n')
      expect(readConfig(path).http).toEqual({ port: 7301 })
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describe('guessing (T17)', () => {
  const TRIES = process.env.HUB_TEST_LONG === undefined ? 300 : 10_000
  test('wrong MACs at the door of the watchdog and wrong tokens of an agent, however many, lock nobody out', async () => {
    await using h = await createHarness({ agents, config })
    const [one] = await h.bring('one')
    const door = join(h.home, 'run', 'watchdog.sock')
    for (let at = 0; at < TRIES; at += 1) {
      const path = at % 2 === 0 ? '/v1/lease' : '/v1/shutdown'
      const mac = at.toString(16).padStart(64, '0')
      expect((await h.pumped(ask(door, 'POST', path, { version: 1 }, { 'hub-mac': mac }))).status).toBe(401)
      expect((await h.pumped(one.ask({ method: 'GET', path: '/v1/artifacts', token: `a.b.${at}` }))).status).toBe(401)
    }
    expect(await h.lease()).toBe(200)
    expect((await h.pumped(one.ask({ method: 'GET', path: '/v1/artifacts' }))).status).toBe(200)
    expect((await h.operator('POST', '/v1/shutdown', {})).status).toBe(200)
  })
})
