/** The official SDKs, with a fetch that judges in place of a network: what they send by themselves passes, and a refusal ends their try. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import Anthropic, { APIError as AnthropicError } from '@anthropic-ai/sdk'
import OpenAI, { APIError as OpenAIError } from 'openai'
import { describe, expect, it } from 'vitest'
import type { UpstreamKind } from '../../../../../hub/protocol/egress/upstreams.ts'
import { judgeBody, judgeHead, refusalFor } from '../../../../../hub/work/egress/wire.ts'
import { judgeAt, type Target, upstreamOf } from '../../../../support/wire-requests.ts'

/** A fetch that judges each request, writes down what came of it, and answers with the refusal or with these words. */
function judging(kind: UpstreamKind, answer: object) {
  const upstream = upstreamOf(kind)
  const seen: string[] = []
  const fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(input instanceof Request ? input.url : input)
    const headers = [...new Headers(init.headers)].flat()
    const head = judgeHead(upstream, { method: init.method ?? 'GET', target: `${url.pathname}${url.search}`, headers })
    const judged =
      'code' in head || head.shape === undefined ? head : judgeBody(upstream, head, Buffer.from(String(init.body)))
    seen.push('code' in judged ? judged.code : 'passed')
    if (!('code' in judged)) return Response.json(answer)
    const { status, headers: own, body } = refusalFor(kind, judged.code, judged.detail, url.pathname)
    return new Response(new Uint8Array(body), {
      status,
      headers: own.map(([name, value]): [string, string] => [name, value]),
    })
  }
  return { seen, fetch }
}
const anthropic = () => {
  const { seen, fetch } = judging('anthropic', { id: 'a', type: 'message', role: 'assistant', content: [], usage: {} })
  return { seen, client: new Anthropic({ apiKey: 'hub-placeholder-a', baseURL: 'http://127.0.0.1:47080', fetch }) }
}
const openai = () => {
  const { seen, fetch } = judging('openai', {
    id: 'a',
    object: 'response',
    output: [],
    choices: [],
    data: [],
    usage: {},
  })
  return { seen, client: new OpenAI({ apiKey: 'hub-placeholder-a', baseURL: 'http://127.0.0.1:47080/v1', fetch }) }
}
const PNG = 'iVBORw0KGgo='
const user = { role: 'user', content: 'hello' } as const

describe('the SDK of Anthropic', () => {
  it('passes with text, images, tools, thoughts and counts', async () => {
    const { seen, client } = anthropic()
    const common = { model: 'claude-opus-5-5', max_tokens: 2000 }
    await client.messages.create({ ...common, messages: [user] })
    await client.messages.create({
      ...common,
      system: [{ type: 'text', text: 's', cache_control: { type: 'ephemeral' } }],
      messages: [
        { role: 'user', content: [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: PNG } }] },
        { role: 'assistant', content: [{ type: 'tool_use', id: 't', name: 'f', input: { a: 1 } }] },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't', content: 'x' }] },
      ],
      tools: [
        { name: 'f', description: 'd', input_schema: { type: 'object' } },
        { type: 'bash_20250124', name: 'bash' },
      ],
      tool_choice: { type: 'auto' },
      thinking: { type: 'enabled', budget_tokens: 1024 },
    })
    await client.beta.messages.create({ ...common, messages: [user], betas: ['interleaved-thinking-2025-05-14'] })
    await client.messages.countTokens({ model: common.model, messages: [user] })
    await client.models.list()
    expect(seen).toEqual(Array(5).fill('passed'))
  })

  it('E21, E22: is refused once, and shows why', async () => {
    const { seen, client } = anthropic()
    const common = { model: 'claude-opus-5-5', max_tokens: 20, messages: [user] }
    const tries: [() => Promise<unknown>, string][] = [
      [
        () => client.messages.create({ ...common, tools: [{ type: 'web_search_20250305', name: 'web_search' }] }),
        'server_tool_refused',
      ],
      [
        () =>
          client.messages.create({
            ...common,
            stream: true,
            tools: [{ type: 'web_search_20250305', name: 'web_search' }],
          }),
        'server_tool_refused',
      ],
      [() => client.messages.batches.create({ requests: [] }), 'egress_denied'],
      [
        () =>
          client.messages.create({
            ...common,
            messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'url', url: 'https://x' } }] }],
          }),
        'egress_denied',
      ],
    ]
    for (const [tried, code] of tries) {
      const thrown = await tried().then(
        () => undefined,
        (error: unknown) => error,
      )
      expect(thrown).toBeInstanceOf(AnthropicError)
      expect(thrown).toMatchObject({ status: 402, message: expect.stringContaining(`${code}: `) })
    }
    expect(seen).toHaveLength(tries.length)
  })
})

describe('the SDK of OpenAI', () => {
  it('passes with chats, responses, tools, images, embeddings and counts', async () => {
    const { seen, client } = openai()
    const model = 'gpt-5'
    await client.chat.completions.create({ model, messages: [user], stream: false, max_completion_tokens: 5 })
    await client.chat.completions.create({
      model,
      messages: [
        { role: 'developer', content: 'd' },
        { role: 'user', content: [{ type: 'image_url', image_url: { url: `data:image/png;base64,${PNG}` } }] },
      ],
      tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }],
      response_format: { type: 'json_schema', json_schema: { name: 'n', schema: {} } },
    })
    await client.responses.create({
      model,
      input: [{ role: 'user', content: [{ type: 'input_text', text: 'x' }] }],
      tools: [{ type: 'function', name: 'f', parameters: {}, strict: true }],
      reasoning: { effort: 'low' },
      store: false,
    })
    await client.embeddings.create({ model: 'text-embedding-3-small', input: ['a', 'b'] })
    await client.responses.inputTokens.count({ model, input: 'x' })
    await client.models.list()
    expect(seen).toEqual(Array(6).fill('passed'))
  })

  it('E21, E22: is refused once, and shows why', async () => {
    const { seen, client } = openai()
    const model = 'gpt-5'
    const tries: [() => Promise<unknown>, string][] = [
      [() => client.responses.create({ model, input: 'x', tools: [{ type: 'web_search' }] }), 'server_tool_refused'],
      [
        () => client.responses.create({ model, input: 'x', stream: true, previous_response_id: 'resp_1' }),
        'stored_reference_refused',
      ],
      [
        () => client.chat.completions.create({ model, messages: [user], web_search_options: {} }),
        'server_tool_refused',
      ],
      [() => client.responses.create({ model, input: 'x', background: true }), 'egress_denied'],
      [() => client.files.list(), 'egress_denied'],
    ]
    for (const [tried, code] of tries) {
      const thrown = await tried().then(
        () => undefined,
        (error: unknown) => error,
      )
      expect(thrown).toBeInstanceOf(OpenAIError)
      expect(thrown).toMatchObject({ status: 400, code, message: expect.stringContaining(`${code}: `) })
    }
    expect(seen).toHaveLength(tries.length)
  })
})

const PACKAGES = join(import.meta.dirname, '../../../../../node_modules')
/** The fields of an interface in the types of a package. */
function fieldsOf(file: string, name: string): string[] {
  const text = readFileSync(join(PACKAGES, file), 'utf8').replaceAll(/\/\*[\s\S]*?\*\//g, '')
  const body = new RegExp(`interface ${name} \\{([\\s\\S]*?)\\n\\}`).exec(text)?.[1] ?? ''
  return [...body.matchAll(/^ {4}(\w+)\??:/gm)].map(([, field = '']) => field)
}

describe('the fields that an SDK knows', () => {
  const MESSAGES = '@anthropic-ai/sdk/resources'
  const OPENAI = 'openai/resources'
  /** Fields that are left to the plain refusal of what is not listed; all others pass, or are refused by a reason of their own. */
  const KNOWN: readonly [target: Target, file: string, name: string, unlisted: string[]][] = [
    ['messages', `${MESSAGES}/messages/messages.d.ts`, 'MessageCreateParamsBase', []],
    // `betas` is a header.
    ['messages', `${MESSAGES}/beta/messages/messages.d.ts`, 'MessageCreateParamsBase', ['betas']],
    ['chat', `${OPENAI}/chat/completions/completions.d.ts`, 'ChatCompletionCreateParamsBase', ['moderation']],
    [
      'responses',
      `${OPENAI}/responses/responses.d.ts`,
      'ResponseCreateParamsBase',
      ['access_programs', 'background_options', 'image', 'moderation'],
    ],
    ['embeddings', `${OPENAI}/embeddings.d.ts`, 'EmbeddingCreateParams', []],
  ]
  it.each(KNOWN)('E21, E22: each was looked at: %s of %s', (target, file, name, unlisted) => {
    const fields = fieldsOf(file, name)
    expect(fields.length).toBeGreaterThan(4)
    const isUnlisted = (field: string) => {
      const judged = judgeAt(target, { [field]: { field_of_tomorrow: 1 } })
      return (
        'code' in judged && judged.detail === `${field}: this field is not on the list of what passes; leave it out`
      )
    }
    expect(fields.filter(isUnlisted)).toEqual(unlisted)
  })
})
