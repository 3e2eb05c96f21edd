/** Feature flags: what is switched now, and switching. */
import type { Flags } from '../../guard/operator/flags.ts'
import { MANDATORY } from '../../protocol/flags.ts'
import type { FlagSetRequest } from '../../protocol/operations.ts'
import { type Handlers, handler } from '../serve.ts'

export function flagHandlers({ flags }: { flags: Flags }): Handlers {
  const mandatory = Object.entries(MANDATORY).map(([name, means]) => ({ name, means }))
  return {
    'flag.list': handler({
      resource: () => 'flags',
      effect: () => ({ profile: flags.profile, flags: flags.list(), mandatory }),
    }),
    'flag.set': handler({
      resource: ({ name }: FlagSetRequest) => `flag:${name}`,
      facts: ({ name, value, emergency, forMs }: FlagSetRequest) => ({
        name,
        value,
        emergency: emergency ?? null,
        forMs: forMs ?? null,
      }),
      // Off is the stricter side of every flag, so each mode permits it.
      restricts: ({ value }: FlagSetRequest) => value === false,
      effect: (grant, request: FlagSetRequest) => flags.set(grant, request),
      after: ({ flag }) => ({ flag }),
    }),
  }
}
