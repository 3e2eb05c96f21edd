/** Holding every unfinished task: none of them starts again before the operator says so (safety.md section 5). */
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Gate } from '../../guard/gate.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import type { Tasks } from './tasks.ts'

const STOPPER = hubPrincipal('shutdown')

/** Holds them all, recorded. False where the store could not take it: then somebody else has to remember. */
export function holdTasks(parts: { gate: Gate; tasks: Tasks; log: Log }): boolean {
  const { gate, tasks, log } = parts
  try {
    gate.admitStop({ principal: STOPPER, operation: 'session.reap', resource: 'tasks' }, (grant) => ({
      auditEffect: `${tasks.holdAll(grant)} tasks were not held before`,
    }))
    return true
  } catch (thrown) {
    log.error({ reason: toHubError(thrown).reason }, 'the unfinished tasks could not be held')
    return false
  }
}
