/**
 * How much of the end of a text that still grows may be the beginning of something that is masked only whole (S1-62). Whoever writes down a
 * stream piece by piece keeps so much back until more of it comes, or its end. Pure.
 */

/** With what the shapes of redaction.ts begin; letters of either case. */
const BEGINNINGS = [
  ...[
    'sk-',
    'sk_',
    'rk_',
    'ghp_',
    'gho_',
    'ghu_',
    'ghs_',
    'ghr_',
    'github_pat_',
    'glpat-',
    'gldt-',
    'glrt-',
    'glcbt-',
    'glptt-',
  ],
  ...[
    'xox',
    'akia',
    'asia',
    'abia',
    'acca',
    'aiza',
    'ya29.',
    'npm_',
    'pypi-',
    'hf_',
    'sg.',
    'dop_v1_',
    'dor_v1_',
    'doo_v1_',
  ],
  ...['hvs.', 'hvb.', 'hvr.', 'age-secret-key-', 'eyj', '://'],
] as const
/** After these the secret follows behind a space. */
const HEADS =
  /(?:bearer|basic|authorization|x-api-key|cookie)["'\\]{0,4}\s{0,8}[=:]?\s{0,8}["'\\]{0,4}(?:(?:bearer|basic|token|digest|apikey)\s{0,8})?\S{0,400}$/i
/** A private key that has begun and not ended. */
const KEY = '-----BEGIN '
const KEY_CHARS_MAX = 16_384
const RUN = /\S{1,600}$/
/** Words joined by signs, of which twelve are a card's. */
const JOINED = /[a-z]{3,8}(?:(?:-|%20|%2d|\+)[a-z]{0,8}){1,11}$/i

/** So many characters at the end of the text may begin a key by its shape. */
export function shapeBegun(text: string): number {
  const key = text.lastIndexOf(KEY)
  if (key !== -1 && text.length - key <= KEY_CHARS_MAX && !/-----END [A-Z ]{0,40}-----/.test(text.slice(key)))
    return text.length - key
  const [head = ''] = HEADS.exec(text.slice(-500)) ?? []
  const [run = ''] = RUN.exec(text.slice(-600)) ?? []
  const lower = run.toLowerCase()
  const inside = BEGINNINGS.some((each) => lower.includes(each)) || JOINED.test(run) ? run.length : 0
  const begun = Math.max(
    0,
    ...[...BEGINNINGS, 'bearer', 'basic', 'authorization', 'x-api-key', 'cookie', KEY.toLowerCase()].map((each) => {
      for (let length = Math.min(each.length, lower.length); length >= 1; length -= 1)
        if (lower.endsWith(each.slice(0, length))) return length
      return 0
    }),
  )
  return Math.max(head.length, inside, begun)
}
