/** Apps and tokens at the loopback listener of a whole hub: each may do what it was given, and nothing more (S1-72, T16, T17, T33). */
import { existsSync, mkdirSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ROUTES } from '../../hub/protocol/routes.ts'
import { PRESENCE } from '../support/fake-watchdog.ts'
import { freePort } from '../support/free-port.ts'
import { createHarness, type Harness, puppet, worker } from '../support/hub-harness.ts'
import { send } from '../support/plain-http.ts'
import { talk } from '../support/raw-wire.ts'

const agents = { echo: { script: worker(() => 'done') }, patient: { script: puppet } }

/** A hub with its loopback listener, and a watchdog that notes the heartbeats it is given. */
async function opened() {
  const port = await freePort()
  const h = await createHarness({ agents, config: { http: { port } } })
  const heard: Record<string, unknown>[] = []
  const watchdog = createServer(async (request, response) => {
    let text = ''
    for await (const part of request) text += part
    if (request.url === '/v1/heartbeat') heard.push(JSON.parse(text) as Record<string, unknown>)
    response.setHeader('content-type', 'application/json').end(JSON.stringify(PRESENCE))
  })
  mkdirSync(join(h.home, 'watchdog', 'run'), { recursive: true })
  await new Promise<void>((resolve) => watchdog.listen(join(h.home, 'watchdog', 'run', 'watchdog.sock'), resolve))
  return {
    h,
    port,
    heard,
    async [Symbol.asyncDispose]() {
      watchdog.close()
      watchdog.closeAllConnections()
      await h[Symbol.asyncDispose]()
    },
  }
}

interface Said {
  status: number
  body: Record<string, unknown>
}
function caller(h: Harness, port: number, secret: string | undefined) {
  return async (method: string, path: string, body?: object, headers: Record<string, string> = {}): Promise<Said> => {
    const said = await h.pumped(
      send(port, {
        method,
        path,
        headers: {
          ...(secret === undefined ? {} : { authorization: `Bearer ${secret}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
    )
    return { status: said.status, body: JSON.parse(said.text) as Record<string, unknown> }
  }
}
const enrolled = async (h: Harness, path: string, wish: object): Promise<string> => {
  const { status, body } = await h.operator('POST', path, wish)
  expect(status, JSON.stringify(body)).toBe(200)
  return String(body.secret)
}

describe('an app', () => {
  test('does what its rights say: view reads, heartbeat with resume is strong, without it weak [cond-26, presence-10, presence-17]', async () => {
    await using all = await opened()
    const { h, port, heard } = all
    const strong = caller(
      h,
      port,
      await enrolled(h, '/v1/devices', { name: 'laptop', kind: 'app', rights: ['heartbeat', 'resume'] }),
    )
    const weak = caller(
      h,
      port,
      await enrolled(h, '/v1/devices', { name: 'phone', kind: 'app', rights: ['heartbeat', 'view'] }),
    )
    expect((await strong('POST', '/v1/heartbeat', {})).status).toBe(200)
    expect((await weak('POST', '/v1/heartbeat', { note: 'hi' })).status).toBe(200)
    expect(heard.map(({ source }) => source)).toEqual(['device', 'webhook'])
    expect((await weak('GET', '/v1/tasks')).status).toBe(200)
    expect((await strong('GET', '/v1/tasks')).body).toMatchObject({ code: 'policy_denied' })
    expect((await weak('POST', '/v1/mode/resume', {})).body).toMatchObject({ code: 'policy_denied' })
    expect(
      h.audit().filter(({ action, outcome }) => action === 'operator.heartbeat_given' && outcome === 'ok'),
    ).toHaveLength(2)
  })

  test('an app that may only give heartbeats is not told what agents ask; the operator is (fault C1)', async () => {
    await using all = await opened()
    const { h, port } = all
    const [patient] = await h.bring('patient')
    await h.pumped(patient.say({ kind: 'ask', body: { text: 'Shall I?' } }))
    const wish = { name: 'phone', kind: 'app', rights: ['heartbeat'] }
    const weak = caller(h, port, await enrolled(h, '/v1/devices', wish))
    expect((await weak('POST', '/v1/heartbeat', {})).body.questions).toEqual([])
    const { body } = await h.operator('POST', '/v1/heartbeat', {})
    expect(body.questions).toEqual([{ id: expect.any(String), agent: 'patient', question: 'Shall I?' }])
  })

  test('that may stop, stops; and every refusal names it in the audit log', async () => {
    await using all = await opened()
    const { h, port } = all
    const app = caller(h, port, await enrolled(h, '/v1/devices', { name: 'phone', kind: 'app', rights: ['stop'] }))
    expect((await app('POST', '/v1/tasks', { agent: 'echo' })).status).toBe(403)
    expect((await app('POST', '/v1/mode/safe', {})).status).toBe(200)
    expect(h.hub.guard.modes.has('operator_request')).toBe(true)
    const mine = h.audit().filter(({ principal }) => principal === 'device:phone')
    expect(mine.map(({ action, outcome }) => `${action} ${outcome}`)).toEqual([
      'task.submitted refused',
      'mode.made_safe ok',
    ])
  })
})

test('I6: the first stop of an app that may stop counts while the store cannot be written [audit-13]', async () => {
  await using all = await opened()
  const { h, port } = all
  const app = caller(h, port, await enrolled(h, '/v1/devices', { name: 'phone', kind: 'app', rights: ['stop'] }))
  h.hub.guard.store.heard(Object.assign(new Error('disk I/O error'), { code: 'SQLITE_IOERR_FSYNC' }))
  expect((await app('POST', '/v1/mode/safe', {})).status).toBe(200)
  expect(h.hub.guard.modes.has('operator_request')).toBe(true)
})

describe('a token', () => {
  test('does what it lists and nothing else, over every operation there is (S1-72) [presence-20]', async () => {
    await using all = await opened()
    const { h, port } = all
    const id = await h.submit('echo')
    await h.ended(id)
    const ci = caller(
      h,
      port,
      await enrolled(h, '/v1/tokens', { name: 'ci', actions: ['task.submit', 'task.show'], expiresInMs: 3_600_000 }),
    )
    const served = Object.entries(ROUTES).map(([name, route]) => ({ name, ...route }))
    const open: string[] = []
    for (const { name, method, path } of served) {
      const at = path.replace(':sha256', 'a'.repeat(64)).replace(':id', id).replace(/:\w+/, 'echo')
      const { status, body } = await ci(
        method,
        at,
        method === 'GET' ? undefined : name === 'task.submit' ? { agent: 'echo' } : {},
      )
      if (status < 400) open.push(name)
      else
        expect([status, body.code], name).toEqual([
          expect.any(Number),
          expect.stringMatching(/^(policy_denied|forbidden|schema_invalid)$/),
        ])
    }
    expect(open.sort()).toEqual(['task.show', 'task.submit'])
  })

  test('for backups gets none with secrets in it, and the refusal is recorded (S1-53)', async () => {
    await using all = await opened()
    const { h, port } = all
    const wish = { name: 'ci', actions: ['backup.run'], expiresInMs: 3_600_000 }
    const ci = caller(h, port, await enrolled(h, '/v1/tokens', wish))
    const { status, body } = await ci('POST', '/v1/backup', { withSecrets: true })
    expect([status, body.code, existsSync(join(h.home, 'backups'))]).toEqual([403, 'policy_denied', false])
    expect(h.audit().at(-1)).toMatchObject({ action: 'backup.made', outcome: 'refused', principal: 'automation:ci' })
    expect((await ci('POST', '/v1/backup', {})).status).toBe(200)
  })

  test('that may only read is refused an upload before a byte of it is taken, and a download before the file is looked at (T32)', async () => {
    await using all = await opened()
    const { h, port } = all
    const wish = { name: 'ci', actions: ['task.show'], expiresInMs: 3_600_000 }
    const secret = await enrolled(h, '/v1/tokens', wish)
    const path = `/v1/artifacts/${'a'.repeat(64)}`
    const head = `${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${secret}\r\n`
    const upload = `PUT ${head}Content-Type: application/octet-stream\r\nContent-Length: 1000000\r\n\r\n`
    const refused = () =>
      h.audit().filter(({ principal, outcome }) => principal === 'automation:ci' && outcome === 'refused')
    const put = await h.pumped(talk({ port, host: '127.0.0.1' }, upload))
    expect(put.statuses).toEqual([403])
    expect(put.text).toContain('"code":"policy_denied"')
    // The range is one that is refused by itself, once the file is looked at.
    const got = await h.pumped(talk({ port, host: '127.0.0.1' }, `GET ${head}Range: bytes=9-1\r\n\r\n`))
    expect(got.statuses).toEqual([403])
    expect(refused().map(({ action }) => action)).toEqual(['artifact.stored', 'artifact.fetched'])
  })

  test('can be given nothing of presence, approval, rights or the contact [presence-20]', async () => {
    await using all = await opened()
    const { h } = all
    for (const action of [
      'operator.heartbeat',
      'operator.away',
      'operator.back',
      'mode.resume',
      'approval.answer',
      'device.add',
      'device.revoke',
      'token.create',
      'contact.card',
      'contact.test',
      'contact.confirm',
      'contact.revoke',
      'hub.shutdown',
      'no.such',
    ]) {
      const { body } = await h.operator('POST', '/v1/tokens', { name: 'x', actions: [action], expiresInMs: 60_000 })
      expect(body, action).toMatchObject({
        code: 'schema_invalid',
        detail: `actions: ${action} cannot be given to a token`,
      })
    }
  })
})

describe('a bearer that is not in force', () => {
  test('wrong, missing, revoked, expired, or of a webhook: the same answer, with no clue which (T16)', async () => {
    await using all = await opened()
    const { h, port } = all
    const gone = await enrolled(h, '/v1/devices', { name: 'old', kind: 'app', rights: ['view'] })
    const short = await enrolled(h, '/v1/tokens', { name: 'short', actions: ['task.list'], expiresInMs: 60_000 })
    const hook = String((await h.operator('POST', '/v1/devices', { name: 'hook', kind: 'webhook' })).body.path).slice(6)
    expect((await caller(h, port, gone)('GET', '/v1/tasks')).status).toBe(200)
    await h.operator('POST', '/v1/devices/old/revoke', {})
    await h.clock.advance(61_000)
    const answers: unknown[] = []
    for (const secret of [undefined, 'a'.repeat(43), gone, short, hook, 'short']) {
      await h.clock.advance(120_000)
      const { status, body } = await caller(h, port, secret)('GET', '/v1/tasks')
      answers.push(JSON.stringify([status, { ...body, instance: '' }]))
    }
    expect(new Set(answers).size).toBe(1)
    expect(answers[0]).toContain('[401,')
  })

  test('T17: hundreds of wrong ones do not make the right one wait, and leave few records', async () => {
    await using all = await opened()
    const { h, port } = all
    const right = caller(h, port, await enrolled(h, '/v1/devices', { name: 'phone', kind: 'app', rights: ['view'] }))
    const before = h.audit().length
    const wrong = caller(h, port, 'b'.repeat(43))
    for (let n = 0; n < 200; n += 1) expect([401, 429]).toContain((await wrong('GET', '/v1/tasks')).status)
    expect((await right('GET', '/v1/tasks')).status).toBe(200)
    expect(h.audit().length - before).toBeLessThan(20)
  })

  test('T22: a body, a digest or a range that is refused before the gate is recorded by the name of who sent it', async () => {
    await using all = await opened()
    const { h, port } = all
    const ci = caller(
      h,
      port,
      await enrolled(h, '/v1/tokens', { name: 'ci', actions: ['task.submit', 'artifact.get'], expiresInMs: 3_600_000 }),
    )
    const refused = () =>
      h.audit().filter(({ principal, outcome }) => principal === 'automation:ci' && outcome === 'refused').length
    expect((await ci('POST', '/v1/tasks', {}, { 'content-type': 'text/plain' })).status).toBe(400)
    expect(refused()).toBe(1)
    expect((await ci('GET', '/v1/artifacts/not-a-digest')).status).toBe(400)
    expect(refused()).toBe(2)
    expect((await ci('POST', '/v1/tasks', { agent: 'nobody' })).status).toBe(403)
    expect(refused()).toBe(3)
  })

  test('T33: never by a cookie or a query, never for another Host or Origin', async () => {
    await using all = await opened()
    const { h, port } = all
    const secret = await enrolled(h, '/v1/devices', { name: 'phone', kind: 'app', rights: ['view'] })
    const nobody = caller(h, port, undefined)
    const app = caller(h, port, secret)
    expect((await nobody('GET', `/v1/tasks?access_token=${secret}`)).status).not.toBe(200)
    expect(JSON.stringify(h.audit()), 'what an address holds is in no record').not.toContain(secret)
    await h.clock.advance(120_000)
    expect((await nobody('GET', '/v1/tasks', undefined, { cookie: `token=${secret}` })).status).not.toBe(200)
    expect((await app('GET', '/v1/tasks', undefined, { host: 'evil.example' })).status).toBe(403)
    expect((await app('GET', '/v1/tasks', undefined, { origin: 'https://evil.example' })).status).toBe(403)
    expect((await app('GET', '/v1/tasks')).status).toBe(200)
  })
})
