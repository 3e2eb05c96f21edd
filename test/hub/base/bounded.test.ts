import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createBoundedQueue } from '../../../hub/base/bounded.ts'

describe('a bounded queue', () => {
  it('answers false at its limit, drops nothing and keeps the order (T66)', () => {
    const queue = createBoundedQueue<number>(512)
    for (let number = 1; number <= 512; number += 1) expect(queue.push(number)).toBe(true)
    expect(queue.push(513)).toBe(false)
    expect(queue.size).toBe(512)
    for (let number = 1; number <= 512; number += 1) expect(queue.shift()).toBe(number)
    expect(queue.shift()).toBeUndefined()
    expect(queue.push(514)).toBe(true)
  })

  it('with a limit of 0 takes nothing', () => {
    expect(createBoundedQueue<number>(0).push(1)).toBe(false)
  })

  it('drops from the front while the test holds, and no further', () => {
    const queue = createBoundedQueue<number>(10)
    for (const number of [1, 2, 5, 2, 1]) queue.push(number)
    expect(queue.dropWhile((number) => number < 3)).toBe(2)
    expect(queue.peekAll()).toEqual([5, 2, 1])
    expect(queue.dropWhile((number) => number < 3)).toBe(0)
    expect(queue.dropWhile(() => true)).toBe(3)
    expect(queue.size).toBe(0)
  })

  it('behaves as an array with a limit under any sequence of calls', () => {
    const step = fc.oneof(
      fc.record({ push: fc.integer() }),
      fc.constant('shift' as const),
      fc.constant('clear' as const),
      fc.record({ below: fc.integer() }),
    )
    fc.assert(
      fc.property(fc.nat({ max: 8 }), fc.array(step), (limit, steps) => {
        const queue = createBoundedQueue<number>(limit)
        let model: number[] = []
        for (const each of steps) {
          if (each === 'shift') expect(queue.shift()).toBe(model.shift())
          else if (each === 'clear') {
            queue.clear()
            model = []
          } else if ('push' in each) {
            expect(queue.push(each.push)).toBe(model.length < limit)
            if (model.length < limit) model.push(each.push)
          } else {
            const keep = model.findIndex((item) => item >= each.below)
            const dropped = keep === -1 ? model.length : keep
            model = model.slice(dropped)
            expect(queue.dropWhile((item) => item < each.below)).toBe(dropped)
          }
          expect(queue.peekAll()).toEqual(model)
          expect(queue.size).toBe(model.length)
        }
      }),
    )
  })
})
