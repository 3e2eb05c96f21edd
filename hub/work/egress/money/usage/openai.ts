/**
 * Usage of Chat Completions, Responses and embeddings. What is summed:
 *
 * | Key | Is |
 * | --- | --- |
 * | `prompt_tokens`, `input_tokens` | everything that went in |
 * | `cached_tokens`, `cache_write_tokens` | parts of it: read from the cache, written to it |
 * | `completion_tokens`, `output_tokens` | everything that came out |
 * | `reasoning_tokens` and the other details of it | parts of it, at the same price |
 * | `total_tokens` | both together, or the answer is odd |
 *
 * Audio has prices of its own, which are not kept: an answer with audio is odd.
 */

import type { Surcharge } from '../../../../protocol/prices.ts'
import { noTokens, type Tokens } from '../cost.ts'
import { count, deniedBy, keysOf, Odd, rising, type Shape, sameModel, surchargeOf, textAt, valueAt } from './table.ts'

/** `flex` is cheaper and is counted as the usual tier. */
const TIERS = {
  default: null,
  auto: null,
  scale: null,
  flex: null,
  standard: null,
  priority: 'priority',
  fast: 'priority',
} as const

interface Words {
  input: string
  output: string
  inputDetails: string
  outputDetails: string
}
const CHAT: Words = {
  input: 'prompt_tokens',
  output: 'completion_tokens',
  inputDetails: 'prompt_tokens_details',
  outputDetails: 'completion_tokens_details',
}
const RESPONSES: Words = {
  input: 'input_tokens',
  output: 'output_tokens',
  inputDetails: 'input_tokens_details',
  outputDetails: 'output_tokens_details',
}
const INPUT_PARTS = ['cached_tokens', 'cache_write_tokens', 'audio_tokens', 'image_tokens', 'text_tokens']
const KEPT = ['ttl_12h_tokens', 'ttl_30m_tokens']
const OUTPUT_PARTS = [
  'reasoning_tokens',
  'audio_tokens',
  'text_tokens',
  'accepted_prediction_tokens',
  'rejected_prediction_tokens',
]

function tokensOf(value: unknown, words: Words, before: Tokens | undefined): Tokens | undefined {
  const usage = keysOf(value, [...Object.values(words), 'total_tokens'], 'usage')
  if (usage === undefined) return before
  const input = count(usage[words.input], words.input)
  const output = count(usage[words.output], words.output)
  if (usage.total_tokens !== undefined && count(usage.total_tokens, 'total_tokens') !== input + output)
    throw new Odd('total_tokens is not input and output together')
  const inside =
    keysOf(usage[words.inputDetails], [...INPUT_PARTS, 'cache_write_tokens_details'], words.inputDetails) ?? {}
  const outside = keysOf(usage[words.outputDetails], OUTPUT_PARTS, words.outputDetails) ?? {}
  const cacheRead = count(inside.cached_tokens, 'cached_tokens')
  const cacheWrite = count(inside.cache_write_tokens, 'cache_write_tokens')
  const kept = keysOf(inside.cache_write_tokens_details, KEPT, 'cache_write_tokens_details') ?? {}
  // Twelve hours have no price of their own here.
  if (count(kept.ttl_12h_tokens, 'ttl_12h_tokens') > 0)
    throw new Odd('something was written to a cache of twelve hours')
  count(kept.ttl_30m_tokens, 'ttl_30m_tokens')
  for (const part of INPUT_PARTS)
    if (count(inside[part], part) > input) throw new Odd(`${part} is above ${words.input}`)
  for (const part of OUTPUT_PARTS)
    if (count(outside[part], part) > output) throw new Odd(`${part} is above ${words.output}`)
  if (cacheRead + cacheWrite > input) throw new Odd(`the parts of ${words.input} are more than the whole`)
  if (count(inside.audio_tokens, 'audio_tokens') + count(outside.audio_tokens, 'audio_tokens') > 0)
    throw new Odd('audio has no price here')
  rising(before === undefined ? 0 : before.input + before.cacheRead + before.cacheWrite, input, words.input)
  rising(before?.output ?? 0, output, words.output)
  return { ...noTokens(), input: input - cacheRead - cacheWrite, cacheRead, cacheWrite, output }
}

/** What the three shapes share: each reads its own places with it, and says when the answer is over. */
function createReading(words: Words) {
  let model: string | undefined
  let tokens: Tokens | undefined
  let surcharges: Surcharge[] = []
  let denied: Surcharge[] = []
  return {
    read(found: ReadonlyMap<string, string>, below: string) {
      model = sameModel(model, textAt(found, `${below}model`))
      tokens = tokensOf(valueAt(found, `${below}usage`), words, tokens)
      const said = valueAt(found, `${below}service_tier`)
      const tier = surchargeOf(said, TIERS, 'service_tier')
      denied = [...denied, ...deniedBy(said, TIERS)]
      surcharges = [...new Set([...surcharges, ...tier])]
    },
    outcome(isOver: boolean): ReturnType<Shape['outcome']> {
      if (!isOver || tokens === undefined) return { kind: 'none' }
      if (model === undefined) return { kind: 'odd', why: 'it names no model' }
      return { kind: 'measured', model, tokens, surcharges, denied }
    },
  }
}

export function chatShape(isStream: boolean): Shape {
  const reading = createReading(CHAT)
  let isOver = false
  return {
    paths: ['model', 'usage', 'service_tier'],
    take(found) {
      reading.read(found, '')
      if (!isStream) isOver = true
    },
    takeWord(word) {
      if (!isStream || word !== '[DONE]') return false
      isOver = true
      return true
    },
    outcome: () => reading.outcome(isOver),
  }
}

const ENDS: readonly unknown[] = ['response.completed', 'response.incomplete', 'response.failed']

export function responsesShape(isStream: boolean): Shape {
  const reading = createReading(RESPONSES)
  let isOver = false
  return {
    paths: isStream
      ? ['type', 'response.model', 'response.usage', 'response.service_tier']
      : ['model', 'usage', 'service_tier'],
    take(found) {
      if (isStream && isOver) return
      reading.read(found, isStream ? 'response.' : '')
      isOver = !isStream || ENDS.includes(textAt(found, 'type'))
    },
    takeWord: (word) => isStream && word === '[DONE]',
    outcome: () => reading.outcome(isOver),
  }
}

export function embeddingsShape(): Shape {
  const reading = createReading(CHAT)
  let isOver = false
  return {
    paths: ['model', 'usage'],
    take(found) {
      reading.read(found, '')
      isOver = true
    },
    takeWord: () => false,
    outcome: () => reading.outcome(isOver),
  }
}
