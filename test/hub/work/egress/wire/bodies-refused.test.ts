/** Bodies for model servers that are refused, each with its code: fields, tools, content and references that are on no list, and what is too large. */
import { describe, expect, it } from 'vitest'
import { LEAST, TARGETS, USER, withItem, withPart, withTool } from '../../../../support/wire-bodies.ts'
import { judgeAt, refusalIn, type Target } from '../../../../support/wire-requests.ts'

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
  ['E7', 'messages', { ...LEAST.messages, messages: [{ ...USER, model: 'dear' }] }, 'egress_denied'],
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

describe('a body for a model server', () => {
  it.each(REFUSED)('E21, E22: %s is refused: %s %j -> %s', (_, target, body, code) => {
    const { code: given, detail } = refusalIn(judgeAt(target, body))
    expect(`${given} ${detail}`).toMatch(new RegExp(`^${code} `))
    expect(detail.length).toBeLessThan(400)
  })

  it.each(TARGETS)('E7, E22, E23: takes no field that is not listed, at any place: %s', (target) => {
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

  it('refuses a body above the limit of its upstream, and one of too many values, without reading on', () => {
    expect(refusalIn(judgeAt('chat', LEAST.chat, { bodyBytesMax: 20 })).detail).toContain('upstreams.up.bodyBytes')
    expect(refusalIn(judgeAt('embeddings', { ...LEAST.embeddings, input: Array(100_001).fill(1) })).code).toBe(
      'too_large',
    )
  })
})
