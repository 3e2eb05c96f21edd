/** One request to the hub (or the watchdog) over its Unix socket, by the operations table; refusals come back as `Problem`. */
import type { Readable } from 'node:stream'
import type { HubEvent } from '../protocol/events.ts'
import { judgeValue } from '../protocol/judging.ts'
import { type OperationName, operationOf } from '../protocol/operations.ts'
import { readEvents } from './event-stream.ts'
import { Problem, problemFrom, usage } from './problem.ts'
import { type Door, open, readBody } from './wire.ts'

/** What an answer says of a stop that is accepted and not written yet; undefined of any other answer. */
export function unwrittenOf(answer: unknown): string | undefined {
  const detail = (answer as { unwritten?: { detail?: unknown } } | null)?.unwritten?.detail
  return typeof detail === 'string' ? detail : undefined
}

export interface CallOptions {
  deadlineMs?: number
  headers?: Readonly<Record<string, string>>
}
export interface Connection {
  /** One operation of the table. The request is checked here first, so a bad id never leaves the machine (exit 2). @throws Problem */
  call(operation: OperationName, request?: Record<string, unknown>, options?: CallOptions): Promise<unknown>
  /** A route outside the table: the watchdog's, `/healthz`. A 503 that carries an ordinary answer is an answer. @throws Problem */
  send(method: 'GET' | 'POST', path: string, body?: unknown, options?: CallOptions): Promise<unknown>
  has(sha256: string): Promise<boolean>
  upload(artifact: { sha256: string; name: string; size: number; content: Readable }): Promise<void>
  /** The bytes of one artifact as they come; the caller checks their digest. */
  fetch(sha256: string, quarantined?: boolean): Promise<AsyncIterable<Buffer>>
  /** Events from `since` on, until the hub or the signal ends them; `onLost` hears where some of them are gone. */
  events(from: { since?: number; task?: string }, signal: AbortSignal, onLost?: () => void): AsyncGenerator<HubEvent>
}

const ANSWER_MS = 30_000
const TRANSFER_MS = 600_000

/** Method, path and body of an operation: `:id` filled from the request, the rest as query (GET) or JSON (POST). */
export function routeOf(operation: OperationName, request: Record<string, unknown>) {
  const row = operationOf(operation)
  if (row?.http === undefined) throw usage(`${operation} has no route of the operator's`)
  const [fault] = judgeValue(request, row.request, () => ({ line: 1, column: 1 })).faults
  if (fault !== undefined) throw usage(`${fault.key === '' ? operation : fault.key}: ${fault.message}`)
  const rest = { ...request }
  const path = row.http.path.replace(/:(\w+)/g, (_, key: string) => {
    const value = String(rest[key])
    delete rest[key]
    return encodeURIComponent(value)
  })
  if (row.http.method !== 'GET') return { method: row.http.method, path, body: rest }
  const query = new URLSearchParams()
  for (const [key, value] of Object.entries(rest)) if (value !== undefined) query.set(key, String(value))
  return { method: row.http.method, path: query.size === 0 ? path : `${path}?${query}`, body: undefined }
}

function parseAnswer(door: Door, status: number, body: Buffer): unknown {
  try {
    return body.length === 0 ? {} : JSON.parse(body.toString('utf8'))
  } catch {
    if (status >= 400) return {}
    const text = `the ${door.name} answered something that is not JSON`
    throw new Problem('internal', 'fault', text, 'is another program listening there? see `hub doctor`')
  }
}

export function createConnection(door: Door): Connection {
  async function ask(method: string, path: string, body: unknown, options: CallOptions = {}): Promise<unknown> {
    const json = body === undefined ? undefined : JSON.stringify(body)
    const response = await open(door, {
      method,
      path,
      deadlineMs: options.deadlineMs ?? ANSWER_MS,
      headers: {
        accept: 'application/json',
        ...(json === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(json)) }),
        ...options.headers,
      },
      ...(json === undefined ? {} : { body: json }),
    })
    const status = response.statusCode ?? 0
    const answer = parseAnswer(door, status, await readBody(door, response))
    if (status >= 200 && status < 300) return answer
    // `/healthz` says 503 and still answers in full.
    if (status === 503 && typeof answer === 'object' && answer !== null && 'mode' in answer) return answer
    throw problemFrom(status, answer)
  }

  /** The answer to a fetch of one artifact, its body not yet read. */
  const fetchArtifact = (sha256: string, headers: Record<string, string>, quarantined = false) =>
    open(door, {
      method: 'GET',
      path: `${routeOf('artifact.get', { sha256 }).path.split('?')[0]}${quarantined ? '?quarantined=true' : ''}`,
      deadlineMs: TRANSFER_MS,
      headers: { accept: 'application/octet-stream', ...headers },
    })

  return {
    call(operation, request = {}, options = {}) {
      const { method, path, body } = routeOf(operation, request)
      return ask(method, path, body, options)
    },
    send: (method, path, body, options) => ask(method, path, method === 'POST' ? (body ?? {}) : undefined, options),
    async has(sha256) {
      const response = await fetchArtifact(sha256, { range: 'bytes=0-0' })
      const status = response.statusCode ?? 0
      response.destroy()
      // 416: it is there and empty, so it has no first byte.
      return status === 200 || status === 206 || status === 416
    },
    async upload({ sha256, name, size, content }) {
      const response = await open(door, {
        method: 'PUT',
        path: `${routeOf('artifact.put', { sha256, name }).path}?name=${encodeURIComponent(name)}`,
        deadlineMs: TRANSFER_MS,
        headers: { 'content-type': 'application/octet-stream', 'content-length': String(size) },
        body: content,
      })
      const status = response.statusCode ?? 0
      const answer = parseAnswer(door, status, await readBody(door, response))
      if (status < 200 || status > 299) throw problemFrom(status, answer)
    },
    async fetch(sha256, quarantined) {
      const response = await fetchArtifact(sha256, {}, quarantined)
      const status = response.statusCode ?? 0
      if (status !== 200) throw problemFrom(status, parseAnswer(door, status, await readBody(door, response)))
      return response
    },
    async *events(from, signal, onLost) {
      const { path } = routeOf('event.stream', { ...from })
      const headers = { accept: 'text/event-stream' }
      const response = await open(door, { method: 'GET', path, deadlineMs: 2 ** 31 - 1, headers, signal })
      const status = response.statusCode ?? 0
      if (status !== 200) throw problemFrom(status, parseAnswer(door, status, await readBody(door, response)))
      try {
        yield* readEvents(response, onLost)
      } catch (error) {
        if (signal.aborted) return
        if (error instanceof Problem) throw error
        // The line was cut in the middle, as when the hub ends (fault C38).
        throw new Problem('unreachable', 'unavailable', `the ${door.name} ended the line`, door.start)
      } finally {
        response.destroy()
      }
    },
  }
}
