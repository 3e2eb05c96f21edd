/** Which known word a person most likely meant (fault C7, fault C8). Pure. */

/** Changes of one character, and swaps of two neighbours, between two words. */
function distance(a: string, b: string): number {
  let [older, before] = [[] as number[], Array.from({ length: b.length + 1 }, (_, at) => at)]
  for (let i = 1; i <= a.length; i += 1) {
    const now = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1]
      const steps = [(now[j - 1] ?? 0) + 1, (before[j] ?? 0) + 1, (before[j - 1] ?? 0) + (same ? 0 : 1)]
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) steps.push((older[j - 2] ?? 0) + 1)
      now.push(Math.min(...steps))
    }
    older = before
    before = now
  }
  return before[b.length] ?? 0
}

/** The nearest one, if no more than a third of its characters differ; of a word of four one. What is nothing like it is not named. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  let best: { one: string; far: number } | undefined
  for (const one of known) {
    if (Math.abs(one.length - word.length) > 3 || word.length > 64) continue
    const far = distance(word.toLowerCase(), one)
    const most = Math.max(1, Math.min(3, Math.floor(Math.max(word.length, one.length) / 3)))
    if (far <= most && far < (best?.far ?? Number.POSITIVE_INFINITY)) best = { one, far }
  }
  return best?.one
}

/** `; did you mean echo?`, or nothing. */
export function didYouMean(word: string, known: Iterable<string>): string {
  const one = nearest(word, known)
  return one === undefined ? '' : `; did you mean ${one}?`
}
