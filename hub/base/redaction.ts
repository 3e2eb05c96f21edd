/** What must not stand in any line that is written: a card's twelve words, wherever they got to (safety.md section 6). */

const WORDS = /[a-z]{3,8}(?:(?:-|%20|%2d|\+)[a-z]{3,8}){11}/gi

/** Twelve words of three letters, and what joins them. */
const LENGTH_MIN = 47

/** The text with every run of twelve joined words masked. */
export const hideWords = (text: string): string => (text.length < LENGTH_MIN ? text : text.replace(WORDS, '[redacted]'))
