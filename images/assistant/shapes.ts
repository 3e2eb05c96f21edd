/** Two ways to talk to a model, Anthropic's Messages and OpenAI's Responses, as one: each turns a conversation into a request, and an answer into steps. */

export interface Tool {
  name: string
  description: string
  /** A JSON schema of its input. */
  schema: Record<string, unknown>
}
export interface Call {
  id: string
  name: string
  input: Record<string, unknown>
}
export interface Said {
  text: string
  calls: Call[]
  /** Whether the answer ended at the cap of the output. */
  isCut: boolean
}
export interface Talk {
  /** Below the upstream's own address. */
  path: string
  headers: Record<string, string>
  request(): Record<string, unknown>
  /** Takes the model's answer into the conversation. */
  heard(answer: Record<string, unknown>): Said
  /** Takes what a tool answered into the conversation; `isError` if it failed. */
  told(results: readonly { id: string; text: string; isError: boolean }[]): void
}
export interface TalkOptions {
  model: string
  maxOutput: number
  system: string
  task: string
  tools: readonly Tool[]
}

type Json = Record<string, unknown>

function messages({ model, maxOutput, system, task, tools }: TalkOptions): Talk {
  const conversation: Json[] = [{ role: 'user', content: task }]
  return {
    path: '/v1/messages',
    headers: { 'anthropic-version': '2023-06-01' },
    request: () => ({
      ...{ model, max_tokens: maxOutput, system, messages: conversation },
      tools: tools.map(({ name, description, schema }) => ({ name, description, input_schema: schema })),
    }),
    heard({ content, stop_reason }) {
      const blocks = content as ({ type: string; text: string } & Call)[]
      conversation.push({ role: 'assistant', content: blocks })
      return {
        text: blocks.flatMap(({ type, text }) => (type === 'text' ? [text] : [])).join('\n'),
        calls: blocks.filter(({ type }) => type === 'tool_use'),
        isCut: stop_reason === 'max_tokens',
      }
    },
    told: (results) =>
      void conversation.push({
        role: 'user',
        content: results.map(({ id, text, isError }) => ({
          ...{ type: 'tool_result', tool_use_id: id, content: text, is_error: isError },
        })),
      }),
  }
}

function responses({ model, maxOutput, system, task, tools }: TalkOptions): Talk {
  const input: Json[] = [{ role: 'user', content: task }]
  return {
    path: '/v1/responses',
    headers: {},
    request: () => ({
      ...{ model, max_output_tokens: maxOutput, instructions: system, input, store: false },
      // What a model thought is not kept at the provider, so it comes back sealed and is sent along.
      include: ['reasoning.encrypted_content'],
      tools: tools.map(({ name, description, schema }) => ({
        type: 'function',
        name,
        description,
        parameters: schema,
      })),
    }),
    heard({ output, status }) {
      const items = output as ({ type: string; call_id: string; name: string; arguments: string } & Json)[]
      input.push(...items)
      return {
        text: items
          .flatMap(({ type, content }) => (type === 'message' ? (content as { text?: string }[]) : []))
          .map(({ text = '' }) => text)
          .join('\n'),
        calls: items
          .filter(({ type }) => type === 'function_call')
          .map(({ call_id, name, arguments: text }) => ({ id: call_id, name, input: JSON.parse(text) as Json })),
        isCut: status === 'incomplete',
      }
    },
    told: (results) =>
      void input.push(...results.map(({ id, text }) => ({ type: 'function_call_output', call_id: id, output: text }))),
  }
}

export const SHAPES: Readonly<Record<string, (options: TalkOptions) => Talk>> = { messages, responses }
