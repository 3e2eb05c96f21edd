/**
 * Every operation with a path in the operations table, for whoever `principalOf` finds behind a request (T24, T32). Used twice: on the
 * operator's socket, and on loopback for devices and tokens.
 */
import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { HubError, toHubError } from '../../base/errors.ts'
import type { Call } from '../../guard/checks.ts'
import type { Events } from '../../guard/events.ts'
import type { Gate } from '../../guard/gate.ts'
import type { Principal } from '../../guard/principal.ts'
import { classFact } from '../../protocol/data-class.ts'
import { OPERATIONS, type OperationName } from '../../protocol/operations.ts'
import { parseShape } from '../../protocol/parse.ts'
import { ROUTES, type Route } from '../../protocol/routes.ts'
import { type Artifacts, uploadsOf } from '../../work/artifacts.ts'
import { streamArtifact } from '../agents/artifacts.ts'
import { readRange, requireContentType } from '../http-answers.ts'
import { type Followed, isAtEnd, streamEvents, wantedBy } from '../routes/events.ts'
import type { Serve } from '../serve.ts'
import { type ListenerParts, UPLOAD_PATH } from './listener.ts'

const KEY_LENGTH_MAX = 128

export interface HttpParts extends ListenerParts {
  serve: Serve
  gate: Gate
  artifacts: Artifacts
  events: Events
  inputBytesMax: number
}
/** Who asks. `heard` is called when a request has reached the gate, which records its own refusals (T22). */
export interface Caller {
  /** Throws the refusal of a request that proves nobody. */
  principalOf: (request: FastifyRequest) => Principal
  heard: (request: FastifyRequest) => void
  /** Whether the request's credential is still valid; absent if it cannot be revoked. */
  holds?: (request: FastifyRequest) => boolean
}

const STREAMED: ReadonlySet<OperationName> = new Set(['artifact.put', 'artifact.get', 'event.stream'])

export function mountOperations(app: FastifyInstance, parts: HttpParts, caller: Caller): void {
  for (const [name, { method, path }] of Object.entries(ROUTES) as [OperationName, Route][]) {
    if (STREAMED.has(name)) continue
    app.route({
      method,
      url: path,
      handler: async (request, reply) => {
        const principal = caller.principalOf(request)
        const raw = {
          ...(method === 'GET' ? (request.query as object) : bodyOf(request)),
          ...(request.params as object),
        }
        const { traceparent } = request.headers
        const context = {
          principal,
          idempotencyKey: keyOf(request),
          traceparent: typeof traceparent === 'string' ? traceparent : undefined,
        }
        caller.heard(request)
        return reply.send(await parts.serve(name, raw, context))
      },
    })
  }
  artifactRoutes(app, parts, caller)
  eventRoute(app, parts, caller)
}

/** The operation of the request's route. A path without one is recorded as a look at the hub's health. */
export function operationAt({ method, routeOptions }: FastifyRequest): OperationName {
  const rows = Object.entries(ROUTES) as [OperationName, Route][]
  const as = method === 'HEAD' ? 'GET' : method
  return rows.find(([, route]) => route.method === as && route.path === routeOptions?.url)?.[0] ?? 'health.show'
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

function artifactRoutes(
  app: FastifyInstance,
  { gate, artifacts, inputBytesMax }: HttpParts,
  { principalOf, heard }: Caller,
): void {
  /** The gate is asked first, and again when the bytes are in. So the hub receives and hashes nothing for those who may not. */
  function foresee(request: FastifyRequest, call: Call): void {
    try {
      gate.foresee(call, true)
    } catch (thrown) {
      heard(request)
      throw thrown
    }
  }

  app.put(UPLOAD_PATH, { bodyLimit: inputBytesMax }, async (request, reply) => {
    requireContentType(request.raw, 'application/octet-stream')
    const { sha256, name, dataClass, unfinished } = parseShape(OPERATIONS['artifact.put'].request, {
      ...(request.query as object),
      ...(request.params as object),
    })
    if (unfinished) throw new HubError('schema_invalid', 'unfinished: only what a session keeps can be unfinished')
    const principal = principalOf(request)
    const facts = classFact(dataClass)
    const call = { principal, operation: 'artifact.put', resource: `artifact:${sha256}`, facts } as const
    foresee(request, call)
    const arrived = await artifacts.receive(request.body as Readable, sha256, inputBytesMax)
    heard(request)
    try {
      const view = gate.admit(call, (grant) =>
        artifacts.put(grant, arrived, {
          ...{
            owner: uploadsOf(principal),
            name: `${sha256}/${name ?? 'upload'}`,
            session: null,
            dataClass,
            unfinished,
          },
          totalBytesMax: Number.MAX_SAFE_INTEGER,
        }),
      )
      return reply.send({ ...view, name: name ?? sha256 })
    } finally {
      artifacts.discard(arrived)
    }
  })

  function fetching(request: FastifyRequest) {
    const { sha256, quarantined } = parseShape(OPERATIONS['artifact.get'].request, {
      ...(request.query as object),
      ...(request.params as object),
    })
    const facts = classFact(artifacts.classOf(sha256))
    const principal = principalOf(request)
    const call = { principal, operation: 'artifact.get', resource: `artifact:${sha256}`, facts } as const
    foresee(request, call)
    return { sha256, quarantined, call }
  }
  const verified = (sha256: string, call: Call): Promise<void> =>
    artifacts.verify(sha256).catch((thrown: unknown) => {
      gate.refuse(call, toHubError(thrown))
      throw thrown
    })

  // Whether it is there and whole. That it is not is an answer and no refusal: each upload begins by asking.
  app.head(UPLOAD_PATH, async (request, reply) => {
    const { sha256, quarantined, call } = fetching(request)
    heard(request)
    if (gate.admit(call, () => artifacts.find(sha256, quarantined)) === undefined) return reply.code(404).send()
    await verified(sha256, call)
    return reply.code(200).send()
  })

  app.get(UPLOAD_PATH, async (request, reply) => {
    const { sha256, quarantined, call } = fetching(request)
    const found = artifacts.find(sha256, quarantined)
    const range = found === undefined ? undefined : readRange(request.headers.range, found.size)
    heard(request)
    await verified(sha256, call)
    const opened = gate.admit(call, () => artifacts.read(sha256, range, quarantined))
    reply.hijack()
    streamArtifact(reply.raw, opened.stream, opened.size, range)
  })
}

function eventRoute(
  app: FastifyInstance,
  { serve, events, clock }: HttpParts,
  { principalOf, heard, holds = () => true }: Caller,
): void {
  app.get('/v1/events', async (request, reply) => {
    const principal = principalOf(request)
    heard(request)
    // A browser comes back to the same address, and says in this header what it already has (HTML, server-sent events).
    const had = request.headers['last-event-id']
    const asked = had === undefined ? request.query : { ...(request.query as object), since: had }
    const of = (await serve('event.stream', asked, { principal, idempotencyKey: undefined })) as Followed | undefined
    const query = parseShape(OPERATIONS['event.stream'].request, asked)
    const from = { since: query.since, wanted: wantedBy(principal, query.task), of }
    // A browser that comes back after the end comes back for ever, unless it is told this way that nothing follows.
    if (had !== undefined && isAtEnd(from, events)) return reply.code(204).send()
    reply.hijack()
    streamEvents(reply.raw, { ...from, holds: () => holds(request) }, { events, after: clock.after })
  })
}
