/**
 * One rule for reading a row: a damaged row harms only itself (fault G3).
 *
 * R1. A column whose text is wrong is shown as `instead`, which allows nothing, and the row names the column.
 *     Lists do not fail on it. Code that would act on the row sees that it is unreadable, and ends it.
 * R2. Rows of work carry a check over all their columns, so one flipped bit is seen. A row older than the check is taken as it is.
 */
import { sha256Hex } from '../base/canonical.ts'

const CHECK_COLUMN = 'check_sum'
/** What a column's text says, or undefined if it cannot be read. */
export interface Column {
  read: (value: unknown) => { value: unknown } | undefined
  instead: unknown
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
export const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((each) => typeof each === 'string')

/** JSON of one kind; no text at all is null. */
export const json = (is: (value: unknown) => boolean, instead: unknown): Column => ({
  instead,
  read(text) {
    if (typeof text !== 'string') return { value: text }
    try {
      const value: unknown = JSON.parse(text)
      return is(value) ? { value } : undefined
    } catch {
      return undefined
    }
  },
})

/** One of some words, or null if that is allowed. */
export const oneOf = (words: readonly string[], instead: unknown): Column => ({
  instead,
  read: (value) => (value === null || words.includes(value as string) ? { value } : undefined),
})

/** A single JSON text, as in `meta`; `instead` if it cannot be read. */
export function readText<Value>(text: string | undefined, is: (value: unknown) => boolean, instead: Value): Value {
  if (text === undefined) return instead
  return (json(is, instead).read(text) ?? { value: instead }).value as Value
}

/** Over the names and values of all columns that are not null, so a column that is added later as null changes no check. */
export const checkOf = (raw: Record<string, unknown>): string =>
  sha256Hex(JSON.stringify(Object.entries(raw).filter(([name, value]) => value !== null && name !== CHECK_COLUMN)))

/** Why the row cannot be read, or null; and its columns, read. */
export function readRow(
  raw: Record<string, unknown>,
  columns: Readonly<Record<string, Column>>,
): { unreadable: string | null; values: Record<string, unknown> } {
  let unreadable: string | null = null
  const values: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(raw)) {
    if (name === CHECK_COLUMN) continue
    const column = columns[name]
    const read = column === undefined ? { value } : column.read(value)
    if (read === undefined) unreadable ??= `its column ${name} is damaged`
    values[name] = read === undefined ? column?.instead : read.value
  }
  const check = raw[CHECK_COLUMN]
  if (check !== null && check !== undefined && check !== checkOf(raw)) unreadable ??= 'it is not as it was written'
  return { unreadable, values }
}
