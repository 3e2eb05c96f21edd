/**
 * Which headers of an answer reach the agent (E5): a closed list. Not among them: cookies, redirects, names of accounts, whatever belongs to one
 * connection, and the length and encoding of the body, which the gateway sets as it sends.
 */
const PASSING = new Set([
  ...['content-type', 'retry-after', 'retry-after-ms', 'x-should-retry', 'request-id', 'x-request-id'],
  ...[
    'openai-processing-ms',
    'openai-version',
    'openai-model',
    'etag',
    'last-modified',
    'cache-control',
    'expires',
    'date',
  ],
  ...['accept-ranges', 'content-range', 'x-goog-request-id'],
])
const LIMITS = /^(?:anthropic-ratelimit|x-ratelimit)-[a-z0-9-]{1,64}$/
const VALUE = /^[\x20-\x7e]{0,4096}$/

/** What passes of raw headers (name and value in turn), names in small letters, each name once. */
export function passAnswerHeaders(raw: readonly string[]): [name: string, value: string][] {
  const passed = new Map<string, string>()
  for (let at = 0; at < raw.length; at += 2) {
    const [name, value] = [(raw[at] ?? '').toLowerCase(), raw[at + 1] ?? '']
    if (!PASSING.has(name) && !LIMITS.test(name)) continue
    if (VALUE.test(value) && !passed.has(name)) passed.set(name, value)
  }
  return [...passed]
}
