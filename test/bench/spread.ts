/** The middle of what was measured, beside the least and the most of it. */
export interface Spread {
  median: number
  /** `MEDIAN (LEAST to MOST)`. */
  text: string
}

/** @throws Error where a value is no number: something was not measured */
export function spreadOf(values: readonly number[], digits = 0): Spread {
  if (values.length === 0 || values.some((value) => !Number.isFinite(value)))
    throw new Error(`not all was measured: ${values.join(', ')}`)
  const sorted = values.toSorted((a, b) => a - b)
  const median = sorted[sorted.length >> 1] ?? Number.NaN
  const word = (value: number | undefined) => value?.toFixed(digits)
  return { median, text: `${word(median)} (${word(sorted[0])} to ${word(sorted.at(-1))})` }
}
