import fc from 'fast-check'
import { expect, it } from 'vitest'
import { findJsonFault, placeOf } from '../../../hub/base/json-fault.ts'
import { didYouMean, nearest } from '../../../hub/base/nearest.ts'

it.each([
  ['sesions', ['sessions', 'sessionsPerAgent'], 'sessions'],
  ['ehco', ['echo', 'drill'], 'echo'],
  ['Sessions', ['sessions'], 'sessions'],
  ['submti', ['submit', 'suspended'], 'submit'],
  ['memroy', ['memory', 'message'], 'memory'],
])('%s was meant for %s: %s', (word, known, meant) => {
  expect(nearest(word, known)).toBe(meant)
  expect(didYouMean(word, known)).toBe(`; did you mean ${meant}?`)
})

it.each([
  ['token', ['port', 'hosts']],
  ['a', ['b']],
  ['xyz', ['echo', 'drill', 'survey-lead']],
  ['x'.repeat(65), ['x'.repeat(64)]],
  ['', ['a']],
])('%s was meant for none of %s', (word, known) => {
  expect(nearest(word, known)).toBeUndefined()
  expect(didYouMean(word, known)).toBe('')
})

it('a text is JSON exactly where the language says so, and a fault lies within it', () => {
  const mutated = fc
    .tuple(fc.json(), fc.nat(), fc.constantFrom('', ',', '}', '"', 'x', '\n', '0'))
    .map(([text, at, sign]) => {
      const cut = at % (text.length + 1)
      return text.slice(0, cut) + sign + text.slice(cut + 1)
    })
  fc.assert(
    fc.property(fc.oneof(fc.json(), mutated, fc.string()), (text) => {
      let isJson = true
      try {
        JSON.parse(text)
      } catch {
        isJson = false
      }
      const fault = findJsonFault(text)
      expect(fault === undefined, text).toBe(isJson)
      if (fault === undefined) return
      expect(fault.offset).toBeGreaterThanOrEqual(0)
      expect(fault.offset).toBeLessThanOrEqual(text.length)
      const { line, column } = placeOf(text, fault.offset)
      expect([line > 0, column > 0]).toEqual([true, true])
    }),
    { numRuns: 2000 },
  )
})
