/** Upstreams and requests for the judges of the wire: what real clients sent, and the words that tests are made of. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ErrorCode } from '../../hub/base/errors.ts'
import type { Upstream, UpstreamKind } from '../../hub/protocol/egress/upstreams.ts'
import { judgeBody, judgeHead } from '../../hub/work/egress/wire.ts'

const AUTHS: Partial<Record<UpstreamKind, Upstream['auth']>> = {
  anthropic: { form: 'header', name: 'x-api-key' },
  google: { form: 'header', name: 'x-goog-api-key' },
}

/** An upstream of a kind as hub.yaml declares it, with what a test changes. */
export const upstreamOf = (kind: UpstreamKind, change: Partial<Upstream> = {}): Upstream => ({
  ...{ name: 'up', kind, url: 'https://api.example.org', secret: 'key', auth: AUTHS[kind] ?? { form: 'bearer' } },
  ...{
    local: false,
    free: false,
    allow: [],
    repositories: [],
    push: [],
    workflows: [],
    files: undefined,
    minAgeMs: undefined,
  },
  ...{ serverTools: [], headers: [], bodyBytesMax: 64 * 1024 ** 2, maxOutput: 32_000 },
  ...change,
})

export interface Recorded {
  /** The size of the body as the client sent it, before its words were made short. */
  bytesAsRecorded: number
  method: string
  target: string
  headers: string[]
  body: Record<string, unknown>
}
const FOLDER = join(import.meta.dirname, '../hub/work/egress/wire/recorded')

/** What a real client sent, with its words made short and its ids made up. Versions: docs/egress.md 1. */
export const recorded = (name: string): Recorded =>
  JSON.parse(readFileSync(join(FOLDER, `${name}.json`), 'utf8')) as Recorded

export const recordedNames = (): string[] =>
  readdirSync(FOLDER)
    .map((file) => file.replace('.json', ''))
    .sort()

export const kindOfRecorded = (name: string): UpstreamKind =>
  name.startsWith('claude') ? 'anthropic' : name.startsWith('codex') ? 'openai' : 'google'

const TARGETS = {
  messages: ['anthropic', '/v1/messages'],
  chat: ['openai', '/v1/chat/completions'],
  responses: ['openai', '/v1/responses'],
  embeddings: ['openai', '/v1/embeddings'],
  generate: ['google', '/v1beta/models/gemini-3-pro:generateContent'],
  stream: ['google', '/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse'],
  embed: ['google', '/v1beta/models/gemini-embedding-001:embedContent'],
  embedBatch: ['google', '/v1beta/models/gemini-embedding-001:batchEmbedContents'],
  countMessages: ['anthropic', '/v1/messages/count_tokens'],
  countResponses: ['openai', '/v1/responses/input_tokens'],
  countGenerate: ['google', '/v1beta/models/gemini-3-pro:countTokens'],
} as const satisfies Record<string, readonly [UpstreamKind, string]>
export type Target = keyof typeof TARGETS

export const JSON_HEADERS = ['content-type', 'application/json']

/** A body judged as the gateway does it, head first. A text is taken as it is, anything else is written as JSON. */
export function judgeAt(target: Target, body: unknown, change: Partial<Upstream> = {}) {
  const [kind, path] = TARGETS[target]
  const upstream = upstreamOf(kind, change)
  const head = judgeHead(upstream, { method: 'POST', target: path, headers: JSON_HEADERS })
  if ('code' in head) return head
  return judgeBody(upstream, head, Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))
}

/** The code and the words of a refusal; throws if it passed. */
export function refusalIn(judged: object): { code: ErrorCode; detail: string } {
  if (!('code' in judged)) throw new Error('it passed')
  return judged as { code: ErrorCode; detail: string }
}

/** What passed; throws with the words of the refusal if it did not. */
export function passedIn<Judged extends object>(judged: Judged): Exclude<Judged, { code: ErrorCode }> {
  if ('code' in judged) throw new Error(`refused: ${JSON.stringify(judged)}`)
  return judged as Exclude<Judged, { code: ErrorCode }>
}

/** The body that would be sent, as bytes. */
export function sentBytes(judged: ReturnType<typeof judgeBody>, cap: number): Buffer {
  return Buffer.concat([...passedIn(passedIn(judged).withCap(cap)).pieces])
}
