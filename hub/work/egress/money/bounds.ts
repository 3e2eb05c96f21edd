/**
 * The worst case of one call, before it is made. Pure. It is an upper bound as long as the provider bills by its own rules: no tokenizer makes
 * more than one token of a byte, and everything that costs beside the bytes has an allowance here, or the call is refused.
 */
import { HubError } from '../../../base/errors.ts'
import type { Surcharge } from '../../../protocol/prices.ts'
import { type Tokens, worstCost } from './cost.ts'
import type { Need } from './limits.ts'
import type { Price } from './prices.ts'
import type { MeteredShape } from './usage-reader.ts'

/** What the judges of the wire say of one request that costs. */
export interface Asked {
  shape: MeteredShape
  /** Of the body. */
  inputBytes: number
  /**
   * What this request begins with, the longest first: the first is the whole of it. `restBytes`: how many bytes of it come after, whatever
   * else is in the body.
   */
  prefixes: readonly { hash: string; restBytes: number }[]
  /** What the agent asked for; undefined if it did not say. */
  askedOutput: number | undefined
  /** The most that the upstream's row allows. */
  maxOutput: number
  /** Answers to one request. */
  choices: number
  /** Pieces that may be many tokens in a few bytes. */
  media: { images: number; documents: number; audios: number; videos: number }
  /** Named facts that cost; one that is not known here is refused. */
  surcharges: readonly string[]
  /** What the provider's own counting endpoint said of the whole input. */
  counted?: number | undefined
}

/** An earlier request of the same session that this one begins with: what its input was in the end, and the bytes that came after. */
export interface Prefix {
  tokens: number
  restBytes: number
}

export interface Bound {
  /** The output cap to write into the body; 0 where a shape has none. */
  cap: number
  need: Need
  surcharges: readonly Surcharge[]
  /** Of tools at the provider, each counted as the dearest. */
  uses: Tokens['uses']
}

/** Instructions that providers add themselves, for tools among others: some 700 tokens at most, as they say. */
const ADDED_TOKENS = 1024
/** The dearest picture of any size, as the providers say. */
const IMAGE_TOKENS = 5000
/** What goes in at most where neither bytes nor a price bound it. */
const CONTEXT_TOKENS = 2_000_000
/** What goes in at most where a longer context than the price says was asked for. */
const LONG_CONTEXT_TOKENS = 1_000_000

/** What each fact is to money: the surcharge whose percentage counts, or null where the bounds hold it already. */
const FACTS: Readonly<Record<string, Surcharge | null>> = {
  cache_write: null,
  cache_write_5m: null,
  cache_write_1h: null,
  cache_retention_24h: null,
  long_context: null,
  prediction: null,
  'tier:standard': null,
  'tier:standard_only': null,
  'tier:default': null,
  'tier:auto': null,
  'tier:flex': null,
  'tier:scale': null,
  'tier:priority': 'priority',
  'tier:fast': 'priority',
  'speed:standard': null,
  'speed:fast': 'fast',
  'geo:global': null,
  'geo:us': 'us',
  regional: 'regional',
}
/** Tools at the provider, and how often they may be used in all. */
const SERVER_TOOLS = /^server_tools:(\d{1,3})$/

const NOTHING_OUT: readonly MeteredShape[] = ['embeddings', 'embedContent']

/** Providers say that a count is an estimate. */
const withMargin = (counted: number): number => counted + Math.ceil(counted / 20) + 64

const usesOf = (surcharges: readonly string[]): number =>
  surcharges.reduce((sum, each) => sum + Number(SERVER_TOOLS.exec(each)?.[1] ?? 0), 0)

/** The most tokens that go in. */
function inputBound(asked: Asked, prefix: Prefix | undefined, price: Price | undefined): number {
  const { inputBytes, media, counted } = asked
  const usual = price?.maxInput ?? CONTEXT_TOKENS
  const context = asked.surcharges.includes('long_context') ? Math.max(usual, LONG_CONTEXT_TOKENS) : usual
  const uses = usesOf(asked.surcharges)
  // What a tool at the provider brings in is input too, and each round reads all of it again.
  if (uses > 0) return context * (1 + uses)
  const known = counted === undefined ? Number.POSITIVE_INFINITY : withMargin(counted)
  // A few bytes of these may be many pages or minutes.
  if (media.documents + media.audios + media.videos > 0) return Math.min(known, context)
  const pictures = media.images * IMAGE_TOKENS
  const rest = prefix === undefined ? Number.POSITIVE_INFINITY : prefix.tokens + prefix.restBytes
  return Math.min(known, Math.min(inputBytes, rest) + pictures + ADDED_TOKENS)
}

/** The surcharges to pay. Throws `model_unknown`, with the key to set where one would do. `price` undefined: nothing costs money here. */
function priced(surcharges: readonly string[], price: Price | undefined): Surcharge[] {
  const refuse = (why: string): never => {
    throw new HubError('model_unknown', why)
  }
  const named = surcharges.flatMap((each) => {
    if (SERVER_TOOLS.test(each)) return []
    const found = Object.hasOwn(FACTS, each) ? FACTS[each] : undefined
    if (found === undefined)
      return refuse(`nobody here knows what ${JSON.stringify(each)} costs, so a call with it is refused`)
    return found === null ? [] : [found]
  })
  const lacking = price === undefined ? undefined : named.find((each) => price.percent[each] === undefined)
  if (lacking !== undefined)
    refuse(`no price is known of ${lacking}: set models.${price?.model}.percent.${lacking} in prices.yaml of the home`)
  if (price !== undefined && usesOf(surcharges) > 0 && Object.keys(price.uses).length === 0)
    refuse(`no price is known of tools at the provider: set models.${price.model}.uses in prices.yaml of the home`)
  return [...new Set(named)]
}

/** `price` undefined: a model that costs nothing. Throws `model_unknown` for what has no price. */
export function boundOf(asked: Asked, prefix: Prefix | undefined, price: Price | undefined): Bound {
  const surcharges = priced(asked.surcharges, price)
  const most = Math.min(asked.maxOutput, price?.maxOutput ?? asked.maxOutput)
  const cap = NOTHING_OUT.includes(asked.shape) ? 0 : Math.min(asked.askedOutput ?? most, most)
  const input = inputBound(asked, prefix, price)
  const count = usesOf(asked.surcharges)
  // Of a predicted text the part that does not fit is billed as output, beside the cap.
  const predicted = asked.surcharges.includes('prediction') ? asked.inputBytes : 0
  const output = (cap + predicted) * asked.choices * (1 + count)
  const dearest = Object.entries(price?.uses ?? {}).sort(([, a], [, b]) => b - a)[0]?.[0]
  const uses = dearest === undefined || count === 0 ? {} : { [dearest]: count }
  const cacheHour = asked.surcharges.includes('cache_write_1h')
  const usd = price === undefined ? 0 : worstCost(price, { input, output, uses, cacheHour }, surcharges)
  return { cap, need: { usd, input, output }, surcharges, uses }
}

/** The same with nothing sent: what would be left of it if the input were counted and found to be small. */
export const withoutInput = (asked: Asked, price: Price | undefined): Bound =>
  boundOf({ ...asked, inputBytes: 0, counted: 0 }, undefined, price)

/** Shapes whose providers count the input of a request for nothing. */
export const canCount = (shape: MeteredShape): boolean =>
  shape === 'messages' || shape === 'responses' || shape === 'generateContent'
