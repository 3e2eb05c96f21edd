/**
 * Connections to one place that are used again.
 *
 * O1. For 60 s after its address was judged, and after at most 4 s of rest: an upstream that closes it meanwhile would cost a request that must not be
 *     sent twice.
 * O2. It is closed after an answer to HEAD, and after 204 and 304. A server that sends a body there all the same sends it as the answer to the next request, which may be of
 *     another session. Node itself closes a connection on which bytes come while it rests, but not once the next request is out.
 */
import type { Agent } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../../base/clock.ts'
import { http } from '../../base/node-http.ts'
import type { Dial } from './dial.ts'

const JUDGED_FOR_MS = 60_000
const REST_MS_MAX = 4000
/** Of one place. */
const RESTING_MAX = 32

const hostOf = (url: URL): string => url.hostname.replace(/^\[(.*)\]$/, '$1')
const portOf = (url: URL): number => Number(url.port || (url.protocol === 'https:' ? 443 : 80))

export interface Pool {
  agent: Agent
  /** Closes the connections that rest and are too old, or all that rest. */
  tidy(): void
  drop(): void
  /** This connection is not used again. */
  useUp(socket: Socket): void
  close(): void
}

/** What a request hands to the connection that is made for it. */
export interface Dialling {
  dialling: { signal: AbortSignal; connectMs: number }
}

/** The connections to one place, for requests of all sessions. */
export function createPool(dial: Dial, url: URL, local: boolean, clock: Clock): Pool {
  const place = { host: hostOf(url), port: portOf(url), local }
  const judgedAt = new WeakMap<Socket, number>()
  const restsFrom = new WeakMap<Socket, number>()
  const usedUp = new WeakSet<Socket>()
  const agent = new http.Agent({ keepAlive: true, maxFreeSockets: RESTING_MAX, scheduling: 'lifo' })
  const isOld = (socket: Socket) => clock.monotonicMs() - (judgedAt.get(socket) ?? 0) > JUDGED_FOR_MS
  const resting = () => Object.values(agent.freeSockets).flatMap((each) => each ?? [])

  const connecting = agent as unknown as {
    createConnection(options: Dialling, done: (error: Error | null, socket?: Socket) => void): undefined
    keepSocketAlive(socket: Socket): boolean
  }
  connecting.createConnection = ({ dialling }, done) => {
    const from = clock.monotonicMs()
    const asked = { place, secured: url.protocol === 'https:', connectMs: dialling.connectMs }
    dial(asked, dialling.signal).then(
      (socket) => {
        judgedAt.set(socket, from)
        done(null, socket)
      },
      (thrown: Error) => done(thrown),
    )
  }
  const keep = connecting.keepSocketAlive.bind(agent)
  connecting.keepSocketAlive = (socket) => {
    restsFrom.set(socket, clock.monotonicMs())
    return !usedUp.has(socket) && !isOld(socket) && keep(socket)
  }
  const drop = () => {
    for (const socket of resting()) socket.destroy()
  }
  return {
    agent,
    tidy() {
      for (const socket of resting())
        if (isOld(socket) || clock.monotonicMs() - (restsFrom.get(socket) ?? 0) > REST_MS_MAX) socket.destroy()
    },
    drop,
    useUp: (socket) => void usedUp.add(socket),
    close: () => agent.destroy(),
  }
}
