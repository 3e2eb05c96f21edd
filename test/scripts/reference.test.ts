/**
 * The reference pages (fault C15): each is what the code gives, nothing the code knows is without a description, and what they show as an
 * example is taken as it stands.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { describe, expect, it, test } from 'vitest'
import { parse } from 'yaml'
import { ERRORS } from '../../hub/base/errors.ts'
import { judgeConfig } from '../../hub/config.ts'
import { CONDITIONS } from '../../hub/guard/modes.ts'
import { agentCardShape } from '../../hub/protocol/agent.ts'
import { ANSWERS } from '../../hub/protocol/answers.ts'
import { EVENTS } from '../../hub/protocol/events.ts'
import { OPERATIONS } from '../../hub/protocol/operations.ts'
import { AGENT_ROUTES, ROUTES } from '../../hub/protocol/routes.ts'
import { ID_NEEDED, readVerb, VERB_NAMES, VERB_WORDS, VERBS } from '../../images/agent/verbs.ts'
import { openApi } from '../../scripts/docs/api.ts'
import { CARD_EXAMPLE, HUB_EXAMPLE, WATCHDOG_EXAMPLE } from '../../scripts/docs/files.ts'
import { LINES_EXAMPLE } from '../../scripts/docs/lines.ts'
import { makePages } from '../../scripts/docs/pages.ts'
import { judgeConfig as judgeWatchdogConfig, KEYS, keyOfSpan, SPANS } from '../../watchdog/config/config.ts'
import { KEY_WORDS, SPAN_WORDS } from '../../watchdog/config/keys.ts'
import { readTree } from '../house/source.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = join(root, 'docs/reference')
const pages = makePages(root)

describe('docs/reference', () => {
  it.each([...pages.keys()])('%s is what the code gives: node scripts/build-docs.ts', (name) => {
    expect(readFileSync(join(folder, name), 'utf8') === pages.get(name)).toBe(true)
  })
  it('holds no page that nobody makes', () => expect(readdirSync(folder).sort()).toEqual([...pages.keys()].sort()))
})

describe('nothing is without a description', () => {
  it.each(Object.entries(ERRORS))('the error %s', (_, { means, next }) => {
    expect(means).toMatch(/^[A-Z].*\.$/)
    expect(next).not.toBe('')
  })
  it.each(Object.entries(CONDITIONS))('the condition %s', (_, { raisedBy, endsBy }) => {
    expect(raisedBy).not.toBe('')
    expect(endsBy).not.toBe('')
  })
  it('an operation that somebody outside can ask for has what it does and what it answers, and no other has', () => {
    const asked = Object.entries(OPERATIONS).filter(
      ([name, { reach }]) => Object.hasOwn(ROUTES, name) || reach.some((kind) => kind === 'agent' || kind === 'device'),
    )
    expect(Object.keys(ANSWERS).sort()).toEqual(asked.map(([name]) => name).sort())
    for (const [name, { does }] of Object.entries(ANSWERS)) expect(does, name).toMatch(/^[A-Z].*\.$/)
  })
  it("a route of an agent's socket has its line, and those that only agents have their fields", () => {
    const [, section = ''] = (pages.get('api.md') ?? '').split("\n## On an agent's socket\n")
    for (const [name, { method, path }] of Object.entries(AGENT_ROUTES)) {
      expect(section, name).toMatch(new RegExp(`^\\| .*${name}.* \\| \`${method} ${path}\` \\| [A-Z].*\\. \\|$`, 'm'))
      if (!Object.hasOwn(ROUTES, name)) expect(section).toContain(`\n## ${name}\n`)
    }
  })
  it('an event is described, and each that is described is published', () => {
    // Who only hears of one, such as the command, does not count: it must be named where something is published.
    const sources = [...readTree(['hub/guard', 'hub/work', 'hub/edge'], ['.ts'])].filter(([, text]) =>
      text.includes('publish('),
    )
    const said = new Set(sources.flatMap(([, text]) => text.match(/'hub\.[a-z_]+\.[a-z_]+\.v\d'/g) ?? []))
    expect([...said].sort()).toEqual(
      Object.keys(EVENTS)
        .map((type) => `'${type}'`)
        .sort(),
    )
  })
  it('each key that the watchdog reads, and no key that it does not', () => {
    const spans = Object.keys(SPANS).map(keyOfSpan)
    const words = Object.keys(KEY_WORDS)
    expect(Object.keys(SPAN_WORDS)).toEqual(Object.keys(SPANS))
    const described = new Set([
      ...spans.filter((key) => key !== 'engineTimeout'),
      ...words.map((key) => key.split('.')[0]),
    ])
    expect([...described].sort()).toEqual([...new Set(KEYS)].sort())
    for (const key of words) {
      const value = key.split('.').reduceRight<unknown>((inner, step) => ({ [step]: inner }), ['wrong'])
      const unknown = judgeWatchdogConfig(value).faults.filter(({ reason }) => /no such key|not a known/.test(reason))
      expect(unknown, key).toEqual([])
    }
  })
  it('each verb of json-lines with each of its fields', () => {
    expect(Object.keys(VERB_WORDS)).toEqual(VERB_NAMES)
    for (const name of VERB_NAMES) expect(Object.keys(VERB_WORDS[name][1]), name).toEqual(Object.keys(VERBS[name]))
    expect(VERB_NAMES).toEqual(expect.arrayContaining([...ID_NEEDED]))
  })
})

describe('an example is taken as it stands', () => {
  test('the card', () => expect(agentCardShape.safeParse(parse(CARD_EXAMPLE)).error?.issues).toBeUndefined())
  test('hub.yaml', () => expect(judgeConfig(HUB_EXAMPLE).faults).toEqual([]))
  test('watchdog/config.yaml', () => expect(judgeWatchdogConfig(parse(WATCHDOG_EXAMPLE)).faults).toEqual([]))
  test('what a program prints', () => {
    const printed = LINES_EXAMPLE.split('\n').flatMap((line) => (line.startsWith('< ') ? [line.slice(2)] : []))
    expect(printed.length).toBeGreaterThan(2)
    for (const line of printed) expect(readVerb({ bytes: Buffer.from(line) }), line).not.toHaveProperty('error')
    for (const line of LINES_EXAMPLE.split('\n')) expect(() => JSON.parse(line.slice(2)), line).not.toThrow()
  })
})

describe('openapi.json', () => {
  type Json = Record<string, unknown>
  const isJson = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)
  const document = openApi('0.0.0')
  const operations = Object.entries(document.paths as Record<string, Json>).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, one]) => ({ path, method, one: one as Json })),
  )

  it('has every route of the table once, by its name', () => {
    expect(document.openapi).toBe('3.1.0')
    const named = operations.map(({ one, method, path }) => [one.operationId, `${method.toUpperCase()} ${path}`])
    const routes = Object.entries(ROUTES).map(([name, { method, path }]) => [
      name,
      `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`,
    ])
    expect(named.sort()).toEqual(routes.sort())
  })

  it('declares each parameter of a path, and none that the path has not', () => {
    for (const { path, one } of operations) {
      const parameters = (one.parameters ?? []) as { name: string; in: string; required: boolean; schema: unknown }[]
      const inPath = parameters.filter((each) => each.in === 'path')
      expect(inPath.map(({ name }) => `{${name}}`)).toEqual(path.match(/\{\w+\}/g) ?? [])
      expect(inPath.every(({ required }) => required)).toBe(true)
      expect(new Set(parameters.map(({ name }) => name)).size).toBe(parameters.length)
      for (const { schema } of parameters) expect(isJson(schema)).toBe(true)
    }
  })

  it('answers each with a success and a problem, and holds no reference that leads nowhere', () => {
    const at = (reference: string) =>
      reference
        .replace(/^#\//, '')
        .split('/')
        .reduce<unknown>((value, step) => (isJson(value) ? value[step] : undefined), document)
    for (const { one } of operations) expect(Object.keys(one.responses as Json)).toEqual(['200', 'default'])
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, to = '']) => to)
    expect(references.length).toBeGreaterThan(0)
    for (const reference of references) expect(at(reference), reference).toBeDefined()
  })

  it('each schema in it is one of JSON Schema 2020-12, as OpenAPI 3.1 wants it', () => {
    const ajv = new Ajv2020({ strict: false, validateFormats: false, validateSchema: true })
    const found: Json[] = []
    const look = (value: unknown): void => {
      if (Array.isArray(value)) for (const each of value) look(each)
      if (!isJson(value)) return
      if (isJson(value.schema)) found.push(value.schema)
      for (const each of Object.values(value)) look(each)
    }
    look(document)
    expect(found.length).toBeGreaterThan(80)
    for (const schema of found) expect(() => ajv.compile(schema)).not.toThrow()
  })
})
