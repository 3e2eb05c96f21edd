/**
 * The second socket of a session that may reach something outside (docs/egress.md 1): a `node:http` server of its own, and the session is known by
 * closure (E16). Node parses strictly, and nothing that was parsed is copied: everything that goes outward is written anew (E5).
 *
 * V1. 32 connections of one session; more are closed at once. On each, one request at a time (http-turns.ts).
 * V2. A session's requests have a pace: faster ones wait, so that nobody's messages wait for them (T65).
 * V3. Only two forms are spoken: a path of the hub, and CONNECT. An upgrade is answered 426; an absolute address is refused.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Clock } from '../../base/clock.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import { http } from '../../base/node-http.ts'
import type { Log } from '../../base/telemetry.ts'
import { requireVersion, sendProblem } from '../http-answers.ts'
import { createTurns, type Turns } from '../http-turns.ts'
import type { EgressExchange } from './ports.ts'
import type { EgressMeters } from './records.ts'

export const SESSION_CONNECTIONS_MAX = 32
const HEAD_BYTES_MAX = 64 * 1024
const HEADERS_MS_MAX = 10_000
/** Of one session: how far apart its requests are in the long run, and for how many of them it need not wait. */
const APART_MS = 10
const BURST = 200
/** For the rest of a body after its answer. */
const REST_MS_MAX = 30_000

export interface EgressSocket {
  /** Listens on the session's second socket. Resolves once it does. */
  open(session: string): Promise<void>
  /** Ends what is under way, and the socket. */
  close(session: string): void
  closeAll(): void
  /** Ends what is under way of all sessions; new requests are still served. */
  cutAll(): void
  /** Whether a request or a line of this session is open now. */
  isBusy(session: string): boolean
}

interface Open {
  server: Server
  turns: Turns
  /** Requests and lines that are open now. */
  busy: number
  ending: AbortController
  lines: Set<Duplex>
  /** When the next request of an even stream would begin. */
  nextMs: number
}

export function createEgressSocket(parts: {
  clock: Clock
  log: Log
  pathOf: (session: string) => string
  /** After it listens: lets the container's user connect. */
  opened: (session: string) => void
  /** Serves one request; throws what could not be answered. */
  serve: (exchange: EgressExchange) => Promise<void>
  /** Serves one CONNECT on its connection. */
  connect: (exchange: Omit<EgressExchange, 'response'>, socket: Duplex, head: Buffer) => Promise<void>
  /** Hears of what was no request. */
  malformed: (session: string, error: HubError) => void
  forget: (session: string) => void
  meters: EgressMeters
}): EgressSocket {
  const { clock, log, pathOf, opened, serve, connect, forget, meters } = parts
  const sockets = new Map<string, Open>()

  /** Never throws: Node calls from its own events, where a throw ends the hub. */
  function malformed(session: string, error: HubError): void {
    try {
      parts.malformed(session, error)
    } catch (thrown) {
      log.error({ session, reason: toHubError(thrown).reason }, 'what was no request outward was not recorded')
    }
  }

  async function answer(
    open: Open,
    session: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const { socket } = request
    meters.open += 1
    open.busy += 1
    try {
      requireForm(request)
      await pace(open)
      await serve({ session, request, response, ended: open.ending.signal })
    } catch (thrown) {
      const error = toHubError(thrown)
      if (error.code === 'internal')
        log.error({ session, reason: error.reason, err: error.cause }, 'a request outward failed')
      if (error.code === 'schema_invalid') malformed(session, error)
      if (response.headersSent || response.destroyed) response.destroy()
      else {
        response.setHeader('connection', 'close')
        sendProblem(response, error)
      }
    } finally {
      meters.open -= 1
      open.busy -= 1
      if (!request.complete) endRest(request, socket)
    }
  }

  /** A program may still be sending what was answered already, and it should be able to read the answer. */
  function endRest(request: IncomingMessage, socket: Duplex): void {
    if (socket.destroyed) return
    const timer = clock.after(REST_MS_MAX, () => socket.destroy())
    const over = () => timer.cancel()
    request.once('end', over)
    socket.once('close', over)
  }

  /** Lets a session begin as many requests as its pace allows; the others wait (V2). */
  async function pace(open: Open): Promise<void> {
    const nowMs = clock.monotonicMs()
    open.nextMs = Math.max(open.nextMs, nowMs - BURST * APART_MS) + APART_MS
    if (open.nextMs > nowMs) await clock.sleep(open.nextMs - nowMs, open.ending.signal)
  }

  function makeServer(session: string): Open {
    const turns = createTurns(clock)
    const server = http.createServer({
      headersTimeout: HEADERS_MS_MAX,
      // The way of a request has its own limits, by the clock that is handed in.
      requestTimeout: 0,
      connectionsCheckingInterval: 1000,
      keepAliveTimeout: 60_000,
      maxHeaderSize: HEAD_BYTES_MAX,
    })
    const open: Open = {
      server,
      turns,
      busy: 0,
      ending: new AbortController(),
      lines: new Set(),
      nextMs: Number.NEGATIVE_INFINITY,
    }
    server.maxHeadersCount = 0
    server.maxConnections = SESSION_CONNECTIONS_MAX
    server.on('drop', () => {
      meters.turnedAway += 1
    })
    server.on('request', (request, response) => {
      response.on('error', () => response.destroy())
      turns.take(request, response, () => {
        answer(open, session, request, response).catch(() => response.destroy())
      })
    })
    server.on('connect', (request, socket, head) => {
      socket.on('error', () => socket.destroy())
      // It would overtake a request that is still under way.
      if (turns.isBusy(socket)) return void socket.destroy()
      open.lines.add(socket)
      socket.once('close', () => open.lines.delete(socket))
      meters.open += 1
      open.busy += 1
      pace(open)
        .then(() => connect({ session, request, ended: open.ending.signal }, socket, head))
        .catch(() => socket.destroy())
        .finally(() => {
          meters.open -= 1
          open.busy -= 1
        })
    })
    server.on('upgrade', (_request, socket) => {
      socket.on('error', () => socket.destroy())
      malformed(session, new HubError('schema_invalid', 'an upgrade was asked for'))
      socket.end('HTTP/1.1 426 Upgrade Required\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')
    })
    server.on('clientError', (thrown: NodeJS.ErrnoException, socket) => {
      if (thrown.code !== 'ECONNRESET')
        malformed(session, new HubError('schema_invalid', `it is no proper HTTP (${thrown.code ?? thrown.message})`))
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')
      else socket.destroy()
    })
    return open
  }

  return {
    open(session) {
      const open = makeServer(session)
      sockets.set(session, open)
      return new Promise((resolve, reject) => {
        open.server.once('error', reject)
        open.server.listen(pathOf(session), () => {
          opened(session)
          resolve()
        })
      })
    },
    close(session) {
      const open = sockets.get(session)
      if (open === undefined) return
      sockets.delete(session)
      open.turns.stop()
      open.ending.abort()
      for (const line of open.lines) line.destroy()
      open.server.close()
      open.server.closeAllConnections()
      forget(session)
    },
    isBusy: (session) => (sockets.get(session)?.busy ?? 0) > 0,
    closeAll() {
      for (const session of [...sockets.keys()]) this.close(session)
    },
    cutAll() {
      for (const open of sockets.values()) {
        open.ending.abort()
        open.ending = new AbortController()
      }
    },
  }
}

/** Throws `schema_invalid` unless it asks this hub itself, once and plainly. */
function requireForm(request: IncomingMessage): void {
  requireVersion(request)
  const { url = '', rawHeaders } = request
  if (!url.startsWith('/'))
    throw new HubError(
      'schema_invalid',
      'use a path of this hub, such as /up/NAME/...; it is no proxy for whole addresses',
    )
  const hosts = rawHeaders.filter((name, at) => at % 2 === 0 && name.toLowerCase() === 'host')
  if (hosts.length > 1) throw new HubError('schema_invalid', 'the header host is there twice')
}
