import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HubError } from '../../../hub/base/errors.ts'
import { type JsonNode, numberOf, readJsonTree, readWholeTree, textOf } from '../../../hub/base/json-tree.ts'

const LIMITS = { depthMax: 64, valuesMax: 5000 }

/** The value of a tree, as a parser that sees only the tree would see it. */
function readOf(bytes: Buffer, node: JsonNode): unknown {
  if (node.kind === 'object') {
    const made: Record<string, unknown> = {}
    for (const [name, { value }] of node.fields)
      Object.defineProperty(made, name, { value: readOf(bytes, value), enumerable: true })
    return made
  }
  if (node.kind === 'array') return node.items.map((item) => readOf(bytes, item))
  if (node.kind === 'string') return textOf(bytes, node)
  return node.kind === 'number' ? numberOf(bytes, node) : node.value
}

function refusalOf(source: Buffer | string, limits = LIMITS): string {
  try {
    readWholeTree(Buffer.from(source), limits)
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(HubError)
    return (thrown as HubError).message
  }
  throw new Error('it was taken')
}

const wellFormed = fc.string({ unit: 'grapheme', maxLength: 12 }).filter((text) => text.isWellFormed())
const { value: jsonValue } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 6, withCrossShrink: true },
    fc.oneof(
      fc.boolean(),
      fc.constant(null),
      fc.integer(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      wellFormed,
    ),
    fc.array(tie('value'), { maxLength: 6 }),
    fc.dictionary(wellFormed, tie('value'), { maxKeys: 6 }),
  ),
}))

describe('a tree of JSON', () => {
  it('reads every value as JSON.parse does, wherever it stands', () => {
    fc.assert(
      fc.property(jsonValue, fc.constantFrom(undefined, 1, '\t'), (value, indent) => {
        const bytes = Buffer.from(`${indent === undefined ? '' : ' \r\n'}${JSON.stringify(value, null, indent)}`)
        const tree = readWholeTree(bytes, LIMITS)
        expect(readOf(bytes, tree)).toEqual(JSON.parse(bytes.toString()))
        expect(JSON.parse(bytes.toString('utf8', tree.from, tree.to))).toEqual(JSON.parse(bytes.toString()))
      }),
      { numRuns: 500 },
    )
  })

  it('E23: takes nothing that JSON.parse refuses, and reads what both take alike', () => {
    fc.assert(
      fc.property(
        jsonValue,
        fc.nat(),
        fc.constantFrom('"', '\\', ',', ':', '{', '}', '[', ']', '0', '-', '.', 'e', 'u', ' ', '\n', '\u0001', 't', ''),
        (value, at, put) => {
          const text = JSON.stringify(value)
          const place = at % (text.length + 1)
          const bytes = Buffer.from(text.slice(0, place) + put + text.slice(place + 1))
          let read: unknown
          try {
            read = readOf(bytes, readWholeTree(bytes, LIMITS))
          } catch (thrown) {
            expect(thrown).toBeInstanceOf(HubError)
            return
          }
          expect(read).toEqual(JSON.parse(bytes.toString()))
        },
      ),
      { numRuns: 2000 },
    )
  })

  it.each([
    ['{"a":1,"a":2}', 'twice'],
    ['{"a":1,"\\u0061":2}', 'twice'],
    ['{"x":[{"k":1,"k":2}]}', 'twice'],
    ['"\\ud800"', 'surrogate'],
    ['"\\udc00\\ud800"', 'surrogate'],
    ['"\\ud83dx"', 'surrogate'],
    ['1e999', 'too large'],
    ['\ufeff{}', 'byte order'],
    ['{"a":1}{"a":2}', 'not a JSON text'],
    ['[1,]', 'not a JSON text'],
    ['{"a":1,}', 'not a JSON text'],
    ["{'a':1}", 'not a JSON text'],
    ['{a:1}', 'not a JSON text'],
    ['[1]// more', 'not a JSON text'],
    ['NaN', 'not a JSON text'],
    ['01', 'not a JSON text'],
    ['+1', 'not a JSON text'],
    ['"\t"', 'not a JSON text'],
    ['', 'not a JSON text'],
    ['"\\x41"', 'not a JSON text'],
    ['[\u00a01]', 'not a JSON text'],
  ])('E23: refuses what parsers read differently: %j', (text, why) => {
    expect(refusalOf(text)).toContain(why)
  })

  it('refuses bytes that are not UTF-8, also behind 4 MiB', () => {
    expect(refusalOf(Buffer.from([34, 0xc3, 34]))).toContain('UTF-8')
    expect(refusalOf(Buffer.from([34, 0xed, 0xa0, 0x80, 34]))).toContain('UTF-8')
    const large = Buffer.alloc(5 * 1024 ** 2, 'a')
    large.write('"', 0)
    large.write('"', large.length - 1)
    expect(readWholeTree(large, LIMITS).to).toBe(large.length)
    large[large.length - 2] = 0xff
    expect(refusalOf(large)).toContain('UTF-8')
  })

  it('keeps characters of several bytes whole where a piece ends', () => {
    const text = `"${'€'.repeat(2 * 1024 ** 2)}"`
    expect(readWholeTree(Buffer.from(text), LIMITS).kind).toBe('string')
  })

  it('bounds depth and number of values, before they cost anything', () => {
    expect(refusalOf('['.repeat(100_000))).toContain('nested deeper than 64')
    expect(refusalOf(`[${'1,'.repeat(6000)}1]`)).toContain('more than 5000 values')
    expect(refusalOf(`{${Array.from({ length: 3000 }, (_, at) => `"${at}":0`).join()}}`)).toContain('more than 5000')
  })

  it('keeps numbers as they are written, also beyond 2^53', () => {
    const bytes = Buffer.from('[18446744073709551615,-0,1.0e2]')
    const tree = readWholeTree(bytes, LIMITS)
    const written = tree.kind === 'array' ? tree.items.map(({ from, to }) => bytes.toString('latin1', from, to)) : []
    expect(written).toEqual(['18446744073709551615', '-0', '1.0e2'])
  })

  it('reads large texts in turns, and not one turn for each value', () => {
    const turnsOf = (text: string) => {
      const turns = readJsonTree(Buffer.from(text), { depthMax: 64, valuesMax: 100_000 })
      let count = 1
      while (turns.next().done !== true) count += 1
      return count
    }
    expect(turnsOf('{"a":[1,2,3]}')).toBe(1)
    expect(turnsOf(`"${'a'.repeat(8 * 1024 ** 2)}"`)).toBeGreaterThan(20)
    expect(turnsOf(`"${'\\n'.repeat(4 * 1024 ** 2)}"`)).toBeGreaterThan(20)
    expect(turnsOf(`[${'[],'.repeat(20_000)}1]`)).toBeGreaterThan(5)
    expect(turnsOf(`[${'[],'.repeat(20_000)}1]`)).toBeLessThan(100)
  })
})
