/** What would be pruned, and pruning. Each request is one turn, so the caller sees how far it is and can stop in between. */
import type { PruneRequest } from '../../protocol/operations.ts'
import type { Retention } from '../../work/retention/retention.ts'
import { type Handlers, handler } from '../serve.ts'

export function retentionHandlers({ retention }: { retention: Retention }): Handlers {
  return {
    'retention.show': handler({
      resource: () => 'hub',
      effect: () => undefined,
      after: (_, { olderThanMs }: { olderThanMs?: number }) => retention.foresee(olderThanMs),
    }),
    'retention.prune': handler({
      resource: () => 'hub',
      effect: (grant, { olderThanMs, isFirst }: PruneRequest) => retention.turn(grant, { olderThanMs, isFirst }),
    }),
  }
}
