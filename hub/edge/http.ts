/** The operator's entrance: every operation with a path in the operations table, over the Unix socket. */
import type { FastifyInstance } from 'fastify'
import { HubError } from '../base/errors.ts'
import { OPERATOR } from '../guard/principal.ts'
import { OPERATOR_LIMITS } from './http-limits.ts'
import { type HttpParts, mountOperations, operationAt } from './http-operations.ts'
import { prepared } from './listener.ts'

/** Everything an operator may do; whoever reaches this socket is the operator. */
export function createOperatorHttp(parts: HttpParts): FastifyInstance {
  const heard = new WeakSet<object>()
  const app = prepared(parts, { ...OPERATOR_LIMITS, ...parts.limits }, (request, error) => {
    // The gate records its own refusals (T22): here is what never came to it, a body, a header, a path.
    if (heard.has(request)) return
    const resource = request.url.slice(0, 200)
    parts.gate.refuse({ principal: OPERATOR, operation: operationAt(request), resource }, error)
  })
  app.addHook('onRequest', async ({ headers }) => {
    // Whoever shows a credential is what it says and nothing more: it must not be taken for the account itself (T18).
    if (headers.authorization !== undefined)
      throw new HubError('forbidden', 'this socket is the operator and takes no other credential')
  })
  mountOperations(app, parts, { principalOf: () => OPERATOR, heard: (request) => void heard.add(request) })
  return app
}
