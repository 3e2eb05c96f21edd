/**
 * What a model's answer says of its usage, and what that costs. Every price here is worked out by hand beside the answer, in millionths of a
 * dollar: tokens times dollars for a million tokens is millionths of a dollar.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { costOf, type Tokens } from '../../../../../hub/work/egress/money/cost.ts'
import { createPrices } from '../../../../../hub/work/egress/money/prices.ts'
import {
  createUsageReader,
  type MeteredShape,
  type UsageOutcome,
} from '../../../../../hub/work/egress/money/usage-reader.ts'
import { shippedPolicies } from '../../../../support/policy-fixture.ts'

const home = mkdtempSync(join(tmpdir(), 'hub-prices-'))
/** Of models that ship without a price. */
writeFileSync(
  join(home, 'prices.yaml'),
  `models:
  deepseek-chat: { input: 280000, output: 420000, cacheRead: 28000 }
  vendor/llm: { input: 300000, output: 900000, cacheWrite: 375000 }
`,
)
afterAll(() => rmSync(home, { recursive: true }))
const prices = createPrices({ home, shippedFolder: shippedPolicies })
const [JSON_TYPE, EVENTS] = ['application/json', 'text/event-stream; charset=utf-8']

interface Recorded {
  name: string
  shape: MeteredShape
  type: string
  /** Of the price; the answer may name another of its names. */
  model: string
  text: string
  /** Worked out by hand, as what the upstream says that it bills. */
  usd: number
  billedUsd?: number
  tokens: Partial<Tokens>
}

const event = (name: string, data: object) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
const line = (data: object) => `data: ${JSON.stringify(data)}\r\n\r\n`

const MESSAGES_STREAM = [
  event('message_start', {
    type: 'message_start',
    message: {
      ...{ id: 'msg_01', type: 'message', role: 'assistant', model: 'claude-sonnet-4-5-20250929', content: [] },
      usage: {
        ...{ input_tokens: 2095, cache_creation_input_tokens: 1000, cache_read_input_tokens: 18_000 },
        cache_creation: { ephemeral_5m_input_tokens: 600, ephemeral_1h_input_tokens: 400 },
        ...{ output_tokens: 5, service_tier: 'standard', inference_geo: 'global' },
      },
    },
  }),
  event('content_block_start', { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }),
  ': a comment\nevent: ping\ndata: {"type": "ping"}\n\n',
  event('content_block_delta', {
    type: 'content_block_delta',
    index: 0,
    delta: { type: 'text_delta', text: 'Usage "usage": {"input_tokens": 1} \\ }] é 💶' },
  }),
  event('content_block_stop', { type: 'content_block_stop', index: 0 }),
  event('message_delta', {
    type: 'message_delta',
    delta: { stop_reason: 'end_turn', stop_sequence: null },
    usage: { output_tokens: 503, output_tokens_details: { thinking_tokens: 400 } },
  }),
  event('message_stop', { type: 'message_stop' }),
].join('')

const CHAT_STREAM = [
  ...['Hel', 'lo'].map((content) =>
    line({
      ...{ id: 'chatcmpl-1', object: 'chat.completion.chunk', model: 'gpt-5.4-mini-2026-03-17', usage: null },
      ...{ service_tier: 'default', choices: [{ index: 0, delta: { content }, finish_reason: null }] },
    }),
  ),
  line({
    ...{ id: 'chatcmpl-1', object: 'chat.completion.chunk', model: 'gpt-5.4-mini-2026-03-17', choices: [] },
    usage: {
      ...{ prompt_tokens: 1117, completion_tokens: 46, total_tokens: 1163 },
      prompt_tokens_details: { cached_tokens: 1024, audio_tokens: 0 },
      completion_tokens_details: { reasoning_tokens: 12, accepted_prediction_tokens: 0, rejected_prediction_tokens: 0 },
    },
  }),
  'data: [DONE]\r\n\r\n',
].join('')

const RESPONSE = {
  ...{ id: 'resp_1', object: 'response', status: 'completed', model: 'gpt-5.6-terra', service_tier: 'default' },
  output: [{ type: 'message', content: [{ type: 'output_text', text: '{"usage":{"input_tokens":0}}' }] }],
  usage: {
    input_tokens: 13_000,
    input_tokens_details: { cached_tokens: 8192, cache_write_tokens: 2048 },
    output_tokens: 1500,
    output_tokens_details: { reasoning_tokens: 1024 },
    total_tokens: 14_500,
  },
}

const gemini = (text: string, usage: object, finish?: string) =>
  ({
    candidates: [
      { content: { parts: [{ text }], role: 'model' }, ...(finish ? { finishReason: finish } : {}), index: 0 },
    ],
    usageMetadata: usage,
    modelVersion: 'gemini-2.5-flash',
    responseId: 'r1',
  }) as const
const GEMINI_PARTS = [
  gemini('a', { promptTokenCount: 1200, cachedContentTokenCount: 1000, totalTokenCount: 1200 }),
  gemini('b', {
    promptTokenCount: 1200,
    cachedContentTokenCount: 1000,
    thoughtsTokenCount: 700,
    totalTokenCount: 1900,
  }),
  gemini(
    'c',
    {
      ...{ promptTokenCount: 1200, cachedContentTokenCount: 1000, candidatesTokenCount: 300, thoughtsTokenCount: 700 },
      ...{ totalTokenCount: 2200, promptTokensDetails: [{ modality: 'TEXT', tokenCount: 1200 }] },
    },
    'STOP',
  ),
]

const RECORDED: Recorded[] = [
  {
    // 2095 x 3 = 6285; 18000 x 0.30 = 5400; 600 x 3.75 = 2250; 400 x 6 = 2400; 503 x 15 = 7545. Together 23880.
    ...{
      name: 'Messages, streamed',
      shape: 'messages',
      type: EVENTS,
      model: 'claude-sonnet-4-5',
      text: MESSAGES_STREAM,
    },
    usd: 23_880,
    tokens: { input: 2095, cacheRead: 18_000, cacheWrite: 600, cacheWrite1h: 400, output: 503 },
  },
  {
    // A compaction is in no other figure: (50000 + 8000) x 1 = 58000; (1200 + 900) x 5 = 10500. Together 68500.
    ...{ name: 'Messages, whole, with iterations', shape: 'messages', type: JSON_TYPE, model: 'claude-haiku-4-5' },
    text: JSON.stringify({
      ...{ id: 'msg_02', type: 'message', role: 'assistant', model: 'claude-haiku-4-5-20251001', content: [] },
      usage: {
        ...{ input_tokens: 8000, output_tokens: 900, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 },
        iterations: [
          { type: 'compaction', input_tokens: 50_000, output_tokens: 1200 },
          { type: 'message', input_tokens: 8000, output_tokens: 900, model: null },
        ],
      },
    }),
    usd: 68_500,
    tokens: { input: 58_000, output: 2100 },
  },
  {
    // Three searches at 10000 each = 30000; 5000 x 3 = 15000; 200 x 15 = 3000. Together 48000.
    ...{ name: 'Messages, with searches', shape: 'messages', type: JSON_TYPE, model: 'claude-sonnet-4-6' },
    text: JSON.stringify({
      ...{ type: 'message', model: 'claude-sonnet-4-6', content: [] },
      usage: {
        ...{ input_tokens: 5000, output_tokens: 200 },
        server_tool_use: { web_search_requests: 3, web_fetch_requests: 1 },
      },
    }),
    usd: 48_000,
    tokens: { input: 5000, output: 200, uses: { web_search: 3 } },
  },
  {
    // 100 x 5 = 500; 10 x 25 = 250; fast is twice that, and in the US one tenth more: 750 x 2 x 1.1 = 1650.
    ...{ name: 'Messages, fast and in one country', shape: 'messages', type: JSON_TYPE, model: 'claude-opus-4-8' },
    text: JSON.stringify({
      ...{ type: 'message', model: 'claude-opus-4-8', content: [] },
      usage: { input_tokens: 100, output_tokens: 10, speed: 'fast', inference_geo: 'us' },
    }),
    usd: 1650,
    tokens: { input: 100, output: 10 },
  },
  {
    // 1117 - 1024 = 93 x 0.75 = 69.75; 1024 x 0.075 = 76.8; 46 x 4.50 = 207. Together 353.55, so 354.
    ...{ name: 'Chat Completions, streamed', shape: 'chat', type: EVENTS, model: 'gpt-5.4-mini', text: CHAT_STREAM },
    usd: 354,
    tokens: { input: 93, cacheRead: 1024, output: 46 },
  },
  {
    // 37 x 0.28 = 10.36; 1280 x 0.028 = 35.84; 204 x 0.42 = 85.68. Together 131.88, so 132.
    ...{ name: 'Chat Completions of DeepSeek', shape: 'chat', type: JSON_TYPE, model: 'deepseek-chat', usd: 132 },
    text: JSON.stringify({
      ...{
        id: 'd1',
        object: 'chat.completion',
        created: 1764547200,
        model: 'deepseek-chat',
        system_fingerprint: 'fp_1',
      },
      choices: [{ index: 0, message: { role: 'assistant', content: 'x' }, logprobs: null, finish_reason: 'stop' }],
      usage: {
        ...{ prompt_tokens: 1317, completion_tokens: 204, total_tokens: 1521 },
        completion_tokens_details: { reasoning_tokens: 101 },
        ...{ prompt_cache_hit_tokens: 1280, prompt_cache_miss_tokens: 37 },
      },
    }),
    tokens: { input: 37, cacheRead: 1280, output: 204 },
  },
  {
    // 94 x 0.30 = 28.2; 100 x 0.375 = 37.5; 2 x 0.90 = 1.8. Together 67.5, so 68. It bills 0.0000712 dollars: 71.2 millionths, so 72.
    ...{ name: 'Chat Completions of OpenRouter, streamed', shape: 'chat', type: EVENTS, model: 'vendor/llm', usd: 68 },
    billedUsd: 72,
    text: [
      ': OPENROUTER PROCESSING\n\n',
      line({ id: 'gen-1', provider: 'Vendor', model: 'vendor/llm', choices: [{ index: 0, delta: { content: 'x' } }] }),
      line({
        ...{ id: 'gen-1', provider: 'Vendor', model: 'vendor/llm', object: 'chat.completion.chunk', choices: [] },
        usage: {
          ...{ prompt_tokens: 194, completion_tokens: 2, total_tokens: 196, cost: 0.0000712, is_byok: false },
          prompt_tokens_details: { cached_tokens: 0, cache_write_tokens: 100, audio_tokens: 0, video_tokens: 0 },
          cost_details: {
            ...{ upstream_inference_cost: null, upstream_inference_prompt_cost: 0.0000694 },
            upstream_inference_completions_cost: 0.0000018,
          },
          completion_tokens_details: { reasoning_tokens: 0, image_tokens: 0 },
        },
      }),
      'data: [DONE]\n\n',
    ].join(''),
    tokens: { input: 94, cacheWrite: 100, output: 2 },
  },
  {
    // 1000 x 0.30 = 300; 100 x 0.90 = 90. Together 390. The router bills 0.0000195, the provider 0.00039 beside: 409.5, so 19.5 and 390 rounded up: 410.
    ...{
      name: 'Responses of OpenRouter with an own key at the provider',
      shape: 'responses',
      type: JSON_TYPE,
      usd: 390,
    },
    ...{ model: 'vendor/llm', billedUsd: 410 },
    text: JSON.stringify({
      ...{ object: 'response', model: 'vendor/llm', status: 'completed' },
      usage: {
        ...{ input_tokens: 1000, output_tokens: 100, total_tokens: 1100, cost: 0.0000195, is_byok: true },
        ...{ input_tokens_details: { cached_tokens: 0 }, output_tokens_details: { reasoning_tokens: 0 } },
        cost_details: {
          ...{ upstream_inference_cost: 0.00039, upstream_inference_input_cost: 0.0003 },
          upstream_inference_output_cost: 0.00009,
        },
      },
    }),
    tokens: { input: 1000, output: 100 },
  },
  {
    // 13000 - 8192 - 2048 = 2760 x 2.50 = 6900; 8192 x 0.25 = 2048; 2048 x 3.125 = 6400; 1500 x 15 = 22500. Together 37848.
    ...{ name: 'Responses, whole', shape: 'responses', type: JSON_TYPE, model: 'gpt-5.6-terra' },
    ...{ text: JSON.stringify(RESPONSE, null, 2), usd: 37_848 },
    tokens: { input: 2760, cacheRead: 8192, cacheWrite: 2048, output: 1500 },
  },
  {
    ...{ name: 'Responses, streamed', shape: 'responses', type: EVENTS, model: 'gpt-5.6-terra', usd: 37_848 },
    text: [
      event('response.created', {
        type: 'response.created',
        response: { ...RESPONSE, status: 'in_progress', usage: null },
      }),
      event('response.output_text.delta', { type: 'response.output_text.delta', delta: 'x' }),
      event('response.completed', { type: 'response.completed', response: RESPONSE }),
    ].join(''),
    tokens: { input: 2760, cacheRead: 8192, cacheWrite: 2048, output: 1500 },
  },
  {
    ...{
      name: 'Responses, an event over many lines',
      shape: 'responses',
      type: EVENTS,
      model: 'gpt-5.6-terra',
      usd: 37_848,
    },
    text: `${JSON.stringify({ type: 'response.completed', response: RESPONSE }, null, 1)
      .split('\n')
      .map((part) => `data:${part}`)
      .join('\r\n')}\r\n\r\n`,
    tokens: { input: 2760, cacheRead: 8192, cacheWrite: 2048, output: 1500 },
  },
  {
    // Above 272000 all of it has the upper prices: 300000 x 10 = 3000000; 10 x 45 = 450. Together 3000450.
    ...{ name: 'Responses, above the tier', shape: 'responses', type: JSON_TYPE, model: 'gpt-5.5', usd: 3_000_450 },
    text: JSON.stringify({
      ...{ object: 'response', model: 'gpt-5.5-2026-04-23' },
      usage: { input_tokens: 300_000, output_tokens: 10, total_tokens: 300_010 },
    }),
    tokens: { input: 300_000, output: 10 },
  },
  {
    // 8 x 0.02 = 0.16, so 1: a call that costs anything costs at least a millionth.
    ...{ name: 'embeddings', shape: 'embeddings', type: JSON_TYPE, model: 'text-embedding-3-small', usd: 1 },
    text: JSON.stringify({
      ...{ object: 'list', data: [{ object: 'embedding', embedding: [0.1, -2e-3], index: 0 }] },
      ...{ model: 'text-embedding-3-small', usage: { prompt_tokens: 8, total_tokens: 8 } },
    }),
    tokens: { input: 8 },
  },
  {
    // 1200 - 1000 = 200 x 0.30 = 60; 1000 x 0.03 = 30; (300 + 700) x 2.50 = 2500. Together 2590.
    ...{ name: 'generateContent, as events', shape: 'generateContent', type: EVENTS, model: 'gemini-2.5-flash' },
    ...{ text: GEMINI_PARTS.map(line).join(''), usd: 2590 },
    tokens: { input: 200, cacheRead: 1000, output: 1000 },
  },
  {
    ...{
      name: 'generateContent, streamed as one list',
      shape: 'generateContent',
      type: JSON_TYPE,
      model: 'gemini-2.5-flash',
    },
    ...{ text: JSON.stringify(GEMINI_PARTS, null, 1), usd: 2590 },
    tokens: { input: 200, cacheRead: 1000, output: 1000 },
  },
  {
    // 500 - 320 = 180 x 0.30 = 54; 320 of audio x 1 = 320; 10 x 2.50 = 25. Together 399.
    ...{
      name: 'generateContent, whole, with audio',
      shape: 'generateContent',
      type: JSON_TYPE,
      model: 'gemini-2.5-flash',
    },
    text: JSON.stringify(
      gemini(
        'x',
        {
          ...{ promptTokenCount: 500, candidatesTokenCount: 10, totalTokenCount: 510 },
          promptTokensDetails: [
            { modality: 'TEXT', tokenCount: 180 },
            { modality: 'AUDIO', tokenCount: 320 },
          ],
        },
        'STOP',
      ),
    ),
    usd: 399,
    tokens: { input: 180, audioInput: 320, output: 10 },
  },
  {
    // 40 x 0.15 = 6.
    ...{ name: 'embedContent', shape: 'embedContent', type: JSON_TYPE, model: 'gemini-embedding-001', usd: 6 },
    text: JSON.stringify({
      embedding: { values: [0.5] },
      usageMetadata: { promptTokenCount: 40, totalTokenCount: 40 },
    }),
    tokens: { input: 40 },
  },
]

function read(shape: MeteredShape, type: string | undefined, chunks: readonly Uint8Array[]): UsageOutcome {
  const reader = createUsageReader(shape, type)
  for (const chunk of chunks) reader.take(chunk)
  return reader.end()
}
const whole = (shape: MeteredShape, type: string | undefined, text: string) => read(shape, type, [Buffer.from(text)])

describe('an answer, priced by hand to the millionth of a dollar', () => {
  test.each(RECORDED)('$name', ({ shape, type, model, text, usd, billedUsd, tokens }) => {
    const outcome = whole(shape, type, text)
    expect(outcome).toMatchObject({ kind: 'measured', tokens })
    expect('billedUsd' in outcome ? outcome.billedUsd : undefined).toBe(billedUsd)
    if (outcome.kind !== 'measured') return
    const price = prices.require('any', outcome.model ?? model)
    expect(price.model).toBe(model)
    expect(costOf(price, outcome.tokens, outcome.surcharges)).toBe(usd)
  })

  test('however its bytes are cut, the outcome is the same', () => {
    const cuts = fc.array(fc.nat({ max: 4000 }), { maxLength: 40 })
    const of = fc.constantFrom(...RECORDED)
    // What breaks off, or is damaged, must not depend on the cuts either.
    const end = fc.option(fc.nat({ max: 4000 }), { nil: undefined })
    const flip = fc.option(fc.tuple(fc.nat({ max: 4000 }), fc.nat({ max: 255 })), { nil: undefined })
    fc.assert(
      fc.property(of, cuts, end, flip, ({ shape, type, text }, places, until, damage) => {
        const bytes = Buffer.from(text).subarray(0, until)
        if (damage !== undefined && damage[0] < bytes.length) bytes[damage[0]] = damage[1]
        const ends = [...new Set([0, ...places.filter((at) => at < bytes.length), bytes.length])].sort((a, b) => a - b)
        const chunks = ends.slice(1).map((to, at) => bytes.subarray(ends[at], to))
        const outcome = read(shape, type, chunks)
        expect(outcome).toEqual(read(shape, type, [bytes]))
        expect(['measured', 'odd', 'none']).toContain(outcome.kind)
      }),
      { numRuns: 600 },
    )
  })

  test('it holds no more than what it looks at, however long the answer is', () => {
    const reader = createUsageReader('chat', JSON_TYPE)
    reader.take(Buffer.from('{"choices":[{"text":"'))
    const before = process.memoryUsage().arrayBuffers
    const chunk = Buffer.alloc(1024 * 1024, 'x')
    for (let mib = 0; mib < 64; mib += 1) reader.take(chunk)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 1024 ** 2)
    reader.take(Buffer.from('"}],"model":"m","usage":{"prompt_tokens":1,"completion_tokens":2}}'))
    expect(reader.end()).toMatchObject({ kind: 'measured', tokens: { input: 1, output: 2 } })
  })
})

describe('usage as the SDKs describe it', () => {
  const message = (usage: object) =>
    whole('messages', JSON_TYPE, JSON.stringify({ type: 'message', model: 'claude-haiku-4-5', usage }))

  test('of beta Messages: a credit that was not asked for is null and costs nothing; one that was used is odd', () => {
    const usage = { input_tokens: 10, output_tokens: 1, fallback_credit: null, iterations: null }
    expect(message(usage)).toMatchObject({ kind: 'measured', tokens: { input: 10, output: 1 } })
    expect(message({ ...usage, fallback_credit: { status: { type: 'redeemed' } } })).toMatchObject({ kind: 'odd' })
  })

  test('iterations that were told before the figures grew are not believed [E10]', () => {
    const grown = MESSAGES_STREAM.replace(
      'event: message_delta',
      `${event('message_delta', {
        type: 'message_delta',
        usage: {
          output_tokens: 6,
          iterations: [
            {
              ...{ type: 'message', input_tokens: 2095, output_tokens: 6, cache_read_input_tokens: 18_000 },
              cache_creation_input_tokens: 1000,
            },
          ],
        },
      })}event: message_delta`,
    )
    expect(whole('messages', EVENTS, grown)).toMatchObject({ kind: 'odd' })
  })

  test('a tier is denied only where the answer names another', () => {
    const chat = (more: object) =>
      whole(
        'chat',
        JSON_TYPE,
        JSON.stringify({ model: 'm', usage: { prompt_tokens: 1, completion_tokens: 1 }, ...more }),
      )
    expect(chat({})).toMatchObject({ surcharges: [], denied: [] })
    expect(chat({ service_tier: 'auto' })).toMatchObject({ surcharges: [], denied: [] })
    expect(chat({ service_tier: 'default' })).toMatchObject({ surcharges: [], denied: ['priority'] })
    // A number with a fraction is an amount by its digits: as a double, 0.000123 times a million is more than 123.
    for (const [cost, billedUsd] of [
      [0.000123, 123],
      [2.01e-7, 1],
      [0, 0],
      [999_999.999999, 999_999_999_999],
    ])
      expect(chat({ usage: { prompt_tokens: 1, completion_tokens: 1, cost } })).toMatchObject({ billedUsd })
    // What one part of a stream said of the tier, a later part does not take back.
    const parts = [
      gemini('a', { promptTokenCount: 1, totalTokenCount: 1, serviceTier: 'PRIORITY' }),
      gemini('b', { promptTokenCount: 1, totalTokenCount: 1 }, 'STOP'),
    ]
    expect(whole('generateContent', EVENTS, parts.map(line).join(''))).toMatchObject({ surcharges: ['priority'] })
  })
})

/** The stream of Messages with other figures in its last usage. */
const delta = (usage: string) =>
  MESSAGES_STREAM.replace(
    '"usage":{"output_tokens":503,"output_tokens_details":{"thinking_tokens":400}}',
    `"usage":${usage}`,
  )
const chat = (usage: string) => `{"model":"gpt-5.4","usage":${usage}}`
const google = (usage: string) => `{"modelVersion":"gemini-2.5-pro","usageMetadata":${usage}}`

describe('E10: figures that cannot be believed are odd, and are never taken for less', () => {
  test.each<[name: string, shape: MeteredShape, type: string, text: string, why: RegExp]>([
    ['fall within the stream', 'messages', EVENTS, delta('{"output_tokens":4}'), /output_tokens fell/],
    ['are negative', 'messages', EVENTS, delta('{"output_tokens":-1}'), /is no count/],
    ['are not finite', 'messages', EVENTS, delta('{"output_tokens":1e999}'), /cannot be read|is no count/],
    ['are no whole numbers', 'chat', JSON_TYPE, chat('{"prompt_tokens":1.5,"completion_tokens":1}'), /is no count/],
    ['are texts', 'chat', JSON_TYPE, chat('{"prompt_tokens":"1","completion_tokens":1}'), /is no count/],
    ['have a key that nobody knows', 'messages', EVENTS, delta('{"output_tokens":9,"new_tokens":1}'), /"new_tokens"/],
    [
      'have such a key one level deeper',
      'chat',
      JSON_TYPE,
      chat('{"prompt_tokens":1,"completion_tokens":1,"prompt_tokens_details":{"smell_tokens":0}}'),
      /"smell_tokens"/,
    ],
    [
      'are there twice',
      'chat',
      JSON_TYPE,
      '{"model":"m","usage":{"prompt_tokens":9},"usage":{"prompt_tokens":1}}',
      /twice/,
    ],
    [
      'are there twice, once escaped',
      'chat',
      JSON_TYPE,
      '{"model":"m","us\\u0061ge":{"prompt_tokens":9},"usage":{"prompt_tokens":1}}',
      /twice/,
    ],
    ['have a count twice', 'chat', JSON_TYPE, chat('{"prompt_tokens":9,"prompt_tokens":1}'), /cannot be read/],
    [
      'do not add up',
      'chat',
      JSON_TYPE,
      chat('{"prompt_tokens":5,"completion_tokens":1,"total_tokens":5}'),
      /total_tokens/,
    ],
    [
      'have a part above the whole',
      'chat',
      JSON_TYPE,
      chat('{"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":6}}'),
      /cached_tokens is above/,
    ],
    [
      'are of audio, which has no price',
      'chat',
      JSON_TYPE,
      chat('{"prompt_tokens":5,"prompt_tokens_details":{"audio_tokens":5}}'),
      /audio/,
    ],
    [
      'are of pictures that came out',
      'generateContent',
      JSON_TYPE,
      google(
        '{"promptTokenCount":1,"candidatesTokenCount":5,"candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":5}]}',
      ),
      /not only text/,
    ],
    [
      'name a tier that nobody knows',
      'responses',
      JSON_TYPE,
      '{"model":"m","service_tier":"ultrafast","usage":{"input_tokens":1,"output_tokens":1}}',
      /"ultrafast"/,
    ],
    [
      'name another model in an iteration',
      'messages',
      EVENTS,
      delta(
        '{"output_tokens":9,"iterations":[{"type":"advisor_message","model":"claude-opus-4-8","input_tokens":9,"output_tokens":9}]}',
      ),
      /another model/,
    ],
    [
      'add up to less in the iterations',
      'messages',
      EVENTS,
      delta('{"output_tokens":9,"iterations":[{"type":"message","input_tokens":1,"output_tokens":9}]}'),
      /less than/,
    ],
    ...(
      [
        [
          'divide the input otherwise',
          '"prompt_cache_hit_tokens":3,"prompt_cache_miss_tokens":1',
          /not the whole input/,
        ],
        [
          'name two numbers of hits',
          '"prompt_cache_hit_tokens":3,"prompt_cache_miss_tokens":2,"prompt_tokens_details":{"cached_tokens":2}',
          /is not prompt_cache_hit_tokens/,
        ],
        ['bill less than nothing', '"cost":-0.1', /cost is no amount/],
        ['bill a text', '"cost":"0.1"', /cost is no amount/],
        ['bill more than a million', '"cost":1e6', /cost is no amount/],
        [
          'do not say what the provider bills beside',
          '"cost":0.1,"is_byok":true',
          /upstream_inference_cost is no amount/,
        ],
        ['bill nothing by a key of its own', '"is_byok":true', /cost is missing/],
        ['tell of tools at the router', '"cost":0.1,"server_tool_use_details":{"tool_calls_executed":1}', /tools ran/],
        ['are of video', '"prompt_tokens_details":{"video_tokens":1}', /video/],
        ['are of pictures', '"completion_tokens_details":{"image_tokens":1}', /pictures/],
      ] as const
    ).map(([name, more, why]): [string, MeteredShape, string, string, RegExp] => {
      return [name, 'chat', JSON_TYPE, chat(`{"prompt_tokens":5,"completion_tokens":1,${more}}`), why]
    }),
    ['are in a list', 'chat', JSON_TYPE, '[{"model":"m","usage":{"prompt_tokens":1}}]', /list/],
    ['are in what is no JSON', 'chat', JSON_TYPE, '{"model":"m","usage":{"prompt_tokens":1}}}', /no JSON/],
    ['are in an event that is no JSON', 'chat', EVENTS, 'data: {"model":}\n\n', /no JSON/],
    ['are in a page', 'chat', 'text/html', '<html>', /neither JSON/],
    ['name no model', 'chat', JSON_TYPE, '{"usage":{"prompt_tokens":1}}', /no model/],
    ['name two models', 'chat', EVENTS, 'data: {"model":"a"}\n\ndata: {"model":"b"}\n\n', /two models/],
  ])('that %s', (_, shape, type, text, why) => {
    const outcome = whole(shape, type, text)
    expect(outcome.kind).toBe('odd')
    if (outcome.kind === 'odd') expect(outcome.why).toMatch(why)
  })

  test.each<[name: string, shape: MeteredShape, type: string, text: string]>([
    [
      'a stream that breaks off before its end',
      'messages',
      EVENTS,
      MESSAGES_STREAM.slice(0, MESSAGES_STREAM.indexOf('event: message_stop')),
    ],
    [
      'a stream of Chat Completions without its last word',
      'chat',
      EVENTS,
      CHAT_STREAM.replace('data: [DONE]\r\n\r\n', ''),
    ],
    [
      'a stream that nobody asked to tell usage',
      'chat',
      EVENTS,
      'data: {"model":"m","choices":[]}\n\ndata: [DONE]\n\n',
    ],
    ['a stream of Google that breaks off', 'generateContent', EVENTS, GEMINI_PARTS.slice(0, 2).map(line).join('')],
    ['a body that breaks off', 'chat', JSON_TYPE, '{"model":"m","usage":{"prompt_tokens":1},'],
    ['nothing', 'messages', JSON_TYPE, ''],
    ['an error', 'messages', JSON_TYPE, '{"type":"error","error":{"type":"overloaded_error"}}'],
    ['an error within a stream', 'messages', EVENTS, 'data: {"type":"error","error":{"type":"overloaded_error"}}\n\n'],
  ])('%s tells no usage, and that is not zero [E9]', (_, shape, type, text) => {
    expect(whole(shape, type, text)).toEqual({ kind: 'none' })
  })
})
