/**
 * Refuses an own rule that reads what is not there (S1-13): it would never fire, and nobody would hear of it.
 *
 * F1. Every path that begins with `input` or `data` is looked up in what a rule sees (`hub/protocol/rule-input.ts`), and so is a word that
 *     one of a few known words is compared with: the operation, the mode, a kind.
 * F2. opa checks the same by types, with a schema made from the same shape: that finds what goes through a variable (`r := input.resource`).
 * F3. A value that is handed to a function of the rules is not followed, and neither is a key that is no literal text.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { HubError } from '../base/errors.ts'
import { didYouMean } from '../base/nearest.ts'
import { policyDataShape } from '../guard/policy/data.ts'
import { ruleInputShape } from '../protocol/rule-input.ts'

type Json = Readonly<Record<string, unknown>>
interface Place {
  row: number
  col: number
}
interface Term {
  type: string
  value: unknown
  location?: Place
}

const isJson = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)
const isTerm = (value: unknown): value is Term => isJson(value) && typeof value.type === 'string' && 'value' in value
const termsOf = (value: unknown): Term[] => (Array.isArray(value) && value.every(isTerm) ? value : [])

/** opa reads only the first of several types, and would refuse to compare with null what may be null. */
function severalAsAny(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(severalAsAny)
  if (!isJson(node)) return node
  const { type, ...rest } = Object.fromEntries(Object.entries(node).map(([key, value]) => [key, severalAsAny(value)]))
  if (!Array.isArray(type)) return type === undefined ? rest : { type, ...rest }
  return { anyOf: type.map((each) => ({ type: each })) }
}
const schemaOf = (shape: z.ZodType): Json =>
  severalAsAny(z.toJSONSchema(shape, { io: 'output', unrepresentable: 'any' })) as Json

/** Of a value that may be null, what it is else. */
const solid = (schema: Json): Json =>
  (Array.isArray(schema.anyOf) ? (schema.anyOf as Json[]).find(({ type }) => type !== 'null') : undefined) ?? schema
const wordsOf = (schema: Json): string[] | undefined =>
  Array.isArray(schema.enum) ? schema.enum.map(String) : typeof schema.const === 'string' ? [schema.const] : undefined

/** What is at the end of the path; undefined where that cannot be known; a text that says what is wrong with it. */
function follow(root: Json, path: readonly Term[]): Json | undefined | string {
  let at = solid(root)
  const walked = [String(path[0]?.value)]
  for (const { type, value } of path.slice(1)) {
    const name = walked.join('.')
    const own = isJson(at.properties) ? at.properties : undefined
    if (own !== undefined) {
      if (type !== 'string') return undefined
      const next = own[String(value)]
      const known = Object.keys(own)
      if (!isJson(next))
        return `${name}.${String(value)} does not exist${didYouMean(String(value), known) || `; ${name} has ${known.sort().join(', ')}`}`
      at = solid(next)
    } else if (at.type === 'array' && isJson(at.items)) at = solid(at.items)
    else if (at.type === 'object' && isJson(at.additionalProperties) && Object.keys(at.additionalProperties).length > 0)
      at = solid(at.additionalProperties)
    else if (typeof at.type === 'string' && at.type !== 'object' && at.type !== 'array')
      return `${name} is one value (${at.type}) and holds no ${String(value)}`
    else return undefined
    if (type === 'string') walked.push(String(value))
    else walked.push(`${walked.pop()}[…]`)
  }
  return at
}

const INPUT = schemaOf(ruleInputShape)
/** The rules themselves are below `data.hub`. */
const DATA: Json = {
  type: 'object',
  properties: { ...(schemaOf(policyDataShape).properties as Json), hub: { type: 'object' } },
}
const rootOf = (term: Term | undefined): Json | undefined =>
  term?.type === 'var' ? { input: INPUT, data: DATA }[String(term.value)] : undefined

const COMPARES: ReadonlySet<string> = new Set(['equal', 'eq', 'neq', 'assign', 'internal.member_2'])
const nameOf = (term: Term | undefined): string =>
  termsOf(term?.value)
    .map(({ value }) => String(value))
    .join('.')

/** Words that the left side never is, of a comparison with literals. */
function strangeWords([operator, ...sides]: readonly Term[]): { text: string; place: Place | undefined }[] {
  if (!COMPARES.has(nameOf(operator)) || sides.length !== 2) return []
  return sides.flatMap((side, at) => {
    const path = termsOf(side.value)
    const root = side.type === 'ref' ? rootOf(path[0]) : undefined
    const found = root === undefined ? undefined : follow(root, path)
    const words = isJson(found) ? wordsOf(found) : undefined
    const other = sides[1 - at]
    if (words === undefined || other === undefined) return []
    const literals = other.type === 'string' ? [other] : termsOf(other.value).filter(({ type }) => type === 'string')
    if (other.type === 'ref') return []
    return literals
      .filter(({ value }) => !words.includes(String(value)))
      .map(({ value, location }) => ({
        text: `${nameOf(side)} is never ${JSON.stringify(value)}${didYouMean(String(value), words)}`,
        place: location ?? side.location,
      }))
  })
}

/** Every fault in what `opa parse` made of one file, with its line. Pure. */
function fieldFaults(parsed: unknown): { line: number; text: string }[] {
  const faults: { line: number; text: string }[] = []
  const add = (place: Place | undefined, text: string) => faults.push({ line: place?.row ?? 1, text })
  const look = (node: unknown): void => {
    if (Array.isArray(node)) {
      const terms = termsOf(node)
      if (terms[0]?.type === 'ref') for (const { text, place } of strangeWords(terms)) add(place, text)
      for (const each of node) look(each)
    } else if (isJson(node)) {
      const path = node.type === 'ref' ? termsOf(node.value) : []
      const root = rootOf(path[0])
      const found = root === undefined ? undefined : follow(root, path)
      if (typeof found === 'string') add(isTerm(node) ? node.location : undefined, found)
      for (const each of Object.values(node)) look(each)
    }
  }
  look(parsed)
  const seen = new Set<string>()
  return faults.filter(({ line, text }) => !seen.has(`${line} ${text}`) && seen.add(`${line} ${text}`))
}

const FAULTS_MAX = 10
type Run = (words: readonly string[]) => { status: number | null; stdout: string; stderr: string }

const typeErrorsShape = z.object({
  errors: z.array(
    z.object({
      message: z.string(),
      // None where opa says only that there are more.
      location: z.object({ file: z.string(), row: z.number() }).optional(),
      details: z
        .object({
          ref: z.array(z.object({ type: z.string(), value: z.unknown() })).optional(),
          oneOf: z.array(z.string()).optional(),
        })
        .default({}),
    }),
  ),
})

/** What opa finds wrong by the types of `input`; what it says that is no list of faults, as it is. */
function typeFaults(rules: readonly string[], run: Run): { name: string; line: number; text: string }[] {
  const work = mkdtempSync(join(tmpdir(), 'hub-policy-schema-'))
  try {
    const schema = join(work, 'input.json')
    writeFileSync(schema, JSON.stringify(INPUT))
    const { status, stdout, stderr } = run(['check', '--strict', '--format', 'json', '--schema', schema, ...rules])
    if (status === 0) return []
    const { errors } = typeErrorsShape.parse(JSON.parse(stderr || stdout))
    return errors.flatMap(({ message, location, details: { ref = [], oneOf = [] } }) => {
      if (location === undefined) return []
      const path = ref.map(({ value }) => String(value)).join('.')
      const missing = ref.findLast(({ type }) => type === 'string')?.value
      const text =
        path === ''
          ? `${message}: what is compared or called is of another type`
          : `${path} does not exist${didYouMean(String(missing), oneOf)}`
      return { name: location.file, line: location.row, text }
    })
  } finally {
    rmSync(work, { recursive: true })
  }
}

/**
 * Throws `policy_unavailable` with every place of these files that reads what is not there, at most ten: `policy/own.rego:5:
 * input.resource.agnet does not exist; did you mean agent?`. opa must be able to parse the files; `run` runs it in their folder.
 */
export function requireFields(rules: readonly string[], run: Run): void {
  const own = rules.flatMap((name) => {
    const { stdout } = run(['parse', '--format', 'json', '--json-include', 'locations', name])
    return fieldFaults(JSON.parse(stdout)).map((fault) => ({ name, ...fault }))
  })
  const known = new Set(own.map(({ name, line }) => `${name} ${line}`))
  const typed = typeFaults(rules, run).filter(({ name, line }) => !known.has(`${name} ${line}`))
  const faults = [...own, ...typed].map(({ name, line, text }) => `policy/${name}:${line}: ${text}`)
  if (faults.length === 0) return
  const all = faults.slice(0, FAULTS_MAX).join('; ')
  const why = `an own rule reads what is not there, so it would never fire: ${all}; what a rule sees: docs/reference/rule-input.md`
  throw new HubError('policy_unavailable', why, { facts: { broken: 'data' } })
}
