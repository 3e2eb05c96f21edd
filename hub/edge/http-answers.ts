/** Answers over HTTP, for every entrance: JSON or an RFC 9457 problem, never a stack trace, never cached (T39). */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { ERRORS, HubError, problemOf } from '../base/errors.ts'

export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  sendText(response, status, JSON.stringify(body), headers)
}

/** JSON that is text already. */
export function sendText(
  response: ServerResponse,
  status: number,
  text: string,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    ...headers,
  })
  response.end(text)
}

export function sendProblem(response: ServerResponse, error: HubError): void {
  const text = JSON.stringify(problemOf(error))
  const headers: Record<string, string | number> = {
    'content-type': 'application/problem+json',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
  }
  const retryAfterMs = error.facts.retryAfterMs
  if (typeof retryAfterMs === 'number') headers['retry-after'] = Math.ceil(retryAfterMs / 1000)
  response.writeHead(ERRORS[error.code].status, headers)
  response.end(text)
}

/**
 * Throws `schema_invalid` for a request line of another version than 1.0 and 1.1. The parser also takes 0.9 and 2.0, which mean other
 * things (fault F18).
 */
export function requireVersion({ httpVersion }: Pick<IncomingMessage, 'httpVersion'>): void {
  if (httpVersion !== '1.1' && httpVersion !== '1.0') throw new HubError('schema_invalid', 'use HTTP/1.1')
}

/** The whole body, at most `bytesMax`. Throws `too_large`. */
export async function readBody(request: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const announced = Number(request.headers['content-length'] ?? 0)
  const tooLarge = () => new HubError('too_large', `the body may have at most ${bytesMax} bytes`)
  if (announced > bytesMax) throw tooLarge()
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > bytesMax) throw tooLarge()
      chunks.push(chunk)
    }
  } catch (thrown) {
    throw thrown instanceof HubError ? thrown : new HubError('schema_invalid', 'the body broke off')
  }
  return Buffer.concat(chunks)
}

/** A header that occurs exactly once. If some occur twice, Node keeps the first, and another reader may keep the last. */
export function singleHeader(request: IncomingMessage, name: string): string | undefined {
  const all = request.headersDistinct[name]
  return all?.length === 1 ? all[0] : undefined
}

/** Exactly one accepted spelling of the content type (T24). */
export function requireContentType(request: IncomingMessage, expected: string): void {
  if (singleHeader(request, 'content-type') !== expected) {
    throw new HubError('schema_invalid', `content-type must be exactly ${expected}`)
  }
}

/** `bytes=a-b` of a body of `size` bytes, or undefined for the whole. Throws `schema_invalid` for anything else. */
export function readRange(header: string | undefined, size: number): { start: number; end: number } | undefined {
  if (header === undefined) return undefined
  const match = /^bytes=(\d{1,15})-(\d{1,15})?$/.exec(header)
  const start = Number(match?.[1])
  const end = Math.min(match?.[2] === undefined ? size - 1 : Number(match[2]), size - 1)
  if (match === null || start > end)
    throw new HubError('schema_invalid', `range: must be bytes=<first>-<last> within ${size} bytes`)
  return { start, end }
}
