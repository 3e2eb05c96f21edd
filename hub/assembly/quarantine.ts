/** Builds what `hub session quarantine` needs: the search of the audit log, the capture, and the handler over both. */
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { nextTurn } from '../base/turn.ts'
import { quarantineHandlers } from '../edge/routes/quarantine.ts'
import type { Handlers } from '../edge/serve.ts'
import { createAuditSearch } from '../guard/audit/search.ts'
import { createEvidence } from '../work/evidence.ts'
import type { Engine } from '../work/sandbox/engine.ts'
import type { Secrets } from '../work/sandbox/secrets.ts'
import type { Guard } from './guard.ts'
import type { Work } from './work.ts'

export function createQuarantine(
  { home }: { home: string },
  outer: {
    clock: Clock
    engine: Engine
    guard: Guard
    work: Work
    secrets: Secrets
    cutFrames: (session: string) => void
  },
): Handlers {
  const { clock, engine, guard, work, secrets, cutFrames } = outer
  const { store, events } = guard
  const { tasks, artifacts, reaper, containers, journal, mailboxes } = work
  const audit = createAuditSearch(guard.audit, nextTurn)
  const evidence = createEvidence(
    { folder: join(home, 'evidence') },
    {
      clock: guard.footing.steady,
      engine,
      audit,
      journal,
      mailboxes,
      secretOf(name) {
        try {
          return secrets.ofHub(name)
        } catch {
          // One that is gone cannot be masked, and cannot have been given out either.
          return undefined
        }
      },
    },
  )
  return quarantineHandlers({ clock, store, tasks, artifacts, reaper, containers, evidence, audit, events, cutFrames })
}
