/** What each provider's shape can do, and what all of them need. */
import type { Ask, Counted } from './turn.ts'

export interface WireShape {
  read(body: Record<string, unknown>): Omit<Ask, 'inputTokens' | 'shape'>
  /** The answer as one JSON value. */
  whole(counted: Counted, serial: number): unknown
  /** The answer as the texts of server-sent events, in order. */
  events(counted: Counted, serial: number): string[]
  /** What the endpoint that counts tokens answers. */
  counted(tokens: number): unknown
  failure(status: number, text: string): unknown
}

/** One event whose data names its type too, as Messages and Responses send it. */
export const sse = (type: string, data: Record<string, unknown>): string =>
  `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`
/** One event of data alone. */
export const data = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`

/** The text of a content that is a text, a list of parts, or anything else. */
export function textOf(content: unknown): string {
  if (typeof content === 'string') return content
  if (Array.isArray(content)) return content.map(({ text }) => text ?? '').join('')
  return JSON.stringify(content ?? '')
}

/** Pieces of a text, as a model says it. */
export const piecesOf = (text: string): string[] => text.match(/[\s\S]{1,24}/g) ?? []
