/** Builds what is done with sessions that are not trusted any more: evidence of them, and how they are shut off. */
import { join } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import { nextTurn } from '../../base/turn.ts'
import { createAuditSearch } from '../../guard/audit/search.ts'
import type { Guard } from '../../guard/guard.ts'
import type { Catalogue } from '../catalogue.ts'
import type { Containment } from '../containment.ts'
import { createEvidence } from '../evidence.ts'
import type { Messaging } from '../messaging.ts'
import { createCustody } from './custody.ts'
import type { Losses } from './losses.ts'
import { createQuarantine } from './quarantine.ts'
import { stopForSecurity } from './security-stop.ts'
import type { Tasks } from './tasks.ts'

export interface DistrustParts {
  clock: Clock
  log: Log
  guard: Guard
  containment: Containment
  catalogue: Catalogue
  messaging: Messaging
  tasks: Tasks
  losses: Losses
}

export function createDistrust({ home }: { home: string }, parts: DistrustParts) {
  const { clock, log, guard, containment, catalogue, messaging, tasks, losses } = parts
  const { gate, modes, alerts } = guard
  const audit = createAuditSearch(guard.audit, nextTurn)

  const evidence = createEvidence(
    { folder: join(home, 'evidence') },
    {
      ...{ clock, audit, redaction: guard.redaction, steady: guard.host.steady, engine: containment.engine },
      ...{ journal: catalogue.journal, mailboxes: messaging.mailboxes },
    },
  )
  const custody = createCustody({ clock, log, gate, modes, evidence })
  const quarantine = createQuarantine({
    log,
    guard,
    audit,
    tasks,
    custody,
    artifacts: catalogue.artifacts,
    late: catalogue.late,
  })
  // A critical alert that names a session is told once that is contained (S1-67).
  alerts.onAccused(quarantine.contain)

  return {
    audit,
    evidence,
    custody,
    quarantine,
    /** Its container is not as it was made: whoever changed it has control of the engine. */
    changed(session: string, found: string): void {
      const text = `The container of session ${session} is no longer as the hub made it: ${found}. The session was stopped. Whoever changed it has control of the engine. Evidence: \`hub session evidence ${session}\``
      alerts.raise(`profile_mismatch:${session}`, 'critical', text)
      // It runs on if the alert was open already, from before a restart.
      if (!losses.isLive(session)) return
      try {
        stopForSecurity(
          { guard, tasks, late: catalogue.late },
          session,
          `its container is no longer as it was made: ${found}`,
        )
      } catch (thrown) {
        log.error(
          { session, reason: toHubError(thrown).reason },
          'could not stop a session whose container was changed',
        )
      }
    },
  }
}
