/** Random bytes that a seed replays: a test prints its seed, and the same seed walks the same way again. Not for secrets. */
import { createHash } from 'node:crypto'
import type { Random } from '../../hub/base/random.ts'

export interface SeededRandom extends Random {
  /** A whole number from 0 to below `limit`. */
  below(limit: number): number
  pick<Item>(items: readonly Item[]): Item
}

export function createSeededRandom(seed: string | number): SeededRandom {
  let counter = 0
  let pool = Buffer.alloc(0)
  const bytes = (count: number): Buffer => {
    while (pool.length < count) {
      counter += 1
      pool = Buffer.concat([pool, createHash('sha256').update(`${seed}:${counter}`).digest()])
    }
    const taken = Buffer.from(pool.subarray(0, count))
    pool = pool.subarray(count)
    return taken
  }
  const below = (limit: number) => bytes(4).readUInt32BE() % limit
  return {
    bytes,
    below,
    pick(items) {
      const item = items[below(items.length)]
      if (item === undefined) throw new Error('nothing to pick from')
      return item
    },
  }
}
