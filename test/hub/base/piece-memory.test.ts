/** Memory of pieces that is given back at once: a large answer must not make the engine search its heap, for everybody waits then (docs/egress.md 7). */
import { describe, expect, it } from 'vitest'
import { giveBack } from '../../../hub/base/piece-memory.ts'

describe('memory of a piece that is given back', () => {
  it('is free at once, without a search of the heap', () => {
    const pieces = Array.from({ length: 64 }, () => Buffer.from(new ArrayBuffer(1024 ** 2)))
    const before = process.memoryUsage().arrayBuffers
    for (const piece of pieces) giveBack(piece)
    expect(before - process.memoryUsage().arrayBuffers).toBeGreaterThanOrEqual(64 * 1024 ** 2)
    expect(pieces[0]).toHaveLength(0)
  })

  it('is left alone where others share it', () => {
    const whole = Buffer.from(new ArrayBuffer(16), 0, 16).fill('a')
    giveBack(whole.subarray(0, 8))
    giveBack(whole.subarray(8))
    expect(whole.toString()).toBe('a'.repeat(16))
    const pooled = Buffer.from('from the pool')
    giveBack(pooled)
    expect(pooled.toString()).toBe('from the pool')
  })
})
