/**
 * Usage of Messages. What is summed:
 *
 * | Key | Is |
 * | --- | --- |
 * | `input_tokens` | what was neither read from the cache nor written to it |
 * | `cache_read_input_tokens` | read from the cache, beside `input_tokens` |
 * | `cache_creation_input_tokens` | written to it, beside `input_tokens`; `cache_creation` divides it by how long it is kept |
 * | `output_tokens` | everything that came out, thinking included |
 * | `iterations` | if given, the sum of its entries in place of all above: a compaction is in no other figure |
 * | `server_tool_use` | searches at the provider, each with its own price |
 *
 * Figures of a stream are told at its beginning and again, grown, with each `message_delta`.
 */

import type { Surcharge } from '../../../../protocol/prices.ts'
import { noTokens, type Tokens } from '../cost.ts'
import { count, deniedBy, keysOf, Odd, rising, type Shape, sameModel, surchargeOf, textAt, valueAt } from './table.ts'

const COUNTED = [
  'input_tokens',
  'output_tokens',
  'cache_creation_input_tokens',
  'cache_read_input_tokens',
  'cache_creation',
]
const KEYS = [
  ...COUNTED,
  'output_tokens_details',
  'server_tool_use',
  'service_tier',
  'inference_geo',
  'speed',
  'iterations',
  'fallback_credit',
]
const TIERS = { standard: null, batch: null, priority: 'priority' } as const
const SPEEDS = { standard: null, fast: 'fast' } as const
const PLACES = { global: null, not_available: null, us: 'us' } as const

type Bag = Readonly<Record<string, unknown>>

/** The counts of one entry. What was written to the cache and is not divided counts as kept for an hour, the dearer of the two. */
function countsOf(usage: Bag, before: Tokens, name: string): Tokens {
  const part = (key: string, then: number) =>
    usage[key] === undefined || usage[key] === null
      ? then
      : rising(then, count(usage[key], `${name}.${key}`), `${name}.${key}`)
  const written = before.cacheWrite + before.cacheWrite1h
  const whole = part('cache_creation_input_tokens', written)
  const divided = keysOf(
    usage.cache_creation,
    ['ephemeral_5m_input_tokens', 'ephemeral_1h_input_tokens'],
    `${name}.cache_creation`,
  )
  const short =
    divided === undefined ? before.cacheWrite : count(divided.ephemeral_5m_input_tokens, 'ephemeral_5m_input_tokens')
  const hour =
    divided === undefined ? whole - short : count(divided.ephemeral_1h_input_tokens, 'ephemeral_1h_input_tokens')
  if (short + hour !== whole) throw new Odd(`${name}.cache_creation does not add up`)
  return {
    ...before,
    input: part('input_tokens', before.input),
    cacheRead: part('cache_read_input_tokens', before.cacheRead),
    cacheWrite: short,
    cacheWrite1h: hour,
    output: part('output_tokens', before.output),
  }
}

const plus = (a: Tokens, b: Tokens): Tokens => ({
  ...a,
  input: a.input + b.input,
  cacheRead: a.cacheRead + b.cacheRead,
  cacheWrite: a.cacheWrite + b.cacheWrite,
  cacheWrite1h: a.cacheWrite1h + b.cacheWrite1h,
  output: a.output + b.output,
})

/** The sum of the entries. */
function iterationsOf(list: unknown, model: string | undefined): Tokens | undefined {
  if (list === undefined || list === null) return undefined
  if (!Array.isArray(list)) throw new Odd('usage.iterations is no list')
  if (list.length === 0) return undefined
  let sum = noTokens()
  for (const each of list as unknown[]) {
    const entry = keysOf(each, [...COUNTED, 'type', 'model'], 'usage.iterations') ?? {}
    if (entry.model !== undefined && entry.model !== null && entry.model !== model)
      throw new Odd('usage.iterations names another model')
    sum = plus(sum, countsOf(entry, noTokens(), 'usage.iterations'))
  }
  return sum
}

/** Of entries that were told before the other figures grew, too. */
function requireWhole(sum: Tokens, beside: Tokens): void {
  const written = (tokens: Tokens) => tokens.cacheWrite + tokens.cacheWrite1h
  if (
    sum.input < beside.input ||
    sum.output < beside.output ||
    sum.cacheRead < beside.cacheRead ||
    written(sum) < written(beside)
  )
    throw new Odd('usage.iterations adds up to less than the usage beside it')
}

export function messagesShape(isStream: boolean): Shape {
  let model: string | undefined
  let tokens: Tokens | undefined
  let all: Tokens | undefined
  let surcharges: Surcharge[] = []
  let denied: Surcharge[] = []
  let isOver = false

  function read(value: unknown): void {
    const usage = keysOf(value, KEYS, 'usage')
    if (usage === undefined) return
    const details = keysOf(usage.output_tokens_details, ['thinking_tokens'], 'usage.output_tokens_details')
    tokens = countsOf(usage, tokens ?? noTokens(), 'usage')
    if (count(details?.thinking_tokens, 'thinking_tokens') > tokens.output)
      throw new Odd('thinking_tokens is above output_tokens')
    const tools = keysOf(usage.server_tool_use, ['web_search_requests', 'web_fetch_requests'], 'usage.server_tool_use')
    // A fetch costs what it brings in, which is counted as input.
    count(tools?.web_fetch_requests, 'web_fetch_requests')
    const searches = count(tools?.web_search_requests, 'web_search_requests')
    const before = tokens.uses.web_search ?? 0
    if (tools !== undefined && rising(before, searches, 'web_search_requests') > 0)
      tokens = { ...tokens, uses: { web_search: searches } }
    const named = [
      ...surchargeOf(usage.service_tier, TIERS, 'usage.service_tier'),
      ...surchargeOf(usage.speed, SPEEDS, 'usage.speed'),
      ...surchargeOf(usage.inference_geo, PLACES, 'usage.inference_geo'),
    ]
    denied = [
      ...denied,
      ...deniedBy(usage.service_tier, TIERS),
      ...deniedBy(usage.speed, SPEEDS),
      ...deniedBy(usage.inference_geo, PLACES),
    ]
    // A token of another call's credit is refused in a request, so none can have been used.
    if (usage.fallback_credit !== undefined && usage.fallback_credit !== null)
      throw new Odd('usage.fallback_credit says that a credit was used')
    surcharges = [...new Set([...surcharges, ...named])]
    all = iterationsOf(usage.iterations, model) ?? all
    if (all !== undefined) requireWhole(all, tokens)
  }

  return {
    paths: ['type', 'model', 'usage', 'message.model', 'message.usage'],
    take(found) {
      const type = textAt(found, 'type')
      if (!isStream) {
        if (type !== 'message') return
        model = textAt(found, 'model')
        read(valueAt(found, 'usage'))
        isOver = true
      } else if (type === 'message_start') {
        if (tokens !== undefined) throw new Odd('a second message begins in the stream')
        model = sameModel(model, textAt(found, 'message.model'))
        read(valueAt(found, 'message.usage'))
      } else if (type === 'message_delta') read(valueAt(found, 'usage'))
      else if (type === 'message_stop') isOver = true
    },
    takeWord: () => false,
    outcome() {
      if (!isOver || tokens === undefined) return { kind: 'none' }
      if (model === undefined) return { kind: 'odd', why: 'it names no model' }
      const used = all === undefined ? tokens : { ...all, uses: tokens.uses }
      return { kind: 'measured', model, tokens: used, surcharges, denied }
    },
  }
}
