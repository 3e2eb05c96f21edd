/**
 * The watchdog's own doors. On the socket (0600 in a 0700 folder) possession is the credential: heartbeat, shutdown, status and
 * what the hub announces. On loopback TCP there are `GET /healthz`, `GET /metrics` and the backup contact's `/stop` (stop-door.ts).
 * D1 a route that is not in the table (routes.ts) is 404, a body that is not understood is 400 by name. D2 GET never acts.
 */
import { chmodSync, lstatSync, unlinkSync } from 'node:fs'
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import net from 'node:net'
import { StartError } from '../base/home.ts'
import { http } from '../base/node-http.ts'
import type { Watch } from '../watch/watch.ts'
import { keepPlaces } from './connections.ts'
import { type Body, BodyError, type DoorAnswer, type DoorParts, ROUTES } from './routes.ts'
import { isStopPath, type StopDoorParts, serveStop } from './stop-door.ts'

const BODY_BYTES_MAX = 4096

function readBody(request: IncomingMessage): Promise<Body> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = []
    let bytes = 0
    request.on('data', (part: Buffer) => {
      bytes += part.length
      if (bytes <= BODY_BYTES_MAX) parts.push(part)
    })
    request.on('error', reject)
    request.on('end', () => {
      if (bytes > BODY_BYTES_MAX) return reject(new BodyError(`the body is larger than ${BODY_BYTES_MAX} bytes`))
      const text = Buffer.concat(parts).toString('utf8')
      try {
        const value: unknown = text === '' ? {} : JSON.parse(text)
        if (typeof value !== 'object' || value === null || Array.isArray(value))
          throw new BodyError('the body must be an object')
        resolve(value as Body)
      } catch (error) {
        reject(error instanceof BodyError ? error : new BodyError('the body is not JSON'))
      }
    })
  })
}

function reply(response: ServerResponse, { status, body, after }: DoorAnswer): void {
  const type = typeof body === 'string' ? 'text/plain; version=0.0.4; charset=utf-8' : 'application/json'
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store', connection: 'close' })
  response.on('close', () => after?.())
  response.end(typeof body === 'string' ? body : `${JSON.stringify(body)}\n`)
}

/** Without the last one, slow requests would be looked for only every 30 s. */
const LIMITS = { headersTimeout: 5_000, requestTimeout: 10_000, connectionsCheckingInterval: 1_000 }
const CONNECTIONS_MAX = 64

function bounded(serve: RequestListener): Server {
  const server = http.createServer(LIMITS, (request, response) => {
    // The parser takes 0.9 and 2.0 too, which say other things (fault F18).
    if (request.httpVersion === '1.1' || request.httpVersion === '1.0') serve(request, response)
    else reply(response, { status: 400, body: { error: 'use HTTP/1.1' } })
  })
  keepPlaces(server, CONNECTIONS_MAX)
  return server
}

async function answerSocket(request: IncomingMessage, parts: DoorParts): Promise<DoorAnswer> {
  const name = `${request.method} ${request.url}`
  // The socket is the credential; a caller that sends another one must not be taken for its owner (T18).
  if (request.headers.authorization !== undefined)
    return { status: 403, body: { error: 'this socket takes no credential' } }
  const route = Object.hasOwn(ROUTES, name) ? ROUTES[name] : undefined
  if (route === undefined) return { status: 404, body: { error: `no such route: ${name.slice(0, 80)}` } }
  try {
    return await route(request.method === 'GET' ? {} : await readBody(request), parts)
  } catch (error) {
    if (error instanceof BodyError) return { status: 400, body: { error: error.message } }
    return { status: 503, body: { error: `not accepted: ${(error as Error).message}` } }
  }
}

/** The loopback port. Health of the watchdog itself: 200 while a round ended within `staleMs`, whatever it found; else 503. */
export function answerHealth(
  request: { method?: string; url?: string; host?: string },
  watch: Watch,
  staleMs: number,
): DoorAnswer {
  // A web page that rebinds a host name must not even read this.
  if (!/^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/.test(request.host ?? ''))
    return { status: 421, body: { error: 'wrong host' } }
  if (request.method === 'GET' && request.url === '/metrics') return { status: 200, body: metricsText(watch.status()) }
  if (request.method !== 'GET' || request.url !== '/healthz') return { status: 404, body: { error: 'no such route' } }
  const ageMs = watch.roundAgeMs()
  const ok = ageMs !== null && ageMs <= staleMs
  return { status: ok ? 200 : 503, body: { ok, roundAgeMs: ageMs } }
}

const answersThere = (file: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = net.connect(file)
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
    socket.on('connect', () => socket.destroy())
  })

/** Frees the path of the socket: only a socket that nobody answers on is removed. @throws StartError */
export async function freeSocket(file: string): Promise<void> {
  const found = lstatSync(file, { throwIfNoEntry: false })
  if (found === undefined) return
  if (!found.isSocket()) throw new StartError(`${file} is not a socket; move it away`)
  if (await answersThere(file)) throw new StartError(`a watchdog of this home is already running (${file} answers)`)
  unlinkSync(file)
}

const listening = (server: Server, where: net.ListenOptions, what: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.on('error', (error) => reject(new StartError(`${what} cannot be opened: ${error.message}`)))
    server.listen(where, () => {
      server.removeAllListeners('error')
      server.on('error', () => {})
      resolve()
    })
  })

/** Opens both doors. Returns the TCP port in use (0 = off) and how to close. @throws StartError */
export async function openDoors(
  options: { socket: string; port: number; staleMs: number },
  parts: DoorParts & { readonly stop: StopDoorParts },
) {
  await freeSocket(options.socket)
  const own = bounded((request, response) => void answerSocket(request, parts).then((said) => reply(response, said)))
  await listening(own, { path: options.socket }, options.socket)
  chmodSync(options.socket, 0o600)
  const health = bounded((request, response) => {
    const { method = '', url = '', headers } = request
    if (isStopPath(url)) return void serveStop(request, response, options.port, parts.stop)
    reply(response, answerHealth({ method, url, host: headers.host ?? '' }, parts.watch, options.staleMs))
  })
  if (options.port !== 0) {
    await listening(
      health,
      { host: '127.0.0.1', port: options.port },
      `127.0.0.1:${options.port} (http.port in watchdog/config.yaml)`,
    )
  }
  return {
    port: options.port,
    close() {
      own.close()
      health.close()
    },
  }
}

type Row = Readonly<Record<string, unknown>>
type Labels = Readonly<Record<string, string>>

/** The value at a path of the status, or undefined. */
const at = (value: unknown, ...path: readonly string[]): unknown =>
  path.reduce<unknown>((row, key) => (typeof row === 'object' && row !== null ? (row as Row)[key] : undefined), value)
const numberAt = (value: unknown, ...path: readonly string[]): number | undefined => {
  const found = at(value, ...path)
  return typeof found === 'number' ? found : typeof found === 'boolean' ? Number(found) : undefined
}
const listAt = (value: unknown, ...path: readonly string[]): readonly unknown[] => {
  const found = at(value, ...path)
  return Array.isArray(found) ? found : []
}

/** A label value in quotes, as the format wants it. */
const quoted = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${quoted(value)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

const seconds = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : ms / 1000)

/**
 * `GET /metrics` in the text format of Prometheus: what `GET /v1/status` says with what `tell/tell.ts` adds, as numbers. Pure. It needs no
 * credential, so it shows no deadline and no reason for safe mode (fault F17): a reader would learn from them when nobody is watching.
 */
export function metricsText(status: Row): string {
  const lines: string[] = []
  type Sample = readonly [Labels, number | undefined]
  const add = (name: string, kind: 'gauge' | 'counter', what: string, samples: readonly Sample[]) => {
    lines.push(`# HELP watchdog_${name} ${what}`, `# TYPE watchdog_${name} ${kind}`)
    for (const [labels, value] of samples)
      if (value !== undefined) lines.push(`watchdog_${name}${labelText(labels)} ${value}`)
  }
  const one = (...path: readonly string[]): Sample[] => [[{}, numberAt(status, ...path)]]
  const span = (...path: readonly string[]): Sample[] => [[{}, seconds(numberAt(status, ...path))]]
  const channels = (key: string): Sample[] =>
    listAt(status, 'alerting', 'channels').map((row) => [
      { who: String(at(row, 'who')), channel: String(at(row, 'channel')) },
      numberAt(row, key),
    ])

  add('rounds_total', 'counter', 'Finished rounds since the start.', one('rounds'))
  add('round_age_seconds', 'gauge', 'Since the last finished round.', span('roundAgeMs'))
  add('hub_answering', 'gauge', '1 while the hub answers its leases.', one('hub', 'answering'))
  add('demands_safe', 'gauge', '1 while the lease demands safe mode.', [[{}, Number(status.demand === 'safe')]])
  const findings = listAt(status, 'alerts')
  add('findings', 'gauge', 'Open findings.', [[{}, findings.length]])
  add('channel_waiting', 'gauge', 'Messages not taken yet.', channels('waiting'))
  add('channel_failures', 'gauge', 'Failures in a row.', channels('failures'))
  add('channel_given_up_total', 'counter', 'Messages given up since the start.', channels('givenUp'))
  return `${lines.join('\n')}\n`
}
