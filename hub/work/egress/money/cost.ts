/**
 * Tokens to money. Pure, in whole numbers only: tokens times millionths for a million tokens, added up exactly, and rounded up once, to a
 * millionth of a dollar for the whole call.
 */
import type { Surcharge } from '../../../protocol/prices.ts'
import type { Price } from './prices.ts'

/** What a call used, as the tables of the providers say it. `input` is what was neither read from a cache nor written to one, nor audio. */
export interface Tokens {
  input: number
  cacheRead: number
  cacheWrite: number
  cacheWrite1h: number
  audioInput: number
  output: number
  /** Tools that ran at the provider, by name. */
  uses: Readonly<Record<string, number>>
}

export const noTokens = (): Tokens => ({
  input: 0,
  cacheRead: 0,
  cacheWrite: 0,
  cacheWrite1h: 0,
  audioInput: 0,
  output: 0,
  uses: {},
})

/** Everything that went in, at whatever price. */
export const wholeInput = ({ input, cacheRead, cacheWrite, cacheWrite1h, audioInput }: Tokens): number =>
  input + cacheRead + cacheWrite + cacheWrite1h + audioInput

/** What counts towards tokens in an hour: reading from a cache costs money, and no tokens. */
export const hourlyInput = (tokens: Tokens): number => wholeInput(tokens) - tokens.cacheRead

type Rates = Omit<NonNullable<Price['above']>, 'tokens'>

const MILLION = 1_000_000n

/** A price that is not given is that of plain input, the dearest that nobody has denied. */
function sumOf(rates: Rates, tokens: Tokens): bigint {
  const { input, output, cacheRead = input, cacheWrite = input, cacheWrite1h = cacheWrite, audioInput = input } = rates
  const each: readonly [number, number][] = [
    [tokens.input, input],
    [tokens.cacheRead, cacheRead],
    [tokens.cacheWrite, cacheWrite],
    [tokens.cacheWrite1h, cacheWrite1h],
    [tokens.audioInput, audioInput],
    [tokens.output, output],
  ]
  return each.reduce((sum, [count, price]) => sum + BigInt(count) * BigInt(price), 0n)
}

/** What a call with a whole input of this size costs for a million tokens. */
const ratesFor = (price: Price, input: number): Rates =>
  price.above !== undefined && input > price.above.tokens ? price.above : price

function total(price: Price, sum: bigint, uses: Tokens['uses'], surcharges: readonly Surcharge[]): number {
  const used = Object.entries(uses).reduce(
    (all, [name, count]) => all + BigInt(count) * BigInt(price.uses[name] ?? 0) * MILLION,
    0n,
  )
  let [above, below] = [sum + used, MILLION]
  for (const each of surcharges) {
    above *= BigInt(price.percent[each] ?? 100)
    below *= 100n
  }
  return Number((above + below - 1n) / below)
}

/** What the tokens cost, in millionths of a dollar, rounded up. */
export const costOf = (price: Price, tokens: Tokens, surcharges: readonly Surcharge[]): number =>
  total(price, sumOf(ratesFor(price, wholeInput(tokens)), tokens), tokens.uses, surcharges)

/** The most that so many tokens can cost. `cacheHour`: a cache that is kept for an hour may be written. */
export function worstCost(
  price: Price,
  most: { input: number; output: number; uses: Tokens['uses']; cacheHour: boolean },
  surcharges: readonly Surcharge[],
): number {
  const dearest = (rates: Rates): number => {
    const { input, cacheRead = input, cacheWrite = input, cacheWrite1h = cacheWrite, audioInput = input } = rates
    return Math.max(input, cacheRead, cacheWrite, audioInput, most.cacheHour ? cacheWrite1h : 0)
  }
  // Fewer tokens than the most may be billed at the lower tier, where writing to a cache may still be the dearest of all.
  const rates = ratesFor(price, most.input)
  const input = Math.max(dearest(price), dearest(rates))
  const sum = BigInt(most.input) * BigInt(input) + BigInt(most.output) * BigInt(rates.output)
  return total(price, sum, most.uses, surcharges)
}
