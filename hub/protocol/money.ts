/**
 * Money as people write it (`2 USD`, `0.25 USD`) and as the hub counts it: whole millionths of a US dollar. No amount is ever a number with
 * a fraction, because sums of those are not exact.
 */
import { z } from 'zod'

const MICRO = 1_000_000
const PLACES = 6
/** More than any budget: a million dollars. */
const WHOLE_MAX = 1_000_000

/**
 * A decimal text to millionths: `0.25` is 250 000. Undefined for anything else: a sign, an exponent, more than six places, or a million and
 * more. It never passes through a number with a fraction.
 */
function microOf(text: string): number | undefined {
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

/** `2 USD` to millionths. Zero is an amount: it means that nothing may be spent. A bare number is refused, since it names no currency. */
export const usdShape = z
  .unknown()
  .transform((given, context): number => {
    const text = typeof given === 'string' && given.endsWith(' USD') ? given.slice(0, -4) : ''
    const micro = microOf(text)
    if (micro !== undefined) return micro
    context.addIssue({
      code: 'custom',
      message:
        given === undefined
          ? 'is missing'
          : 'must be an amount in US dollars with at most six places and below a million, as 2 USD or 0.25 USD',
    })
    return z.NEVER
  })
  .meta({ unit: 'usd' })
