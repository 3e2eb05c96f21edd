/** Text of others as it may be shown: each character that hides, reorders or moves something becomes its number (T30). Pure. */

/** Control, format, separator and surrogate code points; joiners stay, since scripts and emoji need them and they move nothing. */
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}]|(?![\u200C\u200D])\p{Cf}/gu

/** Replaces each of these characters in a text. */
export const withoutUnsafe = (text: string, replace: (character: string) => string): string =>
  text.replace(UNSAFE, replace)

const escaped = (character: string): string => {
  if (character === '\n') return '\\n'
  if (character === '\t') return '\\t'
  const hex = (character.codePointAt(0) ?? 0).toString(16)
  return hex.length <= 4 ? `\\u${hex.padStart(4, '0')}` : `\\u{${hex}}`
}

/** One line that cannot move the cursor, colour or reorder anything: every unsafe character as `\\uXXXX`. */
export const shownLine = (text: string): string => withoutUnsafe(text, escaped)

/** Many lines, each as `shownLine` has it; tabs stay. */
export const shownLines = (text: string): string =>
  text
    .split(/\r?\n/)
    .map((line) => line.split('\t').map(shownLine).join('\t'))
    .join('\n')

/** `1 task`, `2 tasks` (fault C22). */
export const countOf = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`
