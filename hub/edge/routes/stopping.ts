/** Stopping the hub: for the operator and devices as they ask, for the backup contact in one fixed way. */

import type { Modes } from '../../guard/modes.ts'
import type { Principal } from '../../guard/principal.ts'
import { beginStop, keepStop, type Shutdown, type StopRequest } from '../../work/dispatch/shutdown.ts'
import type { Tasks } from '../../work/dispatch/tasks.ts'
import { type Handlers, stopHandler } from '../serve.ts'

interface Asked {
  drain: boolean
  emergency: boolean
  reason: string
  exit: StopRequest['exit']
}

/** What the contact asks for is always the same, whatever the request says. Pure. */
function stopRequestOf({ drain, emergency, reason, exit }: Asked, kind: Principal['kind']): StopRequest {
  if (kind === 'contact')
    return { drain: false, reason: 'the backup contact stopped everything', exit: 'shutdown', by: 'contact' }
  if (emergency) return { drain: false, reason, exit: 'shutdown', by: 'emergency' }
  return { drain, reason, exit, by: 'operator' }
}

export function stoppingHandlers(parts: { modes: Modes; tasks: Pick<Tasks, 'holdAll'>; shutdown: Shutdown }): Handlers {
  const { modes, tasks, shutdown } = parts
  return {
    'hub.shutdown': stopHandler({
      resource: () => 'hub',
      effect: (_grant, asked: Asked, { principal }) => {
        const request = stopRequestOf(asked, principal.kind)
        beginStop(modes, request)
        return request
      },
      after: (request, _asked, grant) => shutdown(grant, request),
      // The sessions were stopped then. This records what must outlive the stop: the condition, and that no task starts again by itself.
      later: (grant, asked: Asked, { principal }) => {
        const request = stopRequestOf(asked, principal.kind)
        keepStop(modes, request)
        if (request.exit !== 'restart') tasks.holdAll(grant)
      },
    }),
  }
}
