/**
 * A model server of our own, on loopback: Messages, Chat Completions, Responses and generateContent, their counting endpoints and lists of
 * models, whole and streamed. A script decides each answer. It keeps what came in, byte for byte, and sums the usage that it told: the truth
 * that the hub's accounts are held against.
 */
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { chat } from './chat.ts'
import { google } from './google.ts'
import { messages } from './messages.ts'
import { responses } from './responses.ts'
import {
  type Answer,
  type Ask,
  count,
  isFailure,
  type Script,
  type Shape,
  type Transport,
  type Turn,
  tokensOf,
  type Usage,
} from './turn.ts'
import type { WireShape } from './wire-shape.ts'

const SHAPES: Record<Shape, WireShape> = { messages, chat, responses, generateContent: google }

/** One request as it came in. */
export interface Came {
  method: string
  /** With the query. */
  url: string
  headers: http.IncomingHttpHeaders
  rawHeaders: readonly string[]
  bytes: Buffer
  ask?: Ask
}

export interface ModelServer extends AsyncDisposable {
  url: string
  came: readonly Came[]
  /** The usage that was told in answers, summed by model. */
  told: ReadonlyMap<string, Usage>
  /** Answers that went out whole, with their last byte. */
  answered: () => number
  /** Answers that are under way. */
  open: () => number
  /** Replaces the script. */
  script: Script
}

interface Route {
  shape: Shape
  kind: 'ask' | 'count'
  model?: string
  stream?: boolean
}

const GOOGLE = /^\/v1(?:beta)?\/models\/([^/:]+):(generateContent|streamGenerateContent|countTokens|embedContent)$/

function routeOf(method: string, path: string): Route | 'models' | 'embeddings' | undefined {
  if (method === 'GET') return /^\/v1(?:beta)?\/models$/.test(path) ? 'models' : undefined
  if (method !== 'POST') return undefined
  const fixed: Record<string, Route | 'embeddings'> = {
    '/v1/messages': { shape: 'messages', kind: 'ask' },
    '/v1/messages/count_tokens': { shape: 'messages', kind: 'count' },
    '/v1/chat/completions': { shape: 'chat', kind: 'ask' },
    '/v1/responses': { shape: 'responses', kind: 'ask' },
    '/v1/responses/input_tokens': { shape: 'responses', kind: 'count' },
    '/v1/embeddings': 'embeddings',
  }
  const found = Object.hasOwn(fixed, path) ? fixed[path] : undefined
  if (found !== undefined) return found
  const [, model = '', verb] = GOOGLE.exec(path) ?? []
  if (verb === undefined || verb === 'embedContent') return undefined
  return {
    shape: 'generateContent',
    kind: verb === 'countTokens' ? 'count' : 'ask',
    model,
    stream: verb.startsWith('stream'),
  }
}

/** An agent that is tried without a hub asks as it would ask the hub. */
const THROUGH = /^\/up\/[a-z0-9-]+/

async function bytesOf(request: http.IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part)
  return Buffer.concat(parts)
}

const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** Writes the bytes as the transport says. False if they did not all go out. */
async function send(response: http.ServerResponse, bytes: Buffer, transport: Transport): Promise<boolean> {
  const { cutAfter = Number.POSITIVE_INFINITY, stallAfter = Number.POSITIVE_INFINITY, pieces, betweenMs } = transport
  const most = Math.min(bytes.length, cutAfter, stallAfter)
  let at = 0
  while (at < most) {
    const size = Math.max(1, Math.min(pieces?.() ?? most, most - at))
    if (response.destroyed) return false
    if (!response.write(bytes.subarray(at, at + size)))
      await new Promise<void>((resolve) => {
        response.once('drain', resolve)
        response.once('close', resolve)
      })
    at += size
    if (betweenMs !== undefined) await wait(betweenMs)
  }
  if (at === bytes.length) {
    await new Promise<void>((resolve) => response.end(resolve))
    return true
  }
  if (cutAfter <= stallAfter) response.destroy()
  return false
}

/** `tls`: key and certificate, for a server that speaks https. */
export async function startModelServer(
  script: Script = () => ({ text: 'Yes.' }),
  tls?: { key: string; cert: string },
): Promise<ModelServer> {
  const came: Came[] = []
  const told = new Map<string, Usage>()
  let [serial, answered, open] = [0, 0, 0]

  function note(model: string, usage: Usage): void {
    const sum = told.get(model) ?? { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, reasoning: 0 }
    for (const key of Object.keys(sum) as (keyof Usage)[]) sum[key] += usage[key]
    told.set(model, sum)
  }

  function fail(
    response: http.ServerResponse,
    shape: WireShape,
    { status, body, headers }: Extract<Answer, { status: number }>,
  ) {
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(typeof body === 'string' ? body : JSON.stringify(body ?? shape.failure(status, `scripted ${status}`)))
  }

  async function ask(one: Came, { shape: name, model, stream }: Route, response: http.ServerResponse) {
    const shape = SHAPES[name]
    const read = shape.read(JSON.parse(one.bytes.toString('utf8')) as Record<string, unknown>)
    one.ask = {
      ...read,
      shape: name,
      inputTokens: tokensOf(one.bytes.length),
      ...(model === undefined ? {} : { model }),
      ...(stream === undefined ? {} : { stream }),
    }
    const answer = await server.script(one.ask)
    if (isFailure(answer)) return fail(response, shape, answer)
    serial += 1
    const counted = count(one.ask, answer, serial)
    const { transport = {} } = answer
    if (transport.delayMs !== undefined) await wait(transport.delayMs)
    note(counted.model, counted.usage)
    const [type, text] = one.ask.stream
      ? ['text/event-stream; charset=utf-8', eventsOf(one.ask, shape.events(counted, serial)).join(commentOf(answer))]
      : ['application/json', JSON.stringify({ ...(shape.whole(counted, serial) as object), echo: answer.echo })]
    response.writeHead(200, { 'content-type': type, 'x-request-id': `req_${serial}`, ...answer.headers })
    if (await send(response, Buffer.from(text), transport)) answered += 1
  }

  const commentOf = ({ echo }: Turn): string => (echo === undefined ? '' : `: ${echo}\n\n`)

  /** Chat tells its usage in a stream only where it is asked to. */
  function eventsOf({ shape, body }: Ask, events: string[]): string[] {
    const { include_usage } = (body.stream_options ?? {}) as { include_usage?: boolean }
    return shape === 'chat' && include_usage !== true ? events.filter((event) => !event.includes('"usage":{')) : events
  }

  async function serve(request: http.IncomingMessage, response: http.ServerResponse) {
    const bytes = await bytesOf(request)
    const { method = '', url = '', headers, rawHeaders } = request
    const one: Came = { method, url, headers, rawHeaders, bytes }
    came.push(one)
    const json = (value: unknown) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify(value))
    }
    const route = routeOf(method, new URL(url, 'http://models').pathname.replace(THROUGH, ''))
    if (route === undefined)
      return fail(response, chat, { status: 404, body: { error: { message: `no ${url} here` } } })
    if (route === 'models') return json({ object: 'list', data: [{ id: 'scripted', object: 'model' }] })
    if (route === 'embeddings') {
      const tokens = tokensOf(bytes.length)
      note('embeddings', { input: tokens, output: 0, cacheRead: 0, cacheWrite: 0, reasoning: 0 })
      const { model } = JSON.parse(bytes.toString('utf8')) as { model: string }
      const usage = { prompt_tokens: tokens, total_tokens: tokens }
      return json({ object: 'list', data: [{ object: 'embedding', index: 0, embedding: [0, 1] }], model, usage })
    }
    if (route.kind === 'count') return json(SHAPES[route.shape].counted(tokensOf(bytes.length)))
    await ask(one, route, response)
  }

  const listener: http.RequestListener = (request, response) => {
    open += 1
    response.once('close', () => {
      open -= 1
    })
    response.on('error', () => response.destroy())
    serve(request, response).catch(() => response.destroy())
  }
  const listening = tls === undefined ? http.createServer(listener) : https.createServer(tls, listener)
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve))
  const { port } = listening.address() as AddressInfo
  const server: ModelServer = {
    ...{ url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`, came, told, script },
    answered: () => answered,
    open: () => open,
    async [Symbol.asyncDispose]() {
      listening.closeAllConnections()
      await new Promise<void>((resolve) => listening.close(() => resolve()))
    },
  }
  return server
}
