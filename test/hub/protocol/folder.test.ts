import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkManifest, planParts } from '../../../hub/protocol/folder.ts'

const sha256 = 'a'.repeat(64)
const manifest = (...files: object[]) => ({ version: 1, files })
const file = (path: string, offset = 0, more = {}) => ({ path, mode: 0o644, size: 1, offset, sha256, ...more })

describe('checkManifest', () => {
  test('takes a sorted, contiguous manifest as it is', () => {
    const good = manifest(file('a'), file('a-b', 1), file('b/a', 2), file('b/é', 3))
    expect(checkManifest(good)).toEqual(good)
  })

  test.each([
    ['a duplicate', manifest(file('a'), file('a', 1))],
    ['a wrong order', manifest(file('b'), file('a', 1))],
    ['a gap', manifest(file('a'), file('b', 2))],
    ['an overlap', manifest(file('a'), file('b', 0))],
    ['a file below a file', manifest(file('a'), file('a-b', 1), file('a/b', 2))],
    ['an absolute path', manifest(file('/a'))],
    ['a way up', manifest(file('a/../b'))],
    ['a NUL', manifest(file('a\0'))],
    ['a bad mode', manifest(file('a', 0, { mode: 0o10000 }))],
    ['a negative size', manifest(file('a', 0, { size: -1 }))],
    ['a size past what is exact', manifest(file('a', 0, { size: 2 ** 53 }))],
    ['a bad digest', manifest(file('a', 0, { sha256: 'A'.repeat(64) }))],
    ['an unknown key', manifest(file('a', 0, { link: 'x' }))],
    ['another version', { version: 2, files: [] }],
    ['an extra key', { version: 1, files: [], more: 1 }],
    ['no object', null],
  ])('refuses %s (T69)', (_, value) => {
    expect(() => checkManifest(value)).toThrow(expect.objectContaining({ code: 'schema_invalid' }))
  })
})

test('planParts covers every file once, in order, with at least one each, and no part over its share by more than its largest files', () => {
  const sizes = fc.array(fc.nat({ max: 1_000 }), { maxLength: 60 })
  fc.assert(
    fc.property(sizes, fc.integer({ min: 1, max: 6 }), (all, count) => {
      const parts = planParts(
        all.map((size) => ({ size })),
        count,
      )
      expect(parts).toHaveLength(Math.min(count, all.length))
      let at = 0
      for (const { first, end, bytes } of parts) {
        expect(first).toBe(at)
        expect(end).toBeGreaterThan(first)
        expect(bytes).toBe(all.slice(first, end).reduce((sum, size) => sum + size, 0))
        at = end
      }
      expect(at).toBe(all.length)
      const total = all.reduce((sum, size) => sum + size, 0)
      const largest = Math.max(0, ...all)
      for (const { bytes } of parts) expect(bytes).toBeLessThanOrEqual(total / parts.length + 2 * largest)
    }),
  )
})
