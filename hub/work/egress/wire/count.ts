/** The question to a provider's own counting endpoint: how many tokens the model would read in a request that costs. Pure. */
import type { JsonNode } from '../../../base/json-tree.ts'
import type { CountRequest, JudgedHead } from './judged.ts'

/** What each endpoint counts; it refuses a request with any other field. */
const COUNTED: Partial<Record<string, readonly string[]>> = {
  messages: [
    ...['model', 'messages', 'system', 'tools', 'tool_choice', 'thinking'],
    ...['output_config', 'output_format', 'context_management'],
  ],
  responses: [
    ...['model', 'input', 'instructions', 'tools', 'tool_choice', 'parallel_tool_calls', 'reasoning', 'text'],
    'truncation',
  ],
  generateContent: ['contents', 'systemInstruction', 'tools', 'toolConfig', 'generationConfig'],
}

/** Undefined where the provider has no such endpoint. The pieces share the memory of the bytes. */
export function countRequestOf(
  head: JudgedHead,
  fields: ReadonlyMap<string, { value: Pick<JsonNode, 'from' | 'to'> }>,
  bytes: Buffer,
): CountRequest | undefined {
  const names = COUNTED[head.shape ?? '']
  if (names === undefined) return undefined
  const pieces: Buffer[] = []
  for (const name of names) {
    const value = fields.get(name)?.value
    if (value === undefined) continue
    pieces.push(Buffer.from(`${pieces.length === 0 ? '' : ','}"${name}":`), bytes.subarray(value.from, value.to))
  }
  const within = (before: string, after: string) => [Buffer.from(before), ...pieces, Buffer.from(after)]
  switch (head.shape) {
    case 'messages':
      return { path: `${head.path}/count_tokens`, query: head.query, pieces: within('{', '}') }
    case 'responses':
      return { path: `${head.path}/input_tokens`, query: '', pieces: within('{', '}') }
    default: {
      const comma = pieces.length === 0 ? '' : ','
      const named = `{"generateContentRequest":{"model":${JSON.stringify(`models/${head.model}`)}${comma}`
      return { path: head.path.replace(/:\w+$/, ':countTokens'), query: '', pieces: within(named, '}}') }
    }
  }
}

/** The tokens that a counting endpoint tells; undefined if it does not tell them. */
export function countTold(text: string): number | undefined {
  let told: unknown
  try {
    const answer = JSON.parse(text) as Record<string, unknown>
    told = answer?.input_tokens ?? answer?.totalTokens
  } catch {
    return undefined
  }
  return Number.isSafeInteger(told) && (told as number) >= 0 ? (told as number) : undefined
}
