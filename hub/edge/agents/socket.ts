/**
 * The agents' entrance: one Unix socket and one `node:http` server per session; the session is known by closure (docs/protocol.md 1). The
 * order is always: bytes and length, authentication, parsing, schema, gate. Before a valid signature, every refusal has the same body.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Clock } from '../../base/clock.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import { http } from '../../base/node-http.ts'
import type { Log } from '../../base/telemetry.ts'
import type { OperationName } from '../../protocol/operations.ts'
import { AGENT_ROUTES } from '../../protocol/routes.ts'
import type { Sockets } from '../../work/sandbox/sockets.ts'
import { requireVersion, sendProblem } from '../http-answers.ts'
import { createTurns, type Turns } from '../http-turns.ts'
import type { AgentFrames } from './frames/frames.ts'
import type { AgentAuth, AgentCaller } from './requests.ts'
import type { AgentRoute, AgentRoutes } from './routes.ts'

export interface AgentSockets {
  /** Listens on the session's socket path. Resolves once it does. */
  open(session: string): Promise<void>
  close(session: string): void
  /** Ends its fast session at once. */
  cut(session: string): void
  closeAll(): void
}

const CONNECTIONS_MAX = 4
const HEADERS_MS_MAX = 10_000
const REQUEST_MS_MAX = 60_000
const FLOOD_RECORD_EVERY_MS = 10_000
/** What a session needs to live is not counted as a message. */
const UPKEEP: ReadonlySet<OperationName> = new Set(['session.join', 'session.renew'])

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0

export function createAgentSockets(
  options: { connectionsMax?: number; headersMs?: number; requestMs?: number },
  parts: {
    auth: AgentAuth
    routes: AgentRoutes
    sockets: Sockets
    frames: AgentFrames
    quotas: {
      take: (session: string) => void
      takeUpkeep: (session: string) => void
    }
    clock: Clock
    log: Log
  },
): AgentSockets {
  const { auth, routes, sockets, frames, quotas, clock, log } = parts
  const servers = new Map<string, { server: Server; turns: Turns }>()
  const floods = new Map<string, number>()

  /** A flood is recorded once in ten seconds, and the rest of it is counted: a record per refusal would let an agent fill the disk (T65). */
  function refuseFlood(session: string, operation: OperationName, error: HubError): void {
    servers.get(session)?.turns.flooded()
    const now = clock.monotonicMs()
    if (now - (floods.get(session) ?? Number.NEGATIVE_INFINITY) < FLOOD_RECORD_EVERY_MS) {
      auth.count(session, operation, error)
      return
    }
    floods.set(session, now)
    auth.refuse(session, operation, error)
  }

  async function answer(session: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const found = routes.find(request.method ?? '', request.url ?? '')
    const operation = found?.route.operation ?? 'message.send'
    let caller: AgentCaller | undefined
    let admitted = false
    try {
      try {
        if (UPKEEP.has(operation)) quotas.takeUpkeep(session)
        else quotas.take(session)
      } catch (thrown) {
        refuseFlood(session, operation, toHubError(thrown))
        admitted = true
        throw thrown
      }
      requireVersion(request)
      if (found === undefined) throw new HubError('unknown_operation', 'no such path on an agent socket')
      // The signature of a request without a body covers no bytes, so any that come along would be unsigned.
      if (request.method === 'GET' && hasBody(request)) throw new HubError('schema_invalid', 'a GET carries no body')
      await serve(found.route)
    } catch (thrown) {
      const error = toHubError(thrown)
      if (error.code === 'internal')
        log.error({ session, operation, reason: error.reason, err: error.cause }, 'a request of an agent failed')
      if (!admitted) auth.refuse(session, operation, error, caller)
      if (response.headersSent) response.destroy()
      else sendProblem(response, error)
    }

    async function serve(route: AgentRoute): Promise<void> {
      await route.serve({
        session,
        request,
        response,
        url: found?.url ?? new URL('http://hub/'),
        proven: (proof) => {
          caller = proof
        },
        admitted: () => {
          admitted = true
        },
      })
    }
  }

  /** An opening is counted like a request: each costs a token check, and a refusal costs a record (T65). */
  function upgrade(session: string, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    try {
      quotas.takeUpkeep(session)
    } catch (thrown) {
      refuseFlood(session, 'session.open', toHubError(thrown))
      socket.destroy()
      return
    }
    if (request.url === AGENT_ROUTES['session.open'].path && request.httpVersion === '1.1') {
      frames.upgrade(session, request, socket, head)
      return
    }
    auth.refuse(
      session,
      'session.open',
      new HubError('unknown_operation', 'no such path and version to upgrade on an agent socket'),
    )
    socket.destroy()
  }

  const headersTimeout = options.headersMs ?? HEADERS_MS_MAX
  const limits = {
    headersTimeout,
    requestTimeout: options.requestMs ?? REQUEST_MS_MAX,
    connectionsCheckingInterval: Math.min(1000, headersTimeout),
    keepAliveTimeout: 60_000,
    maxHeaderSize: 16_384,
  }

  return {
    open(session) {
      sockets.make(session)
      const path = sockets.socketPathOf(session)
      const turns = createTurns(clock)
      const server = http.createServer(limits, (request, response) => {
        response.on('error', () => response.destroy())
        turns.take(request, response, () => {
          // Even a refusal that cannot be looked up or written must not end the process.
          answer(session, request, response).catch(() => response.destroy())
        })
      })
      server.on('upgrade', (request, socket, head) => {
        socket.on('error', () => socket.destroy())
        // It would overtake a request that is still under way.
        if (turns.isBusy(socket)) socket.destroy()
        else upgrade(session, request, socket, head)
      })
      server.maxConnections = options.connectionsMax ?? CONNECTIONS_MAX
      servers.set(session, { server, turns })
      return new Promise((resolve, reject) => {
        server.once('error', reject)
        server.listen(path, () => {
          sockets.open(session)
          resolve()
        })
      })
    },
    close(session) {
      const open = servers.get(session)
      servers.delete(session)
      floods.delete(session)
      frames.close(session)
      open?.turns.stop()
      open?.server.close()
      open?.server.closeAllConnections()
    },
    cut: frames.close,
    closeAll() {
      for (const session of [...servers.keys()]) this.close(session)
    },
  }
}
