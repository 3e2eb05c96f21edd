/**
 * What metered calls cost, counted while the process runs (S0-12): calls, money and tokens by upstream and model. A correction changes nothing here.
 *
 * An agent chooses the name of a model. So only names that have a price are counted as such, and so many at most; all others are one.
 */
import type { ReservationRow } from './reservations.ts'

const ENDS = ['measured', 'estimated', 'released'] as const
type End = (typeof ENDS)[number]

interface Counted {
  upstream: string
  model: string
  calls: Record<End, number>
  /** In millionths of a US dollar. */
  usd: Record<'measured' | 'estimated', number>
  /** Without reads of a cache. */
  input: number
  output: number
}

const SERIES_MAX = 64
/** Models without a price, and those beyond the most that are told apart. */
const OTHER_MODEL = 'other'

export function createMoneyMeters() {
  const byModel = new Map<string, Counted>()

  function of(upstream: string, model: string): Counted {
    const key = `${upstream} ${model}`
    const known = byModel.get(key)
    if (known !== undefined) return known
    if (byModel.size >= SERIES_MAX && model !== OTHER_MODEL) return of(upstream, OTHER_MODEL)
    const calls = { measured: 0, estimated: 0, released: 0 }
    const made = { upstream, model, calls, usd: { measured: 0, estimated: 0 }, input: 0, output: 0 }
    byModel.set(key, made)
    return made
  }

  return {
    /** One that was settled for the first time. */
    add({ upstream, model, price, state, usd, input, output }: ReservationRow): void {
      const end = ENDS.find((each) => each === state)
      if (end === undefined) return
      const counted = of(upstream, price === null ? OTHER_MODEL : model)
      counted.calls[end] += 1
      if (end !== 'released') counted.usd[end] += usd ?? 0
      counted.input += input ?? 0
      counted.output += output ?? 0
    },
    all: (): readonly Counted[] => [...byModel.values()],
  }
}
