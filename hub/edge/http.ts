/** The operator's entrance: every operation with a path in the operations table, over the Unix socket (T24, T32). */
import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { HubError } from '../base/errors.ts'
import type { Events } from '../guard/events.ts'
import type { Gate } from '../guard/gate.ts'
import { OPERATOR } from '../guard/principal.ts'
import { OPERATIONS, type Operation, type OperationName } from '../protocol/operations.ts'
import { parseShape } from '../protocol/parse.ts'
import { type Artifacts, UPLOADS } from '../work/artifacts.ts'
import { streamArtifact } from './agent-artifacts.ts'
import { readRange, requireContentType } from './http-answers.ts'
import { OPERATOR_LIMITS } from './http-limits.ts'
import { type ListenerParts, prepared, UPLOAD_PATH } from './listener.ts'
import { streamEvents } from './live.ts'
import type { Serve } from './serve.ts'

const KEY_LENGTH_MAX = 128

export interface HttpParts extends ListenerParts {
  serve: Serve
  gate: Gate
  artifacts: Artifacts
  events: Events
  inputBytesMax: number
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

const call = (operation: OperationName, resource: string) => ({ principal: OPERATOR, operation, resource })

/** The operation of the request's route; a path of none is recorded as a look at the hub's health. */
function operationAt({ method, routeOptions }: FastifyRequest): OperationName {
  const rows = Object.entries(OPERATIONS) as [OperationName, Operation][]
  return rows.find(([, { http }]) => http?.method === method && http.path === routeOptions?.url)?.[0] ?? 'health.show'
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
