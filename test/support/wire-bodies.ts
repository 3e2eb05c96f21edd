/** Bodies for model servers as tests of egress build them: the smallest of each endpoint, and the same with one part, item or tool. */
import type { Target } from './wire-requests.ts'

const MODEL = 'some-model'
export const USER = { role: 'user', content: 'hello' }
/** The smallest body of each endpoint that passes. */
export const LEAST: Readonly<Record<Target, Record<string, unknown>>> = {
  messages: { model: MODEL, max_tokens: 100, messages: [USER] },
  chat: { model: MODEL, messages: [USER] },
  responses: { model: MODEL, input: 'hello' },
  embeddings: { model: MODEL, input: ['hello'] },
  generate: { contents: [{ role: 'user', parts: [{ text: 'hello' }] }] },
  stream: { contents: [{ role: 'user', parts: [{ text: 'hello' }] }] },
  embed: { content: { parts: [{ text: 'hello' }] } },
  embedBatch: { requests: [{ model: 'models/gemini-embedding-001', content: { parts: [{ text: 'hello' }] } }] },
  countMessages: { model: MODEL, messages: [USER] },
  countResponses: { model: MODEL, input: 'hello' },
  countGenerate: { contents: [{ role: 'user', parts: [{ text: 'hello' }] }] },
}
export const TARGETS = Object.keys(LEAST) as Target[]
export const withPart = (target: Target, part: object): Record<string, unknown> => {
  if (target === 'messages' || target === 'chat')
    return { ...LEAST[target], messages: [{ role: 'user', content: [part] }] }
  if (target === 'responses') return { ...LEAST[target], input: [{ role: 'user', content: [part] }] }
  return { ...LEAST[target], contents: [{ role: 'user', parts: [part] }] }
}
export const withItem = (item: object) => ({ ...LEAST.responses, input: [item] })
export const withTool = (target: Target, tool: object) => ({ ...LEAST[target], tools: [tool] })
