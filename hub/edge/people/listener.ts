/** What every HTTP listener of people is made of: limits, one content type, no other protocol, `/healthz`, refusals as problems (T24, T32). */
import type { IncomingMessage, ServerResponse } from 'node:http'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { Clock } from '../../base/clock.ts'
import { ERRORS, HubError, problemOf, toHubError } from '../../base/errors.ts'
import { http } from '../../base/node-http.ts'
import { parseStrictJson } from '../../base/strict-json.ts'
import type { Log } from '../../base/telemetry.ts'
import { requireContentType, requireVersion } from '../http-answers.ts'
import { createTurns } from '../http-turns.ts'
import { keepPlaces } from '../places.ts'

/** Deadlines and caps of a listener (T32). None of them ends an upload that moves, an event stream, or a wait for the hub itself. */
export interface HttpLimits {
  /** From the connection to the last header. */
  headersMs: number
  /** To the last byte of a request, uploads included. */
  requestMs: number
  /** To the last byte of a JSON body. */
  bodyMs: number
  /** An upload that sends nothing for this long is ended. */
  stalledMs: number
  connectionsMax: number
  /** Requests a second on one connection; faster ones wait. Without it there is no pace. */
  perSecond?: number
}
export const OPERATOR_LIMITS: HttpLimits = {
  headersMs: 10_000,
  requestMs: 3_600_000,
  bodyMs: 30_000,
  stalledMs: 30_000,
  connectionsMax: 128,
}

/** Ends a request whose body does not come: JSON by its deadline, an upload when nothing more arrives. */
function watchBody(
  request: IncomingMessage,
  response: ServerResponse,
  uploads: boolean,
  limits: HttpLimits,
  clock: Clock,
): void {
  let seen = request.socket.bytesRead
  let timer = clock.after(uploads ? limits.stalledMs : limits.bodyMs, look)
  response.once('close', () => timer.cancel())
  function look() {
    if (request.complete) return
    if (!uploads || request.socket.bytesRead === seen) request.socket.destroy()
    else {
      seen = request.socket.bytesRead
      timer = clock.after(limits.stalledMs, look)
    }
  }
}

const JSON_BYTES_MAX = 256 * 1024
const KEEP_ALIVE_MS = 72_000
/** The one path that takes bytes as they are. */
export const UPLOAD_PATH = '/v1/artifacts/:sha256'

export interface ListenerParts {
  clock: Clock
  log: Log
  healthz: () => { status: number; body: unknown }
  limits?: Partial<HttpLimits>
}
/** Hears what was refused before the gate was reached. */
export type Unheard = (request: FastifyRequest, error: HubError) => void

const problem = (reply: FastifyReply, error: HubError) =>
  reply
    .code(ERRORS[error.code].status)
    .header('cache-control', 'no-store')
    .type('application/problem+json')
    .send(JSON.stringify(problemOf(error)))

function server(
  { headersMs, requestMs, connectionsMax, perSecond }: HttpLimits,
  unheard: Unheard,
  clock: Clock,
): FastifyInstance {
  const turns = createTurns(clock, perSecond === undefined ? undefined : { perSecond })
  const app: FastifyInstance = fastify({
    logger: false,
    serverFactory: (handler) =>
      http.createServer(
        {
          requestTimeout: requestMs,
          headersTimeout: headersMs,
          connectionsCheckingInterval: Math.min(1000, headersMs),
          keepAliveTimeout: KEEP_ALIVE_MS,
        },
        (request, response) => turns.take(request, response, () => handler(request, response)),
      ),
    // An event stream and a drain may be silent for long. A body that has stopped is ended by `watchBody`.
    connectionTimeout: 0,
    bodyLimit: JSON_BYTES_MAX,
    exposeHeadRoutes: false,
    // A path that cannot be decoded is answered before any hook or handler.
    frameworkErrors(thrown, request, reply) {
      const error = fromFastify(thrown)
      unheard(request as FastifyRequest, error)
      problem(reply as FastifyReply, error)
    },
  })
  keepPlaces(app.server, connectionsMax, turns.isOverPace)
  return app
}

/** A listener that serves `/healthz`. `unheard` is told of every refusal that no handler made. */
export function prepared(
  { healthz, log, clock }: ListenerParts,
  limits: HttpLimits,
  unheard: Unheard,
): FastifyInstance {
  const app = server(limits, unheard, clock)
  app.addHook('onRequest', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    requireVersion(request.raw)
    if (request.headers.upgrade !== undefined)
      throw new HubError('schema_invalid', 'this entrance speaks no other protocol')
    if (!request.url.startsWith('/')) throw new HubError('schema_invalid', 'a request must name a path')
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

/** What a request was refused with, in the hub's own words. */
export function fromFastify(thrown: unknown): HubError {
  const code = String((thrown as { code?: unknown }).code ?? '')
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE')
    return new HubError('too_large', `the body may have at most ${JSON_BYTES_MAX} bytes`)
  if (code === 'ECONNRESET') return new HubError('schema_invalid', 'the body broke off')
  if (code.startsWith('FST_ERR_')) return new HubError('schema_invalid', (thrown as Error).message)
  return toHubError(thrown)
}
