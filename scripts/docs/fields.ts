/** The keys of a zod shape, one row each, as a person writes them: for the pages about files. Pure. */
import { z } from 'zod'
import { defOf, isBag, isShape, type Live, liveOf, textOf, unwrap, writtenAs } from '../../hub/protocol/keys.ts'

export interface Field {
  path: string
  type: string
  /** The default as it is written; '' if there is none. */
  usual: string
  limit: string
  means: string
  /** When a change counts; only of a file that is read while its process runs. */
  live: Live
}

type Bag = Readonly<Record<string, unknown>>

function typeOf(shape: z.core.$ZodType, unit: string): string {
  if (unit !== '') return unit
  const def = defOf(shape)
  const inner = (value: unknown) => {
    if (!isShape(value)) return 'anything'
    const found = unwrap(value)
    return typeOf(found.shape, textOf(found.meta.unit))
  }
  switch (def.type) {
    case 'string':
      return 'text'
    case 'number':
      return def.format === 'safeint' ? 'whole number' : 'number'
    case 'boolean':
      return 'true or false'
    case 'enum':
      return Object.values(isBag(def.entries) ? def.entries : {})
        .map((word) => `\`${String(word)}\``)
        .join(', ')
    case 'literal':
      return (Array.isArray(def.values) ? def.values : []).map((word) => `\`${String(word)}\``).join(', ')
    case 'array':
      return `list of ${inner(def.element)}`
    case 'record':
      return `map of ${inner(def.valueType)}`
    case 'union':
      return [...new Set((Array.isArray(def.options) ? def.options : []).map(inner))].join(' or ')
    case 'object':
      return 'map'
    default:
      return 'anything'
  }
}

const SAFE = Number.MAX_SAFE_INTEGER
function limitOf(shape: z.core.$ZodType, meta: Bag): string {
  const limits: string[] = []
  if (textOf(meta.least) !== '') limits.push(`at least ${textOf(meta.least)}`)
  if (textOf(meta.most) !== '') limits.push(`at most ${textOf(meta.most)}`)
  const json: Bag = z.toJSONSchema(shape, { io: 'input', unrepresentable: 'any' })
  const number = (key: string) => (typeof json[key] === 'number' ? json[key] : undefined)
  const least = number('minimum')
  if (least !== undefined && least > -SAFE) limits.push(`at least ${least}`)
  if (number('exclusiveMinimum') !== undefined) limits.push(`above ${number('exclusiveMinimum')}`)
  const most = number('maximum')
  if (most !== undefined && most < SAFE) limits.push(`at most ${most}`)
  if (number('minItems') !== undefined) limits.push(`at least ${number('minItems')}`)
  if (number('maxItems') !== undefined) limits.push(`at most ${number('maxItems')}`)
  if (number('maxLength') !== undefined) limits.push(`at most ${number('maxLength')} characters`)
  return limits.join(', ')
}

/** Every key below the shape, in its order. `refused`: keys that are refused, with the answer. Throws for a key without a description. */
export function fieldsOf(
  shape: z.core.$ZodType,
  before = '',
  around: Live = 'restart',
): { fields: Field[]; refused: Field[] } {
  const fields: Field[] = []
  const refused: Field[] = []
  const inside = unwrap(shape).shape
  const parts: unknown = Reflect.get(inside, 'shape')
  for (const [key, part] of Object.entries(isBag(parts) ? parts : {})) {
    if (!isShape(part)) continue
    const path = `${before}${key}`
    const { shape: own, usual, isOptional, meta } = unwrap(part)
    if (defOf(own).type === 'never') {
      refused.push({ path, type: '', usual: '', limit: '', means: refusalOf(own), live: 'restart' })
      continue
    }
    const unit = textOf(meta.unit)
    const live = liveOf(meta, around)
    const means = textOf(meta.description)
    if (means === '' && defOf(own).type !== 'literal') throw new Error(`${path} has no description`)
    const isGroup = defOf(own).type === 'object'
    const given = isGroup ? '' : writtenAs(usual, unit) || textOf(meta.usual)
    const none = isOptional || isGroup || usual !== undefined ? 'none' : 'needed'
    fields.push({
      path,
      type: typeOf(own, unit),
      usual: given === '' ? none : `\`${given}\``,
      limit: limitOf(own, meta),
      means,
      live,
    })
    if (isGroup) {
      const deeper = fieldsOf(own, `${path}.`, live)
      fields.push(...deeper.fields)
      refused.push(...deeper.refused)
    }
  }
  return { fields, refused }
}

function refusalOf(shape: z.core.$ZodType): string {
  const parsed = z.safeParse(shape, 'x')
  return parsed.success ? '' : (parsed.error.issues[0]?.message ?? '')
}
