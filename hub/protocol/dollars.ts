/**
 * Money as people write it (`2 USD`, `0.25 USD`) and as the hub counts it: whole millionths of a US dollar. No amount is ever a number with
 * a fraction, because sums of those are not exact. Free of packages, so that the command loads it in no time.
 */

const MICRO = 1_000_000
const PLACES = 6
/** More than any budget: a million dollars. */
const WHOLE_MAX = 1_000_000

/**
 * A decimal text to millionths: `0.25` is 250 000. Undefined for anything else: a sign, an exponent, more than six places, or a million and
 * more. It never passes through a number with a fraction.
 */
export function microOf(text: string): number | undefined {
  const match = /^(\d{1,7})(?:\.(\d{1,6}))?$/.exec(text)
  if (match === null) return undefined
  const [, whole = '', part = ''] = match
  const micro = Number(whole) * MICRO + Number(part.padEnd(PLACES, '0'))
  return micro < WHOLE_MAX * MICRO ? micro : undefined
}

/** An amount of the command line: `5`, `5.00` or `5 USD`. */
export const microOfArgument = (text: string): number | undefined => microOf(text.trim().replace(/\s*USD$/i, ''))

/** Millionths as a person reads them: at least two places, and no more than there are. */
export function dollarsText(micro: number): string {
  const sign = micro < 0 ? '-' : ''
  const all = Math.abs(micro)
  const part = String(all % MICRO)
    .padStart(PLACES, '0')
    .replace(/0{1,4}$/, '')
  return `${sign}${Math.floor(all / MICRO)}.${part}`
}

/** As it is written in hub.yaml. */
export const usdWritten = (micro: number): string => `${dollarsText(micro)} USD`
