/** What would be pruned, and pruning: one turn a request, so that whoever asks sees how far it is and can stop between. */
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
