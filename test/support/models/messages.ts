/** The shape of Anthropic's Messages: what is asked, and the answer whole or as server-sent events. */
import type { Ask, Counted } from './turn.ts'
import { sse, textOf, type WireShape } from './wire-shape.ts'

interface Block {
  type: string
  text?: string
  content?: unknown
}
interface Message {
  role: string
  content: string | Block[]
}
const blocksOf = ({ content }: Message): Block[] =>
  typeof content === 'string' ? [{ type: 'text', text: content }] : content

const usageOf = ({ told, odd }: Counted) =>
  told === undefined
    ? undefined
    : {
        input_tokens: told.input,
        cache_creation_input_tokens: told.cacheWrite,
        cache_read_input_tokens: told.cacheRead,
        cache_creation: { ephemeral_5m_input_tokens: told.cacheWrite, ephemeral_1h_input_tokens: 0 },
        output_tokens: told.output,
        service_tier: 'standard',
        ...odd,
      }
const stopOf = ({ isCut, calls }: Counted) => (isCut ? 'max_tokens' : calls.length > 0 ? 'tool_use' : 'end_turn')
const contentOf = ({ text, calls }: Counted) => [
  ...(text === '' ? [] : [{ type: 'text', text }]),
  ...calls.map(({ id, name, input }) => ({ type: 'tool_use', id, name, input })),
]

export const messages: WireShape = {
  read(body): Omit<Ask, 'inputTokens' | 'shape'> {
    const all = (body.messages ?? []) as Message[]
    const last = all.at(-1)
    const blocks = last === undefined ? [] : blocksOf(last)
    return {
      model: String(body.model),
      stream: body.stream === true,
      cap: body.max_tokens as number | undefined,
      text: blocks.findLast(({ type }) => type === 'text')?.text ?? '',
      results: blocks.filter(({ type }) => type === 'tool_result').map(({ content }) => textOf(content)),
      turn: all.filter(({ role }) => role === 'assistant').length,
      tools: ((body.tools ?? []) as { name: string }[]).map(({ name }) => name),
      body,
    }
  },
  whole: (counted, serial) => ({
    id: `msg_${serial}`,
    type: 'message',
    role: 'assistant',
    model: counted.model,
    content: contentOf(counted),
    stop_reason: stopOf(counted),
    stop_sequence: null,
    usage: usageOf(counted),
  }),
  events(counted, serial) {
    const usage = usageOf(counted)
    const start = usage && { ...usage, output_tokens: 1 }
    const blocks = contentOf(counted).flatMap((block, index) => [
      sse('content_block_start', {
        index,
        content_block: 'text' in block ? { type: 'text', text: '' } : { ...block, input: {} },
      }),
      ...(('text' in block
        ? block.text.match(/[\s\S]{1,24}/g)?.map((text) => ({ type: 'text_delta', text }))
        : [{ type: 'input_json_delta', partial_json: JSON.stringify(block.input) }]
      )?.map((delta) => sse('content_block_delta', { index, delta })) ?? []),
      sse('content_block_stop', { index }),
    ])
    return [
      sse('message_start', {
        message: {
          ...{ id: `msg_${serial}`, type: 'message', role: 'assistant', model: counted.model, content: [] },
          ...{ stop_reason: null, stop_sequence: null, usage: start },
        },
      }),
      sse('ping', {}),
      ...blocks,
      sse('message_delta', { delta: { stop_reason: stopOf(counted), stop_sequence: null }, usage }),
      sse('message_stop', {}),
    ]
  },
  counted: (tokens) => ({ input_tokens: tokens }),
  failure: (status, text) => ({
    type: 'error',
    error: {
      type: status === 429 ? 'rate_limit_error' : status === 529 ? 'overloaded_error' : 'api_error',
      message: text,
    },
    request_id: 'req_0',
  }),
}
