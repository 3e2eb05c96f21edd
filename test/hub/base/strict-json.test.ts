import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HubError } from '../../../hub/base/errors.ts'
import { parseStrictJson } from '../../../hub/base/strict-json.ts'
import { growthFault } from '../../support/fastest.ts'

function refusalOf(source: Uint8Array | string, depthMax?: number): string {
  try {
    parseStrictJson(source, depthMax)
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(HubError)
    expect((thrown as HubError).code).toBe('schema_invalid')
    return (thrown as HubError).message
  }
  throw new Error('it was taken')
}

const forbidden = ['__proto__', 'constructor', 'prototype', 'hasOwnProperty']
const key = fc.string({ unit: 'grapheme', maxLength: 12 }).filter((text) => !forbidden.includes(text))
const leaf = fc.oneof(
  fc.boolean(),
  fc.constant(null),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).filter((value) => !/^-?\d+$/.test(JSON.stringify(value))),
  fc.string({ unit: 'grapheme' }),
)
const { value: jsonValue } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 6, withCrossShrink: true },
    leaf,
    fc.array(tie('value'), { maxLength: 6 }),
    fc.dictionary(key, tie('value'), { maxKeys: 6 }),
  ),
}))

describe('strict JSON', () => {
  it('reads every value without forbidden things exactly as JSON.parse does, as text and as bytes', () => {
    fc.assert(
      fc.property(jsonValue, fc.constantFrom(undefined, 1, '\t'), (value, indent) => {
        const text = JSON.stringify(value, null, indent)
        expect(parseStrictJson(text)).toEqual(JSON.parse(text))
        expect(parseStrictJson(Buffer.from(text))).toEqual(JSON.parse(text))
      }),
      { numRuns: 500 },
    )
  })

  it('refuses whatever JSON.parse refuses, and never throws anything but schema_invalid', () => {
    fc.assert(
      fc.property(jsonValue, fc.nat(), fc.string({ maxLength: 2 }), (value, at, put) => {
        const text = JSON.stringify(value)
        const place = at % (text.length + 1)
        const bent = text.slice(0, place) + put + text.slice(place + 1)
        let plain: unknown
        try {
          plain = JSON.parse(bent)
        } catch {
          expect(refusalOf(bent)).toBe('not a JSON text')
          return
        }
        try {
          expect(parseStrictJson(bent)).toEqual(plain)
        } catch (thrown) {
          expect((thrown as HubError).code).toBe('schema_invalid')
        }
      }),
      { numRuns: 500 },
    )
  })

  it.each([
    ['{"sub":"a","sub":"b"}', 'twice'],
    ['{"sub":"b","sub":"a"}', 'twice'],
    ['{"x":{"y":{"sub":1,"sub":2}}}', 'twice'],
    ['[[[{"sub":1,"k":[{"sub":1}],"sub":2}]]]', 'twice'],
    ['{"sub":1,"\\u0073ub":2}', 'twice'],
    ['{"x":{"y":{"\\u0073\\u0075b":1,"s\\u0075b":2}}}', 'twice'],
    ['{"a\\"b":1,"a\\u0022b":2}', 'twice'],
    ['{"":1,"":2}', 'twice'],
    ['{"sub" \n\t: 1, "sub"\r: 2}', 'twice'],
  ])('refuses a key that stands twice, at any depth and by escapes too (T6): %s', (text, why) => {
    expect(refusalOf(text)).toContain(why)
  })

  it.each(['{"a":{"k":1},"b":{"k":2}}', '[{"k":1},{"k":2}]', '{"k":"k","j":"k"}', '{"k":{"k":{"k":1}}}'])(
    'takes the same key in different objects: %s',
    (text) => expect(parseStrictJson(text)).toEqual(JSON.parse(text)),
  )

  it.each(['__proto__', 'constructor', 'prototype', 'hasOwnProperty', '\\u005f_proto__', 'constr\\u0075ctor'])(
    'refuses the prototype key %s at any depth, and leaves Object.prototype alone (T25)',
    (name) => {
      const before = Object.getOwnPropertyNames(Object.prototype)
      expect(refusalOf(`{"${name}":{"polluted":true}}`)).toContain('prototype')
      expect(refusalOf(`[{"a":[{"${name}":1}]}]`)).toContain('prototype')
      expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(before)
      expect(parseStrictJson(`{"a":"${name}"}`)).toEqual(JSON.parse(`{"a":"${name}"}`))
    },
  )

  it.each([
    ['1e400', 'too large'],
    ['-1e400', 'too large'],
    ['[0,{"a":9007199254740992}]', 'exact'],
    ['-9007199254740992', 'exact'],
    ['123456789012345678901234567890', 'exact'],
    ['"\\ud800"', 'surrogate'],
    ['"\\udc00\\ud800"', 'surrogate'],
    ['{"\\ud800":1}', 'surrogate'],
    ['"\ud800"', 'surrogate'],
    ['\ufeff{}', 'byte order'],
  ])('refuses %j by name (T27)', (text, why) => {
    expect(refusalOf(text)).toContain(why)
  })

  it.each([
    '9007199254740991',
    '-9007199254740991',
    '1e300',
    '0.1',
    '-0.0',
    '"\\ud83d\\ude00"',
    '"\\\\"',
    '{"a\\\\":1}',
    ' [ ] ',
  ])('takes the borderline document %s', (text) => expect(parseStrictJson(text)).toEqual(JSON.parse(text)))

  it.each([
    [Buffer.from([0xef, 0xbb, 0xbf, 0x7b, 0x7d]), 'byte order'],
    [Buffer.from([0x22, 0xff, 0x22]), 'UTF-8'],
    [Buffer.from([0x22, 0xc0, 0xaf, 0x22]), 'UTF-8'],
    [Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), 'UTF-8'],
    [Buffer.from([0x22, 0xe2, 0x82]), 'UTF-8'],
    [Buffer.from('{}', 'utf16le'), 'not a JSON text'],
  ])('refuses the bytes %o (T27)', (bytes, why) => expect(refusalOf(bytes)).toContain(why))

  it.each(['', ' ', '{', '[1,]', '{"a":1,}', "{'a':1}", '01', '+1', '.5', 'NaN', 'undefined', '[]]', '"\n"', '// {}'])(
    'refuses %j as no JSON text',
    (text) => expect(refusalOf(text)).toBe('not a JSON text'),
  )

  it('refuses 100 000 opening brackets at once, before they are parsed (T7, T27)', async () => {
    for (const text of [
      (times: number) => '['.repeat(100_000 * times),
      (times: number) => '{"a":'.repeat(100_000 * times),
      (times: number) => `${'['.repeat(50_000 * times)}${']'.repeat(50_000 * times)}`,
    ]) {
      const fault = await growthFault(50, (times) => {
        const all = text(times)
        return () => expect(refusalOf(all)).toContain('nested')
      })
      expect(fault).toBeUndefined()
    }
  })

  it('takes exactly the depth it is given, and counts no bracket inside a string', () => {
    expect(parseStrictJson('[[[1]]]', 3)).toEqual([[[1]]])
    expect(refusalOf('[[[[1]]]]', 3)).toContain('deeper than 3')
    expect(parseStrictJson('["[[[[\\"[[[["]', 1)).toEqual(['[[[["[[[['])
  })

  it('takes 4 096 keys and refuses one more, wherever they stand', () => {
    const object = (count: number) => `{${Array.from({ length: count }, (_, index) => `"k${index}":0`).join()}}`
    expect(Object.keys(parseStrictJson(object(4096)) as object)).toHaveLength(4096)
    expect(refusalOf(object(4097))).toContain('4096 keys')
    expect(refusalOf(`[${object(2048)},${object(2049)}]`)).toContain('4096 keys')
  })

  it('reads hostile strings in linear time: 512 KiB of quotes and backslashes (T26)', async () => {
    for (const [unit, count] of [
      ['\\"', 262_144],
      ['\\\\', 262_144],
      ['\\\\\\"', 131_072],
    ] as const) {
      const fault = await growthFault(200, (times) => {
        const text = `["${unit.repeat(count * times)}"]`
        return () => parseStrictJson(text)
      })
      expect(fault).toBeUndefined()
    }
  })
})
