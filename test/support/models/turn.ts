/** What a scripted model is asked and answers, the same for every provider's shape. */

export type Shape = 'messages' | 'chat' | 'responses' | 'generateContent'

/** What came in, without the words of one provider. */
export interface Ask {
  shape: Shape
  model: string
  stream: boolean
  /** The cap of the output, in tokens, if the request names one. */
  cap: number | undefined
  /** The last text of the user. */
  text: string
  /** What tools answered in the last message, in order. */
  results: readonly string[]
  /** How many answers of the model the conversation holds. */
  turn: number
  tools: readonly string[]
  /** The counted input: a quarter of the body's bytes, rounded up. */
  inputTokens: number
  /** The body as it came in. */
  body: Record<string, unknown>
}

export interface Usage {
  input: number
  output: number
  cacheRead: number
  cacheWrite: number
  reasoning: number
}

/** What the model says. Text and calls may both be there. */
export interface Turn {
  text?: string
  /** `namespace`: of a tool that Responses groups, such as those of an MCP server. */
  calls?: readonly { name: string; input: Record<string, unknown>; namespace?: string }[]
  /** Counts other than those of the server; `missing`: none is told. */
  usage?: Partial<Usage> | 'missing'
  /** Another model than was asked for is named in the answer. */
  model?: string
  /** Added to what the provider tells about its usage: keys that nobody knows, or lies. */
  oddUsage?: Record<string, unknown>
  /** Text that no client reads: a field of its own in a whole answer, a comment between the events of a streamed one. */
  echo?: string
  headers?: Record<string, string>
  transport?: Transport
}

/** How the bytes of an answer travel. */
export interface Transport {
  /** The connection is destroyed after so many bytes of the body. */
  cutAfter?: number
  /** Nothing more comes after so many bytes; the connection stays. */
  stallAfter?: number
  /** The size of the next piece, each written by itself. */
  pieces?: () => number
  /** Before the first byte of the answer. */
  delayMs?: number
  /** Between two pieces, so that each leaves by itself. */
  betweenMs?: number
}

/** A refusal or a failure in the place of an answer. */
export interface Failure {
  status: number
  body?: unknown
  headers?: Record<string, string>
}
export type Answer = Turn | Failure
/** Decides each answer. It is called once per request, in their order. */
export type Script = (ask: Ask) => Answer | Promise<Answer>

export const isFailure = (answer: Answer): answer is Failure => 'status' in answer

/** Four bytes count as one token: near enough, and anybody can count it again. */
export const tokensOf = (bytes: number): number => Math.ceil(bytes / 4)

/** A turn with everything counted, and cut where the cap ends it. */
export interface Counted {
  model: string
  text: string
  calls: readonly { id: string; name: string; input: Record<string, unknown>; namespace?: string }[]
  isCut: boolean
  usage: Usage
  told: Usage | undefined
  odd: Record<string, unknown>
}

/** Counts a turn as a provider does: what goes beyond the cap is never said. `serial` makes ids. */
export function count(ask: Ask, turn: Turn, serial: number): Counted {
  const whole = turn.text ?? ''
  const room = ask.cap === undefined ? Number.POSITIVE_INFINITY : ask.cap * 4
  const text = whole.slice(0, Math.min(whole.length, room))
  const calls = (turn.calls ?? []).map((call, at) => ({ id: `call_${serial}_${at}`, ...call }))
  const said = Buffer.byteLength(text) + calls.reduce((sum, { input }) => sum + JSON.stringify(input).length, 0)
  const usage: Usage = { input: ask.inputTokens, output: tokensOf(said), cacheRead: 0, cacheWrite: 0, reasoning: 0 }
  const given = turn.usage === 'missing' ? {} : (turn.usage ?? {})
  const told = { ...usage, ...given }
  return {
    model: turn.model ?? ask.model,
    text,
    calls,
    isCut: text.length < whole.length,
    usage: told,
    told: turn.usage === 'missing' ? undefined : told,
    odd: turn.oddUsage ?? {},
  }
}
