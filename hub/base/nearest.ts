/** "Did you mean": the one known word that a mistyped one is nearest to. Pure. */

/** Letters that may be wrong: one in a short word, two from six letters on, three from eleven on. */
const slips = (word: string): number => (word.length <= 5 ? 1 : word.length <= 10 ? 2 : 3)

/** Edits from one word to the other: a letter more, less, another, or two that changed places. */
function distance(from: string, to: string): number {
  let before: number[] = []
  let row = Array.from({ length: to.length + 1 }, (_, at) => at)
  for (let i = 1; i <= from.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= to.length; j += 1) {
      const other = from[i - 1] === to[j - 1] ? 0 : 1
      let least = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + other)
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1])
        least = Math.min(least, (before[j - 2] ?? 0) + 1)
      next.push(least)
    }
    before = row
    row = next
  }
  return row[to.length] ?? 0
}

const WORD_MAX = 64

/** The nearest of the known words, or undefined if none is near enough to be meant; upper and lower case do not count. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  if (word.length > WORD_MAX) return undefined
  const lower = word.toLowerCase()
  let best: { word: string; far: number } | undefined
  for (const each of known) {
    if (each.length > WORD_MAX) continue
    const far = distance(lower, each.toLowerCase())
    if (far <= slips(each) && far < each.length && (best === undefined || far < best.far)) best = { word: each, far }
  }
  return best?.word
}

/** `; did you mean echo?`, or nothing. */
export function didYouMean(word: string, known: Iterable<string>): string {
  const found = nearest(word, known)
  return found === undefined ? '' : `; did you mean ${found}?`
}
