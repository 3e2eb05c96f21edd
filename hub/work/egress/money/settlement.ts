/**
 * What a call counts with in the end, by what became of it. Pure.
 *
 * S1. By the upstream's own figures, if they can be true. They may be above the reserve, where its bounds were too low: then they count in full,
 *     and the operator is told.
 * S2. Figures that cannot be true make no call cheaper: it counts with the larger of them and its reserve. So an upstream that says too much
 *     uses a budget up and stops it; nothing that it may bill is left out [E10].
 * S3. Without figures it counts with its reserve [E9].
 */
import type { Surcharge } from '../../../protocol/prices.ts'
import { costOf, hourlyInput, type Tokens, wholeInput } from './cost.ts'
import type { ReservationRow, Settlement } from './reservations.ts'
import type { UsageOutcome } from './usage-reader.ts'

/** What became of a call. `lost`: nobody knows. `failed_before`: the upstream answered an error, or nothing was sent. */
export type Ending = UsageOutcome | { kind: 'lost'; why?: string } | { kind: 'failed_before'; status?: number }

/** Of a call, in millionths of a US dollar and in tokens. */
type Counted = Record<'usd' | 'input' | 'wholeInput' | 'output', number>
type Measured = Extract<UsageOutcome, { kind: 'measured' }>

/** A call of a million dollars, or of a billion tokens, is above every limit; what is above that is no figure to add up. */
const USD_MAX = 1_000_000_000_000
const TOKENS_MAX = 1_000_000_000
const upTo = (most: number, ...figures: readonly number[]): number => Math.min(most, Math.max(...figures))

const sumOf = (uses: Tokens['uses']): number => Object.values(uses).reduce((sum, each) => sum + each, 0)

/** Why the figures are not believed; undefined if they can be true. */
function doubtOf(row: ReservationRow, { model, tokens, surcharges }: Measured): string | undefined {
  const most = Math.max(row.price?.maxInput ?? 0, row.reservedInput)
  if (wholeInput(tokens) > most) return 'it says more input than the model takes'
  if (tokens.output > row.reservedOutput) return 'it says more output than was asked for'
  const { price } = row
  if (price === null) return undefined
  // As it was when it was reserved: the files may have a fault by now, or other names.
  if (model !== undefined && model !== row.model && price.names?.includes(model) !== true)
    return `it was answered by ${JSON.stringify(model.slice(0, 100))}, which has not the price of ${row.model}`
  const other = surcharges.find((each: Surcharge) => !row.surcharges.includes(each))
  if (other !== undefined) return `it was answered with ${other}, which nobody asked for`
  const use = Object.keys(tokens.uses).find((each) => price.uses[each] === undefined)
  if (use !== undefined) return `nobody knows what ${use} costs`
  return sumOf(tokens.uses) > sumOf(price.heldUses) ? 'it says more uses of tools than were possible' : undefined
}

/** What the figures cost at the prices that were reserved, or what the upstream says that it bills, whichever is more. */
function billOf(row: ReservationRow, { tokens, surcharges, denied, billedUsd = 0 }: Measured): number {
  if (row.price === null) return 0
  // Only Messages tells how often its tools ran; of the others each use that was possible counts.
  const uses = row.shape === 'messages' ? tokens.uses : row.price.heldUses
  // A tier that was asked for counts unless the answer names another.
  const owed = row.surcharges.filter((each) => !denied.includes(each))
  return upTo(USD_MAX, billedUsd, costOf(row.price, { ...tokens, uses }, [...new Set([...surcharges, ...owed])]))
}

/** `odd`: why the upstream's figures are not believed. `isAbove`: they are, and they are above the reserve. */
export function settlementOf(
  row: ReservationRow,
  ending: Ending,
): Counted & Pick<Settlement, 'state' | 'status' | 'why'> & { odd: string | undefined; isAbove: boolean } {
  const atLeast = (why: string, odd?: string, told?: Measured) => {
    const tokens = told?.tokens
    const input = tokens === undefined ? 0 : hourlyInput(tokens)
    return {
      ...{ state: 'estimated' as const, status: null, why, odd, isAbove: false },
      usd: told === undefined ? row.reservedUsd : upTo(USD_MAX, row.reservedUsd, billOf(row, told)),
      input: upTo(TOKENS_MAX, row.reservedInput, input),
      output: upTo(TOKENS_MAX, row.reservedOutput, tokens?.output ?? 0),
      wholeInput: upTo(TOKENS_MAX, row.reservedInput, tokens === undefined ? 0 : wholeInput(tokens)),
    }
  }
  if (ending.kind === 'failed_before')
    return {
      ...{ state: 'released' as const, usd: 0, input: 0, output: 0, wholeInput: 0, status: ending.status ?? null },
      why: ending.status === undefined ? 'nothing was sent' : `answered ${ending.status}`,
      ...{ odd: undefined, isAbove: false },
    }
  if (row.unreadable !== null) {
    const why = `the row of its reserve is damaged: ${row.unreadable}`
    return atLeast(why, why, ending.kind === 'measured' ? ending : undefined)
  }
  if (ending.kind === 'lost') return atLeast(ending.why ?? 'the answer was lost')
  if (ending.kind === 'none') return atLeast('the answer told no usage')
  if (ending.kind === 'odd') return atLeast(ending.why, ending.why)
  const doubt = doubtOf(row, ending)
  if (doubt !== undefined) return atLeast(doubt, doubt, ending)
  const { tokens } = ending
  const [whole, usd] = [wholeInput(tokens), billOf(row, ending)]
  return {
    ...{ state: 'measured' as const, usd, input: hourlyInput(tokens), output: tokens.output, wholeInput: whole },
    ...{ status: null, why: '', odd: undefined, isAbove: whole > row.reservedInput || usd > row.reservedUsd },
  }
}
