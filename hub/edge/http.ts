/**
 * The operator's entrance: every operation with a path in the operations table, over the Unix socket; `/healthz` alone over loopback TCP
 * until devices and tokens exist. JSON only, one content type, no CORS, Host allow-list on TCP (T24, T33, T34).
 */

import type { Readable } from 'node:stream'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { Clock } from '../base/clock.ts'
import { ERRORS, HubError, problemOf, toHubError } from '../base/errors.ts'
import { parseStrictJson } from '../base/strict-json.ts'
import type { Log } from '../base/telemetry.ts'
import type { Events } from '../guard/events.ts'
import type { Gate } from '../guard/gate.ts'
import { OPERATOR } from '../guard/principal.ts'
import { OPERATIONS, type Operation, type OperationName } from '../protocol/operations.ts'
import { parseShape } from '../protocol/parse.ts'
import { type Artifacts, UPLOADS } from '../work/artifacts.ts'
import { streamArtifact } from './agent-artifacts.ts'
import { readRange, requireContentType, singleHeader } from './http-answers.ts'
import { type HttpLimits, LOOPBACK_LIMITS, OPERATOR_LIMITS, watchBody } from './http-limits.ts'
import { streamEvents } from './live.ts'
import type { Serve } from './serve.ts'

const JSON_BYTES_MAX = 256 * 1024
const KEY_LENGTH_MAX = 128
const UPLOAD_PATH = '/v1/artifacts/:sha256'

export interface HttpParts {
  serve: Serve
  gate: Gate
  artifacts: Artifacts
  events: Events
  clock: Clock
  log: Log
  healthz: () => { status: number; body: unknown }
  inputBytesMax: number
  limits?: Partial<HttpLimits>
}
/** Hears what was refused before the gate was reached. */
type Unheard = (request: FastifyRequest, error: HubError) => void

function server({ headersMs, requestMs, connectionsMax }: HttpLimits, unheard: Unheard): FastifyInstance {
  const app: FastifyInstance = fastify({
    logger: false,
    requestTimeout: requestMs,
    // An event stream and a drain are silent for long and in order; a body that has stopped is ended by `watchBody`.
    connectionTimeout: 0,
    bodyLimit: JSON_BYTES_MAX,
    exposeHeadRoutes: false,
    http: { headersTimeout: headersMs, connectionsCheckingInterval: Math.min(1000, headersMs) },
    // A path that cannot be decoded is answered before any hook or handler.
    frameworkErrors(thrown, request, reply) {
      const error = fromFastify(thrown)
      unheard(request as FastifyRequest, error)
      problem(reply as FastifyReply, error)
    },
  })
  app.server.maxConnections = connectionsMax
  return app
}

/** Everything an operator may do; whoever reaches this socket is the operator. */
export function createOperatorHttp(parts: HttpParts): FastifyInstance {
  const heard = new WeakSet<object>()
  const app = prepared(parts, { ...OPERATOR_LIMITS, ...parts.limits }, (request, error) => {
    // The gate records its own refusals (T22): here is what never came to it, a body, a header, a path.
    if (!heard.has(request)) parts.gate.refuse(call(operationAt(request), request.url.slice(0, 200)), error)
  })
  for (const [name, row] of Object.entries(OPERATIONS) as [OperationName, Operation][]) {
    if (row.http === undefined || STREAMED.has(name)) continue
    const { method, path } = row.http
    app.route({
      method,
      url: path,
      handler: async (request, reply) => {
        const raw = {
          ...(method === 'GET' ? (request.query as object) : bodyOf(request)),
          ...(request.params as object),
        }
        const context = { principal: OPERATOR, idempotencyKey: keyOf(request) }
        heard.add(request)
        return reply.send(await parts.serve(name, raw, context))
      },
    })
  }
  streamedRoutes(app, parts, heard)
  return app
}

/** The loopback listener: health, and nothing else without a credential. */
export function createLoopbackHttp(port: () => number, parts: HttpParts): FastifyInstance {
  // Without a credential there is nobody to record, and a record for each would let any local process fill the disk.
  const app = prepared(parts, { ...LOOPBACK_LIMITS, ...parts.limits }, () => undefined)
  app.addHook('onRequest', async (request) => {
    const host = singleHeader(request.raw, 'host') ?? ''
    if (host !== `127.0.0.1:${port()}` && host !== `localhost:${port()}`)
      throw new HubError('forbidden', 'this name does not lead here')
    if (request.headers.origin !== undefined) throw new HubError('forbidden', 'requests of other pages are not served')
  })
  return app
}

const call = (operation: OperationName, resource: string) => ({ principal: OPERATOR, operation, resource })

/** The operation of the request's route; a path of none is recorded as a look at the hub's health. */
function operationAt({ method, routeOptions }: FastifyRequest): OperationName {
  const rows = Object.entries(OPERATIONS) as [OperationName, Operation][]
  return rows.find(([, { http }]) => http?.method === method && http.path === routeOptions?.url)?.[0] ?? 'health.show'
}

function prepared({ healthz, log, clock }: HttpParts, limits: HttpLimits, unheard: Unheard): FastifyInstance {
  const app = server(limits, unheard)
  app.addHook('onRequest', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    if (request.headers.upgrade !== undefined)
      throw new HubError('schema_invalid', 'no other protocol is spoken at this entrance')
    if (!request.url.startsWith('/')) throw new HubError('schema_invalid', 'a request here names a path')
    watchBody(request.raw, reply.raw, request.routeOptions.url === UPLOAD_PATH, limits, clock)
  })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    try {
      requireContentType(request.raw, 'application/json')
      done(null, (body as Buffer).length === 0 ? {} : parseStrictJson(body as Buffer))
    } catch (thrown) {
      done(thrown as Error)
    }
  })
  app.addContentTypeParser('application/octet-stream', (request, payload, done) => {
    if (request.routeOptions.url === UPLOAD_PATH) done(null, payload)
    else done(new HubError('schema_invalid', 'content-type must be exactly application/json'))
  })
  app.setErrorHandler((thrown, request, reply) => {
    const error = fromFastify(thrown)
    if (error.code === 'internal')
      log.error({ reason: error.reason, err: error.cause }, 'a request of the operator failed')
    unheard(request, error)
    return problem(reply, error)
  })
  app.setNotFoundHandler((request, reply) => {
    const error = new HubError('unknown_operation', 'nothing is served at this path and method')
    unheard(request, error)
    return problem(reply, error)
  })
  app.get('/healthz', (_request, reply) => {
    const { status, body } = healthz()
    return reply.code(status).send(body)
  })
  return app
}

const problem = (reply: FastifyReply, error: HubError) =>
  reply
    .code(ERRORS[error.code].status)
    .header('cache-control', 'no-store')
    .type('application/problem+json')
    .send(JSON.stringify(problemOf(error)))

function fromFastify(thrown: unknown): HubError {
  const code = String((thrown as { code?: unknown }).code ?? '')
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE')
    return new HubError('too_large', `a body here holds at most ${JSON_BYTES_MAX} bytes`)
  if (code === 'ECONNRESET') return new HubError('schema_invalid', 'the body broke off')
  if (code.startsWith('FST_ERR_')) return new HubError('schema_invalid', (thrown as Error).message)
  return toHubError(thrown)
}

function bodyOf(request: FastifyRequest): object {
  const { body } = request
  if (body === undefined) return {}
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new HubError('schema_invalid', 'the body must be an object')
  return body
}

function keyOf(request: FastifyRequest): string | undefined {
  const key = request.headers['idempotency-key']
  if (key === undefined) return undefined
  if (typeof key !== 'string' || !/^[\x21-\x7e]+$/.test(key) || key.length > KEY_LENGTH_MAX) {
    throw new HubError('schema_invalid', `idempotency-key: 1 to ${KEY_LENGTH_MAX} visible ASCII characters`)
  }
  return key
}

const STREAMED: ReadonlySet<OperationName> = new Set(['artifact.put', 'artifact.get', 'event.stream'])

function streamedRoutes(
  app: FastifyInstance,
  { serve, gate, artifacts, events, clock, inputBytesMax }: HttpParts,
  heard: WeakSet<object>,
): void {
  app.put(UPLOAD_PATH, { bodyLimit: inputBytesMax }, async (request, reply) => {
    requireContentType(request.raw, 'application/octet-stream')
    const { sha256, name } = parseShape(OPERATIONS['artifact.put'].request, {
      ...(request.query as object),
      ...(request.params as object),
    })
    const arrived = await artifacts.receive(request.body as Readable, sha256, inputBytesMax)
    heard.add(request)
    try {
      const view = gate.admit(call('artifact.put', `artifact:${sha256}`), (grant) =>
        artifacts.put(grant, UPLOADS, `${sha256}/${name ?? 'upload'}`, arrived, null, Number.MAX_SAFE_INTEGER),
      )
      return reply.send({ ...view, name: name ?? sha256 })
    } finally {
      artifacts.discard(arrived)
    }
  })

  app.get(UPLOAD_PATH, (request, reply) => {
    const { sha256 } = parseShape(OPERATIONS['artifact.get'].request, request.params)
    const range = readRange(request.headers.range, artifacts.find(sha256)?.size ?? 0)
    heard.add(request)
    const opened = gate.admit(call('artifact.get', `artifact:${sha256}`), () => artifacts.read(sha256, range))
    reply.hijack()
    streamArtifact(reply.raw, opened.stream, opened.size, range)
  })

  app.get('/v1/events', async (request, reply) => {
    heard.add(request)
    await serve('event.stream', request.query, { principal: OPERATOR, idempotencyKey: undefined })
    const query = parseShape(OPERATIONS['event.stream'].request, request.query)
    reply.hijack()
    const subject = query.task === undefined ? undefined : `task:${query.task}`
    streamEvents(
      reply.raw,
      {
        since: query.since,
        wanted: (event) => subject === undefined || event.subject === subject || event.data.task === query.task,
      },
      { events, after: clock.after },
    )
  })
}
