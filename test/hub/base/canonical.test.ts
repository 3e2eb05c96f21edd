import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canonicalText, digestOf, sha256Hex } from '../../../hub/base/canonical.ts'

describe('canonical text (RFC 8785)', () => {
  it('is the example of section 3.2.2, byte for byte', () => {
    const value = {
      numbers: [Number('333333333.33333329'), 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
      string: '\u20ac$\u000f\u000aA\u0027\u0042\u0022\u005c\\\u0022\u002f',
      literals: [null, true, false],
    }
    expect(canonicalText(value)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    )
  })

  it('sorts keys by UTF-16 code units, as the example of section 3.2.3', () => {
    const value = {
      '\u20ac': 'Euro Sign',
      '\r': 'Carriage Return',
      '\ufb33': 'Hebrew Letter Dalet With Dagesh',
      1: 'One',
      '\ud83d\ude00': 'Emoji: Grinning Face',
      '\u0080': 'Control',
      '\u00f6': 'Latin Small Letter O With Diaeresis',
    }
    expect(Object.values(JSON.parse(canonicalText(value)))).toHaveLength(7)
    const order = [...canonicalText(value).matchAll(/:"([A-Z][A-Za-z: ]+)"/g)].map((match) => match[1])
    expect(order).toEqual([
      'Carriage Return',
      'One',
      'Control',
      'Latin Small Letter O With Diaeresis',
      'Euro Sign',
      'Emoji: Grinning Face',
      'Hebrew Letter Dalet With Dagesh',
    ])
  })

  it.each([
    [0, '0'],
    [-0, '0'],
    [5e-324, '5e-324'],
    [1.7976931348623157e308, '1.7976931348623157e+308'],
    [9007199254740992, '9007199254740992'],
    [295147905179352830000, '295147905179352830000'],
    [1e21, '1e+21'],
    [0.000001, '0.000001'],
    [1e-7, '1e-7'],
  ])('writes the number %d as in appendix B', (value, text) => expect(canonicalText(value)).toBe(text))

  it('is the same whatever the order the keys were put in', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue()), (value) => {
        const turned = Object.fromEntries(Object.entries(value).reverse())
        expect(canonicalText(turned)).toBe(canonicalText(value))
        expect(JSON.parse(canonicalText(value))).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
  })

  it.each([[undefined], [Number.NaN], [{ a: Number.POSITIVE_INFINITY }], [() => 1]])(
    'calls %o, which JSON cannot hold, our bug',
    (value) => {
      expect(() => canonicalText(value)).toThrow(expect.objectContaining({ code: 'internal' }))
    },
  )
})

describe('a digest', () => {
  it('covers its label, so that one kind never stands for another [audit-14]', () => {
    expect(digestOf('a', 1)).toBe(createHash('sha256').update('a\x001').digest('hex'))
    expect(digestOf('a', 1)).not.toBe(digestOf('b', 1))
    expect(sha256Hex('')).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
    // As the library's own steps do it, also of what is no text that UTF-8 can hold.
    for (const text of ['\ud800', 'a\udfff\u0000b', '\u{1f600}', 'x'.repeat(100_000)])
      expect(sha256Hex(text)).toBe(createHash('sha256').update(text).digest('hex'))
  })
})
