/** The keys of a zod shape, as a person writes them: for the pages about files, and to compare and show a configuration. Pure. */
import { z } from 'zod'
import { usdWritten } from './dollars.ts'
import { sizeWritten, spanWritten } from './spans.ts'

type Bag = Readonly<Record<string, unknown>>
export const isBag = (value: unknown): value is Bag =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
export const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

export interface Unwrapped {
  shape: z.core.$ZodType
  usual: unknown
  isOptional: boolean
  meta: Bag
}

export const defOf = (shape: z.core.$ZodType): Bag => {
  const def: unknown = Reflect.get(shape, 'def')
  return isBag(def) ? def : {}
}
export const isShape = (value: unknown): value is z.core.$ZodType => value instanceof z.core.$ZodType

/** The shape of what is written, without defaults, transforms and other wrappers. */
export function unwrap(outer: z.core.$ZodType): Unwrapped {
  let shape = outer
  let usual: unknown
  let isOptional = false
  let meta: Bag = {}
  for (;;) {
    meta = { ...z.globalRegistry.get(shape), ...meta }
    const def = defOf(shape)
    if (def.type === 'default' || def.type === 'prefault') usual ??= def.defaultValue
    if (def.type === 'optional') isOptional = true
    const inner = def.type === 'pipe' ? pipeOf(def) : def.innerType
    if (!isShape(inner)) return { shape, usual, isOptional, meta }
    shape = inner
  }
}

/** For a preprocessed value its output; for a transformed one its input. */
function pipeOf({ in: given, out }: Bag): unknown {
  return isShape(given) && defOf(given).type === 'transform' ? out : given
}

/** A value as a person writes it; '' for none. */
export function writtenAs(value: unknown, unit: string): string {
  if (value === undefined || (isBag(value) && Object.keys(value).length === 0)) return ''
  if (typeof value === 'number' && unit === 'span') return spanWritten(value)
  if (typeof value === 'number' && unit === 'size') return sizeWritten(value)
  if (typeof value === 'number' && unit === 'usd') return usdWritten(value)
  if (Array.isArray(value) && value.length === 0) return ''
  return typeof value === 'string' ? value || "''" : JSON.stringify(value)
}

/**
 * When a changed key counts: at once; for what begins from then on, a session or a question to a person; or, without a word beside the key,
 * after `hub restart`. A word at a map counts for the keys inside it that have none of their own.
 */
export type Live = 'now' | 'next' | 'restart'
const isLive = (word: unknown): word is Live => word === 'now' || word === 'next' || word === 'restart'
/** The word of this key, or else of the map around it. */
export const liveOf = (meta: Bag, around: Live = 'restart'): Live => (isLive(meta.live) ? meta.live : around)

export interface Leaf {
  path: readonly string[]
  /** With defaults and transforms: it parses a value of the file. */
  whole: z.core.$ZodType
  usual: unknown
  unit: string
  live: Live
}

/** Every key that holds a value: maps of names and lists are one each. */
export function leavesOf(shape: z.core.$ZodType, before: readonly string[] = [], around: Live = 'restart'): Leaf[] {
  const parts: unknown = Reflect.get(unwrap(shape).shape, 'shape')
  return Object.entries(isBag(parts) ? parts : {}).flatMap(([key, part]): Leaf[] => {
    if (!isShape(part)) return []
    const path = [...before, key]
    const { shape: own, usual, meta } = unwrap(part)
    const live = liveOf(meta, around)
    if (defOf(own).type === 'object' && usual !== undefined) return leavesOf(part, path, live)
    return [{ path, whole: part, usual, unit: textOf(meta.unit), live }]
  })
}
