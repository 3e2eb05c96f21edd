/** A queue with a limit. At the limit `push` answers false and the caller decides; nothing is dropped silently (S0-3, T66). */
export interface BoundedQueue<Item> {
  readonly size: number
  readonly limit: number
  push(item: Item): boolean
  shift(): Item | undefined
  /** The items in order, oldest first; not removed. */
  peekAll(): readonly Item[]
  /** Removes from the front while `test` holds; answers how many. */
  dropWhile(test: (item: Item) => boolean): number
  /** Removes every item that fails `test`, wherever it is in the queue; answers the removed items. */
  keepOnly(test: (item: Item) => boolean): Item[]
  clear(): void
}

export function createBoundedQueue<Item>(limit: number): BoundedQueue<Item> {
  let items: Item[] = []
  return {
    limit,
    get size() {
      return items.length
    },
    push(item) {
      if (items.length >= limit) return false
      items.push(item)
      return true
    },
    shift: () => items.shift(),
    peekAll: () => items,
    dropWhile(test) {
      const keep = items.findIndex((item) => !test(item))
      const dropped = keep === -1 ? items.length : keep
      items = items.slice(dropped)
      return dropped
    },
    keepOnly(test) {
      const gone: Item[] = []
      items = items.filter((item) => test(item) || gone.push(item) === 0)
      return gone
    },
    clear() {
      items = []
    },
  }
}
