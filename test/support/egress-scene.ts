/**
 * The gateway alone: the real second socket, pipeline and exchange of the hub, with an upstream of the test's own on loopback. In the place of the
 * guard stands a gate that admits what a test lets it and writes down what it was asked.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, createServer as createRaw, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '../../hub/base/clock.ts'
import { createSystemClock } from '../../hub/base/clock.ts'
import { HubError } from '../../hub/base/errors.ts'
import { createRedaction } from '../../hub/base/redaction.ts'
import type { CallEnd, Meter, Metered } from '../../hub/edge/egress/ports.ts'
import { createEgress, type EgressOuter } from '../../hub/edge/egress-entrance.ts'
import type { Call } from '../../hub/guard/gate.ts'
import { upstreamsShape } from '../../hub/protocol/egress/upstreams.ts'

export const SESSION = 'saaaaaaaaaaaaaaa'
export const OTHER_SESSION = 'sbbbbbbbbbbbbbbb'
/** A key as services give them out. */
export const KEY = 'sk-proj-Zq8wN3vTy0LmKc7RbXe51HdUa9Jf2Gs4'

export type Serve = (request: IncomingMessage, response: ServerResponse) => void

export interface Answer {
  status: number
  headers: IncomingMessage['headers']
  text: string
}

export interface EgressScene {
  egress: ReturnType<typeof createEgress>
  port: number
  path: (session?: string) => string
  /** What was admitted: the effects of `egress.settle` too. */
  records: { operation: string; resource: string; effect: string }[]
  refusals: { code: string; detail: string }[]
  counted: string[]
  /** Bytes that each submitted task sent, as they are kept. */
  sums: Map<string, number>
  alerts: string[]
  proposals: string[]
  /** What became of metered calls. */
  settled: { id: string; end: CallEnd }[]
  reserved: Metered[]
  /** Refuses what it answers for. */
  rule: (decide: (call: Call) => HubError | undefined) => void
  serve: (serve: Serve) => void
  mode: (mode: string) => void
  /** From now on the rows of sessions cannot be read. */
  forget: () => void
  ask(
    path: string,
    options?: { method?: string; headers?: Record<string, string>; body?: string | Buffer; session?: string },
  ): Promise<Answer>
  raw(session?: string): Socket
  close(): Promise<void>
}

export interface SceneOptions {
  clock?: Clock
  /** Of hub.yaml; PORT stands for the port of the scene's upstream. */
  upstreams?: (port: number) => Record<string, unknown>
  secrets?: Record<string, string>
  meter?: Partial<Meter>
  inSafe?: boolean
  taskBytes?: () => number
  cacheBytes?: () => number
  disk?: () => string
  /** A folder of the caller's; one of its own without it. */
  archives?: string
  ownPorts?: number[]
  ownPlaces?: string[]
  resolve?: EgressOuter['resolve']
  ca?: string
  /** Bytes in and out as they are, in the place of an HTTP server. */
  rawUpstream?: (socket: Socket) => void
}

const usual = (port: number) => ({
  model: { kind: 'openai', url: `http://127.0.0.1:${port}`, local: true, price: 'free', secret: 'model-key' },
  weather: {
    ...{ kind: 'http', url: `http://127.0.0.1:${port}/base`, local: true, secret: 'model-key', auth: 'header x-key' },
    allow: ['GET /v1/forecast*', 'POST /v1/notes', 'GET /large', 'HEAD /v1/forecast*'],
  },
  rates: { kind: 'http', url: `http://127.0.0.1:${port}`, local: true, allow: ['GET /*'] },
})

const listen = (server: Server | ReturnType<typeof createRaw>) =>
  new Promise<number>((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)))

export async function createEgressScene(options: SceneOptions = {}): Promise<EgressScene> {
  const clock = options.clock ?? createSystemClock()
  const folder = mkdtempSync(join(tmpdir(), 'egress-'))
  let serve: Serve = (_request, response) => response.end('ok')
  const open = new Set<Socket>()
  const upstream =
    options.rawUpstream === undefined
      ? createServer((incoming, response) => serve(incoming, response))
      : createRaw(options.rawUpstream)
  upstream.on('connection', (socket: Socket) => {
    open.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => open.delete(socket))
  })
  const port = await listen(upstream)
  const scene = {
    ...{ records: [], refusals: [], counted: [], alerts: [], proposals: [], settled: [], reserved: [] },
    sums: new Map(),
  } as unknown as EgressScene
  let decide: (call: Call) => HubError | undefined = () => undefined
  let mode = 'normal'
  const hears = new Set<(event: { type: string }) => void>()
  const refuse = ({ code, message }: HubError) => scene.refusals.push({ code, detail: message })
  const redaction = createRedaction()
  const secrets: Record<string, string> = options.secrets ?? { 'model-key': KEY }
  let isForgotten = false
  const row = (id: string) => {
    if (isForgotten) throw new HubError('store_unavailable', 'its row cannot be read')
    return rowOf(id)
  }
  const rowOf = (id: string) => ({
    ...{ id, agent: 'reader', task: 't', attempt: 'a', state: 'working', generation: 1 },
    authority: { egress: ['model', 'weather', 'rates'], capabilities: [] },
  })
  let reservation = 0
  const egress = createEgress(
    {
      upstreams: upstreamsShape.parse((options.upstreams ?? usual)(port)),
      egressInSafe: options.inSafe ?? true,
      get egressCacheBytes() {
        return options.cacheBytes?.() ?? 2 ** 30
      },
      get egressTaskBytes() {
        return options.taskBytes?.() ?? 2 ** 40
      },
    },
    {
      clock,
      log: { error: () => undefined } as never,
      ownPorts: () => new Set(options.ownPorts ?? []),
      ownPlaces: () => new Set(options.ownPlaces ?? []),
      resolve: options.resolve,
      ca: options.ca,
      guard: {
        gate: {
          admit(call: Call, effect: (grant: unknown) => unknown) {
            const refused = call.operation === 'egress.request' ? decide(call) : undefined
            if (refused !== undefined) {
              refuse(refused)
              throw refused
            }
            const result = effect({}) as { auditEffect?: string } | undefined
            if (call.recordedLater !== true)
              scene.records.push({
                ...{ operation: call.operation, resource: call.resource, effect: result?.auditEffect ?? '' },
              })
            return result
          },
          foresee(call: Call) {
            const refused = decide(call)
            if (refused === undefined) return {}
            refuse(refused)
            throw refused
          },
          refuse: (_call: Call, error: HubError) => refuse(error),
          countRefused: (_call: Call, error: HubError) => scene.counted.push(error.code),
        },
        alerts: { raise: (cause: string) => scene.alerts.push(cause) },
        modes: { current: () => mode },
        host: { disk: { last: () => ({ level: options.disk?.() ?? 'fine' }) } },
        redaction,
        events: {
          subscribe(hear: (event: { type: string }) => void) {
            hears.add(hear)
            return () => hears.delete(hear)
          },
        },
      } as never,
      work: {
        tasks: { session: row, standing: row, rootOf: (root: string) => ({ root, rootAgent: null }) },
        containment: { sockets: { egressPathOf: (id: string) => join(folder, `${id}.sock`), open: () => undefined } },
      } as never,
      secrets: {
        ofHub(name: string) {
          const value = secrets[name]
          if (value === undefined) throw new HubError('config_invalid', `the secret ${name} is missing`)
          redaction.know(name, Buffer.from(value))
          return Buffer.from(value)
        },
      },
      archivesFolder: options.archives ?? join(folder, 'archives'),
      sums: {
        read: (root) => scene.sums.get(root) ?? 0,
        write: (root, bytes) => void scene.sums.set(root, bytes),
        afterCommit: (work) => work(),
      },
      proposals: {
        note: (agent, name, kind) => void scene.proposals.push(`${agent} ${name} ${kind}`),
        list: () => [],
      },
      meter: {
        keyRefusals: { most: () => 3, before: () => ({ inARow: 0, agoMs: 0 }) },
        async atTurn(_caller, _upstream, metered, admit) {
          scene.reserved.push(metered)
          reservation += 1
          return admit(() => ({ id: `r${reservation}`, cap: 1000 }))
        },
        reader: () => {
          let bytes = 0
          return {
            take(piece: Uint8Array) {
              bytes += piece.length
            },
            end: () => ({ kind: 'odd', why: `${bytes} bytes` }),
          }
        },
        settle(_grant, _upstream, id, end) {
          scene.settled.push({ id, end })
          return end.kind
        },
        paused: () => undefined,
        needsCount: () => false,
        ...options.meter,
      },
    },
  )
  await egress.open(SESSION)
  await egress.open(OTHER_SESSION)
  const path = (session = SESSION) => join(folder, `${session}.sock`)
  return Object.assign(scene, {
    egress,
    port,
    path,
    forget: () => {
      isForgotten = true
    },
    rule: (next: typeof decide) => {
      decide = next
    },
    serve: (next: Serve) => {
      serve = next
    },
    mode: (next: string) => {
      mode = next
      for (const hear of hears) hear({ type: 'hub.mode.changed.v1' })
    },
    raw: (session?: string) => {
      const socket = connect(path(session))
      socket.on('error', () => undefined)
      return socket
    },
    ask: (target, { method = 'GET', headers = {}, body, session } = {}) =>
      new Promise<Answer>((resolve, reject) => {
        const asked = request({ socketPath: path(session), method, path: target, headers }, (response) => {
          const pieces: Buffer[] = []
          response.on('data', (piece: Buffer) => pieces.push(piece))
          response.on('error', reject)
          response.on('end', () =>
            resolve({
              ...{ status: response.statusCode ?? 0, headers: response.headers },
              text: Buffer.concat(pieces).toString(),
            }),
          )
        })
        asked.on('error', reject)
        asked.end(body)
      }),
    async close() {
      egress.closeAll()
      for (const socket of open) socket.destroy()
      await new Promise<void>((resolve) => upstream.close(() => resolve()))
      rmSync(folder, { recursive: true, force: true })
    },
  } satisfies Partial<EgressScene>)
}

/** Waits until something is so; an hour of the test's own time is no measure, so it polls. */
export async function eventually(isSo: () => boolean): Promise<void> {
  for (let n = 0; n < 6000 && !isSo(); n += 1) await new Promise((resolve) => setTimeout(resolve, 10))
  if (!isSo()) throw new Error('it never became so')
}
