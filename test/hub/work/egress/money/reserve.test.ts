/** What a call may cost at worst: the reserve that is set aside before it, and the output cap that goes with it. Over a real database, with a fake clock. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { MeteredCall } from '../../../../../hub/work/egress/money/budget.ts'
import { code, costs, createMoneyScene, measured, WORST, wide } from '../../../../support/money-scene.ts'

const scene = createMoneyScene()
const { reserve, settle, open, day } = scene

describe('a reserve', () => {
  test('is the worst case, and what was measured takes its place, once', () => {
    const { id, cap, reservedUsd, model } = reserve({ model: 'claude-haiku-4-5-20251001' })
    expect({ cap, reservedUsd, model }).toEqual({ cap: 1000, reservedUsd: WORST, model: 'claude-haiku-4-5' })
    expect(day()).toMatchObject({ heldUsd: WORST, spentUsd: 0, calls: 1 })
    expect(settle(id, costs(1234))).toMatchObject({ state: 'measured', usd: 1234, odd: undefined })
    // Whoever settles again changes nothing, whatever they say.
    for (const ending of [costs(1), { kind: 'lost' } as const, { kind: 'failed_before' } as const])
      expect(settle(id, ending)).toMatchObject({ state: 'measured', usd: 1234, crossings: [] })
    expect(day()).toMatchObject({ heldUsd: 0, spentUsd: 1234, estimatedUsd: 0, calls: 1 })
  })

  test('has the output cap of the row, of the model and of the agent, whichever is least', () => {
    open(wide({ tree: { usd: '50 USD' }, day: { usd: '50 USD' } }))
    expect(reserve({ askedOutput: undefined }).cap).toBe(32_000)
    expect(reserve({ askedOutput: 128_000, maxOutput: 100_000 }).cap).toBe(64_000)
    expect(reserve({ askedOutput: 7 }).cap).toBe(7)
    expect(reserve({ shape: 'embeddings', model: 'text-embedding-3-small' }).cap).toBe(0)
  })

  test('counts choices, media, surcharges and tools at the provider at their most, and refuses what has no price', () => {
    open(wide({ tree: { usd: '50 USD' }, day: { usd: '50 USD' } }))
    const usd = (given: Partial<MeteredCall>) => reserve(given).reservedUsd
    expect(usd({ choices: 3 })).toBe(2530 + 3 * 5000)
    // One hour of cache is 2 dollars for a million.
    expect(usd({ surcharges: ['cache_write_1h'] })).toBe(2024 * 2 + 5000)
    expect(usd({ media: { images: 2, documents: 0, audios: 0, videos: 0 } })).toBe((12_024 * 125) / 100 + 5000)
    // A document may be as much as the model takes: 200000 tokens.
    expect(usd({ media: { images: 0, documents: 1, audios: 0, videos: 0 } })).toBe(250_000 + 5000)
    // Opus: 2024 x 6.25 + 1000 x 25 = 37650; fast is twice that.
    expect(usd({ model: 'claude-opus-4-8', surcharges: ['speed:fast'] })).toBe(75_300)
    // By a regional host: 2024 at 2.50 (nothing dearer is known) and 1000 at 15 are 20060, and a tenth more; nothing for an older model.
    expect(usd({ model: 'gpt-5.4', shape: 'chat', surcharges: ['regional'] })).toBe(22_066)
    expect(usd({ model: 'gpt-5-nano', shape: 'chat', surcharges: ['regional'] })).toBe(
      usd({ model: 'gpt-5-nano', shape: 'chat' }),
    )
    for (const surcharge of [
      'regional',
      'speed:fast',
      'tier:ultra',
      'audio_output',
      'image_output',
      'server_tools',
      'server_tools:2',
    ])
      expect(
        code(() => reserve({ surcharges: [surcharge] })),
        surcharge,
      ).toBe('model_unknown')
    expect(code(() => reserve({ model: 'claude-haiku-9' }))).toBe('model_unknown')
    // Above 1000 tokens an hour of cache has no price of its own, but up to there it may be billed, and is the dearest.
    writeFileSync(
      join(scene.home.folder, 'prices.yaml'),
      `models: { own: { input: 1000000, output: 0, cacheWrite1h: 9000000, above: { tokens: 1000, input: 2000000, output: 0 } } }`,
    )
    expect(usd({ model: 'own', surcharges: ['cache_write_1h'] })).toBe(2024 * 9)
  })

  test('of a document is all that a long context takes, where the request asks for one', () => {
    const tokens = { call: { tokens: 2_000_000 } }
    open(wide({ ...tokens, ceiling: tokens, tree: { usd: '50 USD' }, day: { usd: '50 USD' } }))
    const asked = {
      ...{ model: 'claude-sonnet-4-5', media: { images: 0, documents: 1, audios: 0, videos: 0 } },
      surcharges: ['long_context'],
    }
    const { id, reservedUsd } = reserve(asked)
    // 1000000 at 7.50 (written to a cache, above the tier) and 1000 at 22.50.
    expect(reservedUsd).toBe(7_500_000 + 22_500)
    // 900000 at 6 and 1 at 22.50.
    expect(settle(id, measured(900_000, 1, 'claude-sonnet-4-5'))).toMatchObject({ state: 'measured', usd: 5_400_023 })
  })

  test('of what begins with an earlier request is what that took, and the bytes that came after', () => {
    const first = reserve({ inputBytes: 40_000, prefixes: [{ hash: 'h1', restBytes: 0 }] })
    settle(first.id, measured(9000, 10))
    const next = {
      inputBytes: 42_000,
      prefixes: [
        { hash: 'h2', restBytes: 0 },
        { hash: 'h1', restBytes: 2000 },
      ],
    }
    // 9000 + 2000 + 1024 tokens at 1.25, and not 43024.
    expect(reserve(next).reservedUsd).toBe((12_024 * 125) / 100 + 5000)
    // Of another upstream neither: a model of one's own may have the same name and say that the input was nothing [E10].
    expect(reserve({ ...next, upstream: 'other' }).reservedUsd).toBe((43_024 * 125) / 100 + 5000)
    // Of another session, or for another model, it says nothing: 43024 at 1.25, and at 6.25 with 1000 at 25.
    expect(reserve({ ...next, session: 's2' }).reservedUsd).toBe((43_024 * 125) / 100 + 5000)
    expect(reserve({ ...next, model: 'claude-opus-4-8' }).reservedUsd).toBe((43_024 * 625) / 100 + 25_000)
  })
})
