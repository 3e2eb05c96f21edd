/** Removes from an alert's text, before it is stored or told: control characters, what looks like a secret, and what is too long (T38, docs/safety.md 7). Pure. */

const CAUSE_LENGTH_MAX = 200
const TEXT_LENGTH_MAX = 4000
const MASK = '[redacted]'

/** Patterns, each with what stays of a match. Each starts at a word and is bounded, so no text makes it backtrack for long (T26). Digests (64 hex digits) stay: they are no secrets, and people need them. */
const SECRETS: readonly [RegExp, string][] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, MASK],
  [/(?<![\w-])eyJ[\w-]{8,2000}\.[\w-]{1,2000}\.[\w-]{0,2000}/g, MASK],
  [/\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi, `$1 ${MASK}`],
  [/(\/(?:stop|hook)\/)[^\s/"'<>]+/gi, `$1${MASK}`],
  [/\b([a-z][a-z\d+.-]{0,20}:\/\/)[^\s/@"'<>]{0,200}:[^\s/@"'<>]{0,200}@/gi, `$1${MASK}@`],
  [
    /((?<![\w-])[\w-]{0,40}(?:password|passwd|secret|token|api[_-]?key|authorization|credential)[\w-]{0,40}["']?\s{0,8}[=:]\s{0,8})["']?(?!\[redacted\])[^\s"',;]+/gi,
    `$1${MASK}`,
  ],
  [/\b(?:sk|ghp|gho|xox[abp]|glpat)[-_][\w-]{12,}/g, MASK],
]

/** One line of a cause: no controls, capped. */
export const causeText = (cause: string): string =>
  cause
    .slice(0, CAUSE_LENGTH_MAX * 2)
    .replaceAll(/[\p{Cc}\p{Cf}]+/gu, ' ')
    .toWellFormed()
    .slice(0, CAUSE_LENGTH_MAX)

/** Text of several lines: other controls out, secrets masked, capped. */
export function redacted(text: string): string {
  // Cut first, so that no pattern walks over megabytes.
  let kept = text.slice(0, TEXT_LENGTH_MAX * 2).replaceAll(/[^\P{Cc}\n]|\p{Cf}/gu, ' ')
  for (const [pattern, left] of SECRETS) kept = kept.replaceAll(pattern, left)
  return kept.slice(0, TEXT_LENGTH_MAX).toWellFormed()
}
