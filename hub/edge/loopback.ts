/**
 * The loopback listener of people: `/healthz`, and rooms whose requests bring their own credential.
 * L1. This machine's names lead everywhere, the names of `reach` only into rooms that are not for this machine alone; any other Host is
 *     refused (T33, T34).
 * L2. No page of another origin is served. `null`, which a browser says when it hides where it comes from, is let in only where a room takes
 *     forms whose address is the credential.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { HubError } from '../base/errors.ts'
import { singleHeader } from './http-answers.ts'
import { LOOPBACK_LIMITS } from './http-limits.ts'
import { type ListenerParts, prepared } from './listener.ts'
import { localNames, type Reach, reachNames } from './reach.ts'

export interface LoopbackRoom {
  /** `/stop`: served at this path and below it. */
  path: string
  /** Served under this machine's own names alone. */
  isLocal?: boolean
  /** Whether a page that hides its origin may ask. */
  isOriginHidden?: boolean
  mount: (app: FastifyInstance) => void
}
export interface LoopbackParts extends ListenerParts {
  reach?: Reach
  rooms?: readonly LoopbackRoom[]
  /** Hears of each request before its room does; throws to refuse it. */
  before?: (request: FastifyRequest) => void
}

const isWithin = (path: string, url: string): boolean =>
  url === path || (/^[/?]/.test(url.slice(path.length)) && url.startsWith(path))

/** Health, and nothing else without a credential. */
export function createLoopbackHttp(port: () => number, parts: LoopbackParts): FastifyInstance {
  const { reach, rooms = [] } = parts
  const outside = reach === undefined ? { hosts: new Set(), origins: new Set() } : reachNames(reach)
  // Without a credential there is nobody to record, and a record for each would let any local process fill the disk.
  const app = prepared(parts, { ...LOOPBACK_LIMITS, ...parts.limits }, () => undefined)
  app.addHook('onRequest', async (request) => {
    const { hosts, origins } = localNames(port())
    const room = rooms.find(({ path }) => isWithin(path, request.url))
    const theirs = room === undefined || room.isLocal === true ? undefined : outside
    const host = singleHeader(request.raw, 'host') ?? ''
    if (!hosts.has(host) && theirs?.hosts.has(host) !== true)
      throw new HubError('forbidden', 'this name does not lead here')
    parts.before?.(request)
    const { origin } = request.headers
    if (origin === undefined) return
    const isOurs =
      origin === 'null' ? room?.isOriginHidden === true : origins.has(origin) || theirs?.origins.has(origin) === true
    if (room === undefined || !isOurs) throw new HubError('forbidden', 'requests of other pages are not served')
  })
  for (const { mount } of rooms) mount(app)
  return app
}
