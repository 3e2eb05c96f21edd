/** Text for people, pure: what the hub says is escaped before it reaches a terminal (T30); times are local and name their zone. */
import { shownLine, shownLines, withoutUnsafe } from '../../base/shown-text.ts'

export { countOf } from '../../base/shown-text.ts'

/** One line that cannot move the cursor, colour or reorder anything: every unsafe character as `\\uXXXX`. */
export const clean = (text: unknown): string =>
  shownLine(typeof text === 'string' ? text : text === undefined || text === null ? '' : JSON.stringify(text))

/** Joins the lines of a text, for a place that has room for one. */
export const inOneLine = (text: string): string => text.replace(/\s*[\r\n]+\s*/g, ' ').trim()

/**
 * A long sentence as a person reads it on a screen of this width: where it does not fit in one line, a line for each of its parts, all but the first
 * indented. What stands in backquotes stays whole, so that it can be copied.
 */
export function clauses(text: string, width: number): string[] {
  if (text.length <= width) return [text]
  const whole = text.replaceAll(/`[^`]*`/g, (command) => command.replaceAll(' ', '\0'))
  const parts = whole.replaceAll(/; | (?=\(and: )/g, (joint) => `${joint.trim()}\n`).split('\n')
  return parts.map((part, at) => `${at === 0 ? '' : '  '}${part.replaceAll('\0', ' ')}`)
}

/** Many lines, each cleaned; tabs stay. */
export const cleanLines = shownLines

/** JSON that is safe on a terminal too: the same characters as escapes inside its strings, so it parses to the same value. */
export const jsonText = (value: unknown): string =>
  JSON.stringify(value, null, 2)
    .split('\n')
    .map((line) =>
      withoutUnsafe(line, (character) =>
        [...Array(character.length).keys()]
          .map((at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`)
          .join(''),
      ),
    )
    .join('\n')

/** `23 h 58 m`, `4 m 10 s`, `12 s`, `3 d 4 h`: the two largest units, rounded down. */
export function spanWords(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const units = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ] as const
  const first = units.findIndex(([count]) => count > 0)
  if (first === -1) return '0 s'
  const shown = units.slice(first, first + 2).filter(([count], at) => at === 0 || count > 0)
  return shown.map(([count, unit]) => `${count} ${unit}`).join(' ')
}

/** The zone of this process, for texts that name none; `showIn` sets it once at the start. */
let shown: string | undefined
export const showIn = (zone: string | undefined): void => {
  shown = zone
}

/** `Sat 09:00 CET`, with the date from the sixth day on. `zone` is an IANA name; absent: that of `showIn`, else this machine's. */
export function instantText(atMs: number, nowMs: number, zone = shown): string {
  const far = Math.abs(atMs - nowMs) > 6 * 86_400_000
  const format = new Intl.DateTimeFormat('en-GB', {
    weekday: 'short',
    ...(far ? { day: 'numeric', month: 'short', year: 'numeric' } : {}),
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
    timeZoneName: 'short',
    ...(zone === undefined ? {} : { timeZone: zone }),
  })
  const parts = Object.fromEntries(format.formatToParts(atMs).map(({ type, value }) => [type, value]))
  const date = far ? ` ${parts.day} ${parts.month} ${parts.year}` : ''
  return `${parts.weekday}${date} ${parts.hour}:${parts.minute} ${parts.timeZoneName}`
}

/** `2026-11-28 09:00:12 CET`: an instant in a log, in the same zone as everything else a person reads (fault C22). */
export function stampText(atMs: number, zone = shown): string {
  const format = new Intl.DateTimeFormat('en-GB', {
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
    timeZoneName: 'short',
    ...(zone === undefined ? {} : { timeZone: zone }),
  })
  const { year, month, day, hour, minute, second, timeZoneName } = Object.fromEntries(
    format.formatToParts(atMs).map(({ type, value }) => [type, value]),
  )
  return `${year}-${month}-${day} ${hour}:${minute}:${second} ${timeZoneName}`
}

/** `Sat 09:00 CET (in 23 h 58 m)`, or `(4 m 10 s ago)`. */
export function whenText(atMs: number, nowMs: number, zone = shown): string {
  const distance = atMs >= nowMs ? `in ${spanWords(atMs - nowMs)}` : `${spanWords(nowMs - atMs)} ago`
  return `${instantText(atMs, nowMs, zone)} (${distance})`
}

export function sizeText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB'] as const
  const power = Math.min(3, bytes < 1 ? 0 : Math.floor(Math.log2(bytes) / 10))
  const value = bytes / 1024 ** power
  return `${power === 0 ? value : value.toFixed(1)} ${units[power]}`
}

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'
/** Puts text in a style of the terminal. `width` is its number of columns; undefined: no limit. */
export interface Paint {
  (style: Style, text: string): string
  readonly width?: number | undefined
}
/** Without any style, for tests. */
export const plain: Paint = (_, text) => text

export type Cell = string | { text: string; style: Style }

const widthOf = (text: string): number => [...text].length

const GAP = 2
/** A short id has 8 characters. */
const CELL_MIN = 8
const LAST_MIN = 4

/** Widths that fit: the last column shrinks first, then the widest one; no id is cut. */
function fitted(wished: readonly number[], most: number | undefined): number[] {
  const widths = [...wished]
  const least = (at: number) => Math.min(wished[at] ?? 0, at === wished.length - 1 ? LAST_MIN : CELL_MIN)
  const over = () => widths.reduce((sum, width) => sum + width, GAP * (widths.length - 1)) - (most ?? Infinity)
  const cut = (at: number) => {
    widths[at] = Math.max(least(at), (widths[at] ?? 0) - Math.max(0, over()))
  }
  cut(widths.length - 1)
  for (let tries = widths.length; over() > 0 && tries > 0; tries -= 1) cut(widths.indexOf(Math.max(...widths)))
  return widths
}
const shortened = (text: string, width: number): string =>
  widthOf(text) <= width ? text : `${[...text].slice(0, Math.max(0, width - 1)).join('')}…`

/** Columns two spaces apart under dim headings, no wider than the terminal; every cell is cleaned, so one row is always one line. */
export function columns(headings: readonly string[], rows: readonly (readonly Cell[])[], paint: Paint): string {
  const cells = rows.map((row) =>
    row.map((cell) => (typeof cell === 'string' ? { text: clean(cell) } : { ...cell, text: clean(cell.text) })),
  )
  const wished = headings.map((heading, at) =>
    // Not as arguments of one call: a branch may have changed 200 000 files.
    cells.reduce((most, row) => Math.max(most, widthOf(row[at]?.text ?? '')), widthOf(heading)),
  )
  const widths = fitted(wished, paint.width)
  const pad = (whole: string, at: number) => {
    const text = shortened(whole, widths[at] ?? 0)
    return at === headings.length - 1 ? text : text + ' '.repeat((widths[at] ?? 0) - widthOf(text) + GAP)
  }
  const line = (row: readonly { text: string; style?: Style }[]) =>
    row
      .map((cell, at) => (cell.style ? paint(cell.style, pad(cell.text, at)) : pad(cell.text, at)))
      .join('')
      .trimEnd()
  return [paint('dim', line(headings.map((text) => ({ text })))), ...cells.map(line)].join('\n')
}

/** `name  value` lines with the names aligned. */
export function facts(rows: readonly (readonly [string, Cell])[], paint: Paint): string {
  const width = Math.max(0, ...rows.map(([name]) => widthOf(name)))
  return rows
    .map(([name, value]) => {
      const text = typeof value === 'string' ? clean(value) : paint(value.style, clean(value.text))
      return `${paint('dim', name.padEnd(width))}  ${text}`
    })
    .join('\n')
}
