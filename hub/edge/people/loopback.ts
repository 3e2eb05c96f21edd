/**
 * The loopback listener of people: `/healthz`, and plugins whose requests bring their own credential.
 *
 * L1. This machine's names lead everywhere. The names of `reach` lead only to plugins that are not for this machine alone. Any other Host
 *     is refused (T33, T34).
 * L2. No page of another origin is served. A browser says `null` when it hides its origin. That is let in only where a plugin takes forms
 *     whose address is the credential.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { HubError } from '../../base/errors.ts'
import { singleHeader } from '../http-answers.ts'
import { type HttpLimits, type ListenerParts, OPERATOR_LIMITS, prepared } from './listener.ts'
import { localNames, type Reach, reachNames } from './reach.ts'

/** Only health is served. Nobody needs long, so whoever takes all places holds them only for seconds. */
const LOOPBACK_LIMITS: HttpLimits = {
  ...OPERATOR_LIMITS,
  headersMs: 5000,
  requestMs: 10_000,
  connectionsMax: 64,
  perSecond: 50,
}

export interface LoopbackPlugin {
  /** `/stop`: served at this path and below it. */
  path: string
  /** Served only under this machine's own names. */
  isLocal?: boolean
  /** Whether a page that hides its origin may ask. */
  isOriginHidden?: boolean
  mount: (app: FastifyInstance) => void
}
export interface LoopbackParts extends ListenerParts {
  reach?: Reach
  plugins?: readonly LoopbackPlugin[]
  /** Hears of each request before its plugin does; throws to refuse it. */
  before?: (request: FastifyRequest) => void
}

const isWithin = (path: string, url: string): boolean =>
  url === path || (/^[/?]/.test(url.slice(path.length)) && url.startsWith(path))

/** Health, and nothing else without a credential. */
export function createLoopbackHttp(port: () => number, parts: LoopbackParts): FastifyInstance {
  const { reach, plugins = [] } = parts
  const outside = reach === undefined ? { hosts: new Set(), origins: new Set() } : reachNames(reach)
  // Without a credential there is nobody to record, and a record for each request would let any local process fill the disk.
  const app = prepared(parts, { ...LOOPBACK_LIMITS, ...parts.limits }, () => undefined)
  app.addHook('onRequest', async (request) => {
    const { hosts, origins } = localNames(port())
    const plugin = plugins.find(({ path }) => isWithin(path, request.url))
    const theirs = plugin === undefined || plugin.isLocal === true ? undefined : outside
    const host = singleHeader(request.raw, 'host') ?? ''
    if (!hosts.has(host) && theirs?.hosts.has(host) !== true)
      throw new HubError('forbidden', 'this host name is not served here')
    parts.before?.(request)
    const { origin } = request.headers
    if (origin === undefined) return
    const isOurs =
      origin === 'null' ? plugin?.isOriginHidden === true : origins.has(origin) || theirs?.origins.has(origin) === true
    if (plugin === undefined || !isOurs) throw new HubError('forbidden', 'requests from other pages are refused')
  })
  for (const { mount } of plugins) mount(app)
  return app
}
