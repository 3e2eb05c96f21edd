/** The shapes of amounts in files that people write. */
import { z } from 'zod'
import { microOf } from './dollars.ts'

/** In hub.yaml: `2 USD` to millionths. Zero is an amount: it means that nothing may be spent. A bare number is refused, since it names no currency. */
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

/** Where the key itself is `usd`: `3` and `0.25` too, to millionths. */
export const dollarsShape = z
  .unknown()
  .transform((given, context): number => {
    const text = typeof given === 'number' ? String(given) : typeof given === 'string' ? given.replace(/ USD$/, '') : ''
    const micro = microOf(text)
    if (micro !== undefined) return micro
    context.addIssue({
      code: 'custom',
      message: 'must be an amount in US dollars with at most six places and below a million, as 3 or 0.25',
    })
    return z.NEVER
  })
  .meta({ unit: 'US dollars' })
