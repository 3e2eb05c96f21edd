/** What the hub observes about its host. Each is an audit record; one that cannot be recorded is only in the log file. */
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Store } from '../../store/database.ts'
import type { Gate } from '../gate.ts'
import { hubPrincipal } from '../principal.ts'

export interface Observations {
  note(what: string, text: string): void
  /** The door through which they are recorded; it is built after those who observe. */
  recordBy(gate: Gate): void
}

export function createObservations(parts: { store: Store; log: Log }): Observations {
  const { store, log } = parts
  let gate: Gate | undefined
  return {
    note(what, text) {
      log.warn({ what, text }, 'the hub noticed something about its host')
      if (store.inTransaction || store.failure() !== undefined) return
      // Nothing is observed before there is a gate. If it ever were, it must not count as recorded.
      if (gate === undefined) return log.error({ what }, 'an observation could not be recorded: there is no gate yet')
      try {
        const call = { principal: hubPrincipal('watch'), operation: 'hub.observe', resource: `host:${what}` } as const
        gate.admit(call, () => ({ auditEffect: text }))
      } catch (thrown) {
        log.error({ what, reason: toHubError(thrown).reason }, 'an observation could not be recorded')
      }
    },
    recordBy(made) {
      gate = made
    },
  }
}
