/**
 * One refusal is one request: the official clients, with the retries that they ship with, take the hub's no as final (docs/egress.md 1). What comes to the
 * gateway is counted there, also what it answers from memory; nothing comes to the upstream.
 */
import { request } from 'node:http'
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HubError } from '../../../../hub/base/errors.ts'
import { placeholderOf } from '../../../../hub/protocol/egress/placeholders.ts'
import { createEgressScene, type EgressScene, SESSION } from '../../../support/egress-scene.ts'

const MESSAGE = { role: 'user' as const, content: 'Hello' }
let scene: EgressScene
let came = 0

beforeEach(async () => {
  came = 0
  const upstream = (kind: string) => (port: number) => ({
    ...{ kind, url: `http://127.0.0.1:${port}`, local: true, price: 'free', secret: 'model-key' },
  })
  const upstreams = (port: number) =>
    Object.fromEntries(['anthropic', 'openai', 'google'].map((kind) => [kind, upstream(kind)(port)]))
  scene = await createEgressScene({ upstreams })
  scene.serve((_request, response) => {
    came += 1
    response.end('{}')
  })
})
afterEach(() => scene.close())

/** `fetch` to the session's own socket, as the shim carries it. */
const through = (input: string | URL | Request, init: RequestInit = {}): Promise<Response> =>
  new Promise((resolve, reject) => {
    const { pathname, search } = new URL(input instanceof Request ? input.url : input)
    const headers = Object.fromEntries(new Headers(init.headers))
    const asked = request(
      { socketPath: scene.path(), method: init.method ?? 'GET', path: pathname + search, headers },
      async (answer) => {
        const pieces: Buffer[] = []
        for await (const piece of answer) pieces.push(piece as Buffer)
        resolve(
          new Response(Buffer.concat(pieces), {
            ...{ status: answer.statusCode ?? 0, headers: answer.headers as Record<string, string> },
          }),
        )
      },
    )
    asked.on('error', reject).end(init.body as string | undefined)
  })

const refused = () => scene.egress.meters.requests.counts.refused
const options = (upstream: string) => ({ apiKey: placeholderOf(SESSION, upstream), fetch: through })
const anthropic = () => new Anthropic({ ...options('anthropic'), baseURL: 'http://hub/up/anthropic' })
const openai = () => new OpenAI({ ...options('openai'), baseURL: 'http://hub/up/openai/v1' })
const google = async (model: string) => {
  const body = JSON.stringify({ contents: [{ role: 'user', parts: [{ text: 'Hello' }] }] })
  const { status } = await through(`http://hub/up/google/v1beta/models/${model}:generateContent`, {
    ...{ method: 'POST', headers: { 'content-type': 'application/json' }, body },
  })
  throw Object.assign(new Error('refused'), { status })
}

const CALLS: readonly (readonly [client: string, status: number, call: (model: string) => Promise<unknown>])[] = [
  ['Messages of Anthropic', 402, (model) => anthropic().messages.create({ model, max_tokens: 9, messages: [MESSAGE] })],
  [
    'Messages of Anthropic, streamed',
    402,
    (model) =>
      anthropic()
        .messages.stream({ model, max_tokens: 9, messages: [MESSAGE] })
        .finalMessage(),
  ],
  ['Chat Completions of OpenAI', 400, (model) => openai().chat.completions.create({ model, messages: [MESSAGE] })],
  ['Responses of OpenAI', 400, (model) => openai().responses.create({ model, input: 'Hello' })],
  [
    'Responses of OpenAI, streamed',
    400,
    (model) => openai().responses.stream({ model, input: 'Hello' }).finalResponse(),
  ],
  ['generateContent of Google (no client of theirs is here)', 403, google],
]

describe('a refusal ends the try of its client (S2-31)', () => {
  it.each(CALLS)('%s: %i, one request, none to the upstream', async (_client, status, call) => {
    for (const code of ['budget_exceeded', 'policy_denied', 'upstream_exhausted'] as const) {
      scene.rule(() => new HubError(code, `because of ${code}`))
      const [gateway, upstream] = [refused(), came]
      const thrown = await call(`m-${code}`).then(
        () => undefined,
        (error) => error as { status?: number },
      )
      expect([code, thrown?.status, came - upstream, scene.refusals.at(-1)?.code]).toEqual([code, status, 0, code])
      expect(refused() - gateway).toBe(1)
    }
  })
})
