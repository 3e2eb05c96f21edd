/** A request outward that a rule asks about, in a whole hub: the yes is for exactly that request, once (docs/safety.md 11). */
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { HubError } from '../../hub/base/errors.ts'
import { factLines, waitingText } from '../../hub/guard/operator/approval-words.ts'
import { askWhere } from '../support/asking-rules.ts'
import { hub } from '../support/command-here.ts'
import { createHarness, type Harness, puppet, type TestAgent } from '../support/hub-harness.ts'

let upstream: Server
let port = 0
const came: string[] = []
beforeAll(async () => {
  upstream = createServer((asked, response) => {
    let text = ''
    asked.on('data', (piece) => (text += piece))
    asked.on('end', () => {
      came.push(`${asked.method} ${asked.url} ${text}`)
      const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 }
      if (asked.url?.endsWith('/count_tokens')) {
        response.writeHead(200, { 'content-type': 'application/json' }).end('{"input_tokens":15000}')
        return
      }
      const answer = {
        id: 'c',
        model: 'm',
        choices: [{ index: 0, message: { role: 'assistant', content: 'x' } }],
        usage,
      }
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
    })
  })
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', () => resolve()))
  port = (upstream.address() as AddressInfo).port
})
afterAll(() => void upstream.close())

const GRANTS = ['api', 'api:write', 'model', 'messages']
async function hubWith(): Promise<{ h: Harness; reader: TestAgent }> {
  const url = `http://127.0.0.1:${port}`
  const h = await createHarness({
    agents: { reader: { script: puppet, card: { may: { egress: GRANTS } }, policy: { egress: GRANTS } } },
    config: {
      upstreams: {
        api: { kind: 'http', url, local: true, allow: ['GET /*', 'POST /notes*'] },
        messages: { kind: 'anthropic', url, local: true, price: 'free', secret: 'model-key' },
        model: { kind: 'openai', url, local: true, price: 'free', secret: 'model-key' },
      },
    },
  })
  mkdirSync(join(h.home, 'secrets'), { recursive: true, mode: 0o700 })
  writeFileSync(join(h.home, 'secrets', 'model-key'), 'canary-Zq8wN3vTy0LmKc7RbXe51HdUa9', { mode: 0o600 })
  came.length = 0
  askWhere(h.hub.guard, ({ operation }) => (operation === 'egress.request' ? 'may it reach out?' : undefined))
  const [reader] = await h.bring('reader')
  return { h, reader }
}
type Sent = { status: number; text: string; headers: Record<string, unknown> }
function send(
  h: Harness,
  { session }: TestAgent,
  path: string,
  body?: string,
  type = 'application/json',
): Promise<Sent> {
  const socketPath = join(h.home, 'run', 's', session, 'egress.sock')
  const headers = body === undefined ? {} : { 'content-type': type }
  return h.pumped(
    new Promise((resolve, reject) => {
      const asked = request({ socketPath, path, method: body === undefined ? 'GET' : 'POST', headers }, (response) => {
        let text = ''
        response.on('data', (piece) => (text += piece))
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text, headers: response.headers }))
        response.on('error', reject)
      })
      asked.on('error', reject).end(body)
    }),
  )
}
const ID = /\(approval ([0-9a-f-]{36})\)/
const idOf = ({ text }: Sent): string => ID.exec(text)?.[1] ?? `none in ${text}`
const answer = (h: Harness, id: string, approve = true) =>
  h.operator('POST', `/v1/approvals/${id}/answer`, { approve, text: '' })
const chat = (content: string, more = {}) =>
  JSON.stringify({ model: 'm', max_tokens: 9, messages: [{ role: 'user', content }], ...more })
const CHAT = '/up/model/v1/chat/completions'

test('a yes to a request admits that one alone: another path, query, method or body is asked about anew [ask-2]', async () => {
  const { h, reader } = await hubWith()
  await using _ = h
  const one = await send(h, reader, '/up/api/notes?to=a', 'the first note')
  expect(one.status).toBe(403)
  expect(one.headers['x-should-retry']).toBe('false')
  expect(one.text).toMatch(/needs_approval: .*once exactly this was approved, send the same request again/)
  const id = idOf(one)
  // It is asked once, and at once heard of: no refusal is remembered over a yes.
  expect(idOf(await send(h, reader, '/up/api/notes?to=a', 'the first note'))).toBe(id)
  expect((await answer(h, id)).status).toBe(200)
  const others = [
    await send(h, reader, '/up/api/notes?to=a', 'another note'),
    await send(h, reader, '/up/api/notes?to=b', 'the first note'),
    await send(h, reader, '/up/api/notes/deleted?to=a', 'the first note'),
    await send(h, reader, '/up/api/notes?to=a', 'the first note', 'text/plain'),
    await send(h, reader, '/up/api/notes?to=a'),
  ]
  expect(new Set([id, ...others.map(idOf)]).size).toBe(6)
  expect(came).toEqual([])
  expect((await send(h, reader, '/up/api/./notes?to=a', 'the first note')).status).toBe(200)
  expect(came).toEqual(['POST /notes?to=a the first note'])
  expect(idOf(await send(h, reader, '/up/api/notes?to=a', 'the first note'))).not.toBe(id)

  // A person sees what it is, and nothing of body and query.
  const shown = await hub(h, 'approval', 'show', id)
  const found = h.hub.guard.approvals.find(id)
  if (found === undefined) throw new Error('it is kept')
  for (const text of [shown.out, waitingText(found, 1), factLines(found.bound).join('\n')]) {
    expect(text).toMatch(/method\W+POST/)
    expect(text).toMatch(/path\W+\/notes\b/)
    expect(text).toMatch(/body\W+14 bytes, sha256 [0-9a-f]{16}/)
    expect(text).toMatch(/query\W+there is one, sha256 [0-9a-f]{16}/)
    expect(text).not.toMatch(/first note|to=a/)
  }
})

test('a yes to a call of a model is for its body and its model, and is given back while money is busy [ask-2, ask-4]', async () => {
  const { h, reader } = await hubWith()
  await using _ = h
  const first = await send(h, reader, CHAT, chat('hello'))
  expect([first.status, JSON.parse(first.text).error.code]).toEqual([400, 'needs_approval'])
  const id = idOf(first)
  expect(factLines(h.hub.guard.approvals.find(id)?.bound ?? null)).toContain('model: m')
  await answer(h, id)
  // The same beginning, another temperature: another act.
  expect(idOf(await send(h, reader, CHAT, chat('hello', { temperature: 1 })))).not.toBe(id)
  expect(idOf(await send(h, reader, CHAT, chat('hello', { model: 'n' })))).not.toBe(id)
  const { money } = h.hub.work
  const { reserve } = money
  money.reserve = () => {
    throw new HubError('budget_busy', 'others have reserved it')
  }
  expect((await send(h, reader, CHAT, chat('hello'))).text).toContain('budget_busy')
  expect(h.hub.guard.approvals.find(id)?.state).toBe('approved')
  money.reserve = reserve
  expect((await send(h, reader, CHAT, chat('hello'))).status).toBe(200)
  expect(h.hub.guard.approvals.find(id)?.state).toBe('used')
  expect(came).toHaveLength(1)
})

test('a no to a request is heard by that request alone', async () => {
  const { h, reader } = await hubWith()
  await using _ = h
  await answer(h, idOf(await send(h, reader, '/up/api/notes', 'one')), false)
  expect((await send(h, reader, '/up/api/notes', 'one')).text).toContain('approval_refused')
  expect((await send(h, reader, '/up/api/notes', 'two')).text).toContain('needs_approval')
})

test('a provider counts what is too long by its bytes once a person has agreed to it, and not before', async () => {
  const { h, reader } = await hubWith()
  await using _ = h
  const ask = () => send(h, reader, '/up/messages/v1/messages', chat('x'.repeat(60_000)))
  const id = idOf(await ask())
  expect(came).toEqual([])
  expect((await answer(h, id)).status).toBe(200)
  expect((await ask()).status).toBe(200)
  expect(came.map((each) => each.slice(0, 32).split(' ')[1])).toEqual(['/v1/messages/count_tokens', '/v1/messages'])
})
