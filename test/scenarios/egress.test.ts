/** Egress in a whole hub: who has the second socket, what the rules decide, what is written down, and what ends it (E13, E16). */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, request, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createOutflow, sumsIn } from '../../hub/work/egress/outflow.ts'
import { createHarness, type Harness, puppet, type TestAgent } from '../support/hub-harness.ts'

const KEY = 'canary-Zq8wN3vTy0LmKc7RbXe51HdUa9'
let upstream: Server
let port = 0
const seen: string[] = []
let finish: (() => void) | undefined
const open = new Set<Socket>()
beforeAll(async () => {
  upstream = createServer((asked, response) => {
    seen.push(`${asked.method} ${asked.url} ${asked.headers.authorization ?? ''}`)
    if (asked.url === '/hang') response.writeHead(200).write('begun')
    else if (asked.url === '/slow') {
      response.writeHead(200).write('begun')
      finish = () => response.end(' and ended')
    } else response.end(`you sent ${asked.headers.authorization}`)
  })
  upstream.on('connection', (socket) => open.add(socket))
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', () => resolve()))
  port = (upstream.address() as AddressInfo).port
})
afterAll(() => {
  for (const socket of open) socket.destroy()
  upstream.close()
})

async function hubWith(more: Record<string, unknown> = {}): Promise<Harness> {
  const h = await createHarness({
    agents: {
      reader: { script: puppet, card: { may: { egress: ['api'] } }, policy: { egress: ['api'] } },
      widely: {
        script: puppet,
        card: { may: { egress: ['api', 'api:write', 'files.example.org:443'] } },
        policy: { egress: ['api:read'] },
      },
      plain: { script: puppet },
    },
    config: {
      upstreams: {
        api: {
          kind: 'http',
          url: `http://127.0.0.1:${port}`,
          local: true,
          secret: 'api-key',
          allow: ['GET /*', 'POST /notes'],
        },
        other: { kind: 'http', url: `http://127.0.0.1:${port}`, local: true, allow: ['GET /*'] },
      },
      ...more,
    },
  })
  mkdirSync(join(h.home, 'secrets'), { recursive: true, mode: 0o700 })
  writeFileSync(join(h.home, 'secrets', 'api-key'), KEY, { mode: 0o600 })
  return h
}
const socketOf = (h: Harness, { session }: TestAgent) => join(h.home, 'run', 's', session, 'egress.sock')
function ask(h: Harness, agent: TestAgent, path: string, method = 'GET'): Promise<{ status: number; text: string }> {
  return h.pumped(
    new Promise((resolve, reject) => {
      const asked = request({ socketPath: socketOf(h, agent), path, method }, (response) => {
        let text = ''
        response.on('data', (piece) => (text += piece))
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
        response.on('error', reject)
      })
      asked.on('error', reject).end(method === 'POST' ? 'a note' : undefined)
    }),
  )
}
const records = (h: Harness, action: string) => h.audit().filter((row) => row.action === action)

describe('egress', () => {
  test('an agent that is granted an upstream reaches it with the key of the hub, and never sees the key [E14]', async () => {
    await using h = await hubWith()
    const [reader, plain] = await h.bring('reader', 'plain')
    expect(existsSync(socketOf(h, reader))).toBe(true)
    expect(existsSync(socketOf(h, plain))).toBe(false)
    expect(await ask(h, reader, '/up/api/v1')).toEqual({
      status: 200,
      text: `you sent Bearer ${'*'.repeat(KEY.length)}`,
    })
    expect(seen.at(-1)).toBe(`GET /v1 Bearer ${KEY}`)
    await h.until(() => records(h, 'egress.settled').length > 0, 'the end is recorded')
    const [row] = records(h, 'egress.settled')
    expect(row).toMatchObject({ resource: `session:${reader.session}`, outcome: 'ok' })
    expect(row?.effect).toBe(`api read GET 200; 0 bytes out, ${9 + 7 + KEY.length} in; a secret masked 1 times`)
    expect(JSON.stringify(h.audit())).not.toContain(KEY)
    expect(h.hub.guard.alerts.isOpen('secret_leaving:api')).toBe(true)
  })

  test('card and row must both grant it: what one of them lacks is refused, with a record that names the decision', async () => {
    await using h = await hubWith()
    const [widely] = await h.bring('widely')
    expect((await ask(h, widely, '/up/api/x')).status).toBe(200)
    const before = seen.length
    expect((await ask(h, widely, '/up/api/notes', 'POST')).status).toBe(403)
    expect((await ask(h, widely, '/up/other/x')).status).toBe(403)
    expect((await ask(h, widely, '/up/other/x')).status).toBe(403)
    expect(seen).toHaveLength(before)
    const refusals = records(h, 'egress.requested').filter(({ outcome }) => outcome === 'refused')
    expect(refusals.map(({ resource }) => resource)).toEqual(['upstream:api', 'upstream:other'])
    for (const { reason, decision_id } of refusals) {
      expect(reason).toMatch(/^policy_denied/)
      expect(decision_id).not.toBeNull()
    }
  })

  test('what a task sent is kept with it: a restart begins nothing anew, and the limit is the one of its tree [E15]', async () => {
    await using h = await hubWith({ egress: { taskBytes: '1kB' } })
    const [reader] = await h.bring('reader')
    const task = reader.joined?.task.task ?? ''
    expect((await ask(h, reader, `/up/api/${'x'.repeat(600)}`)).status).toBe(200)
    await h.until(() => records(h, 'egress.settled').length > 0, 'the end is recorded')
    const { store } = h.hub.guard
    expect(store.prepare('select task, bytes from egress_out').all()).toEqual([{ task, bytes: expect.any(Number) }])
    const after = createOutflow({ sums: sumsIn(store), rootOf: () => task, limit: () => 1000 })
    expect(after.whyNot('another of its sessions', 300)).toBeUndefined()
    expect(after.whyNot('another of its sessions', 500)?.code).toBe('budget_exceeded')
    expect((await ask(h, reader, `/up/api/${'x'.repeat(601)}`)).text).toContain('budget_exceeded')
    expect(h.hub.guard.alerts.isOpen('egress_bytes:reader')).toBe(true)
  })

  test('an upstream that is taken out of hub.yaml ends no call under way, and refuses every new one by name', async () => {
    await using h = await hubWith()
    const [reader] = await h.bring('reader')
    const running = ask(h, reader, '/up/api/slow')
    await h.until(() => finish !== undefined, 'the call is under way')
    const file = join(h.home, 'hub.yaml')
    const { upstreams, ...rest } = JSON.parse(readFileSync(file, 'utf8'))
    writeFileSync(file, JSON.stringify({ ...rest, upstreams: { other: upstreams.other } }))
    let answer: Awaited<ReturnType<typeof ask>> | undefined
    await h.until(() => {
      ask(h, reader, '/up/api/v1').then((each) => (answer = each))
      return answer?.status === 404
    }, 'new calls are refused')
    expect(JSON.parse(answer?.text ?? '')).toMatchObject({
      code: 'unknown_upstream',
      detail: 'no upstream is named api',
    })
    const before = seen.length
    await ask(h, reader, '/up/api/v1')
    expect(seen).toHaveLength(before)
    finish?.()
    expect(await running).toEqual({ status: 200, text: 'begun and ended' })
  })

  test('where the watchdog is reached from outside is no upstream, as soon as its configuration says so [E3]', async () => {
    await using h = await hubWith()
    const [reader] = await h.bring('reader')
    const before = seen.length
    for (const reach of [`{ publicUrl: "http://127.0.0.1:${port}" }`, `{ hosts: ["127.0.0.1:${port}"] }`]) {
      writeFileSync(join(h.home, 'watchdog', 'config.yaml'), `# of the operator\nreach: ${reach}\n`)
      const { status, text } = await ask(h, reader, '/up/api/v1')
      expect({ status, text }).toMatchObject({
        status: 403,
        text: expect.stringContaining('a name of this hub itself'),
      })
    }
    expect(seen).toHaveLength(before)
  })

  test('a revoked session loses its call and its socket at once; the hub itself is never reached [E13]', async () => {
    await using h = await hubWith()
    const [reader] = await h.bring('reader')
    const call = ask(h, reader, '/up/api/hang').then(
      () => 'whole',
      () => 'cut',
    )
    await h.until(() => seen.at(-1)?.startsWith('GET /hang'), 'the call is under way')
    await h.operator('POST', `/v1/sessions/${reader.session}/revoke`, { id: reader.session })
    expect(await call).toBe('cut')
    await h.until(() => !existsSync(socketOf(h, reader)), 'the socket is gone')
    await h.until(() => records(h, 'egress.settled').length > 0, 'the end is recorded')
  })

  test('in safe mode a running session goes on, unless egress.inSafe is false [E13]', async () => {
    for (const inSafe of [true, false]) {
      await using h = await hubWith({ egress: { inSafe } })
      const [reader] = await h.bring('reader')
      expect((await ask(h, reader, '/up/api/x')).status).toBe(200)
      h.hub.guard.modes.raise('operator_request', 'the test')
      expect(h.hub.guard.modes.current()).toBe('safe')
      expect((await ask(h, reader, '/up/api/y')).status).toBe(inSafe ? 200 : 403)
    }
  })

  test('a refusal by the rules leaves a proposal with a count and the one grant that permits it; a flood of them is capped [E19]', async () => {
    await using h = await hubWith()
    const [widely] = await h.bring('widely')
    for (let n = 0; n < 3; n += 1) await ask(h, widely, `/up/other/${n}`)
    const list = async () =>
      (await h.operator('GET', '/v1/egress/proposals')).body.proposals as Record<string, unknown>[]
    expect(await list()).toMatchObject([
      { agent: 'widely', upstream: 'other', class: 'read', count: 1, grant: 'other:read' },
    ])
    h.clock.jump(10_001)
    await ask(h, widely, '/up/other/again')
    expect(await list()).toMatchObject([{ count: 4 }])
    // A thousand hosts must not hide that one.
    const line = (host: string) =>
      h.pumped(
        new Promise<void>((resolve, reject) => {
          const socket = connect(socketOf(h, widely), () =>
            socket.write(`CONNECT ${host}:443 HTTP/1.1\r\nhost: ${host}\r\n\r\n`),
          )
          socket
            .on('data', () => socket.destroy())
            .on('close', () => resolve())
            .on('error', reject)
        }),
      )
    for (let n = 0; n < 40; n += 1) await line(`h${n}.example.org`)
    const all = await list()
    expect(all).toHaveLength(32)
    expect(all).toContainEqual(expect.objectContaining({ upstream: 'other', class: 'read' }))
    expect(all).toContainEqual(expect.objectContaining({ upstream: 'h3.example.org:443', grant: 'h3.example.org:443' }))
  })

  test('a hub that was killed serves the sockets of its sessions again', async () => {
    await using h = await hubWith()
    const [reader] = await h.bring('reader')
    await h.kill()
    await h.start()
    await h.until(() => existsSync(socketOf(h, reader)), 'the socket is there again')
    expect((await ask(h, reader, '/up/api/again')).status).toBe(200)
  })
})
