/** The hub's verbs as tools of MCP, served by the shim as a process to the official client, over both ways; and hostile clients. */
import { randomUUID } from 'node:crypto'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { join, resolve } from 'node:path'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { createShimBench } from '../support/shim-process.ts'

const BRIDGE = resolve(import.meta.dirname, '../../images/agent/mcp.ts')
const OWN = ['2025-11-25', '2026-07-28'] as const

let bench: ReturnType<typeof createShimBench>
let open: Client[] = []
let sockets: Socket[] = []
beforeEach(() => {
  bench = createShimBench()
  open = []
  sockets = []
})
afterEach(async () => {
  for (const client of open) await client.close().catch(() => {})
  for (const socket of sockets) socket.destroy()
  await bench.close()
})

/** A session whose program waits until `done` is there, and writes down what it was told. */
async function session(mcp: ('stdio' | 'http')[], more: Record<string, unknown> = {}) {
  const [folder, port] = [join(bench.dir, `m${Math.random().toString(36).slice(2, 8)}`), await freePort()]
  const ran = await bench.start(
    {
      program: {
        ...{ driver: 'command', mcp },
        run: bench.shell('env > env.new; mv env.new env.txt; while [ ! -f done ]; do sleep 0.05; done; echo ended'),
      },
      ...more,
    },
    { HUB_AGENT_MCP: folder, HUB_MCP_PORT: String(port), HUB_EGRESS_PORT: String(await freePort()) },
  )
  const told = await expect
    .poll(() => readFileSync(join(ran.workspace, 'env.txt'), 'utf8'), { interval: 20 })
    .toMatch(/HUB_MCP/)
    .then(() =>
      Object.fromEntries(
        readFileSync(join(ran.workspace, 'env.txt'), 'utf8')
          .split('\n')
          .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
      ),
    )
  return {
    ...ran,
    folder,
    told: told as Record<string, string>,
    end: () => writeFileSync(join(ran.workspace, 'done'), ''),
  }
}
type Ran = Awaited<ReturnType<typeof session>>

const EGRESS = { egress: { upstreams: [], lines: [] } }
async function clientOf(
  ran: Ran,
  way: 'stdio' | 'http',
  version: (typeof OWN)[number] = '2026-07-28',
): Promise<Client> {
  const client = new Client(
    { name: 'test', version: '1' },
    version === '2026-07-28'
      ? { versionNegotiation: { mode: { pin: version } } }
      : { versionNegotiation: { mode: 'legacy' } },
  )
  open.push(client)
  await client.connect(
    way === 'stdio'
      ? new StdioClientTransport({
          command: process.execPath,
          args: [BRIDGE],
          env: { HUB_AGENT_MCP: ran.folder, PATH: process.env.PATH ?? '' },
        })
      : new StreamableHTTPClientTransport(new URL(ran.told.HUB_MCP_URL ?? ''), {
          requestInit: { headers: { authorization: `Bearer ${ran.told.HUB_MCP_TOKEN}` } },
        }),
  )
  return client
}
const call = async (client: Client, name: string, args: Record<string, unknown> = {}) => {
  const { content, isError } = (await client.callTool({ name, arguments: args })) as {
    content: { text: string }[]
    isError?: boolean
  }
  return { texts: content.map(({ text }) => text), isError: isError === true }
}
const said = async (client: Client, name: string, args: Record<string, unknown> = {}) => {
  const { texts, isError } = await call(client, name, args)
  expect(isError ? texts : []).toEqual([])
  return JSON.parse(texts.at(-1) ?? '') as Record<string, unknown>
}

describe.each([
  ['stdio', '2025-11-25'],
  ['stdio', '2026-07-28'],
  ['http', '2025-11-25'],
  ['http', '2026-07-28'],
] as const)('the official client over %s, protocol %s', (way, version) => {
  test('finds the tools, and each does what the verb of the SDK does', async () => {
    bench.hooks.judge = (_, { to }) => (to === 'agent:denied' ? { code: 'policy_denied' } : undefined)
    bench.hooks.onAccepted = (own, { kind, id, body }) => {
      const answer = {
        request: { pong: 1 },
        delegate: { task: 't', outcome: 'succeeded', artifacts: [] },
        ask: { text: 'yes' },
      }[kind as string]
      if (answer !== undefined) own.deliver({ kind: 'reply', correlationId: id, body: { ...answer, asked: body } })
    }
    const ran = await session([way], way === 'http' ? EGRESS : {})
    const client = await clientOf(ran, way, version)
    expect(client.getNegotiatedProtocolVersion()).toBe(version)
    const { tools } = await client.listTools()
    expect(tools.map(({ name }) => name)).toEqual([
      ...['message', 'request', 'inbox', 'reply', 'subscribe', 'delegate', 'progress', 'ask_operator'],
      ...['artifacts_list', 'artifact_read', 'artifact_write'],
    ])
    for (const { inputSchema } of tools)
      expect(inputSchema).toMatchObject({ type: 'object', additionalProperties: false })
    await said(client, 'message', { to: 'topic:news', type: 'x.y', body: { b: 1 } })
    await said(client, 'progress', { text: 'half', done: 1, total: 2 })
    const answer = await call(client, 'request', { to: 'agent:reader', type: 'x.y', body: { n: 7 } })
    expect(answer.texts[0]).toContain('comes from agent:reader, not from your user')
    expect(JSON.parse(answer.texts[1] ?? '')).toEqual({ pong: 1, asked: { n: 7 } })
    expect(await said(client, 'delegate', { agent: 'reader', params: { p: 1 } })).toMatchObject({
      outcome: 'succeeded',
      asked: { agent: 'reader' },
    })
    expect(await said(client, 'ask_operator', { text: 'Go on?' })).toMatchObject({ text: 'yes' })
    const stored = await said(client, 'artifact_write', { name: 'a.md', text: '# ü' })
    expect(await said(client, 'artifacts_list')).toMatchObject({ of: 1, artifacts: [{ name: 'a.md' }] })
    expect(await said(client, 'artifact_read', { name: 'a.md' })).toMatchObject({
      sha256: stored.sha256,
      text: '# ü',
      start: 0,
      end: 4,
      more: false,
    })
    // A character that is cut belongs to the next read.
    expect(await said(client, 'artifact_read', { name: 'a.md', bytes: 3 })).toMatchObject({
      text: '# ',
      end: 2,
      more: true,
    })
    const denied = await call(client, 'message', { to: 'agent:denied', type: 'x.y' })
    expect(denied).toMatchObject({ isError: true, texts: [expect.stringMatching(/^policy_denied: .*data\.json/)] })
    const wrong = await call(client, 'message', { to: 'nobody', type: 'x.y', colour: 'red' }).catch(
      (thrown: Error) => ({ isError: true, texts: [thrown.message] }),
    )
    expect(wrong).toMatchObject({ isError: true, texts: [expect.stringMatching(/agent:NAME[\s\S]*colour/)] })
    // The driver's result stays the driver's.
    ran.end()
    expect(await ran.session.result).toMatchObject({ outcome: 'succeeded', value: { exitCode: 0, stdout: 'ended\n' } })
    expect(await ran.exit).toBe(0)
    expect(ran.envelopes('event')).toMatchObject([{ to: 'topic:news', type: 'x.y', body: { b: 1 } }])
    expect(ran.envelopes('progress')[0]?.body).toEqual({ text: 'half', done: 1, total: 2 })
    expect(ran.envelopes('ask')).toHaveLength(1)
  })
})

const delivered = (session: string, messageKind: 'request' | 'event', n: number) => ({
  ...{ kind: 'message' as const, id: randomUUID(), messageKind, type: 'x.y', body: { n } },
  from: { agent: 'reader', session },
})

describe('inbox', () => {
  test('hands out each message once, marked as what others wrote; a request is answered by reply, once', async () => {
    const ran = await session(['stdio'])
    const [one, two] = [await clientOf(ran, 'stdio'), await clientOf(ran, 'stdio', '2025-11-25')]
    const { session: other } = await bench.entrance.addSession({ agent: 'reader' })
    const asked = delivered(other, 'request', 1)
    ran.session.deliver(asked)
    const [first, second] = await Promise.all([one, two].map((client) => call(client, 'inbox', { waitMs: 400 })))
    const got = [first, second].map((each) => JSON.parse(each?.texts.at(-1) ?? '') as { entries: { id: string }[] })
    expect(got.flatMap(({ entries }) => entries)).toMatchObject([
      { kind: 'message', messageKind: 'request', id: asked.id, body: { n: 1 } },
    ])
    expect(
      [first, second].flatMap((each) => each?.texts ?? []).filter((text) => /never an instruction/.test(text)),
    ).toHaveLength(1)
    await said(two, 'reply', { id: asked.id, body: { is: 'done' } })
    expect(ran.envelopes('reply')).toMatchObject([{ correlationId: asked.id, body: { is: 'done' } }])
    expect(await call(one, 'reply', { id: asked.id })).toMatchObject({
      isError: true,
      texts: [expect.stringMatching(/^already_resolved: /)],
    })
    for (let n = 0; n < 30; n += 1) ran.session.deliver(delivered(other, 'event', n))
    const all: unknown[] = []
    await expect
      .poll(async () => {
        const { entries } = (await said(one, 'inbox', { max: 7, waitMs: 50 })) as {
          entries: { body: { n: number } }[]
        }
        expect(entries.length).toBeLessThanOrEqual(7)
        return all.push(...entries.map(({ body }) => body.n))
      })
      .toBe(30)
    expect(all).toEqual(Array.from({ length: 30 }, (_, n) => n))
  })

  test('gets what came later than its call, also where the caller left, and what a person decided about an act', async () => {
    let asked = ''
    const approval = randomUUID()
    bench.hooks.judge = (_, { to }) => (to === 'agent:shop' ? { code: 'needs_approval', approval } : undefined)
    bench.hooks.onAccepted = (_, { kind, id }) => {
      if (kind === 'request') asked = id
    }
    const ran = await session(['stdio'])
    const client = await clientOf(ran, 'stdio')
    expect(await said(client, 'request', { to: 'agent:reader', type: 'x.y', waitMs: 50 })).toMatchObject({
      call: 'call-1',
      state: 'no answer yet',
    })
    ran.session.deliver({ kind: 'reply', correlationId: asked, body: { late: true } })
    expect(await said(client, 'inbox', { waitMs: 5000 })).toMatchObject({
      entries: [{ kind: 'answer', call: 'call-1', value: { late: true } }],
    })
    const leaving = new AbortController()
    const left = client.callTool(
      { name: 'request', arguments: { to: 'agent:reader', type: 'x.z' } },
      { signal: leaving.signal },
    )
    const first = asked
    await expect.poll(() => asked).not.toBe(first)
    leaving.abort()
    await expect(left).rejects.toThrow()
    // The cancellation is on its way before this.
    await client.listTools()
    ran.session.deliver({ kind: 'reply', correlationId: asked, body: { left: true } })
    expect(await said(client, 'inbox', { waitMs: 5000 })).toMatchObject({
      entries: [{ kind: 'answer', call: 'call-2', value: { left: true } }],
    })
    const refused = await call(client, 'message', { to: 'agent:shop', type: 'order' })
    expect(refused).toMatchObject({
      isError: true,
      texts: [expect.stringMatching(new RegExp(`^needs_approval: .*${approval}.*inbox`))],
    })
    const answer = { approval, answer: 'approved', text: 'fine' }
    ran.session.deliver({ kind: 'message', messageKind: 'event', type: 'approval.answered', body: answer })
    expect(await said(client, 'inbox', { waitMs: 5000 })).toMatchObject({
      entries: [{ kind: 'approval', answer: 'approved' }],
    })
  })
})

/** A client that speaks as it likes. */
async function rawClient(ran: Ran) {
  const socket = connect(join(ran.folder, 'hub.sock'))
  sockets.push(socket)
  socket.on('error', () => {})
  let text = ''
  const answers = () =>
    text
      .split('\n')
      .slice(0, -1)
      .map(
        (line) =>
          JSON.parse(line) as {
            id: unknown
            error?: { code: number; message: string }
            result?: { isError?: boolean; content?: { text: string }[] }
          },
      )
  const hear = () => void socket.on('data', (chunk) => (text += chunk))
  const say = (message: unknown) => socket.write(`${typeof message === 'string' ? message : JSON.stringify(message)}\n`)
  const ask = (id: number, method: string, params: object = {}) => say({ jsonrpc: '2.0', id, method, params })
  const start = () => {
    ask(0, 'initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1' } })
    say({ jsonrpc: '2.0', method: 'notifications/initialized' })
  }
  const answered = (count: number) => expect.poll(() => answers().length).toBeGreaterThanOrEqual(count)
  return { socket, hear, say, ask, start, answers, answered }
}
const residentMiB = (pid = 0) =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
const tool = (name: string, args: object) => ({ name, arguments: args })

describe('T103: a hostile client', () => {
  test('lines of 10 MB, batches, what is no JSON, unknown methods and versions are refused by name, and the next line counts', async () => {
    const ran = await session(['stdio'])
    const raw = await rawClient(ran)
    raw.hear()
    raw.start()
    raw.say('x'.repeat(10_000_000))
    raw.say([{ jsonrpc: '2.0', id: 1, method: 'ping' }])
    raw.say('{"jsonrpc":"2.0","id":2,"id":3,"method":"ping"}')
    raw.say(`${'['.repeat(100_000)}`)
    raw.say({ hello: 'there' })
    raw.say('\ufeff{}')
    raw.ask(4, 'no/such')
    raw.ask(5, 'tools/call', tool('no_such', {}))
    raw.ask(6, 'ping')
    await raw.answered(10)
    const errors = raw
      .answers()
      .filter(({ id }) => id === null)
      .map(({ error }) => error?.message)
    expect(errors).toEqual([
      'a line of 10000000 bytes; 1048576 at most',
      'a batch; send one message a line',
      expect.stringMatching(/twice|duplicate/i),
      expect.stringMatching(/deep|depth|nested/i),
      'not a message of JSON-RPC 2.0',
      expect.stringMatching(/byte order mark/),
    ])
    const of = (id: number) => raw.answers().find((each) => each.id === id)
    expect(of(0)).toMatchObject({ result: { protocolVersion: '2025-11-25' } })
    expect(of(4)?.error?.code).toBe(-32_601)
    expect(JSON.stringify(of(5))).toMatch(/no_such/)
    expect(of(6)).toMatchObject({ result: {} })
    // A version that the official SDK does not speak is answered with one that it does.
    const odd = await rawClient(ran)
    odd.hear()
    odd.ask(0, 'initialize', {
      protocolVersion: '1999-01-01',
      capabilities: {},
      clientInfo: { name: 'raw', version: '1' },
    })
    await odd.answered(1)
    expect(odd.answers()[0]).toMatchObject({ result: { protocolVersion: '2025-11-25' } })
    ran.end()
    expect(await ran.session.result).toMatchObject({ outcome: 'succeeded' })
  })

  test('thousands of calls at once: 32 are carried out, each of the others is refused by name, and the memory of the shim stays', async () => {
    const ran = await session(['stdio'])
    const raw = await rawClient(ran)
    raw.hear()
    raw.start()
    await raw.answered(1)
    const before = residentMiB(ran.child.pid)
    for (let id = 1; id <= 3000; id += 1) raw.ask(id, 'tools/call', tool('inbox', { waitMs: 1_800_000 }))
    await raw.answered(1 + 3000 - 32)
    const refused = raw.answers().filter(({ result }) => result?.isError === true)
    expect(refused).toHaveLength(3000 - 32)
    expect(refused[0]?.result?.content?.[0]?.text).toMatch(/^rate_limited: 32 calls of tools are under way/)
    // Those that are cancelled make room, and so again.
    const cancel = (from: number) => {
      for (let id = from; id < from + 40; id += 1)
        raw.say({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: id } })
    }
    cancel(1)
    for (const from of [4000, 5000]) {
      for (let id = from; id < from + 40; id += 1) raw.ask(id, 'tools/call', tool('inbox', { waitMs: 1_800_000 }))
      cancel(from)
    }
    raw.ask(9001, 'tools/call', tool('progress', { text: 'still here' }))
    await expect
      .poll(() => raw.answers().find(({ id }) => id === 9001))
      .toMatchObject({ result: { content: [{ text: expect.stringContaining('true') }] } })
    expect(residentMiB(ran.child.pid) - before).toBeLessThan(60)
    ran.end()
    expect(await ran.session.result).toMatchObject({ outcome: 'succeeded' })
  })

  test('one that never reads is not read either, and others are served; one client too many is turned away', async () => {
    const ran = await session(['stdio'])
    const deaf = await rawClient(ran)
    deaf.start()
    const before = residentMiB(ran.child.pid)
    // Some 12 KiB each: 120 MiB, if all were answered.
    for (let id = 1; id <= 10_000; id += 1) deaf.ask(id, 'tools/list')
    const client = await clientOf(ran, 'stdio')
    for (let n = 0; n < 20; n += 1) await said(client, 'progress', { done: n })
    expect(residentMiB(ran.child.pid) - before).toBeLessThan(60)
    const more = await Promise.all(Array.from({ length: 8 }, () => rawClient(ran)))
    await expect.poll(() => more.filter(({ socket }) => socket.closed).length).toBe(2)
    ran.end()
    expect(await ran.session.result).toMatchObject({ outcome: 'succeeded' })
  })

  test('only the user of the session may enter, and after the end nobody is there', async () => {
    const ran = await session(['stdio'])
    expect(statSync(ran.folder).mode & 0o777).toBe(0o700)
    const client = await clientOf(ran, 'stdio')
    const long = client.callTool({ name: 'inbox', arguments: { waitMs: 1_800_000 } })
    const ended = long.catch((thrown: Error) => thrown.message)
    ran.end()
    expect(await ran.session.result).toMatchObject({ outcome: 'succeeded' })
    expect(await ran.exit).toBe(0)
    expect(await ended).toMatch(/closed/i)
    await expect(clientOf(ran, 'stdio', '2025-11-25')).rejects.toThrow()
  })

  test('over HTTP nobody is heard without the token of the session, under another name, from a page, at another path, with too much', async () => {
    const ran = await session(['http'], EGRESS)
    const url = new URL(ran.told.HUB_MCP_URL ?? '')
    const good = {
      authorization: `Bearer ${ran.told.HUB_MCP_TOKEN}`,
      ...{ 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
    }
    const ping = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' })
    const ask = (headers: Record<string, string>, { path = url.pathname, body = ping } = {}) =>
      new Promise<[number | undefined, string]>((resolve) => {
        const asked = request(
          { host: '127.0.0.1', port: url.port, method: 'POST', path, headers: { ...good, ...headers } },
          async (answer) => {
            let text = ''
            for await (const part of answer) text += part
            resolve([answer.statusCode, text])
          },
        )
        asked.on('error', () => resolve([undefined, '']))
        asked.end(body)
      })
    expect(await ask({})).toEqual([200, expect.stringContaining('"result":{}')])
    expect(await ask({ authorization: '' })).toEqual([401, expect.stringContaining('HUB_MCP_TOKEN')])
    expect((await ask({ authorization: `Bearer ${'A'.repeat(43)}` }))[0]).toBe(401)
    expect((await ask({ host: 'evil.example.org' }))[0]).toBe(421)
    expect((await ask({ origin: 'http://127.0.0.1' }))[0]).toBe(403)
    expect((await ask({}, { path: '/' }))[0]).toBe(404)
    expect(await ask({}, { body: ' '.repeat(1024 ** 2 + 1) })).toEqual([413, 'a body over 1048576 bytes\n'])
    expect((await ask({}, { body: '{' }))[0]).toBe(400)
    expect((await ask({}, { body: `[${ping}]` }))[0]).toBeGreaterThanOrEqual(200)
    const before = residentMiB(ran.child.pid)
    const many = await Promise.all(
      Array.from({ length: 200 }, () =>
        ask({}, { body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }) }),
      ),
    )
    expect(new Set(many.map(([status]) => status))).toEqual(new Set([200, undefined]))
    expect(residentMiB(ran.child.pid) - before).toBeLessThan(80)
    expect((await ask({}))[0]).toBe(200)
    ran.end()
    expect(await ran.session.result).toMatchObject({ outcome: 'succeeded' })
  })
})

test('http without egress in this session is refused by name, and nothing of it starts', async () => {
  const ran = await bench.start(
    { program: { driver: 'command', run: ['true'], mcp: ['http'] } },
    { HUB_AGENT_MCP: join(bench.dir, 'm') },
  )
  expect(await ran.session.result).toMatchObject({
    outcome: 'failed',
    error: expect.stringMatching(/mcp over http needs egress, and this session has none/),
  })
})

test('where the card asks for nothing there is no server, and the program is told of none', async () => {
  const folder = join(bench.dir, 'm')
  const ran = await bench.start({ program: { driver: 'command', run: ['env'] } }, { HUB_AGENT_MCP: folder })
  const { value } = await ran.session.result
  expect((value as { stdout: string }).stdout).not.toMatch(/MCP/)
  expect(() => statSync(folder)).toThrow('ENOENT')
})
