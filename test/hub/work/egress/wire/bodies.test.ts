/** Bodies for model servers: what passes, what is refused and with which code, and that the bytes sent are the bytes judged. */
import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { boundOf } from '../../../../../hub/work/egress/money/bounds.ts'
import { judgeBody, judgeBodyInTurns, judgeHead } from '../../../../../hub/work/egress/wire.ts'
import {
  JSON_HEADERS,
  judgeAt,
  kindOfRecorded,
  passedIn,
  recorded,
  recordedNames,
  refusalIn,
  sentBytes,
  type Target,
  upstreamOf,
} from '../../../../support/wire-requests.ts'

const MODEL = 'some-model'
const user = { role: 'user', content: 'hello' }
/** The smallest body of each endpoint that passes. */
const LEAST: Readonly<Record<Target, Record<string, unknown>>> = {
  messages: { model: MODEL, max_tokens: 100, messages: [user] },
  chat: { model: MODEL, messages: [user] },
  responses: { model: MODEL, input: 'hello' },
  embeddings: { model: MODEL, input: ['hello'] },
  generate: { contents: [{ role: 'user', parts: [{ text: 'hello' }] }] },
  stream: { contents: [{ role: 'user', parts: [{ text: 'hello' }] }] },
  embed: { content: { parts: [{ text: 'hello' }] } },
  embedBatch: { requests: [{ model: 'models/gemini-embedding-001', content: { parts: [{ text: 'hello' }] } }] },
  countMessages: { model: MODEL, messages: [user] },
  countResponses: { model: MODEL, input: 'hello' },
  countGenerate: { contents: [{ role: 'user', parts: [{ text: 'hello' }] }] },
}
const targets = Object.keys(LEAST) as Target[]
const withPart = (target: Target, part: object): Record<string, unknown> => {
  if (target === 'messages' || target === 'chat')
    return { ...LEAST[target], messages: [{ role: 'user', content: [part] }] }
  if (target === 'responses') return { ...LEAST[target], input: [{ role: 'user', content: [part] }] }
  return { ...LEAST[target], contents: [{ role: 'user', parts: [part] }] }
}
const withItem = (item: object) => ({ ...LEAST.responses, input: [item] })
const withTool = (target: Target, tool: object) => ({ ...LEAST[target], tools: [tool] })
const schema = { type: 'object', properties: { model: { type: 'string' }, file_id: { type: 'string' } } }

const REFUSED: readonly [why: string, target: Target, body: unknown, code: string][] = [
  // Tools that run at the provider, connectors.
  ['E21', 'messages', withTool('messages', { type: 'web_search_20250305', name: 'web_search' }), 'server_tool_refused'],
  ['E21', 'messages', withTool('messages', { type: 'web_fetch_20260318', name: 'web_fetch' }), 'server_tool_refused'],
  ['E21', 'messages', withTool('messages', { type: 'code_execution_20260521', name: 'x' }), 'server_tool_refused'],
  ['E21', 'messages', withTool('messages', { type: 'mcp_toolset', mcp_server_name: 'x' }), 'server_tool_refused'],
  ['E21', 'messages', withTool('messages', { type: 'tool_of_tomorrow', name: 'x' }), 'server_tool_refused'],
  ['E21', 'messages', withTool('messages', { type: 'Custom', name: 'x', input_schema: {} }), 'server_tool_refused'],
  ['E21', 'messages', { ...LEAST.messages, mcp_servers: [{ type: 'url', url: 'https://x' }] }, 'server_tool_refused'],
  [
    'E21',
    'messages',
    withPart('messages', { type: 'server_tool_use', id: 'a', name: 'web_search', input: {} }),
    'server_tool_refused',
  ],
  [
    'E21',
    'messages',
    withPart('messages', { type: 'web_fetch_tool_result', tool_use_id: 'a', content: {} }),
    'server_tool_refused',
  ],
  [
    'E21',
    'messages',
    withPart('messages', { type: 'mcp_tool_use', id: 'a', name: 'x', server_name: 'y', input: {} }),
    'server_tool_refused',
  ],
  [
    'E21',
    'messages',
    withPart('messages', {
      type: 'tool_addition',
      tool: { type: 'tool_definition', definition: { type: 'web_search_20250305', name: 'x' } },
    }),
    'server_tool_refused',
  ],
  [
    'E21',
    'messages',
    withTool('messages', { name: 'x', input_schema: {}, allowed_callers: ['code_execution_20260120'] }),
    'egress_denied',
  ],
  ['E21', 'chat', withTool('chat', { type: 'web_search' }), 'server_tool_refused'],
  ['E21', 'chat', { ...LEAST.chat, web_search_options: {} }, 'server_tool_refused'],
  ['E21', 'chat', { ...LEAST.chat, plugins: [{ id: 'web' }] }, 'egress_denied'],
  ['E21', 'responses', withTool('responses', { type: 'web_search' }), 'server_tool_refused'],
  [
    'E21',
    'responses',
    withTool('responses', { type: 'mcp', server_label: 'x', server_url: 'https://x' }),
    'server_tool_refused',
  ],
  [
    'E21',
    'responses',
    withTool('responses', { type: 'code_interpreter', container: { type: 'auto' } }),
    'server_tool_refused',
  ],
  ['E21', 'responses', withTool('responses', { type: 'image_generation' }), 'server_tool_refused'],
  ['E21', 'responses', withTool('responses', { type: 'programmatic_tool_calling' }), 'server_tool_refused'],
  ['E21', 'responses', withTool('responses', { type: 'shell' }), 'server_tool_refused'],
  [
    'E21',
    'responses',
    withTool('responses', { type: 'shell', environment: { type: 'container_auto' } }),
    'server_tool_refused',
  ],
  ['E21', 'responses', withTool('responses', { type: 'tool_search' }), 'server_tool_refused'],
  [
    'E21',
    'responses',
    withTool('responses', { type: 'namespace', name: 'n', description: 'd', tools: [{ type: 'mcp' }] }),
    'egress_denied',
  ],
  [
    'E21',
    'responses',
    withItem({ type: 'additional_tools', role: 'developer', tools: [{ type: 'web_search' }] }),
    'server_tool_refused',
  ],
  [
    'E21',
    'responses',
    withItem({ type: 'mcp_call', id: 'a', server_label: 'x', name: 'y', arguments: '{}' }),
    'server_tool_refused',
  ],
  ['E21', 'generate', withTool('generate', { googleSearch: {} }), 'server_tool_refused'],
  ['E21', 'generate', withTool('generate', { urlContext: {} }), 'server_tool_refused'],
  ['E21', 'generate', withTool('generate', { codeExecution: {} }), 'server_tool_refused'],
  ['E21', 'generate', withTool('generate', { mcpServers: [{ name: 'x' }] }), 'server_tool_refused'],
  ['E21', 'generate', withTool('generate', { google_search: {} }), 'server_tool_refused'],
  ['E21', 'generate', withTool('generate', { functionDeclarations: [], googleMaps: {} }), 'server_tool_refused'],
  // Content that the provider would fetch.
  [
    'E21',
    'messages',
    withPart('messages', { type: 'image', source: { type: 'url', url: 'https://x/a.png' } }),
    'egress_denied',
  ],
  [
    'E21',
    'messages',
    withPart('messages', { type: 'document', source: { type: 'url', url: 'https://x/a.pdf' } }),
    'egress_denied',
  ],
  [
    'E21',
    'messages',
    withPart('messages', {
      type: 'tool_result',
      tool_use_id: 'a',
      content: [{ type: 'image', source: { type: 'url', url: 'https://x' } }],
    }),
    'egress_denied',
  ],
  [
    'E21',
    'messages',
    withPart('messages', {
      type: 'document',
      source: { type: 'content', content: [{ type: 'image', source: { type: 'url', url: 'https://x' } }] },
    }),
    'egress_denied',
  ],
  ['E21', 'chat', withPart('chat', { type: 'image_url', image_url: { url: 'https://x/a.png' } }), 'egress_denied'],
  [
    'E21',
    'chat',
    withPart('chat', { type: 'image_url', image_url: { url: ' data:image/png;base64,AA==' } }),
    'egress_denied',
  ],
  [
    'E21',
    'chat',
    withPart('chat', { type: 'image_url', image_url: { url: 'data:text/uri-list,https://x' } }),
    'egress_denied',
  ],
  ['E21', 'chat', withPart('chat', { type: 'video_url', video_url: { url: 'https://x' } }), 'egress_denied'],
  ['E21', 'responses', withPart('responses', { type: 'input_image', image_url: 'https://x/a.png' }), 'egress_denied'],
  ['E21', 'responses', withPart('responses', { type: 'input_file', file_url: 'https://x/a.pdf' }), 'egress_denied'],
  [
    'E21',
    'responses',
    withItem({ type: 'function_call_output', call_id: 'a', output: [{ type: 'input_image', image_url: 'https://x' }] }),
    'egress_denied',
  ],
  [
    'E21',
    'responses',
    withItem({
      type: 'computer_call_output',
      call_id: 'a',
      output: { type: 'computer_screenshot', image_url: 'https://x' },
    }),
    'egress_denied',
  ],
  // What is stored at the provider.
  ['E22', 'messages', { ...LEAST.messages, container: 'container_1' }, 'stored_reference_refused'],
  ['E22', 'messages', { ...LEAST.messages, thread: { id: 'x' } }, 'stored_reference_refused'],
  ['E22', 'messages', { ...LEAST.messages, diagnostics: { previous_message_id: 'msg_1' } }, 'stored_reference_refused'],
  [
    'E22',
    'messages',
    withPart('messages', { type: 'image', source: { type: 'file', file_id: 'file_1' } }),
    'stored_reference_refused',
  ],
  [
    'E22',
    'messages',
    withPart('messages', { type: 'document', source: { type: 'file', file_id: 'file_1' } }),
    'stored_reference_refused',
  ],
  [
    'E22',
    'messages',
    withPart('messages', { type: 'container_upload', file_id: 'file_1' }),
    'stored_reference_refused',
  ],
  ['E22', 'chat', withPart('chat', { type: 'file', file: { file_id: 'file_1' } }), 'stored_reference_refused'],
  [
    'E22',
    'chat',
    { ...LEAST.chat, messages: [{ role: 'assistant', audio: { id: 'audio_1' } }] },
    'stored_reference_refused',
  ],
  ['E22', 'responses', { ...LEAST.responses, previous_response_id: 'resp_1' }, 'stored_reference_refused'],
  ['E22', 'responses', { ...LEAST.responses, conversation: 'conv_1' }, 'stored_reference_refused'],
  ['E22', 'responses', { ...LEAST.responses, prompt: { id: 'pmpt_1' } }, 'stored_reference_refused'],
  ['E22', 'responses', withItem({ type: 'item_reference', id: 'msg_1' }), 'stored_reference_refused'],
  ['E22', 'responses', withItem({ id: 'msg_1' }), 'stored_reference_refused'],
  ['E22', 'responses', withPart('responses', { type: 'input_file', file_id: 'file_1' }), 'stored_reference_refused'],
  ['E22', 'responses', withPart('responses', { type: 'input_image', file_id: 'file_1' }), 'stored_reference_refused'],
  ['E22', 'countResponses', { ...LEAST.countResponses, previous_response_id: 'resp_1' }, 'stored_reference_refused'],
  ['E22', 'generate', { ...LEAST.generate, cachedContent: 'cachedContents/1' }, 'stored_reference_refused'],
  ['E22', 'generate', withPart('generate', { fileData: { fileUri: 'files/1' } }), 'stored_reference_refused'],
  [
    'E22',
    'generate',
    withPart('generate', { functionResponse: { name: 'f', response: {}, parts: [{ fileData: { fileUri: 'x' } }] } }),
    'stored_reference_refused',
  ],
  [
    'E22',
    'countGenerate',
    { generateContentRequest: { ...LEAST.generate, cachedContent: 'cachedContents/1' } },
    'stored_reference_refused',
  ],
  ['E22', 'responses', { ...LEAST.responses, background: true }, 'egress_denied'],
  // Models: missing, odd, or in a place of their own.
  ['E7', 'messages', { ...LEAST.messages, model: undefined }, 'schema_invalid'],
  ['E7', 'messages', { ...LEAST.messages, model: null }, 'schema_invalid'],
  ['E7', 'chat', { ...LEAST.chat, model: ['a', 'b'] }, 'schema_invalid'],
  ['E7', 'chat', { ...LEAST.chat, model: '' }, 'schema_invalid'],
  ['E7', 'chat', { ...LEAST.chat, model: ' gpt' }, 'schema_invalid'],
  ['E7', 'chat', { ...LEAST.chat, model: 'gpt\n' }, 'schema_invalid'],
  ['E7', 'chat', { ...LEAST.chat, Model: 'dear' }, 'egress_denied'],
  ['E7', 'chat', { ...LEAST.chat, models: ['dear'] }, 'egress_denied'],
  ['E7', 'chat', { ...LEAST.chat, route: 'fallback' }, 'egress_denied'],
  ['E7', 'messages', { ...LEAST.messages, fallbacks: [{ model: 'dear' }] }, 'egress_denied'],
  ['E7', 'messages', { ...LEAST.messages, messages: [{ ...user, model: 'dear' }] }, 'egress_denied'],
  ['E7', 'generate', { ...LEAST.generate, model: 'models/dear' }, 'egress_denied'],
  ['E7', 'generate', { ...LEAST.generate, generationConfig: { routingConfig: {} } }, 'egress_denied'],
  ['E7', 'embed', { ...LEAST.embed, model: 'models/dear' }, 'egress_denied'],
  ['E7', 'embedBatch', { requests: [{ model: 'models/dear', content: { parts: [] } }] }, 'egress_denied'],
  // Two readings of one body.
  ['E23', 'chat', '{"model":"cheap","model":"dear","messages":[]}', 'schema_invalid'],
  ['E23', 'chat', '{"model":"cheap","mod\\u0065l":"dear","messages":[]}', 'schema_invalid'],
  ['E23', 'chat', '{"model":"cheap","messages":[]}{"model":"dear"}', 'schema_invalid'],
  ['E23', 'chat', '[{"model":"cheap","messages":[]}]', 'schema_invalid'],
  ['E23', 'chat', { ...LEAST.chat, max_tokens: 5, max_completion_tokens: 5 }, 'schema_invalid'],
  ['E23', 'chat', '{"model":"m","messages":[],"max_tokens":1e2}', 'schema_invalid'],
  ['E23', 'chat', '{"model":"m","messages":[],"max_tokens":5.0}', 'schema_invalid'],
  ['E23', 'chat', '{"model":"m","messages":[],"max_tokens":-5}', 'schema_invalid'],
  ['E23', 'chat', '{"model":"m","messages":[],"max_tokens":"5"}', 'schema_invalid'],
  ['E23', 'chat', '{"model":"m","messages":[],"max_tokens":99999999999999999999}', 'schema_invalid'],
  ['E23', 'chat', { ...LEAST.chat, n: 0 }, 'schema_invalid'],
  // Of none asked for nothing is reserved, and servers that take 0 for no cap write as much as they can.
  ['E23', 'chat', { ...LEAST.chat, max_tokens: 0 }, 'schema_invalid'],
  ['E23', 'chat', { ...LEAST.chat, max_completion_tokens: 0 }, 'schema_invalid'],
  ['E23', 'responses', { ...LEAST.responses, max_output_tokens: 0 }, 'schema_invalid'],
  ['E23', 'generate', { ...LEAST.generate, generationConfig: { maxOutputTokens: 0 } }, 'schema_invalid'],
  ['E23', 'chat', { ...LEAST.chat, n: 1000 }, 'schema_invalid'],
  ['E23', 'chat', { ...LEAST.chat, stream: 'true' }, 'schema_invalid'],
  ['E23', 'generate', { ...LEAST.generate, generation_config: { maxOutputTokens: 5 } }, 'egress_denied'],
  ['E23', 'generate', { ...LEAST.generate, system_instruction: { parts: [] } }, 'egress_denied'],
  ['E23', 'generate', withPart('generate', { file_data: { file_uri: 'files/1' } }), 'egress_denied'],
  ['E23', 'generate', { ...LEAST.generate, generationConfig: { max_output_tokens: 5 } }, 'egress_denied'],
  [
    'E23',
    'messages',
    withPart('messages', { type: 'text', text: 'a', source: { type: 'url', url: 'https://x' } }),
    'egress_denied',
  ],
  ['E23', 'messages', withPart('messages', { type: 'block_of_tomorrow' }), 'server_tool_refused'],
  ['E23', 'responses', withItem({ type: 'item_of_tomorrow' }), 'server_tool_refused'],
  // What costs and has no price.
  ['surcharge', 'messages', { ...LEAST.messages, cache_control: { type: 'ephemeral', ttl: '24h' } }, 'egress_denied'],
  [
    'surcharge',
    'messages',
    { ...LEAST.messages, context_management: { edits: [{ type: 'compact_20260112' }] } },
    'egress_denied',
  ],
  ['surcharge', 'chat', { ...LEAST.chat, modalities: ['audio'] }, 'egress_denied'],
  ['surcharge', 'chat', { ...LEAST.chat, service_tier: 'tier_of_tomorrow' }, 'egress_denied'],
  [
    'surcharge',
    'generate',
    { ...LEAST.generate, generationConfig: { responseModalities: ['IMAGE'] } },
    'egress_denied',
  ],
  ['surcharge', 'responses', { ...LEAST.responses, context_management: [] }, 'egress_denied'],
]

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
        user,
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
        user,
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
  it.each(targets)('passes in its least form: %s', (target) => {
    const judged = passedIn(judgeAt(target, LEAST[target]))
    expect(judged).toMatchObject({ choices: 1, surcharges: [], inputBytes: JSON.stringify(LEAST[target]).length })
    expect(judged.model).not.toBe('')
  })

  it.each(PASSED)('passes with what is on the lists, and says what counts: %s %j', (target, body, facts) => {
    expect(passedIn(judgeAt(target, body))).toMatchObject(facts)
  })

  it.each(REFUSED)('%s is refused: %s %j -> %s', (_, target, body, code) => {
    const { code: given, detail } = refusalIn(judgeAt(target, body))
    expect(`${given} ${detail}`).toMatch(new RegExp(`^${code} `))
    expect(detail.length).toBeLessThan(400)
  })

  it.each(targets)('E7, E22, E23: takes no field that is not listed, at any place: %s', (target) => {
    const objects: [string, Record<string, unknown>][] = []
    const whole = structuredClone(LEAST[target])
    const walk = (value: unknown, path: string) => {
      if (Array.isArray(value)) for (const [at, item] of value.entries()) walk(item, `${path}[${at}]`)
      else if (typeof value === 'object' && value !== null) {
        objects.push([path, value as Record<string, unknown>])
        for (const [key, item] of Object.entries(value)) walk(item, `${path}.${key}`)
      }
    }
    walk(whole, '')
    for (const [path, each] of objects)
      for (const name of ['field_of_tomorrow', 'Model', 'hasOwnProperty', 'toString', '__proto__']) {
        Object.defineProperty(each, name, { value: 'x', enumerable: true, configurable: true })
        expect(refusalIn(judgeAt(target, whole)).code, `${path} ${name}`).toBe('egress_denied')
        delete each[name]
      }
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

  it.each(['claude-code', 'codex', 'gemini'])(
    'knows the second request of %s as a longer form of its first',
    (name) => {
      const judge = (which: string) => {
        const { method, target, headers, body } = recorded(`${name}-${which}`)
        const upstream = upstreamOf(kindOfRecorded(name))
        return passedIn(
          judgeBody(
            upstream,
            passedIn(judgeHead(upstream, { method, target, headers })),
            Buffer.from(JSON.stringify(body)),
          ),
        )
      }
      const [first, second] = [judge('first'), judge('second')]
      const found = second.prefixes.find(({ hash }) => hash === first.prefixes[0]?.hash)
      expect(found?.restBytes).toBeGreaterThan(100)
      expect(found?.restBytes).toBeLessThan(1000)
      expect(first.prefixes[0]?.restBytes).toBe(0)
    },
  )

  it('takes a request for no beginning of another if anything that the model reads differs', () => {
    const [one, two] = [
      { role: 'user', content: 'one' },
      { role: 'assistant', content: 'two' },
    ]
    const first = { ...LEAST.messages, system: 's', tools: [{ name: 'f', input_schema: {} }], messages: [one] }
    const longer = { ...first, messages: [one, two] }
    const isBeginning = (other: object) => {
      const hash = passedIn(judgeAt('messages', first)).prefixes[0]?.hash
      return passedIn(judgeAt('messages', other)).prefixes.some((each) => each.hash === hash)
    }
    expect(isBeginning(longer)).toBe(true)
    expect(isBeginning({ ...longer, max_tokens: 7, metadata: { user_id: 'x' }, stream: true })).toBe(true)
    expect(isBeginning({ ...longer, system: 's2' })).toBe(false)
    expect(isBeginning({ ...longer, tools: [...first.tools, { name: 'g', input_schema: {} }] })).toBe(false)
    expect(isBeginning({ ...longer, messages: [{ ...one, content: 'other' }, two] })).toBe(false)
    expect(isBeginning({ ...longer, messages: [two, one] })).toBe(false)
    expect(isBeginning({ ...longer, model: 'other' })).toBe(false)
    const hashAt = (model: string) => {
      const [upstream, target] = [upstreamOf('google'), `/v1beta/models/${model}:generateContent`]
      const head = passedIn(judgeHead(upstream, { method: 'POST', target, headers: JSON_HEADERS }))
      return passedIn(judgeBody(upstream, head, Buffer.from(JSON.stringify(LEAST.generate)))).prefixes[0]?.hash
    }
    expect(hashAt('a')).toBe(hashAt('a'))
    expect(hashAt('a')).not.toBe(hashAt('b'))
  })

  it('refuses a body above the limit of its upstream, and one of too many values, without reading on', () => {
    expect(refusalIn(judgeAt('chat', LEAST.chat, { bodyBytesMax: 20 })).detail).toContain('upstreams.up.bodyBytes')
    expect(refusalIn(judgeAt('embeddings', { ...LEAST.embeddings, input: Array(100_001).fill(1) })).code).toBe(
      'too_large',
    )
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

describe('the body that is sent', () => {
  const CAPPED: readonly [Target, string, string, boolean][] = [
    [
      'messages',
      '{"model":"m", "max_tokens" : 128000,"messages":[]}',
      '{"model":"m", "max_tokens" : 500,"messages":[]}',
      true,
    ],
    ['messages', '{"model":"m","max_tokens":500,"messages":[]}', '{"model":"m","max_tokens":500,"messages":[]}', false],
    ['messages', '{"model":"m","messages":[]}', '{"max_tokens":500,"model":"m","messages":[]}', true],
    [
      'chat',
      '{"model":"m","messages":[]}',
      '{"max_completion_tokens":500,"store":false,"model":"m","messages":[]}',
      true,
    ],
    [
      'chat',
      '{"model":"m","messages":[],"max_tokens":501}',
      '{"store":false,"model":"m","messages":[],"max_tokens":500}',
      true,
    ],
    [
      'chat',
      '{"model":"m","messages":[],"max_tokens":null,"store":true}',
      '{"max_completion_tokens":500,"model":"m","messages":[],"max_tokens":null,"store":false}',
      true,
    ],
    [
      'chat',
      '{"model":"m","messages":[],"max_tokens":9,"stream":true}',
      '{"store":false,"stream_options":{"include_usage":true},"model":"m","messages":[],"max_tokens":9,"stream":true}',
      false,
    ],
    [
      'chat',
      '{"model":"m","messages":[],"max_tokens":9,"store":null,"stream":true,"stream_options":{"include_usage":false}}',
      '{"model":"m","messages":[],"max_tokens":9,"store":false,"stream":true,"stream_options":{"include_usage":true}}',
      false,
    ],
    [
      'chat',
      '{"model":"m","messages":[],"max_tokens":9,"store":false,"stream":true,"stream_options":{}}',
      '{"model":"m","messages":[],"max_tokens":9,"store":false,"stream":true,"stream_options":{"include_usage":true}}',
      false,
    ],
    [
      'chat',
      '{"model":"m","messages":[],"max_tokens":9,"store":false,"stream":true,"stream_options":null}',
      '{"model":"m","messages":[],"max_tokens":9,"store":false,"stream":true,"stream_options":{"include_usage":true}}',
      false,
    ],
    [
      'responses',
      '{"model":"m","input":"x","store":true}',
      '{"max_output_tokens":500,"model":"m","input":"x","store":false}',
      true,
    ],
    ['generate', '{"contents":[]}', '{"generationConfig":{"maxOutputTokens":500},"contents":[]}', true],
    ['generate', '{}', '{"generationConfig":{"maxOutputTokens":500}}', true],
    ['generate', '{"generationConfig":{ }}', '{"generationConfig":{"maxOutputTokens":500 }}', true],
    [
      'generate',
      '{"generationConfig":{"topK":1,"maxOutputTokens":9000},"store":true}',
      '{"generationConfig":{"topK":1,"maxOutputTokens":500},"store":false}',
      true,
    ],
    ['embeddings', '{"model":"m","input":"x"}', '{"model":"m","input":"x"}', false],
    ['countMessages', '{"model":"m","messages":[]}', '{"model":"m","messages":[]}', false],
  ]
  it.each(CAPPED)('has its cap, and else the bytes that came: %s %s', (target, body, sent, clamped) => {
    const judged = passedIn(judgeAt(target, body))
    expect(sentBytes(judged, 500).toString()).toBe(sent)
    expect(judged.withCap(500)).toMatchObject({ clamped, length: sent.length })
  })

  it('keeps numbers beyond 2^53, escapes and spaces as they came', () => {
    const body =
      '{ "model":"m","messages":[{"role":"user","content":"\\u00e9\\/é \\n"}],\n"tools":[{"name":"f","input_schema":{"maximum":18446744073709551615,"x":1.50}}],"max_tokens":9000}'
    expect(sentBytes(passedIn(judgeAt('messages', body)), 5).toString()).toBe(body.replace('9000', '5'))
  })

  it("caps a server of one's own by the name that it knows", () => {
    expect(sentBytes(passedIn(judgeAt('chat', LEAST.chat, { local: true })), 5).toString()).toMatch(
      /^\{"max_tokens":5,/,
    )
  })

  it('is none where a thinking budget is not below the cap: that is refused by name', () => {
    const thinking = passedIn(
      judgeAt('messages', { ...LEAST.messages, max_tokens: 9000, thinking: { type: 'enabled', budget_tokens: 5000 } }),
    )
    expect(refusalIn(thinking.withCap(5000)).detail).toContain('thinking budget of 5000 tokens')
    expect(passedIn(thinking.withCap(5001)).clamped).toBe(true)
    const budget = { ...LEAST.generate, generationConfig: { thinkingConfig: { thinkingBudget: 600 } } }
    expect(refusalIn(passedIn(judgeAt('generate', budget)).withCap(500)).code).toBe('limit_exceeded')
  })

  const cap = fc.constantFrom<unknown>(null, 1, 2048, 99_999, 300, 4000, -1)
  const flag = fc.constantFrom<unknown>(true, true, false, null)
  const fields = fc.record(
    {
      ...{ model: fc.constantFrom<unknown>('m', 'n', 'o', null), max_tokens: cap, max_completion_tokens: cap },
      ...{
        store: flag,
        stream: flag,
        n: fc.constantFrom<unknown>(1, 2, 3, null, 0),
        user: fc.string({ maxLength: 3 }),
      },
      stream_options: fc.constantFrom<unknown>(null, {}, { include_usage: false }, { include_usage: null }, []),
    },
    { requiredKeys: [] },
  )
  const written = fc.constantFrom(undefined, 1, '\t')
  const bent = fc.record({
    at: fc.nat(),
    put: fc.constantFrom('', '"', ',', '{', '}', '0', 'e', '\\', '\n', '"model":"dear",'),
  })

  it('E23: what JSON.parse reads of the bytes sent is what was judged, with the cap, store and usage and nothing else changed', () => {
    let passed = 0
    fc.assert(
      fc.property(
        fields,
        written,
        fc.option(bent, { freq: 1 }),
        fc.integer({ min: 1, max: 5000 }),
        (changes, indent, bend, most) => {
          const whole = JSON.stringify({ ...LEAST.chat, ...changes }, null, indent)
          const at = bend === null ? 0 : bend.at % whole.length
          const text = bend === null ? whole : whole.slice(0, at) + bend.put + whole.slice(at)
          const judged = judgeAt('chat', text)
          if ('code' in judged) return
          passed += 1
          const [before, sent] = [JSON.parse(text), JSON.parse(sentBytes(judged, most).toString())]
          expect(sent.model).toBe(judged.model)
          expect(sent.store).toBe(false)
          const caps = [sent.max_tokens, sent.max_completion_tokens].filter((each) => typeof each === 'number')
          expect(caps).toEqual([Math.min(most, judged.askedOutput ?? most)])
          if (judged.stream) expect(sent.stream_options.include_usage).toBe(true)
          const changed = ['store', 'max_tokens', 'max_completion_tokens', ...(judged.stream ? ['stream_options'] : [])]
          for (const name of changed) for (const each of [before, sent]) delete each[name]
          expect(sent).toEqual(before)
        },
      ),
      { numRuns: 2000 },
    )
    expect(passed).toBeGreaterThan(200)
  })

  const odd = fc.oneof(
    fc.constantFrom<unknown>(
      null,
      true,
      0,
      -1,
      1.5,
      '',
      'x',
      [],
      {},
      [null],
      { type: 'text' },
      { type: null },
      { type: [] },
      [[]],
      { text: {} },
    ),
    fc.json({ maxDepth: 2 }).map((text) => JSON.parse(text) as unknown),
  )
  it.each(recordedNames())('E23: is judged without a fault whatever stands where: %s', (name) => {
    const { method, target, headers, body } = recorded(name)
    const upstream = upstreamOf(kindOfRecorded(name))
    const head = passedIn(judgeHead(upstream, { method, target, headers }))
    fc.assert(
      fc.property(fc.array(fc.nat(), { minLength: 1, maxLength: 9 }), odd, fc.boolean(), (steps, value, adds) => {
        const whole = structuredClone(body)
        let at: Record<string, unknown> = whole
        for (const step of steps) {
          const keys = Object.keys(at)
          const key = keys[step % Math.max(keys.length, 1)] ?? 'x'
          const next = at[key]
          if (typeof next !== 'object' || next === null || step === steps.at(-1)) {
            at[adds ? 'model' : key] = structuredClone(value)
            break
          }
          at = next as Record<string, unknown>
        }
        const judged = judgeBody(upstream, head, Buffer.from(JSON.stringify(whole)))
        if ('code' in judged) return
        const [before, sent] = [JSON.parse(JSON.stringify(whole)), JSON.parse(sentBytes(judged, 99_999).toString())]
        for (const each of [before, sent])
          for (const changed of ['store', 'max_tokens', 'max_output_tokens', 'generationConfig']) delete each[changed]
        expect(sent).toEqual(before)
      }),
      { numRuns: 300 },
    )
  })
})
