/** The drill: the operator asks for it, it runs on a canary, and its result is kept, good or bad. */
import type { Principal } from '../../guard/principal.ts'
import type { Drill } from '../../work/dispatch/drill.ts'
import { type Handlers, handler } from '../serve.ts'

export function drillHandlers(parts: { drill: Drill }): Handlers {
  return {
    'hub.drill': handler({
      resource: () => 'hub',
      effect: (_grant, _request: { withContact: boolean }, { principal }): Principal => principal,
      after: (principal, { withContact }) => parts.drill.run(principal, withContact),
    }),
  }
}
