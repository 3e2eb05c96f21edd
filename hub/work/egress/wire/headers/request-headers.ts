/**
 * Which headers of a request go outward (E5, E6): a closed list for each kind, and what is on none of them stays here. Credentials of the agent never pass,
 * and the hub puts its own in their place. A placeholder of this hub is looked for where a credential stands, and nowhere else.
 */

import { placeholdersIn } from '../../../../protocol/egress/placeholders.ts'
import type { Upstream, UpstreamKind } from '../../../../protocol/egress/upstreams.ts'
import { type Refused, refused } from '../judged.ts'

const HEADERS_MAX = 100
const VALUE_BYTES_MAX = 4096
const NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/
/** What may stand in a header that stays here; what goes outward is visible ASCII and spaces. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
const OUTWARD_VALUE = /^[\x20-\x7e]*$/

/** What stands in the place of a key in a container. */

/** Places where clients put credentials. */
const CREDENTIALS = new Set([
  ...['authorization', 'proxy-authorization', 'x-api-key', 'x-goog-api-key', 'api-key', 'cookie', 'x-auth-token'],
  ...['private-token', 'job-token', 'x-access-token', 'ocp-apim-subscription-key'],
])

const AGENT = /^[\w .,;:()/+@=-]{1,256}$/
const MEDIA_TYPES = /^[\w*+./;=, "-]{1,512}$/
const common = { accept: MEDIA_TYPES, 'user-agent': AGENT, 'content-type': MEDIA_TYPES }
const cached = { 'if-none-match': /^[\w"/., :+=*-]{1,256}$/, 'if-modified-since': /^[\w :,+-]{1,64}$/ }

/** By kind, the headers that pass, each with the form of its value. One of another form is left out as if it were not on the list. */
const PASSING: Readonly<Record<UpstreamKind, Readonly<Record<string, RegExp>>>> = {
  anthropic: { ...common, 'anthropic-version': /^\d{4}-\d{2}-\d{2}$/ },
  openai: common,
  google: common,
  git: { ...common, 'git-protocol': /^version=[012]$/ },
  npm: { ...common, ...cached },
  pypi: { ...common, ...cached, range: /^bytes=[\d, -]{1,128}$/ },
  http: { ...common, ...cached, range: /^bytes=[\d, -]{1,128}$/, 'accept-language': /^[\w ,;=.*-]{1,128}$/ },
}

/**
 * Words of `anthropic-beta` that pass: they change how the model answers, and reach nothing. Those for files, containers, connectors, memory, agents,
 * fallbacks and credits are not here, and the fields that they bring are refused in the body. Source: the list in `@anthropic-ai/sdk` 1.14.0 and what
 * Claude Code 2.1.332 sends.
 */
const BETAS = new Set([
  ...['claude-code-20250219', 'interleaved-thinking-2025-05-14', 'context-management-2025-06-27'],
  ...['per-turn-control-2026-07-01', 'mid-conversation-tool-changes-2026-07-01', 'thinking-token-count-2026-05-13'],
  ...['advanced-tool-use-2025-11-20', 'effort-2025-11-24', 'thinking-display-updates-2026-08-18'],
  ...['mid-conversation-output-config-2026-07-01', 'thinking-binding-controls-2026-08-01', 'inline-tools-2026-09-15'],
  ...['mid-conversation-system-clear-at-2026-08-21', 'fine-grained-tool-streaming-2025-05-14', 'pdfs-2024-09-25'],
  ...['token-efficient-tools-2025-02-19', 'token-counting-2024-11-01', 'structured-outputs-2025-11-13'],
  ...['task-budgets-2026-03-13', 'model-context-window-exceeded-2025-08-26', 'dev-full-thinking-2025-05-14'],
  ...['computer-use-2024-10-22', 'computer-use-2025-01-24', 'computer-use-2025-11-24', 'output-128k-2025-02-19'],
  ...['prompt-caching-2024-07-31', 'extended-cache-ttl-2025-04-11', 'fast-mode-2026-02-01', 'context-1m-2025-08-07'],
])
/** Words that make a request dearer than its body shows. */
const COSTING = new Map([['context-1m-2025-08-07', 'long_context']])
const BETA_HEADERS = new Set(['anthropic-beta', 'openai-beta'])

/** Never, whatever `headers` of the upstream lists: they belong to one connection, name who asks, or make another request of this one. */
const NEVER =
  /^(?:host|connection|keep-alive|te|trailer|upgrade|expect|date|via|cookie|set-cookie|proxy-.*|content-(?!type$).*|transfer-encoding|accept-encoding|forwarded|x-forwarded-.*|x-real-ip|x-http-method.*|x-method-.*|x-original-.*|x-rewrite-.*|.*organization.*|openai-project|x-goog-user-project|.*idempotency-key)$/

export interface JudgedHeaders {
  headers: [name: string, value: string][]
  contentType: string | undefined
  contentEncoding: string | undefined
  hasBody: boolean
  placeholders: string[]
  surcharges: string[]
}

/** Judges raw headers (name and value in turn). Refuses what two parsers could read in two ways; leaves out what is on no list. */
export function judgeRequestHeaders(upstream: Upstream, raw: readonly string[]): JudgedHeaders | Refused {
  if (raw.length > HEADERS_MAX * 2) return refused('egress_denied', `a request has at most ${HEADERS_MAX} headers`)
  const all = new Map<string, string[]>()
  for (let at = 0; at < raw.length; at += 2) {
    const [name = '', value = ''] = [raw[at], raw[at + 1]]
    if (!NAME.test(name)) return refused('egress_denied', 'a header has no proper name')
    if (!VALUE.test(value))
      return refused('egress_denied', `the header ${name.toLowerCase()} holds a control character`)
    all.set(name.toLowerCase(), [...(all.get(name.toLowerCase()) ?? []), value])
  }
  const framing = framingProblem(all)
  if (framing !== undefined) return refused('egress_denied', framing)
  const placeholders = new Set<string>()
  for (const name of CREDENTIALS)
    for (const value of all.get(name) ?? []) for (const each of placeholdersIn(value)) placeholders.add(each)
  const surcharges: string[] = []
  const headers: [string, string][] = []
  for (const [name, values] of all) {
    if (BETA_HEADERS.has(name)) {
      const words = passingBetas(upstream, name, values)
      if (words.length > 0) headers.push([name, words.join(',')])
      for (const word of words) if (COSTING.has(word)) surcharges.push(COSTING.get(word) ?? word)
      continue
    }
    const [value = ''] = values
    if (!passes(upstream, name, value)) continue
    if (values.length > 1) return refused('egress_denied', `the header ${name} is there twice`)
    headers.push([name, value])
  }
  const one = (name: string) => all.get(name)?.join(', ')
  return {
    ...{ headers, surcharges, placeholders: [...placeholders] },
    ...{ contentType: one('content-type'), contentEncoding: one('content-encoding') },
    hasBody: all.has('transfer-encoding') || !/^0*$/.test(one('content-length') ?? '0'),
  }
}

/** Two ways to say where a body ends, or one said twice, are two requests to somebody (E5). */
function framingProblem(all: ReadonlyMap<string, readonly string[]>): string | undefined {
  const [lengths = [], codings = []] = [all.get('content-length'), all.get('transfer-encoding')]
  if (lengths.length > 1 || codings.length > 1 || (lengths.length > 0 && codings.length > 0))
    return 'the length of the body is given twice'
  if (lengths.some((length) => !/^\d{1,15}$/.test(length))) return 'content-length is no number'
  if (codings.some((coding) => coding.toLowerCase() !== 'chunked'))
    return 'transfer-encoding may be chunked and nothing else'
  return undefined
}

function passes(upstream: Upstream, name: string, value: string): boolean {
  if (NEVER.test(name) || CREDENTIALS.has(name)) return false
  if (value.length > VALUE_BYTES_MAX || !OUTWARD_VALUE.test(value)) return false
  if (upstream.auth.form === 'header' && upstream.auth.name === name) return false
  const form = Object.hasOwn(PASSING[upstream.kind], name) ? PASSING[upstream.kind][name] : undefined
  return form?.test(value) === true || isListed(upstream, name, value)
}

/** `headers` of the upstream: `NAME`, or `NAME: VALUE` for that value alone. */
function isListed(upstream: Upstream, name: string, value: string): boolean {
  return upstream.headers.includes(name) || upstream.headers.includes(`${name}: ${value}`)
}

function passingBetas(upstream: Upstream, name: string, values: readonly string[]): string[] {
  const words = values.flatMap((value) => value.split(',').map((word) => word.trim()))
  const own = name === 'anthropic-beta' && upstream.kind === 'anthropic' ? BETAS : new Set<string>()
  return [...new Set(words)].filter((word) => word !== '' && (own.has(word) || isListed(upstream, name, word)))
}
