/**
 * Usage of generateContent and embedContent. What is summed:
 *
 * | Key | Is |
 * | --- | --- |
 * | `promptTokenCount` | everything that was sent, what the cache held included |
 * | `cachedContentTokenCount` | the part of it that the cache held |
 * | `toolUsePromptTokenCount` | what tools brought in, beside the prompt |
 * | `candidatesTokenCount` | what came out, without thoughts |
 * | `thoughtsTokenCount` | thoughts, beside the candidates and at the same price |
 * | `totalTokenCount` | all of these together but the cached part, or the answer is odd |
 *
 * Audio that was sent has a price of its own. Anything but text that came out has none here: such an answer is odd.
 */

import type { Surcharge } from '../../../../protocol/prices.ts'
import { noTokens, type Tokens } from '../cost.ts'
import { count, deniedBy, keysOf, Odd, rising, type Shape, sameModel, surchargeOf, textAt, valueAt } from './table.ts'

const COUNTS = ['promptTokenCount', 'cachedContentTokenCount', 'toolUsePromptTokenCount', 'candidatesTokenCount']
const DETAILS = ['promptTokensDetails', 'cacheTokensDetails', 'toolUsePromptTokensDetails', 'candidatesTokensDetails']
const KEYS = [...COUNTS, ...DETAILS, 'thoughtsTokenCount', 'totalTokenCount', 'trafficType', 'serviceTier']
const TIERS = {
  SERVICE_TIER_UNSPECIFIED: null,
  standard: null,
  flex: null,
  priority: 'priority',
  STANDARD: null,
  FLEX: null,
  PRIORITY: 'priority',
} as const
const TRAFFIC = { TRAFFIC_TYPE_UNSPECIFIED: null, ON_DEMAND: null, PROVISIONED_THROUGHPUT: null } as const

const MODALITIES = ['MODALITY_UNSPECIFIED', 'TEXT', 'IMAGE', 'VIDEO', 'AUDIO', 'DOCUMENT']

/** How many of the tokens are of one modality. */
function ofModality(list: unknown, modality: string, name: string): number {
  if (list === undefined || list === null) return 0
  if (!Array.isArray(list)) throw new Odd(`${name} is no list`)
  let sum = 0
  for (const each of list as unknown[]) {
    const entry = keysOf(each, ['modality', 'tokenCount'], name) ?? {}
    if (typeof entry.modality !== 'string' || !MODALITIES.includes(entry.modality))
      throw new Odd(`${name} names a modality that nobody here knows`)
    const tokens = count(entry.tokenCount, name)
    if (entry.modality === modality) sum += tokens
  }
  return sum
}

function tokensOf(usage: Readonly<Record<string, unknown>>, before: Tokens | undefined): Tokens {
  const [prompt = 0, cached = 0, tools = 0, candidates = 0] = COUNTS.map((key) => count(usage[key], key))
  const thoughts = count(usage.thoughtsTokenCount, 'thoughtsTokenCount')
  const output = candidates + thoughts
  const input = prompt + tools
  if (usage.totalTokenCount !== undefined && count(usage.totalTokenCount, 'totalTokenCount') !== input + output)
    throw new Odd('totalTokenCount is not its parts together')
  if (cached > prompt) throw new Odd('cachedContentTokenCount is above promptTokenCount')
  const came = ofModality(usage.candidatesTokensDetails, 'TEXT', 'candidatesTokensDetails')
  if (usage.candidatesTokensDetails !== undefined && came < candidates) throw new Odd('what came out is not only text')
  // Audio out of the cache has a price of its own; it is counted like audio that was not there.
  const heard =
    ofModality(usage.promptTokensDetails, 'AUDIO', 'promptTokensDetails') +
    ofModality(usage.toolUsePromptTokensDetails, 'AUDIO', 'toolUsePromptTokensDetails')
  const cacheRead = cached - ofModality(usage.cacheTokensDetails, 'AUDIO', 'cacheTokensDetails')
  if (cacheRead < 0 || heard + cacheRead > input) throw new Odd('the parts of the prompt are more than the whole')
  rising(before === undefined ? 0 : before.input + before.cacheRead + before.audioInput, input, 'promptTokenCount')
  rising(before?.output ?? 0, output, 'candidatesTokenCount')
  return { ...noTokens(), input: input - cacheRead - heard, cacheRead, audioInput: heard, output }
}

const FINISHED = ['candidates.[].finishReason', 'promptFeedback.blockReason'] as const

/** An answer of embedContent names no model and may tell no usage. */
export function generateShape(isStream: boolean, isEmbedding = false): Shape {
  let model: string | undefined
  let tokens: Tokens | undefined
  let surcharges: Surcharge[] = []
  let denied: Surcharge[] = []
  let isOver = false
  return {
    paths: ['modelVersion', 'usageMetadata', ...FINISHED],
    take(found) {
      model = sameModel(model, textAt(found, 'modelVersion')?.replace(/^models\//, ''))
      const usage = keysOf(valueAt(found, 'usageMetadata'), KEYS, 'usageMetadata')
      if (usage !== undefined) {
        tokens = tokensOf(usage, tokens)
        surcharges = [...new Set([...surcharges, ...surchargeOf(usage.serviceTier, TIERS, 'serviceTier')])]
        denied = [...denied, ...deniedBy(usage.serviceTier, TIERS)]
        surchargeOf(usage.trafficType, TRAFFIC, 'trafficType')
      }
      isOver ||= !isStream || FINISHED.some((path) => textAt(found, path) !== undefined)
    },
    takeWord: () => false,
    outcome() {
      if (!isOver || tokens === undefined) return { kind: 'none' }
      if (model === undefined && !isEmbedding) return { kind: 'odd', why: 'it names no model' }
      return { kind: 'measured', model, tokens, surcharges, denied }
    },
  }
}
