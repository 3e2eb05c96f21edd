/**
 * What no written line may contain: a card's twelve words, wherever they turn up (docs/safety.md 6), and characters that control a
 * terminal or turn the direction of a text (T30, fault F17).
 */

const WORDS = /[a-z]{3,8}(?:(?:-|%20|%2d|\+)[a-z]{3,8}){11}/gi

/** Twelve words of three letters, and what joins them. */
const LENGTH_MIN = 47

/** The text with every run of twelve joined words masked. */
export const hideWords = (text: string): string => (text.length < LENGTH_MIN ? text : text.replace(WORDS, '[redacted]'))

/** DEL, C1, line and paragraph separators, marks of direction and of width: JSON allows them unescaped. */
const ODD = /[\u007f-\u009f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/g

/** A JSON text with each of those as its escape: the same value. */
export const escapeOdd = (json: string): string =>
  json.replace(ODD, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`)
