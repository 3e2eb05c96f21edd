/** What the judges of one request say (docs/egress.md): a closed set of facts, or a refusal with its code. No input or output, no clock. */
import type { ErrorCode } from '../../../base/errors.ts'
import type { EgressClass } from '../../../protocol/egress/upstreams.ts'

/** `detail` is safe to show to the agent and says what to change. */
export interface Refused {
  code: ErrorCode
  detail: string
}
/** How a body of this endpoint is read; `count` asks the provider how many tokens a body has. */
export type BodyShape = 'messages' | 'chat' | 'responses' | 'embeddings' | 'generateContent' | 'embedContent' | 'count'

/** A request line and its headers, judged and written anew. Nothing else of them goes outward. */
export interface JudgedHead {
  class: EgressClass
  method: string
  /** Whole path at the upstream, its base path included. */
  path: string
  /** Without the question mark; empty if there is none. */
  query: string
  /** `files`: it goes to the second host of npm or pypi, without a key. */
  host: 'url' | 'files'
  /** What passes outward: no key, no host, nothing that belongs to one connection. */
  headers: readonly (readonly [name: string, value: string])[]
  shape: BodyShape | undefined
  /** The model, where the path names it. */
  model: string | undefined
  /** Placeholders of this hub that stood in a place for credentials. */
  placeholders: readonly string[]
  /** Named facts of the head that cost: a beta for long contexts. */
  surcharges: readonly string[]
}

/** How a body that was judged counts. */
export interface JudgedBody {
  model: string
  /** Bytes of the whole body. */
  inputBytes: number
  /**
   * Longest first, the whole request at the beginning: what this body begins with, and how many bytes of its messages come after that. An
   * earlier request is a beginning of this one if its first hash is one of these.
   */
  prefixes: readonly { hash: string; restBytes: number }[]
  /** Inline pieces whose tokens their bytes say nothing about. */
  media: Readonly<Record<Media, number>>
  /** The output cap that the agent asked for. */
  askedOutput: number | undefined
  /** Tokens of thought that were asked for. */
  thinking: number | undefined
  stream: boolean
  /** Answers that were asked for at once. */
  choices: number
  /** Named facts that cost: see docs/egress.md. */
  surcharges: readonly string[]
  /** The body to send with this output cap. Only the cap, `store` and `stream_options.include_usage` are ever changed; all other bytes stay. */
  withCap(cap: number): CappedBody | Refused
  /** What asks the provider how long the input is, for nothing; undefined where it has no endpoint for that. */
  toCount(): CountRequest | undefined
}
/** A request that the hub makes of another one. The pieces share the memory of the bytes that came. */
export interface CountRequest {
  path: string
  query: string
  pieces: readonly Buffer[]
}
/** A body to send. The pieces share the memory of the bytes that came. */
export interface CappedBody {
  pieces: readonly Buffer[]
  /** Bytes of all pieces. */
  length: number
  /** The agent asked for more than the cap, or named none. */
  clamped: boolean
}
export type Media = 'images' | 'documents' | 'audios' | 'videos'

export const refused = (code: ErrorCode, detail: string): Refused => ({ code, detail })

export const isRefused = (judged: object): judged is Refused => 'code' in judged
