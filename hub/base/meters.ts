/**
 * What the hub counts while it works (S0-12): plain numbers in memory that nobody reads until somebody looks. To count is an addition, so it
 * may stand on the way of every message. Rings count into these and know nothing of who reads (S1-33); `hub/observe` does.
 *
 * Every name that is counted is given beforehand, so that nothing from outside makes a new series.
 */

/** Counts by one name. */
export interface Tally<Name extends string> {
  add(name: Name): void
  /** Since the process began. */
  readonly counts: Readonly<Record<Name, number>>
}

/** Counts by two names. */
export interface Grid<Row extends string, Column extends string> {
  add(row: Row, column: Column): void
  /** Since the process began. */
  readonly counts: Readonly<Record<Row, Readonly<Record<Column, number>>>>
}

/** By what one measured time can be found: a step of a trace that is kept, with W3C's ids in hex, and the wall clock. */
export interface Example {
  readonly traceId: string
  readonly spanId: string
  readonly atMs: number
}

/** How long something took, by bounds: a histogram. */
export interface Spread {
  /** Seconds; less than none counts as none. `of`: where it was measured; without it, what `here` answers. */
  add(seconds: number, of?: Example): void
  /** Upper bounds in seconds, rising. What was longer than the last is in one place more. */
  readonly bounds: readonly number[]
  /** How many were within each bound and above the one before it; one more place than there are bounds. */
  readonly counts: readonly number[]
  /** Seconds of all together. */
  sum(): number
  /** The last of each place that can be found, with its seconds. Empty where no traces are kept. */
  readonly examples: ReadonlyMap<number, Example & { readonly seconds: number }>
}

const zeros = <Name extends string>(names: readonly Name[]): Record<Name, number> =>
  Object.fromEntries(names.map((name) => [name, 0])) as Record<Name, number>

export function createTally<Name extends string>(names: readonly Name[]): Tally<Name> {
  const counts = zeros(names)
  return {
    counts,
    add(name) {
      counts[name] += 1
    },
  }
}

export function createGrid<Row extends string, Column extends string>(
  rows: readonly Row[],
  columns: readonly Column[],
): Grid<Row, Column> {
  const counts = Object.fromEntries(rows.map((row) => [row, zeros(columns)])) as Record<Row, Record<Column, number>>
  return {
    counts,
    add(row, column) {
      counts[row][column] += 1
    },
  }
}

/** `bounds` must rise; the caller's constant. `here`: where what is measured now stands; without it nothing is asked. */
export function createSpread(bounds: readonly number[], here?: () => Example | undefined): Spread {
  const counts = new Array<number>(bounds.length + 1).fill(0)
  const examples = new Map<number, Example & { seconds: number }>()
  let sum = 0
  return {
    bounds,
    counts,
    examples,
    add(seconds, of = here?.()) {
      let at = 0
      while (at < bounds.length && seconds > (bounds[at] as number)) at += 1
      counts[at] = (counts[at] as number) + 1
      if (seconds > 0) sum += seconds
      if (of !== undefined) examples.set(at, { ...of, seconds: Math.max(0, seconds) })
    },
    sum: () => sum,
  }
}
