/** The shape of OpenAI's Responses. */
import { chat } from './chat.ts'
import type { Counted } from './turn.ts'
import { piecesOf, sse, textOf, type WireShape } from './wire-shape.ts'

interface Item {
  type?: string
  role?: string
  content?: unknown
  output?: unknown
}
const itemsOf = (input: unknown): Item[] =>
  typeof input === 'string' ? [{ role: 'user', content: input }] : ((input ?? []) as Item[])
const isOfModel = ({ type, role }: Item) =>
  role === 'assistant' || type === 'function_call' || type === 'custom_tool_call'
const isResult = ({ type }: Item) => type === 'function_call_output' || type === 'custom_tool_call_output'

const usageOf = ({ told, odd }: Counted) =>
  told === undefined
    ? null
    : {
        input_tokens: told.input,
        input_tokens_details: { cached_tokens: told.cacheRead },
        output_tokens: told.output,
        output_tokens_details: { reasoning_tokens: told.reasoning },
        total_tokens: told.input + told.output,
        ...odd,
      }

function outputOf({ text, calls }: Counted, serial: number) {
  const said = {
    ...{ type: 'message', id: `msg_${serial}`, status: 'completed', role: 'assistant' },
    content: [{ type: 'output_text', text, annotations: [], logprobs: [] }],
  }
  return [
    ...(text === '' ? [] : [said]),
    ...calls.map(({ id, name, input, namespace }, at) => ({
      ...{ type: 'function_call', id: `fc_${serial}_${at}`, call_id: id, status: 'completed', name },
      ...(namespace === undefined ? {} : { namespace }),
      arguments: JSON.stringify(input),
    })),
  ]
}

const responseOf = (counted: Counted, serial: number, status: string, output: unknown[], usage: unknown) => ({
  ...{ id: `resp_${serial}`, object: 'response', created_at: 1_790_000_000, status, model: counted.model, output },
  ...{
    error: null,
    incomplete_details: counted.isCut && status !== 'in_progress' ? { reason: 'max_output_tokens' } : null,
  },
  ...{
    instructions: null,
    metadata: {},
    parallel_tool_calls: true,
    temperature: 1,
    tool_choice: 'auto',
    tools: [],
    top_p: 1,
  },
  ...{ store: false, usage },
})
const statusOf = ({ isCut }: Counted) => (isCut ? 'incomplete' : 'completed')

export const responses: WireShape = {
  read(body) {
    const all = itemsOf(body.input)
    const lastOfModel = all.findLastIndex(isOfModel)
    return {
      model: String(body.model),
      stream: body.stream === true,
      cap: body.max_output_tokens as number | undefined,
      text: textOf(all.findLast(({ role }) => role === 'user')?.content ?? ''),
      results: all
        .slice(lastOfModel + 1)
        .filter(isResult)
        .map(({ output }) => textOf(output)),
      turn: all.filter(isOfModel).length,
      tools: ((body.tools ?? []) as { name?: string; type: string }[]).map(({ name, type }) => name ?? type),
      body,
    }
  },
  whole: (counted, serial) =>
    responseOf(counted, serial, statusOf(counted), outputOf(counted, serial), usageOf(counted)),
  events(counted, serial) {
    let sequence = 0
    const event = (type: string, fields: Record<string, unknown>) =>
      sse(type, { sequence_number: sequence++, ...fields })
    const begun = responseOf(counted, serial, 'in_progress', [], null)
    const output = outputOf(counted, serial)
    const items = output.flatMap((item, output_index) => {
      const of = { output_index, item_id: item.id }
      const opened =
        item.type === 'message'
          ? { ...item, status: 'in_progress', content: [] }
          : { ...item, status: 'in_progress', arguments: '' }
      const inner =
        'arguments' in item
          ? [
              event('response.function_call_arguments.delta', { ...of, delta: item.arguments }),
              event('response.function_call_arguments.done', { ...of, name: item.name, arguments: item.arguments }),
            ]
          : spoken(item.content[0]?.text ?? '', of)
      return [
        event('response.output_item.added', { output_index, item: opened }),
        ...inner,
        event('response.output_item.done', { output_index, item }),
      ]
    })
    function spoken(text: string, of: object) {
      const part = { ...of, content_index: 0 }
      const empty = { type: 'output_text', text: '', annotations: [] }
      return [
        event('response.content_part.added', { ...part, part: empty }),
        ...piecesOf(text).map((delta) => event('response.output_text.delta', { ...part, delta, logprobs: [] })),
        event('response.output_text.done', { ...part, text, logprobs: [] }),
        event('response.content_part.done', { ...part, part: { ...empty, text } }),
      ]
    }
    return [
      event('response.created', { response: begun }),
      event('response.in_progress', { response: begun }),
      ...items,
      event(counted.isCut ? 'response.incomplete' : 'response.completed', {
        response: responseOf(counted, serial, statusOf(counted), output, usageOf(counted)),
      }),
    ]
  },
  counted: (tokens) => ({ object: 'response.input_tokens', input_tokens: tokens }),
  failure: chat.failure,
}
