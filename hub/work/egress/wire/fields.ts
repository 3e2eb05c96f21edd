/**
 * Closed lists of the fields of a body, as rules that are put together: what a rule does not name is refused by its place. A rule reads the tree of
 * places and never another parse of the same bytes (E23).
 */

import { HubError } from '../../../base/errors.ts'
import { type JsonNode, numberOf, textOf } from '../../../base/json-tree.ts'
import type { Media, Refused } from './judged.ts'

/** One judgement of one body: what is permitted beyond the lists, and what was found. */
export interface Walk {
  bytes: Buffer
  /** The name of the upstream, for texts. */
  upstream: string
  serverTools: readonly string[]
  /** Of each tool of the provider that may be used, how often at most; undefined without a bound. */
  serverUses: (number | undefined)[]
  surcharges: Set<string>
  media: Record<Media, number>
  /** Spans that two requests of one conversation may differ in: marks of caches. */
  marks: { from: number; to: number }[]
}
/** Where a value stands; read only when something is refused. */
export interface Place {
  up: Place | undefined
  step: string | number
}
export type Rule = (node: JsonNode, place: Place, walk: Walk) => void

/** Ends a judgement with a refusal; caught where the judgement began. */
export class Refusal extends Error {
  readonly refused: Refused
  constructor(code: Refused['code'], detail: string) {
    super(detail)
    this.refused = { code, detail }
  }
}

/** `messages[3].content[0].source`. Keys of the agent are cut and lose what is no plain sign. */
function placeText(place: Place): string {
  const steps: string[] = []
  for (let at: Place | undefined = place; at !== undefined; at = at.up)
    if (typeof at.step === 'number') steps.unshift(`[${at.step}]`)
    else steps.unshift(`${at.up === undefined || at.up.step === '' ? '' : '.'}${plainWord(at.step)}`)
  return steps.join('') || 'the body'
}

/** A word of the agent, fit to be shown. */
export function plainWord(text: string): string {
  return text.replaceAll(/[^\w.:@/-]/g, '?').slice(0, 64)
}

export const ROOT: Place = { up: undefined, step: '' }

const wrong = (place: Place, wanted: string): Refusal => new Refusal('schema_invalid', `${placeText(place)}: ${wanted}`)

/** Anything: the provider hands it to the model or gives it back, and acts on none of it. */
export const opaque: Rule = () => undefined

export const text: Rule = (node, place) => {
  if (node.kind !== 'string') throw wrong(place, 'must be a string')
}
export const flag: Rule = (node, place) => {
  if (node.kind !== 'word' || node.value === null) throw wrong(place, 'must be true or false')
}
export const number: Rule = (node, place) => {
  if (node.kind !== 'number') throw wrong(place, 'must be a number')
}
/** A count: a whole number that every parser reads alike, written without a fraction or an exponent. */
export const count: Rule = (node, place, { bytes }) => {
  if (countOf(bytes, node) === undefined) throw wrong(place, 'must be a whole number, written in digits only')
}

export function countOf(bytes: Buffer, node: JsonNode | undefined): number | undefined {
  if (node?.kind !== 'number' || !/^\d{1,15}$/.test(bytes.toString('latin1', node.from, node.to))) return undefined
  return numberOf(bytes, node)
}

/** One of these words; anything else is refused by what it would do. */
export const oneOf =
  (...words: string[]): Rule =>
  (node, place, { bytes }) => {
    if (node.kind !== 'string') throw wrong(place, `must be one of ${words.join(', ')}`)
    const word = textOf(bytes, node)
    if (!words.includes(word))
      throw new Refusal(
        'egress_denied',
        `${placeText(place)}: "${plainWord(word)}" is not on the list of what passes: ${words.join(', ')}`,
      )
  }

/** A word that costs: what is free passes as it is, what costs is named as a surcharge, behind this beginning. */
export const priced =
  (beginning: string, free: readonly string[], costing: readonly string[]): Rule =>
  (node, place, walk) => {
    oneOf(...free, ...costing)(node, place, walk)
    const word = node.kind === 'string' ? textOf(walk.bytes, node) : ''
    if (costing.includes(word)) walk.surcharges.add(`${beginning}${word}`)
  }

export const listOf =
  (rule: Rule): Rule =>
  (node, place, walk) => {
    if (node.kind !== 'array') throw wrong(place, 'must be a list')
    for (const [at, item] of node.items.entries()) rule(item, { up: place, step: at }, walk)
  }

/** A string, or what the rule says. */
export const textOr =
  (rule: Rule): Rule =>
  (node, place, walk) => {
    if (node.kind !== 'string') rule(node, place, walk)
  }

/** Never passes. */
export const never =
  (code: Refused['code'], why: string): Rule =>
  (_node, place) => {
    throw new Refusal(code, `${placeText(place)}: ${why}`)
  }

const UNLISTED: Rule = never('egress_denied', 'this field is not on the list of what passes; leave it out')

export type Fields = Readonly<Record<string, Rule>>

interface ObjectOptions {
  /** Fields that mark a cache: two requests of one conversation may differ in them. */
  marks?: readonly string[]
  /** The rule of a field that is not on the list. */
  other?: (name: string) => Rule
}

/** An object of these fields and no others; null stands for a field that is left out. */
export const objectOf =
  (fields: Fields, { marks = [], other }: ObjectOptions = {}): Rule =>
  (node, place, walk) => {
    if (node.kind !== 'object') throw wrong(place, 'must be an object')
    for (const [name, { value }] of node.fields) {
      const rule = Object.hasOwn(fields, name) ? fields[name] : (other?.(name) ?? UNLISTED)
      if (value.kind !== 'word' || value.value !== null) rule?.(value, { up: place, step: name }, walk)
    }
    for (const name of marks) if (node.fields.has(name)) walk.marks.push(spanOfField(node, name))
  }

/** A list of one plain text counts as that text where two requests of one conversation are compared: clients write the same turn in both ways. */
export const oneTextAlike =
  (rule: Rule): Rule =>
  (node, place, walk) => {
    rule(node, place, walk)
    const [only, ...more] = node.kind === 'array' ? node.items : []
    const text = only?.kind === 'object' && more.length === 0 ? only.fields.get('text')?.value : undefined
    if (only?.kind !== 'object' || text?.kind !== 'string') return
    if ([...only.fields.keys()].some((name) => !['type', 'text', 'cache_control'].includes(name))) return
    walk.marks.push({ from: node.from, to: text.from }, { from: text.to, to: node.to })
  }

/** A field with the comma before it, or after it where it is the first. */
function spanOfField(node: JsonNode & { kind: 'object' }, name: string): { from: number; to: number } {
  const all = [...node.fields]
  const at = all.findIndex(([each]) => each === name)
  const [before, here, after] = [all[at - 1]?.[1], all[at]?.[1], all[at + 1]?.[1]]
  const to = here?.value.to ?? node.to
  return before === undefined ? { from: here?.from ?? to, to: after?.from ?? to } : { from: before.value.to, to }
}

/** An object whose word under `key` says which rule judges it; `without` judges one that has no such word, `other` one whose word has no rule. */
export const tagged =
  (key: string, rules: Fields, options: { without?: Rule; other?: (word: string) => Rule } = {}): Rule =>
  (node, place, walk) => {
    if (node.kind !== 'object') throw wrong(place, 'must be an object')
    const tag = node.fields.get(key)?.value
    if (tag === undefined || (tag.kind === 'word' && tag.value === null)) {
      if (options.without === undefined) throw wrong(place, `needs a ${key}`)
      return options.without(node, place, walk)
    }
    if (tag.kind !== 'string') throw wrong({ up: place, step: key }, 'must be a string')
    const word = textOf(walk.bytes, tag)
    const rule = Object.hasOwn(rules, word) ? rules[word] : options.other?.(word)
    if (rule === undefined)
      throw new Refusal(
        'egress_denied',
        `${placeText(place)}: ${key} "${plainWord(word)}" is not on the list of what passes`,
      )
    rule(node, place, walk)
  }

/** Only `false` passes, which is as good as nothing. */
export const onlyFalse =
  (why: string): Rule =>
  (node, place, walk) => {
    if (node.kind !== 'word' || node.value !== false) never('egress_denied', why)(node, place, walk)
  }

/** A reference to something that is kept at the provider: other sessions' data, and input that nobody counts (E22). */
export const storedReference: Rule = never(
  'stored_reference_refused',
  'refers to something stored at the provider; send it inline, or leave the field out',
)

/** Names a surcharge, then judges. */
export const costing =
  (name: string, rule: Rule): Rule =>
  (node, place, walk) => {
    walk.surcharges.add(name)
    rule(node, place, walk)
  }

export const counted =
  (kind: Media, rule: Rule): Rule =>
  (node, place, walk) => {
    walk.media[kind] += 1
    rule(node, place, walk)
  }

/** Bytes in the body itself: `data:...;base64,`. A URL would make the provider fetch (E21). */
export const inlineUrl: Rule = (node, place, { bytes }) => {
  if (node.kind !== 'string') throw wrong(place, 'must be a string')
  // Some clients write each slash as an escape.
  const start = bytes.toString('latin1', node.from, node.from + 512).replaceAll('\\/', '/')
  if (!/^"data:[\w.+-]{1,64}\/[\w.+-]{1,64}(?:;[\w=.+-]{1,64}){0,4};base64,/.test(start))
    throw new Refusal(
      'egress_denied',
      `${placeText(place)}: only bytes within the body pass (data:TYPE;base64,...), never a URL that the provider would fetch`,
    )
}

/** Keys that mean a stored object, another model or another server wherever a tool of the provider takes them. */
const POINTERS: ReadonlyMap<string, Refused['code']> = new Map<string, Refused['code']>([
  ['model', 'egress_denied'],
  ['models', 'egress_denied'],
  ['file_id', 'stored_reference_refused'],
  ['file_ids', 'stored_reference_refused'],
  ['container_id', 'stored_reference_refused'],
  ['vector_store_ids', 'stored_reference_refused'],
  ['server_url', 'server_tool_refused'],
  ['connector_id', 'server_tool_refused'],
])

/** What a listed tool of the provider may be given: anything but what points to a stored object, another model or another server. */
export const withoutPointers: Rule = (node, place, walk) => {
  if (node.kind === 'array')
    for (const [at, item] of node.items.entries()) withoutPointers(item, { up: place, step: at }, walk)
  if (node.kind !== 'object') return
  for (const [name, { value }] of node.fields) {
    const code = POINTERS.get(name)
    if (code !== undefined) throw new Refusal(code, `${placeText({ up: place, step: name })} never passes`)
    withoutPointers(value, { up: place, step: name }, walk)
  }
}

/** What runs at the provider (E21): refused unless the upstream lists it, by its type or by its type without the date. MCP never. */
export const serverTool =
  (word: string, rule: Rule = withoutPointers): Rule =>
  (node, place, walk) => {
    const name = word.replace(/_\d{4}_?\d{2}_?\d{2}$/, '')
    if (/mcp|connector/i.test(word))
      throw new Refusal('server_tool_refused', `${placeText(place)}: servers of others (MCP, connectors) never pass`)
    if (!walk.serverTools.includes(word) && !walk.serverTools.includes(name))
      throw new Refusal(
        'server_tool_refused',
        `${placeText(place)}: the tool "${plainWord(word)}" runs at the provider and reaches further than this hub sees. Leave it out, or add "${plainWord(name)}" to upstreams.${walk.upstream}.serverTools in hub.yaml`,
      )
    rule(node, place, walk)
  }

/** The same as a tool that the model may use from now on: each use costs, so it counts how many there may be. */
export const usableServerTool =
  (word: string): Rule =>
  (node, place, walk) => {
    serverTool(word)(node, place, walk)
    const uses = node.kind === 'object' ? countOf(walk.bytes, node.fields.get('max_uses')?.value) : undefined
    walk.serverUses.push(uses)
  }

/** The one way a HubError of a parser becomes a refusal. */
export const refusalOf = (thrown: unknown): Refused => {
  if (thrown instanceof Refusal) return thrown.refused
  if (thrown instanceof HubError) {
    const at = thrown.facts.at
    return {
      code: thrown.code,
      detail: typeof at === 'number' ? `${thrown.message} (byte ${at} of the body)` : thrown.message,
    }
  }
  throw thrown
}
