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
 * | `prompt_cache_hit_tokens`, `prompt_cache_miss_tokens` | of DeepSeek: `prompt_tokens` divided, the hits read from the cache |
 * | `cost` | of OpenRouter: what it bills in dollars. With a key of the provider's own (`is_byok`) that provider bills `upstream_inference_cost` beside it |
 *
 * Audio, video and pictures that come out have prices of their own, which are not kept: an answer with them is odd. So is one that tells of tools
 * that ran at the router.
 */

import type { Surcharge } from '../../../../protocol/prices.ts'
import { noTokens, type Tokens } from '../cost.ts'
import {
  amount,
  count,
  deniedBy,
  keysOf,
  Odd,
  rising,
  type Shape,
  sameModel,
  surchargeOf,
  textAt,
  valueAt,
} from './table.ts'

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
const INPUT_PARTS = [
  'cached_tokens',
  'cache_write_tokens',
  'audio_tokens',
  'video_tokens',
  'image_tokens',
  'text_tokens',
]
const HITS = 'prompt_cache_hit_tokens'
const MISSES = 'prompt_cache_miss_tokens'
const BILL = ['cost', 'cost_details', 'is_byok', 'server_tool_use_details']
const BILL_PARTS = [
  ...['upstream_inference_cost', 'upstream_inference_prompt_cost', 'upstream_inference_completions_cost'],
  ...['upstream_inference_input_cost', 'upstream_inference_output_cost'],
]
const KEPT = ['ttl_12h_tokens', 'ttl_30m_tokens']
const OUTPUT_PARTS = [
  'reasoning_tokens',
  'audio_tokens',
  'image_tokens',
  'text_tokens',
  'accepted_prediction_tokens',
  'rejected_prediction_tokens',
]

type Bag = Readonly<Record<string, unknown>>

/** What was read from the cache, as DeepSeek divides the input; undefined where it is not divided. */
function hitsOf(usage: Bag, input: number, cached: unknown): number | undefined {
  if ((usage[HITS] ?? usage[MISSES] ?? null) === null) return undefined
  const hits = count(usage[HITS], HITS)
  if (hits + count(usage[MISSES], MISSES) !== input) throw new Odd(`${HITS} and ${MISSES} are not the whole input`)
  if (count(cached ?? hits, 'cached_tokens') !== hits) throw new Odd(`cached_tokens is not ${HITS}`)
  return hits
}

/** What the upstream says that it bills; undefined where it says nothing of that. */
function billOf(usage: Bag, before: number | undefined): number | undefined {
  const parts = keysOf(usage.cost_details, BILL_PARTS, 'cost_details') ?? {}
  if ((usage.server_tool_use_details ?? null) !== null) throw new Odd('tools ran at the router')
  const isOwnKey = usage.is_byok ?? false
  if (typeof isOwnKey !== 'boolean') throw new Odd('is_byok is neither true nor false')
  if ((usage.cost ?? null) === null) {
    if (isOwnKey) throw new Odd('cost is missing')
    return before
  }
  const beside = isOwnKey ? amount(parts.upstream_inference_cost, 'upstream_inference_cost') : 0
  return rising(before ?? 0, amount(usage.cost, 'cost') + beside, 'cost')
}

function tokensOf(usage: Bag, words: Words, before: Tokens | undefined): Tokens {
  const input = count(usage[words.input], words.input)
  const output = count(usage[words.output], words.output)
  if (usage.total_tokens !== undefined && count(usage.total_tokens, 'total_tokens') !== input + output)
    throw new Odd('total_tokens is not input and output together')
  const inside =
    keysOf(usage[words.inputDetails], [...INPUT_PARTS, 'cache_write_tokens_details'], words.inputDetails) ?? {}
  const outside = keysOf(usage[words.outputDetails], OUTPUT_PARTS, words.outputDetails) ?? {}
  const cacheRead = hitsOf(usage, input, inside.cached_tokens) ?? count(inside.cached_tokens, 'cached_tokens')
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
  if (count(inside.video_tokens, 'video_tokens') > 0) throw new Odd('video has no price here')
  if (count(outside.image_tokens, 'image_tokens') > 0) throw new Odd('pictures that come out have no price here')
  rising(before === undefined ? 0 : before.input + before.cacheRead + before.cacheWrite, input, words.input)
  rising(before?.output ?? 0, output, words.output)
  return { ...noTokens(), input: input - cacheRead - cacheWrite, cacheRead, cacheWrite, output }
}

/** What the three shapes share: each reads its own places with it, and says when the answer is over. */
function createReading(words: Words) {
  let model: string | undefined
  let tokens: Tokens | undefined
  let billedUsd: number | undefined
  let surcharges: Surcharge[] = []
  let denied: Surcharge[] = []
  return {
    read(found: ReadonlyMap<string, string>, below: string) {
      model = sameModel(model, textAt(found, `${below}model`))
      const keys = [...Object.values(words), 'total_tokens', HITS, MISSES, ...BILL]
      const usage = keysOf(valueAt(found, `${below}usage`), keys, 'usage')
      if (usage !== undefined) {
        tokens = tokensOf(usage, words, tokens)
        billedUsd = billOf(usage, billedUsd)
      }
      const said = valueAt(found, `${below}service_tier`)
      const tier = surchargeOf(said, TIERS, 'service_tier')
      denied = [...denied, ...deniedBy(said, TIERS)]
      surcharges = [...new Set([...surcharges, ...tier])]
    },
    outcome(isOver: boolean): ReturnType<Shape['outcome']> {
      if (!isOver || tokens === undefined) return { kind: 'none' }
      if (model === undefined) return { kind: 'odd', why: 'it names no model' }
      return { kind: 'measured', model, tokens, surcharges, denied, ...(billedUsd === undefined ? {} : { billedUsd }) }
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
