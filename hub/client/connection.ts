/** One request to the hub (or the watchdog) over its Unix socket, by the operations table; refusals come back as `Problem`. */
import type { Readable } from 'node:stream'
import type { z } from 'zod'
import type { HubEvent } from '../protocol/events.ts'
import type { OPERATIONS, OperationName } from '../protocol/operations.ts'
import { ROUTES } from '../protocol/routes.ts'
import type { Answered, Asked } from './answers.ts'
import { Problem, problemFrom, usage } from './problem.ts'
import { type Door, open, readBody } from './wire.ts'

/** What an answer says about a stop that is accepted but not recorded yet; undefined for any other answer. */
export function unwrittenOf(answer: unknown): string | undefined {
  const detail = (answer as { unwritten?: { detail?: unknown } } | null)?.unwritten?.detail
  return typeof detail === 'string' ? detail : undefined
}

export interface CallOptions {
  deadlineMs?: number
  headers?: Readonly<Record<string, string>>
  /** The request holds nothing that a person typed except whole ids, so it is not checked: that would take longer than the answer. */
  own?: boolean
}
/** What an operation takes, before defaults are filled in. */
export type Request<Name extends Asked> = z.input<(typeof OPERATIONS)[Name]['request']>
type Rest<Name extends Asked> =
  Record<never, never> extends Request<Name>
    ? [request?: Request<Name>, options?: CallOptions]
    : [request: Request<Name>, options?: CallOptions]

export interface Connection {
  /** One operation of the table. The request is checked here first, so a bad id never leaves the machine (exit 2). @throws Problem */
  call<Name extends Asked>(operation: Name, ...rest: Rest<Name>): Promise<Answered<Name>>
  /** A route outside the table: the watchdog's, `/healthz`. A 503 that carries an ordinary answer is an answer. @throws Problem */
  send(method: 'GET' | 'POST', path: string, body?: unknown, options?: CallOptions): Promise<unknown>
  has(sha256: string): Promise<boolean>
  upload(artifact: { sha256: string; name: string; size: number; content: Readable }): Promise<void>
  /** The bytes of one artifact as they come; the caller checks their digest. */
  fetch(sha256: string, quarantined?: boolean): Promise<AsyncIterable<Buffer>>
  /** Events from `since` on, until the hub or the signal ends them. */
  events(from: { since?: number; task?: string }, signal: AbortSignal, on?: EventWords): AsyncGenerator<HubEvent>
}

/** `opened`: the hub has begun to answer. `lost`: events before the next one are gone. `ended`: the task that is followed has ended. */
export interface EventWords {
  opened?: () => void
  lost?: () => void
  ended?: () => void
}

const ANSWER_MS = 30_000
const TRANSFER_MS = 600_000

/** What requests are checked by. Whoever will send one may load it while something else is waited for. */
export const loadShapes = () => Promise.all([import('../protocol/judging.ts'), import('../protocol/operations.ts')])

/** Checks what a person typed by the shape of the operation. The shapes are loaded only if there is something to check. @throws Problem usage */
export async function judgeRequest(operation: OperationName, request: Record<string, unknown>): Promise<void> {
  const route = ROUTES[operation]
  // A request that only reads and names nothing needs no check.
  if (route?.method === 'GET' && !route.path.includes(':') && Object.keys(request).length === 0) return
  const [{ judgeValue }, { OPERATIONS }] = await loadShapes()
  const [fault] = judgeValue(request, OPERATIONS[operation].request, () => ({ line: 1, column: 1 })).faults
  if (fault !== undefined) throw usage(`${fault.key === '' ? operation : fault.key}: ${fault.message}`)
}

/** Method, path and body of an operation: `:id` filled from the request, the rest as query (GET) or JSON (POST). */
export function routeOf(operation: OperationName, request: Record<string, unknown>) {
  const route = ROUTES[operation]
  if (route === undefined) throw usage(`${operation} has no route for the operator`)
  const rest = { ...request }
  const path = route.path.replace(/:(\w+)/g, (_, key: string) => {
    const value = String(rest[key])
    delete rest[key]
    return encodeURIComponent(value)
  })
  if (route.method !== 'GET') return { method: route.method, path, body: rest }
  const query = new URLSearchParams()
  for (const [key, value] of Object.entries(rest)) if (value !== undefined) query.set(key, String(value))
  return { method: route.method, path: query.size === 0 ? path : `${path}?${query}`, body: undefined }
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

  /** The answer about one artifact, its body not yet read. */
  const fetchArtifact = async (method: 'GET' | 'HEAD', sha256: string, quarantined = false) => {
    await judgeRequest('artifact.get', { sha256 })
    return await open(door, {
      method,
      path: `${routeOf('artifact.get', { sha256 }).path.split('?')[0]}${quarantined ? '?quarantined=true' : ''}`,
      deadlineMs: TRANSFER_MS,
      headers: { accept: 'application/octet-stream' },
    })
  }

  return {
    async call<Name extends Asked>(operation: Name, ...rest: Rest<Name>) {
      const [request = {}, options = {}]: readonly [Record<string, unknown>?, CallOptions?] = rest
      if (options.own !== true) await judgeRequest(operation, request)
      const { method, path, body } = routeOf(operation, request)
      // What answers is a hub of this or an earlier version, held to these shapes by its own tests; nothing is parsed twice.
      return (await ask(method, path, body, options)) as Answered<Name>
    },
    send: (method, path, body, options) => ask(method, path, method === 'POST' ? (body ?? {}) : undefined, options),
    async has(sha256) {
      const response = await fetchArtifact('HEAD', sha256)
      response.destroy()
      return response.statusCode === 200
    },
    async upload({ sha256, name, size, content }) {
      await judgeRequest('artifact.put', { sha256, name })
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
      const response = await fetchArtifact('GET', sha256, quarantined)
      const status = response.statusCode ?? 0
      if (status !== 200) throw problemFrom(status, parseAnswer(door, status, await readBody(door, response)))
      return response
    },
    async *events(from, signal, on = {}) {
      await judgeRequest('event.stream', { ...from })
      const { path } = routeOf('event.stream', { ...from })
      const headers = { accept: 'text/event-stream' }
      const response = await open(door, { method: 'GET', path, deadlineMs: 2 ** 31 - 1, headers, signal })
      const status = response.statusCode ?? 0
      if (status !== 200) throw problemFrom(status, parseAnswer(door, status, await readBody(door, response)))
      on.opened?.()
      try {
        yield* readEvents(response, on.lost, on.ended)
      } catch (error) {
        if (signal.aborted) return
        if (error instanceof Problem) throw error
        // The connection broke in the middle, as when the hub ends (fault C38).
        throw new Problem('unreachable', 'unavailable', `the ${door.name} closed the connection`, door.start)
      } finally {
        response.destroy()
      }
    },
  }
}

/** No event is larger than the largest message type allows, with room for its frame. */
const EVENT_CHARACTERS_MAX = 2 * 1024 * 1024

/**
 * Turns server-sent events into hub events: `data:` lines up to an empty one; comments are skipped. Yields each event as soon as it is
 * complete; calls `onLost` if events before the next one are gone, and `onEnd` if the hub says that nothing follows.
 * @throws Problem if an event is not JSON or has no end.
 */
export async function* readEvents(
  source: AsyncIterable<Buffer | string>,
  onLost: () => void = () => undefined,
  onEnd: () => void = () => undefined,
): AsyncGenerator<HubEvent> {
  const decoder = new TextDecoder('utf-8')
  let rest = ''
  let data: string[] = []
  let isLoss = false
  let isEnd = false
  for await (const part of source) {
    rest += typeof part === 'string' ? part : decoder.decode(part, { stream: true })
    if (rest.length > EVENT_CHARACTERS_MAX) {
      throw new Problem('internal', 'fault', 'the hub sent an event without an end', 'see `hub doctor`')
    }
    const lines = rest.split(/\r?\n/)
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (line === 'event: lost') isLoss = true
      else if (line === 'event: end') isEnd = true
      else if (line.startsWith('data:')) data.push(line.slice(line.startsWith('data: ') ? 6 : 5))
      else if (line === '' && data.length > 0) {
        const text = data.join('\n')
        data = []
        if (isEnd) return onEnd()
        if (isLoss) onLost()
        else yield parseEvent(text)
        isLoss = false
      }
    }
  }
}

function parseEvent(text: string): HubEvent {
  try {
    return JSON.parse(text) as HubEvent
  } catch {
    throw new Problem('internal', 'fault', 'the hub sent an event that is not JSON', 'see `hub doctor`')
  }
}
