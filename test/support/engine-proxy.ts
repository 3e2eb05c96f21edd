/**
 * A proxy in front of the engine's socket that fails as told, verb by verb: it stalls, delays, answers 500, cuts the connection before or
 * after the engine has done it, changes an answer, keeps events back, or is not there at all. What it is not told to spoil passes
 * untouched, streams included.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ENGINE_SOCKET } from './engine-socket.ts'

export const ENGINE_VERBS = [
  ...(['create', 'inspect', 'start', 'wait', 'stop', 'kill', 'remove', 'list'] as const),
  ...(['events', 'image', 'version', 'logs', 'other'] as const),
] as const
export type EngineVerb = (typeof ENGINE_VERBS)[number]

export type EngineFault =
  /** No byte comes until the fault is lifted; then the connection is cut. `before` it never reaches the engine. */
  | { kind: 'stall'; when: 'before' | 'after' }
  /** The engine hears of it so much later, whether or not the caller still waits. */
  | { kind: 'slow'; ms: number }
  | { kind: 'answer'; status: number; body?: string }
  | { kind: 'cut'; when: 'before' | 'after' }
  /** Events: the stream stands, and tells nothing. */
  | { kind: 'silent' }
  /** The answer's JSON, changed in place. */
  | { kind: 'alter'; change: (answer: Record<string, unknown>) => void }

export interface EngineCall {
  verb: EngineVerb
  method: string
  path: string
  /** Name of the container that is meant, also where the caller says its id. */
  container: string | undefined
  /** What the caller was told; undefined while nothing, or never. */
  status: number | undefined
}

export interface EngineProxy {
  readonly socket: string
  /** Every call since the start, oldest first. */
  readonly calls: readonly EngineCall[]
  /** From now on, until `heal`, the next `times` calls (all, unless told) of this verb fail so. Later rules come first. */
  spoil(verb: EngineVerb | 'all', fault: EngineFault, times?: number): void
  /** Asked for every call that no rule spoils. */
  judge: ((call: EngineCall) => EngineFault | undefined) | undefined
  /** Lifts every fault; what is stalled or silent is cut, so that the caller asks anew. */
  heal(): void
  /** Closes what is open of this verb: the stream of events, or all waits. */
  closeStreams(verb: EngineVerb): void
  /** The socket is gone, as with an engine that is not running; open connections are cut. */
  down(): Promise<void>
  up(): Promise<void>
  close(): Promise<void>
}

const ROUTES: readonly (readonly [EngineVerb, string, RegExp])[] = [
  ['create', 'POST', /^\/containers\/create$/],
  ['list', 'GET', /^\/containers\/json$/],
  ['inspect', 'GET', /^\/containers\/([^/]+)\/json$/],
  ['start', 'POST', /^\/containers\/([^/]+)\/start$/],
  ['wait', 'POST', /^\/containers\/([^/]+)\/wait$/],
  ['stop', 'POST', /^\/containers\/([^/]+)\/stop$/],
  ['kill', 'POST', /^\/containers\/([^/]+)\/kill$/],
  ['remove', 'DELETE', /^\/containers\/([^/]+)$/],
  ['logs', 'GET', /^\/containers\/([^/]+)\/logs$/],
  ['events', 'GET', /^\/events$/],
  ['image', 'GET', /^\/images\/.+\/json$/],
  ['version', 'GET', /^\/(?:version|_ping)$/],
]

export function engineCallOf(method: string, path: string): EngineCall {
  const bare = (path.split('?')[0] ?? '').replace(/^\/v[\d.]+/, '')
  for (const [verb, wanted, shape] of ROUTES) {
    const match = method === wanted ? shape.exec(bare) : null
    const named = match?.[1] ?? /[?&]name=([^&]+)/.exec(path)?.[1]
    if (match !== null) return { verb, method, path, container: named, status: undefined }
  }
  return { verb: 'other', method, path, container: undefined, status: undefined }
}

export async function openEngineProxy(upstream = ENGINE_SOCKET): Promise<EngineProxy> {
  const folder = mkdtempSync(join(tmpdir(), 'ep-'))
  const socket = join(folder, 'engine.sock')
  const calls: EngineCall[] = []
  const names = new Map<string, string>()
  const rules: { verb: EngineVerb | 'all'; fault: EngineFault; left: number }[] = []
  const sockets = new Set<Socket>()
  const open = new Map<ServerResponse, EngineVerb>()
  const stalled = new Set<ServerResponse>()
  const timers = new Set<NodeJS.Timeout>()

  function faultOf(call: EngineCall): EngineFault | undefined {
    const rule = rules.findLast(({ verb, left }) => left > 0 && (verb === 'all' || verb === call.verb))
    if (rule === undefined) return proxy.judge?.(call)
    rule.left -= 1
    return rule.fault
  }

  /** Hands the call on and answers with the engine's answer, head only. */
  const handOn = (call: EngineCall, headers: IncomingMessage['headers'], body: Buffer, gone?: AbortSignal) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const options = { socketPath: upstream, method: call.method, path: call.path, headers }
      const sent = request({ ...options, ...(gone === undefined ? {} : { signal: gone }) }, resolve)
      sent.on('error', reject).end(body)
    })

  async function serve(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    const call = engineCallOf(asked.method ?? '', asked.url ?? '')
    call.container = names.get(call.container ?? '') ?? call.container
    calls.push(call)
    open.set(answer, call.verb)
    const gone = new AbortController()
    answer.on('close', () => {
      open.delete(answer)
      stalled.delete(answer)
      gone.abort()
    })
    const body = await bytesOf(asked)
    const fault = faultOf(call)
    if (fault?.kind === 'stall' && fault.when === 'before') return void stalled.add(answer)
    if (fault?.kind === 'cut' && fault.when === 'before') return void answer.destroy()
    if (fault?.kind === 'answer') {
      call.status = fault.status
      answer.writeHead(fault.status, { 'content-type': 'application/json' })
      return void answer.end(fault.body ?? '{"message":"spoiled by the test"}')
    }
    if (fault?.kind === 'slow') {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, fault.ms)
        timers.add(timer)
      })
    }
    // Of what the engine was told the end is awaited also when nobody listens any more; a stream ends with its listener.
    const isStream = call.verb === 'wait' || call.verb === 'events' || call.verb === 'logs'
    const said = await handOn(call, asked.headers, body, isStream ? gone.signal : undefined)
    if (fault?.kind === 'silent') said.resume()
    else if (fault?.kind === 'stall' || fault?.kind === 'cut') {
      await bytesOf(said)
      return void (fault.kind === 'stall' ? stalled.add(answer) : answer.destroy())
    }
    call.status = said.statusCode
    if (fault?.kind === 'alter' || call.verb === 'create') {
      const told = JSON.parse((await bytesOf(said)).toString()) as Record<string, unknown>
      if (call.verb === 'create') names.set(String(told.Id), call.container ?? '')
      if (fault?.kind === 'alter') fault.change(told)
      answer.writeHead(said.statusCode ?? 500, { 'content-type': 'application/json' })
      return void answer.end(JSON.stringify(told))
    }
    answer.writeHead(said.statusCode ?? 500, said.headers)
    answer.flushHeaders()
    if (fault?.kind === 'silent') return void stalled.add(answer)
    said.on('error', () => answer.destroy())
    said.pipe(answer)
  }

  const server = createServer((asked, answer) => {
    serve(asked, answer).catch(() => answer.destroy())
  })
  server.on('connection', (made: Socket) => {
    sockets.add(made)
    made.on('error', () => undefined).on('close', () => sockets.delete(made))
  })
  const listen = () =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(socket, () => resolve())
    })
  const hangUp = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve())
      for (const made of sockets) made.destroy()
    })

  const proxy: EngineProxy = {
    socket,
    calls,
    judge: undefined,
    spoil: (verb, fault, times = Number.POSITIVE_INFINITY) => void rules.push({ verb, fault, left: times }),
    heal() {
      rules.length = 0
      proxy.judge = undefined
      for (const answer of [...stalled]) answer.destroy()
    },
    closeStreams(verb) {
      for (const [answer, of] of [...open]) if (of === verb) answer.destroy()
    },
    down: hangUp,
    up: listen,
    async close() {
      for (const timer of timers) clearTimeout(timer)
      await hangUp()
      rmSync(folder, { recursive: true, force: true })
    },
  }
  await listen()
  return proxy
}

async function bytesOf(stream: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of stream as AsyncIterable<Buffer>) pieces.push(piece)
  return Buffer.concat(pieces)
}
