/** The shape of OpenAI's Chat Completions. */
import type { Counted } from './turn.ts'
import { data, piecesOf, textOf, type WireShape } from './wire-shape.ts'

interface Message {
  role: string
  content: unknown
}

const usageOf = ({ told, odd }: Counted) =>
  told === undefined
    ? undefined
    : {
        prompt_tokens: told.input,
        completion_tokens: told.output,
        total_tokens: told.input + told.output,
        prompt_tokens_details: { cached_tokens: told.cacheRead, audio_tokens: 0 },
        completion_tokens_details: { reasoning_tokens: told.reasoning, audio_tokens: 0 },
        ...odd,
      }
const stopOf = ({ isCut, calls }: Counted) => (isCut ? 'length' : calls.length > 0 ? 'tool_calls' : 'stop')
const callsOf = ({ calls }: Counted) =>
  calls.map(({ id, name, input }) => ({ id, type: 'function', function: { name, arguments: JSON.stringify(input) } }))

export const chat: WireShape = {
  read(body) {
    const all = (body.messages ?? []) as Message[]
    const lastOfModel = all.findLastIndex(({ role }) => role === 'assistant')
    return {
      model: String(body.model),
      stream: body.stream === true,
      cap: (body.max_completion_tokens ?? body.max_tokens) as number | undefined,
      text: textOf(all.findLast(({ role }) => role === 'user')?.content ?? ''),
      results: all
        .slice(lastOfModel + 1)
        .filter(({ role }) => role === 'tool')
        .map(({ content }) => textOf(content)),
      turn: all.filter(({ role }) => role === 'assistant').length,
      tools: ((body.tools ?? []) as { function: { name: string } }[]).map((tool) => tool.function.name),
      body,
    }
  },
  whole: (counted, serial) => ({
    id: `chatcmpl-${serial}`,
    object: 'chat.completion',
    created: 1_790_000_000,
    model: counted.model,
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant',
          content: counted.text === '' ? null : counted.text,
          ...(counted.calls.length > 0 ? { tool_calls: callsOf(counted) } : {}),
        },
        finish_reason: stopOf(counted),
      },
    ],
    usage: usageOf(counted),
  }),
  events(counted, serial) {
    const chunk = (choices: unknown[], more: object = {}) =>
      data({
        ...{ id: `chatcmpl-${serial}`, object: 'chat.completion.chunk', created: 1_790_000_000, model: counted.model },
        choices,
        ...more,
      })
    const delta = (value: object, stop: string | null = null) =>
      chunk([{ index: 0, delta: value, finish_reason: stop }])
    const usage = usageOf(counted)
    return [
      delta({ role: 'assistant', content: '' }),
      ...piecesOf(counted.text).map((content) => delta({ content })),
      ...callsOf(counted).map((call, index) => delta({ tool_calls: [{ index, ...call }] })),
      delta({}, stopOf(counted)),
      // As the provider does it: in a chunk of its own, and only where it was asked for.
      ...(usage === undefined ? [] : [chunk([], { usage })]),
      'data: [DONE]\n\n',
    ]
  },
  counted: (tokens) => ({ input_tokens: tokens }),
  failure: (status, text) => ({
    error: { message: text, type: status === 429 ? 'insufficient_quota' : 'server_error', param: null, code: null },
  }),
}
