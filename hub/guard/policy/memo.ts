/** A bounded memo of questions and answers: two generations, of which the older is forgotten as a whole, so that what is in use stays (T66). */
export interface Memo<Value> {
  get(key: string): Value | undefined
  set(key: string, value: Value): void
  clear(): void
  readonly size: number
}

/** At most `2 * generationMax` entries, each with a key of at most `keyCharsMax` characters; a longer one is not remembered. */
export function createMemo<Value>(generationMax: number, keyCharsMax: number): Memo<Value> {
  let young = new Map<string, Value>()
  let old = new Map<string, Value>()

  function add(key: string, value: Value): void {
    if (young.size >= generationMax) {
      old = young
      young = new Map()
    }
    young.set(key, value)
  }
  return {
    get(key) {
      const fresh = young.get(key)
      if (fresh !== undefined) return fresh
      const aged = old.get(key)
      if (aged === undefined) return undefined
      old.delete(key)
      add(key, aged)
      return aged
    },
    set(key, value) {
      if (key.length <= keyCharsMax) add(key, value)
    },
    clear() {
      young = new Map()
      old = new Map()
    },
    get size() {
      return young.size + old.size
    },
  }
}
