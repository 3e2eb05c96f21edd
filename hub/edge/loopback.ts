/**
 * The loopback listener of people: `/healthz`, and rooms whose requests bring their own credential.
 * L1. This machine's names lead everywhere, the names of `reach` only into rooms; any other Host is refused (T33, T34).
 * L2. No page of another origin is served. `null` is none: a browser says so when it hides where it comes from, and every room asks for a
 *     credential that such a page would have to know.
 */
import type { FastifyInstance } from 'fastify'
import { HubError } from '../base/errors.ts'
import { singleHeader } from './http-answers.ts'
import { LOOPBACK_LIMITS } from './http-limits.ts'
import { type ListenerParts, prepared } from './listener.ts'
import { localNames, type Reach, reachNames } from './reach.ts'

export interface LoopbackRoom {
  /** `/stop`: served at this path and below it. */
  path: string
  mount: (app: FastifyInstance) => void
}
export interface LoopbackParts extends ListenerParts {
  reach?: Reach
  rooms?: readonly LoopbackRoom[]
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
    const inRoom = rooms.some(({ path }) => isWithin(path, request.url))
    const host = singleHeader(request.raw, 'host') ?? ''
    if (!hosts.has(host) && !(inRoom && outside.hosts.has(host)))
      throw new HubError('forbidden', 'this name does not lead here')
    const { origin } = request.headers
    if (origin === undefined) return
    if (!inRoom || !(origin === 'null' || origins.has(origin) || outside.origins.has(origin)))
      throw new HubError('forbidden', 'requests of other pages are not served')
  })
  for (const { mount } of rooms) mount(app)
  return app
}
