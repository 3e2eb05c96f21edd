/** Prices: the shipped table, that of the home over it, faults by line, and models that nobody knows. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { toHubError } from '../../../../../hub/base/errors.ts'
import { dollarsText, microOfArgument } from '../../../../../hub/protocol/dollars.ts'
import { usdShape } from '../../../../../hub/protocol/money.ts'
import { createPrices, type Prices } from '../../../../../hub/work/egress/money/prices.ts'
import { shippedPolicies } from '../../../../support/policy-fixture.ts'

let home: string
let prices: Prices
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'hub-prices-'))
  prices = createPrices({ home, shippedFolder: shippedPolicies })
})
afterEach(() => rmSync(home, { recursive: true }))

const write = (text: string) => writeFileSync(join(home, 'prices.yaml'), text)
function refused(work: () => unknown): string {
  try {
    work()
    return 'ok'
  } catch (thrown) {
    const { code, message } = toHubError(thrown)
    return `${code}: ${message}`
  }
}

describe('prices', () => {
  test('ship for some ten models of each of three providers, each with a source of a pinned commit', () => {
    const models = ['claude-opus-4-8', 'claude-haiku-4-5-20251001', 'gpt-5.5', 'gpt-5-nano', 'gemini-2.5-pro']
    for (const model of models)
      expect(prices.require('x', model).source).toMatch(
        /^https:\/\/github\.com\/BerriAI\/litellm\/blob\/[0-9a-f]{40}\//,
      )
    expect(prices.require('x', 'claude-haiku-4-5-20251001')).toMatchObject({
      model: 'claude-haiku-4-5',
      input: 1_000_000,
    })
  })

  test('of the home come first, those of one upstream before those of all, and count as soon as the file is written', () => {
    const shipped = prices.require('a', 'gpt-5.5')
    write(`models: { gpt-5.5: { input: 7, output: 8 } }
upstreams: { a: { models: { gpt-5.5: { input: 1, output: 2 }, own/model: { input: 3, output: 4, aliases: [own] } } } }
`)
    expect(prices.require('b', 'gpt-5.5')).toMatchObject({ input: 7, output: 8, source: 'prices.yaml' })
    expect(prices.require('a', 'gpt-5.5')).toMatchObject({ input: 1, output: 2 })
    expect(prices.require('a', 'own').model).toBe('own/model')
    expect(prices.find('b', 'own')).toBeUndefined()
    expect(prices.require('a', 'gpt-5.5').version).not.toBe(shipped.version)
    rmSync(join(home, 'prices.yaml'))
    expect(prices.require('a', 'gpt-5.5')).toEqual(shipped)
  })

  test.each([
    [
      'a finer price than is kept',
      'models:\n  m: { input: 1.5, output: 1 }',
      /line 2, column 15: models\.m\.input: .*finer/,
    ],
    [
      'a negative one',
      'models:\n  m: { input: -1, output: 1 }',
      /line 2, column 15: models\.m\.input: must be at least 0/,
    ],
    ['one that is missing', 'models:\n  m: { input: 1 }', /line 2.*models\.m\.output: is missing/],
    [
      'a key that is none',
      'models:\n  m: { input: 1, output: 1, cacheread: 1 }',
      /models\.m\.cacheread.*did you mean cacheRead\?/,
    ],
    [
      'a name of two models',
      'models:\n  m: { input: 1, output: 1 }\n  n: { input: 1, output: 1, aliases: [m] }',
      /line 3.*is a name of m already/,
    ],
    [
      'an upper price below the lower',
      'models:\n  m: { input: 5, output: 1, above: { tokens: 9, input: 4, output: 1 } }',
      /above\.input: is below input/,
    ],
    ['what is no YAML', 'models: {', /line \d+/],
  ])('with %s are refused with their line, and then nothing has a price', (_, text, why) => {
    write(text)
    expect(refused(() => prices.require('x', 'gpt-5.5'))).toMatch(why)
    expect(refused(() => prices.require('x', 'gpt-5.5'))).toMatch(/^config_invalid: .*prices\.yaml line/)
  })

  test('E7: a name that moves on to newer models has no price', () => {
    const text = readFileSync(join(shippedPolicies, 'prices.yaml'), 'utf8')
    expect(text.split('\n').filter((line) => !line.startsWith('#') && line.includes('latest'))).toEqual([])
  })

  test('of a model that nobody knows are not guessed: the refusal names the key to set and the nearest names', () => {
    const text = refused(() => prices.require('x', 'claude-sonet-5'))
    expect(text).toMatch(/^model_unknown: .*"claude-sonet-5".*set models\."claude-sonet-5" in prices\.yaml/)
    expect(text).toMatch(/nearest names with a price: claude-sonnet-5/)
    for (const name of ['', 'constructor', '__proto__', 'GPT-5.5', 'gpt-5.5 ', 'gpt-5.5-2026-04-24'])
      expect(refused(() => prices.require('x', name))).toMatch(/^model_unknown/)
  })
})

describe('amounts of money', () => {
  test('are whole millionths, read and written without a number that has a fraction', () => {
    for (const [text, micro] of [
      ['0', 0],
      ['0.1', 100_000],
      ['0.000001', 1],
      ['2', 2_000_000],
      ['999999.999999', 999_999_999_999],
    ] as const) {
      expect(microOfArgument(text)).toBe(micro)
      expect(usdShape.parse(`${text} USD`)).toBe(micro)
      expect(microOfArgument(dollarsText(micro))).toBe(micro)
    }
    for (const text of ['', '-1', '1e3', '0.0000001', '1000000', '1,5', ' 1', '.5', 'NaN', '1 EUR'])
      expect(usdShape.safeParse(`${text} USD`).success, text).toBe(false)
    for (const bare of [2, '2', 2.5, null, undefined]) expect(usdShape.safeParse(bare).success).toBe(false)
  })
})
