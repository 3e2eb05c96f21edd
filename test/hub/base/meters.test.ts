/** Plain numbers that rings count into (S0-12). */
import { expect, test } from 'vitest'
import { createGrid, createSpread, createTally } from '../../../hub/base/meters.ts'

test('every name is there from the beginning, and only its own count grows', () => {
  const tally = createTally(['a', 'b'])
  for (let times = 0; times < 3; times += 1) tally.add('b')
  expect(tally.counts).toEqual({ a: 0, b: 3 })
  const grid = createGrid(['x', 'y'], ['yes', 'no'])
  grid.add('x', 'no')
  expect(grid.counts).toEqual({ x: { yes: 0, no: 1 }, y: { yes: 0, no: 0 } })
})

test('a span is counted within the first bound that it does not pass; a clock that stepped back adds nothing to the sum', () => {
  const spread = createSpread([0.1, 1, 10])
  for (const seconds of [0, 0.1, 0.11, 1, 9.9, 10, 10.1, 1e9]) spread.add(seconds)
  expect(spread.counts).toEqual([2, 2, 2, 2])
  expect(spread.sum()).toBeCloseTo(0.1 + 0.11 + 1 + 9.9 + 10 + 10.1 + 1e9, 3)
  spread.add(-5)
  expect(spread.counts).toEqual([3, 2, 2, 2])
  expect(spread.sum()).toBeGreaterThan(1e9)
})

test('the last time of each bound is found by where it was measured, and one that stands nowhere leaves the last', () => {
  const at = (traceId: string) => ({ traceId, spanId: 's', atMs: 7 })
  let here: ReturnType<typeof at> | undefined
  const spread = createSpread([1, 10], () => here)
  spread.add(0.5)
  here = at('a')
  for (const seconds of [0.4, 0.6, 99]) spread.add(seconds)
  spread.add(-3, at('b'))
  spread.add(5, at('c'))
  here = undefined
  spread.add(6)
  expect([...spread.examples].sort()).toEqual([
    [0, { ...at('b'), seconds: 0 }],
    [1, { ...at('c'), seconds: 5 }],
    [2, { ...at('a'), seconds: 99 }],
  ])
  expect(spread.counts).toEqual([4, 2, 1])
})
