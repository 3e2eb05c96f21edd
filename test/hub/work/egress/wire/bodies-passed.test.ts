/** Bodies for model servers that pass, with what counts in them: what is on the lists, and what real clients sent. */
import { describe, expect, it, test } from 'vitest'
import { boundOf } from '../../../../../hub/work/egress/money/bounds.ts'
import { judgeBody, judgeBodyInTurns, judgeHead } from '../../../../../hub/work/egress/wire.ts'
import { LEAST, TARGETS, USER, withItem, withPart, withTool } from '../../../../support/wire-bodies.ts'
import {
  JSON_HEADERS,
  judgeAt,
  kindOfRecorded,
  passedIn,
  recorded,
  recordedNames,
  refusalIn,
  type Target,
  upstreamOf,
} from '../../../../support/wire-requests.ts'

const schema = { type: 'object', properties: { model: { type: 'string' }, file_id: { type: 'string' } } }
const PNG = 'iVBORw0KGgo='
const PASSED: readonly [target: Target, body: Record<string, unknown>, facts: object][] = [
  ['messages', withTool('messages', { name: 'f', description: 'd', input_schema: schema }), {}],
  ['messages', withTool('messages', { type: 'custom', name: 'f', input_schema: schema, strict: true }), {}],
  ['messages', withTool('messages', { type: 'bash_20250124', name: 'bash' }), {}],
  [
    'messages',
    withPart('messages', { type: 'image', source: { type: 'base64', media_type: 'image/png', data: PNG } }),
    { media: { images: 1, documents: 0, audios: 0, videos: 0 } },
  ],
  [
    'messages',
    withPart('messages', {
      type: 'tool_use',
      id: 'a',
      name: 'f',
      input: { model: 'x', file_id: 'y', url: 'https://x' },
    }),
    {},
  ],
  [
    'messages',
    { ...LEAST.messages, system: [{ type: 'text', text: 's', cache_control: { type: 'ephemeral', ttl: '1h' } }] },
    { surcharges: ['cache_write_1h', 'cache_write_5m'] },
  ],
  [
    'messages',
    { ...LEAST.messages, speed: 'fast', thinking: { type: 'enabled', budget_tokens: 50 } },
    { surcharges: ['speed:fast'], thinking: 50 },
  ],
  ['messages', { ...LEAST.messages, inference_geo: 'us', service_tier: 'standard_only' }, { surcharges: ['geo:us'] }],
  [
    'chat',
    {
      ...LEAST.chat,
      messages: [
        USER,
        { role: 'assistant', content: 'x', refusal: null, annotations: [], audio: null, function_call: null },
      ],
    },
    {},
  ],
  [
    'chat',
    { ...LEAST.chat, n: 3, max_completion_tokens: 50, stream: true },
    { choices: 3, askedOutput: 50, stream: true },
  ],
  [
    'chat',
    { ...LEAST.chat, max_tokens: 7, service_tier: 'priority' },
    { askedOutput: 7, surcharges: ['tier:priority'] },
  ],
  ['chat', withTool('chat', { type: 'function', function: { name: 'f', parameters: schema, strict: true } }), {}],
  [
    'chat',
    withPart('chat', { type: 'image_url', image_url: { url: `data:image/png;base64,${PNG}`, detail: 'high' } }),
    { media: { images: 1, documents: 0, audios: 0, videos: 0 } },
  ],
  [
    'chat',
    {
      ...LEAST.chat,
      messages: [
        USER,
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }],
        },
        { role: 'tool', tool_call_id: 'a', content: 'x' },
      ],
    },
    {},
  ],
  ['responses', withTool('responses', { type: 'function', name: 'f', parameters: schema, strict: false }), {}],
  ['responses', withTool('responses', { type: 'shell', environment: { type: 'local' } }), {}],
  [
    'responses',
    withTool('responses', { type: 'custom', name: 'f', format: { type: 'grammar', syntax: 'lark', definition: 'x' } }),
    {},
  ],
  ['responses', withItem({ type: 'function_call_output', call_id: 'a', output: 'x' }), {}],
  [
    'responses',
    { ...LEAST.responses, background: false, previous_response_id: null, max_output_tokens: 9 },
    { askedOutput: 9 },
  ],
  [
    'generate',
    withPart('generate', { inlineData: { mimeType: 'application/pdf', data: PNG } }),
    { model: 'gemini-3-pro', media: { images: 0, documents: 1, audios: 0, videos: 0 } },
  ],
  [
    'generate',
    {
      ...LEAST.generate,
      generationConfig: { maxOutputTokens: 5, candidateCount: 2, thinkingConfig: { thinkingBudget: -1 } },
    },
    { askedOutput: 5, choices: 2, thinking: 0 },
  ],
  ['generate', withTool('generate', { functionDeclarations: [{ name: 'f', parametersJsonSchema: schema }] }), {}],
  ['stream', LEAST.stream, { stream: true }],
  ['countGenerate', { generateContentRequest: { ...LEAST.generate, model: 'models/gemini-3-pro' } }, {}],
]

describe('a body for a model server', () => {
  it.each(TARGETS)('passes in its least form: %s', (target) => {
    const judged = passedIn(judgeAt(target, LEAST[target]))
    expect(judged).toMatchObject({ choices: 1, surcharges: [], inputBytes: JSON.stringify(LEAST[target]).length })
    expect(judged.model).not.toBe('')
  })

  it.each(PASSED)('passes with what is on the lists, and says what counts: %s %j', (target, body, facts) => {
    expect(passedIn(judgeAt(target, body))).toMatchObject(facts)
  })

  it('E21: takes the beginning of inline bytes with escaped slashes, and in no other spelling', () => {
    const judge = (url: string) =>
      judgeAt(
        'chat',
        `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"${url}"}}]}]}`,
      )
    expect(passedIn(judge('data:image\\/png;base64,iVBORw0KGgo=')).media.images).toBe(1)
    for (const url of [
      '\\u0064ata:image/png;base64,AA',
      'DATA:image/png;base64,AA',
      'data:;base64,AA',
      'data:image/png,AA',
      'https:\\/\\/x',
    ])
      expect(refusalIn(judge(url)).code, url).toBe('egress_denied')
  })

  it('E21: passes what the upstream lists, with or without its date, and names what that costs; a pointer in it never', () => {
    const listed = { serverTools: ['web_search', 'advisor', 'file_search', 'code_execution', 'google_search'] }
    const search = { type: 'web_search_20250305', name: 'web_search', max_uses: 3 }
    const result = { type: 'web_search_result', url: 'https://x' }
    const passed: [Target, object, string[]][] = [
      ['messages', { ...LEAST.messages, tools: [search, { ...search, max_uses: 4 }] }, ['server_tools:7']],
      ['messages', withPart('messages', { type: 'web_search_tool_result', tool_use_id: 'a', content: [result] }), []],
      [
        'messages',
        withPart('messages', { type: 'server_tool_use', id: 'a', name: 'web_search', input: { query: 'x' } }),
        [],
      ],
      [
        'responses',
        { ...withTool('responses', { type: 'web_search_2025_08_26' }), max_tool_calls: 5 },
        ['server_tools:5'],
      ],
      ['responses', withItem({ type: 'web_search_call', id: 'a', action: { type: 'search', query: 'x' } }), []],
    ]
    for (const [target, body, surcharges] of passed)
      expect(passedIn(judgeAt(target, body, listed)).surcharges, JSON.stringify(body)).toEqual(surcharges)
    const unbounded: [Target, object][] = [
      ['messages', withTool('messages', { ...search, max_uses: undefined })],
      ['messages', { ...LEAST.messages, tools: [search, { type: 'code_execution_20260521', name: 'x' }] }],
      ['responses', withTool('responses', { type: 'web_search' })],
      ['generate', withTool('generate', { googleSearch: {} })],
    ]
    for (const [target, body] of unbounded) {
      expect(refusalIn(judgeAt(target, body, listed)).detail).toContain('must say how often it may run')
      expect(passedIn(judgeAt(target, body, { ...listed, free: true })).surcharges).toEqual([])
    }
    const refused: [Target, object, string][] = [
      ['messages', withTool('messages', { type: 'advisor_20260301', name: 'advisor', model: 'dear' }), 'egress_denied'],
      [
        'messages',
        withPart('messages', {
          type: 'code_execution_tool_result',
          tool_use_id: 'a',
          content: { type: 'x', content: [{ file_id: 'f' }] },
        }),
        'stored_reference_refused',
      ],
      [
        'responses',
        withTool('responses', { type: 'file_search', vector_store_ids: ['vs_1'] }),
        'stored_reference_refused',
      ],
      ['messages', withTool('messages', { type: 'web_fetch_20260318', name: 'web_fetch' }), 'server_tool_refused'],
    ]
    for (const [target, body, code] of refused) expect(refusalIn(judgeAt(target, body, listed)).code).toBe(code)
    const mcp = { serverTools: ['mcp', 'mcp_toolset'] }
    expect(refusalIn(judgeAt('responses', withTool('responses', { type: 'mcp' }), mcp)).code).toBe(
      'server_tool_refused',
    )
    expect(refusalIn(judgeAt('messages', withTool('messages', { type: 'web_search_20250305' }))).detail).toContain(
      'add "web_search" to upstreams.up.serverTools in hub.yaml',
    )
  })

  it.each(recordedNames())('passes as a real client sent it: %s', (name) => {
    const { method, target, headers, body } = recorded(name)
    const upstream = upstreamOf(kindOfRecorded(name))
    const head = passedIn(judgeHead(upstream, { method, target, headers }))
    expect(head.placeholders).toEqual(['hub-placeholder-recorded'])
    expect(JSON.stringify(head.headers)).not.toMatch(/placeholder|session|stainless|codex-turn|encoding|length|127\.0/i)
    const judged = passedIn(judgeBody(upstream, head, Buffer.from(JSON.stringify(body))))
    expect(judged.model).toMatch(/^(?:claude|gpt|gemini)-/)
  })

  it('judges a large body in many turns, and hands out its bytes without a copy', () => {
    const data = 'A'.repeat(8 * 1024 ** 2)
    const body = Buffer.from(
      JSON.stringify(
        withPart('messages', { type: 'image', source: { type: 'base64', media_type: 'image/png', data } }),
      ),
    )
    const upstream = upstreamOf('anthropic')
    const head = passedIn(judgeHead(upstream, { method: 'POST', target: '/v1/messages', headers: JSON_HEADERS }))
    const turns = judgeBodyInTurns(upstream, head, body)
    let count = 1
    let turn = turns.next()
    for (; turn.done !== true; turn = turns.next()) count += 1
    expect(count).toBeGreaterThan(30)
    const { pieces, length } = passedIn(passedIn(turn.value).withCap(10))
    expect(length).toBe(body.length - 1)
    expect(pieces.reduce((sum, piece) => sum + (piece.buffer === body.buffer ? piece.length : 0), 0)).toBeGreaterThan(
      8 * 1024 ** 2,
    )
  })
})

test('what costs more has a name that the reserve knows, or none that passes', () => {
  const named = [
    ...['cache_write', 'cache_write_5m', 'cache_write_1h', 'cache_retention_24h', 'long_context', 'prediction'],
    ...['tier:priority', 'tier:scale', 'tier:fast', 'speed:fast', 'geo:us', 'server_tools:3'],
  ]
  const asked = { shape: 'chat', askedOutput: 1, maxOutput: 1, choices: 1, inputBytes: 1, prefixes: [] } as const
  const media = { images: 0, documents: 0, audios: 0, videos: 0 }
  for (const name of named)
    expect(() => boundOf({ ...asked, media, surcharges: [name] }, undefined, undefined), name).not.toThrow()
  // It costs more for longer, and nobody has said how much.
  const breakpoint = { type: 'text', text: 'x', prompt_cache_breakpoint: { mode: 'explicit', ttl: '12h' } }
  const { surcharges } = passedIn(judgeAt('chat', withPart('chat', breakpoint)))
  expect(surcharges).toEqual(['cache_write', 'cache_write_12h'])
  expect(() => boundOf({ ...asked, media, surcharges }, undefined, undefined)).toThrow('cache_write_12h')
})
