/**
 * `/v1` on the loopback listener: the operations of people for those who bring a bearer (docs/protocol.md 6). Apps and consoles have their
 * rights, tokens have their listed actions. The rules decide what each may do; what none may do is on none of their lists.
 *
 * P1. The credential is in the Authorization header and nowhere else: no cookie, no query, nothing that a browser sends by itself (T33).
 * P2. It is checked before the body is read. What is then refused before the gate (a body, a header) is recorded here, under its holder's
 *     name.
 * P3. A wrong, an expired and a revoked one get the same answer (T16), slowed and recorded. A right one never waits (T17).
 * P4. Whoever listens to events with one that is revoked or has expired hears no further event.
 */
import type { FastifyRequest } from 'fastify'
import type { Clock } from '../../base/clock.ts'
import { BEARER_KINDS, type Credential, type Credentials, principalOf } from '../../guard/identity/credentials.ts'
import type { Principal } from '../../guard/principal.ts'
import { singleHeader } from '../http-answers.ts'
import { type HttpParts, mountOperations, operationAt } from './http-operations.ts'
import { fromFastify } from './listener.ts'
import type { LoopbackPlugin } from './loopback.ts'
import { BEARER_TRIES, createWrongTries, refuseWrong } from './wrong-tries.ts'

const BEARER = /^Bearer ([A-Za-z0-9_-]{43})$/
const NOBODY: Principal = Object.freeze({ kind: 'automation', id: 'unknown' })

/** The plugin of the loopback listener, which guards Host and Origin. */
export function bearerApi(parts: HttpParts & { credentials: Credentials; clock: Clock }): LoopbackPlugin {
  const { credentials, gate, clock } = parts
  const tries = createWrongTries(BEARER_TRIES, clock)

  function bearerOf(request: FastifyRequest): Credential {
    const secret = BEARER.exec(singleHeader(request.raw, 'authorization') ?? '')?.[1]
    const found = secret === undefined ? undefined : credentials.find(secret, BEARER_KINDS)
    if (found === undefined) {
      // The route and not the address: somebody may have put a secret into the address (T33).
      const resource = request.routeOptions.url ?? '/v1'
      return refuseWrong(
        { gate, tries },
        { principal: NOBODY, operation: operationAt(request), resource },
        'no valid bearer',
      )
    }
    credentials.used(found.name)
    return found
  }

  return {
    path: '/v1',
    mount: (app) =>
      void app.register(async (scope) => {
        const bearers = new WeakMap<FastifyRequest, Credential>()
        const heard = new WeakSet<FastifyRequest>()
        scope.addHook('onRequest', async (request) => void bearers.set(request, bearerOf(request)))
        scope.addHook('onError', async (request, _reply, thrown) => {
          const bearer = bearers.get(request)
          if (bearer === undefined || heard.has(request)) return
          const resource = request.routeOptions.url ?? '/v1'
          gate.refuse(
            { principal: principalOf(bearer), operation: operationAt(request), resource },
            fromFastify(thrown),
          )
        })
        mountOperations(scope, parts, {
          principalOf: (request) => principalOf(bearers.get(request) ?? bearerOf(request)),
          holds(request) {
            const bearer = bearers.get(request)
            return bearer !== undefined && credentials.holds(bearer)
          },
          heard: (request) => void heard.add(request),
        })
      }),
  }
}
