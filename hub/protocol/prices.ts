/** The files of prices: `policies/prices.yaml`, which ships, and `prices.yaml` of the home. Shapes only. */
import { z } from 'zod'
import { nameShape } from './ids.ts'

export const HOME_PRICES = 'prices.yaml'

/** A thousand dollars for a million tokens. */
const RATE_MAX = 1_000_000_000
const TOKENS_MAX = 100_000_000
const MODELS_MAX = 500

const FINER = 'must be a whole number of millionths of a US dollar; a finer price is not kept'
const rate = z
  .int({ error: ({ input }) => (typeof input === 'number' && !Number.isInteger(input) ? FINER : undefined) })
  .min(0)
  .max(RATE_MAX)
const tokens = z.int().min(1).max(TOKENS_MAX)
const rates = {
  input: rate,
  output: rate,
  cacheRead: rate.optional(),
  /** What is written to a cache that is kept for minutes, and for an hour. */
  cacheWrite: rate.optional(),
  cacheWrite1h: rate.optional(),
  audioInput: rate.optional(),
}
/** A model's name as providers write them, with `/` and `:` for those of gateways. */
const modelName = z
  .string()
  .max(200)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$/, 'is no name of a model')
const sourceShape = z.url({ protocol: /^https?$/, error: 'must be the address of the page that says so' }).max(500)

/** What makes the whole call dearer: the tier, the speed, the place: `us` as a request says it, `regional` by the host it goes to. */
export const SURCHARGES = ['priority', 'fast', 'us', 'regional'] as const
export type Surcharge = (typeof SURCHARGES)[number]

const modelPriceShape = z.strictObject({
  ...rates,
  above: z.strictObject({ tokens, ...rates }).optional(),
  maxInput: tokens.optional(),
  maxOutput: tokens.optional(),
  uses: z.record(z.string().regex(/^[a-z_]{1,40}$/), z.int().min(0).max(RATE_MAX)).default({}),
  percent: z.partialRecord(z.enum(SURCHARGES), z.int().min(100).max(10_000)).default({}),
  aliases: z.array(modelName).max(32).default([]),
  source: sourceShape.optional(),
})
const modelsShape = z
  .record(modelName, modelPriceShape)
  .refine((models) => Object.keys(models).length <= MODELS_MAX, `over ${MODELS_MAX} models`)
  .superRefine((models, context) => {
    const named = new Map(Object.keys(models).map((name) => [name, name]))
    for (const [name, { aliases, above, input, output }] of Object.entries(models)) {
      for (const [at, alias] of aliases.entries()) {
        const other = named.get(alias)
        if (other !== undefined)
          context.addIssue({ code: 'custom', path: [name, 'aliases', at], message: `is a name of ${other} already` })
        named.set(alias, name)
      }
      // A reserve is counted at the upper prices as soon as a call may reach them, so they must not be the lower ones.
      for (const [key, base] of Object.entries({ input, output }))
        if (above !== undefined && above[key as 'input' | 'output'] < base)
          context.addIssue({ code: 'custom', path: [name, 'above', key], message: `is below ${key}, which is ${base}` })
    }
  })

export const homePricesShape = z.strictObject({
  models: modelsShape.default({}),
  /** Prices of one upstream alone, which come before those of all. */
  upstreams: z.record(nameShape, z.strictObject({ models: modelsShape })).default({}),
})
export const shippedPricesShape = z.strictObject({
  dated: z.string().regex(/^\d{4}-\d\d-\d\d$/, 'must be a day, such as 2026-12-01'),
  source: sourceShape,
  models: modelsShape,
})
export type ModelPrice = z.output<typeof modelPriceShape>

/** A model with its price, as the hub answers. `model` is its canonical name. */
export const priceViewShape = modelPriceShape.omit({ aliases: true }).extend({
  model: modelName.describe('its canonical name'),
  version: z.string().describe('a digest of the figures'),
  source: z.string().describe('where the figures are from'),
})
