/**
 * What the readers of the providers' usage share: a closed table of keys, and what makes a figure odd. An odd figure is believed by nobody:
 * its call settles at the reserve. Pure.
 */
import { parseStrictJson } from '../../../../base/strict-json.ts'
import { isBag } from '../../../../protocol/keys.ts'
import type { Surcharge } from '../../../../protocol/prices.ts'
import type { Tokens } from '../cost.ts'
import type { Path } from './json-scan.ts'

export type UsageOutcome =
  /** `model`: as the answer names it; undefined only where the shape names none. */
  | {
      kind: 'measured'
      model: string | undefined
      tokens: Tokens
      surcharges: readonly Surcharge[]
      /** What the answer says that it had not: it names another tier, speed or place. */
      denied: readonly Surcharge[]
      /** What the upstream says that it bills, in millionths of a US dollar, where it says that. */
      billedUsd?: number | undefined
    }
  /** Something is wrong with the figures, in words. */
  | { kind: 'odd'; why: string }
  /** It told no usage, or broke off before it did. */
  | { kind: 'none' }

/** One shape of answers, whole or streamed. Throws `Odd`. */
export interface Shape {
  readonly paths: readonly Path[]
  /** One document: the whole answer, or the data of one event. */
  take(found: ReadonlyMap<Path, string>): void
  /** The whole data of a short event: whether it is a word of this shape and no JSON. */
  takeWord(word: string): boolean
  outcome(): UsageOutcome
}

/** A figure that is not believed. */
export class Odd extends Error {}

/** Text of an upstream, for an alert: short, and without control characters. */
const shown = (text: string): string => JSON.stringify(text.slice(0, 60))

const KNOWN_MAX = 1_000_000_000_000

/** A whole number from 0 on; nothing and null are 0. Throws `Odd`. */
export function count(value: unknown, name: string): number {
  if (value === undefined || value === null) return 0
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || value > KNOWN_MAX)
    throw new Odd(`${name} is no count`)
  return value
}

/** An amount of dollars as JSON writes it, in millionths of one, rounded up; below a million dollars. Throws `Odd`. */
export function amount(value: unknown, name: string): number {
  if (typeof value !== 'number' || !(value >= 0 && value < 1_000_000)) throw new Odd(`${name} is no amount`)
  // By its digits: a number with a fraction is never multiplied.
  const [digits = '', exponent = '0'] = String(value).split('e')
  const [whole = '', part = ''] = digits.split('.')
  const places = part.length - Number(exponent) - 6
  const all = BigInt(whole + part)
  const below = 10n ** BigInt(Math.max(0, places))
  return Number((all * 10n ** BigInt(Math.max(0, -places)) + below - 1n) / below)
}

/** The keys of an object; undefined for nothing and null. Throws `Odd` for another value, and for a key that is not in the list. */
export function keysOf(
  value: unknown,
  known: readonly string[],
  name: string,
): Readonly<Record<string, unknown>> | undefined {
  if (value === undefined || value === null) return undefined
  if (!isBag(value)) throw new Odd(`${name} is no object`)
  const other = Object.keys(value).find((key) => !known.includes(key))
  if (other !== undefined) throw new Odd(`${name} has the key ${shown(other)}, which nobody here knows`)
  return value
}

/** The value at a path. Throws `Odd` if it is no strict JSON. */
export function valueAt(found: ReadonlyMap<Path, string>, path: Path): unknown {
  const text = found.get(path)
  if (text === undefined) return undefined
  try {
    return parseStrictJson(text)
  } catch {
    throw new Odd(`${path} cannot be read`)
  }
}

export function textAt(found: ReadonlyMap<Path, string>, path: Path): string | undefined {
  const value = valueAt(found, path)
  return typeof value === 'string' ? value : undefined
}

/** Which of these words it is, and what it costs; throws `Odd` for any other. */
export function surchargeOf(
  value: unknown,
  words: Readonly<Record<string, Surcharge | null>>,
  name: string,
): Surcharge[] {
  if (value === undefined || value === null) return []
  const found = typeof value === 'string' && Object.hasOwn(words, value) ? words[value] : undefined
  if (found === undefined) throw new Odd(`${name} is ${shown(String(value))}, whose price nobody here knows`)
  return found === null ? [] : [found]
}

/** Words that leave it open. */
const SAYS_NOTHING: readonly unknown[] = ['auto', 'SERVICE_TIER_UNSPECIFIED']

/** What a word of such a table denies: it is none of those that cost. */
export function deniedBy(value: unknown, words: Readonly<Record<string, Surcharge | null>>): Surcharge[] {
  const isOther = typeof value === 'string' && Object.hasOwn(words, value) && words[value] === null
  if (!isOther || SAYS_NOTHING.includes(value)) return []
  return [...new Set(Object.values(words).filter((each) => each !== null))]
}

/** Later figures of one stream include the earlier ones. Throws `Odd` if one is smaller. */
export function rising(before: number, now: number, name: string): number {
  if (now < before) throw new Odd(`${name} fell within the stream`)
  return now
}

/** One model answers a call. */
export function sameModel(before: string | undefined, now: string | undefined): string | undefined {
  if (before !== undefined && now !== undefined && now !== before) throw new Odd('two models are named in one answer')
  return now ?? before
}
