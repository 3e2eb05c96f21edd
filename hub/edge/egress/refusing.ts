/** A refusal as the agent gets it. */
import type { HubError } from '../../base/errors.ts'
import type { Upstream } from '../../protocol/egress/upstreams.ts'
import { refusalFor } from '../../work/egress/wire.ts'
import type { EgressExchange } from './ports.ts'

type Refusing = Pick<EgressExchange, 'request' | 'response'> & { upstream: Upstream; path: string }

/** Says no in the words of the kind. `path` is the one that would have gone outward; empty until it was judged. */
export function answerRefusal({ request, response, upstream, path }: Refusing, error: HubError): void {
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  const next = error.code === 'needs_approval' ? '; once exactly this was approved, send the same request again' : ''
  const shaped = refusalFor(upstream.kind, error.code, `${error.message}${next}`, path)
  const { untilMs } = error.facts
  // An upstream that rests is back soon: the client may try again.
  const rests = error.code === 'upstream_failed' && typeof untilMs === 'number'
  const headers = rests
    ? [...shaped.headers.filter(([name]) => name !== 'x-should-retry'), ['retry-after', '30'] as const]
    : shaped.headers
  const status = rests ? 503 : shaped.status
  response.writeHead(status, [...headers, ['content-length', String(shaped.body.length)] as const].flat())
  response.end(request.method === 'HEAD' ? undefined : shaped.body)
}
