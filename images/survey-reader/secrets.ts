/**
 * Strings that look like leaked secrets: by known shape, by the name they are assigned to, or by entropy alone. Pure.
 * It leaves out obvious placeholders and digests, and never returns a whole value.
 */

export interface Suspect {
  rule: string
  value: string
  masked: string
}

/** Known shapes; every pattern is linear, and lines are cut before they come here. */
const SHAPES: readonly (readonly [rule: string, pattern: RegExp])[] = [
  ['aws-access-key', /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g],
  ['private-key', /-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----/g],
  ['github-token', /\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})\b/g],
  ['gitlab-token', /\bglpat-[A-Za-z0-9_-]{20,64}/g],
  ['slack-token', /\bxox[abprs]-[A-Za-z0-9-]{10,200}/g],
  ['google-api-key', /\bAIza[A-Za-z0-9_-]{35}/g],
  ['stripe-key', /\b[rs]k_live_[A-Za-z0-9]{16,200}/g],
  ['json-web-token', /\beyJ[A-Za-z0-9_-]{8,2000}\.eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{16,1000}/g],
]
const QUICK = /AKIA|ASIA|PRIVATE KEY|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|AIza|k_live_|eyJ/
const NAMED = /(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?)/i
/** `password = "..."`, `"apiKey": '...'`, and the unquoted form of environment files. */
const ASSIGNED = new RegExp(
  `${NAMED.source}[A-Za-z0-9_]{0,20}["']?\\s{0,8}(?::=|[:=])\\s{0,8}(?:"([^"\\s]{8,200})"|'([^'\\s]{8,200})')`,
  'gi',
)
const UNQUOTED = new RegExp(
  `^\\s{0,8}(?:export )?[A-Za-z0-9_.-]{0,40}${NAMED.source}[A-Za-z0-9_]{0,20}\\s?[=:]\\s?([^\\s"'#;,(){}\\[\\]<>$]{12,200})\\s{0,8}$`,
  'i',
)
const QUOTED = /["'`]([A-Za-z0-9+/=_-]{32,200})["'`]/g
const PLACEHOLDER = /\$\{|\{\{|^<|%\(|process\.env|example|changeme|placeholder|your[_-]|xxxx|\*\*\*|\.\.\.|…/i
const ALPHABET = /abcdefgh|ABCDEFGH|01234567/
const DIGEST = /^(?:sha(?:1|256|384|512)[-:_]|[0-9a-f]{32,128}$|[0-9A-F]{32,128}$)/
const ASSIGNED_BITS_MIN = 3
const BARE_BITS_MIN = 4.5

/** Shannon entropy in bits per character. */
function entropyOf(text: string): number {
  const counts = new Map<string, number>()
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1)
  let bits = 0
  for (const count of counts.values()) bits -= (count / text.length) * Math.log2(count / text.length)
  return bits
}

/** The first characters, never more than four nor a quarter, and the length. A key's header is no secret and stays whole. */
export function mask(rule: string, value: string): string {
  if (rule === 'private-key') return value
  return `${value.slice(0, Math.min(4, Math.floor(value.length / 4)))}… (${value.length} characters)`
}

const isMixed = (value: string) => /[a-z]/.test(value) && /[A-Z]/.test(value) && /\d/.test(value)
const isWild = (value: string) => /\d/.test(value) && /[^\d]/.test(value)

/** The suspects of one line, each value once, the most telling rule first. */
export function findSecrets(line: string): Suspect[] {
  const found: Suspect[] = []
  const add = (rule: string, value: string) => {
    if (found.some((other) => other.value.includes(value) || value.includes(other.value))) return
    found.push({ rule, value, masked: mask(rule, value) })
  }
  if (QUICK.test(line)) {
    for (const [rule, pattern] of SHAPES) for (const match of line.matchAll(pattern)) add(rule, match[0])
  }
  if (line.length < 12) return found
  if (NAMED.test(line)) {
    const unquoted = UNQUOTED.exec(line)?.[1]
    const values = [...line.matchAll(ASSIGNED)].map((match) => match[1] ?? match[2] ?? '')
    for (const value of unquoted === undefined ? values : [...values, unquoted]) {
      if (!PLACEHOLDER.test(value) && isWild(value) && entropyOf(value) >= ASSIGNED_BITS_MIN)
        add('assigned-secret', value)
    }
  }
  for (const match of line.matchAll(QUOTED)) {
    const value = match[1] ?? ''
    if (DIGEST.test(value) || ALPHABET.test(value) || PLACEHOLDER.test(value) || !isMixed(value)) continue
    if (entropyOf(value) >= BARE_BITS_MIN) add('high-entropy', value)
  }
  return found
}
