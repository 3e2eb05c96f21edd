/**
 * `session.quarantine` (S1-66, S1-70): the operator does not trust a session (work/dispatch/quarantine.ts).
 * `session.evidence`: what was kept of sessions that were stopped for security, and where it is.
 */

import { basename } from 'node:path'
import { HubError } from '../../base/errors.ts'
import { countOf } from '../../base/shown-text.ts'
import type { AuditSearch } from '../../guard/audit/search.ts'
import type { StopGrant } from '../../guard/grant.ts'
import type { Store } from '../../store/database.ts'
import type { Quarantine, Withheld } from '../../work/dispatch/quarantine.ts'
import type { Reaper } from '../../work/dispatch/reaper.ts'
import type { SessionRow } from '../../work/dispatch/rows.ts'
import type { Tasks } from '../../work/dispatch/tasks.ts'
import type { Evidence, EvidenceBundle } from '../../work/evidence.ts'
import type { Containers } from '../../work/sandbox/containers.ts'
import { type Handlers, handler, stopHandler } from '../serve.ts'

const WHY = 'its session was quarantined by the operator'
const RECORDS_MAX = 1000

interface Shut {
  session: SessionRow
  /** Undefined while the store cannot be written: the container is destroyed anyway. */
  withheld: Withheld | undefined
  auditEffect: string
}

export function quarantineHandlers(parts: {
  store: Store
  tasks: Tasks
  reaper: Pick<Reaper, 'round'>
  containers: Containers
  quarantine: Quarantine
  evidence: Evidence
  audit: AuditSearch
  /** Ends its fast session at once. */
  cutFrames: (session: string) => void
}): Handlers {
  const { store, tasks, reaper, containers, quarantine, evidence, audit, cutFrames } = parts

  function shutOff(grant: StopGrant, id: string): Shut {
    const session = tasks.session(id)
    if (session === undefined) throw new HubError('unknown_session', `there is no session with the id ${id}`)
    if (session.state === 'recycled') throw new HubError('already_resolved', 'the session has ended')
    // Outside of a transaction: the store cannot be written. Nothing of it can be moved then; it is destroyed below.
    if (!store.inTransaction) return { session, withheld: undefined, auditEffect: 'not recorded' }
    const withheld = quarantine.shutOff(grant, id, WHY)
    return { session, withheld, auditEffect: `${countOf(withheld.length, 'artifact')} withheld` }
  }

  /** The digest of the manifest as the audit log has it. The record was made when the bundle was, which its name says too. */
  async function recordedOf({ session, folder, capturedAtMs }: EvidenceBundle): Promise<string | null> {
    const during = { action: 'session.captured', sinceMs: capturedAtMs, untilMs: capturedAtMs }
    const records = await audit.ofSession(session, during, RECORDS_MAX)
    const start = `evidence/${basename(folder)} sha256:`
    const found = records.find(({ effect }) => effect.startsWith(start))
    return found === undefined ? null : (/^[0-9a-f]{64}/.exec(found.effect.slice(start.length))?.[0] ?? null)
  }

  return {
    'session.quarantine': stopHandler({
      resource: ({ id }: { id: string }) => `session:${id}`,
      effect: (grant, { id }: { id: string }) => shutOff(grant, id),
      // For a session that was destroyed while nothing could be written.
      later: (grant, { id }: { id: string }) => {
        if (tasks.session(id) !== undefined) quarantine.shutOff(grant, id, WHY)
      },
      async after({ session, withheld }, { id }, grant) {
        cutFrames(id)
        const report = await quarantine.keep(grant, session)
        if (withheld === undefined)
          await containers.recycle(grant, session.containerId ?? session.containerName, { graceMs: 0 })
        else reaper.round()
        return {
          session: id,
          task: session.task,
          evidence: report,
          withheld: withheld ?? null,
          consumers: await quarantine.tellConsumers(session, withheld ?? []),
        }
      },
    }),
    'session.evidence': handler({
      resource: ({ session }: { session?: string; limit: number }) =>
        session === undefined ? 'sessions' : `session:${session}`,
      effect: () => undefined,
      async after(_, { session, limit }) {
        const found = await evidence.list({ session, limit })
        const bundles = []
        for (const bundle of found) {
          const recorded = session === undefined ? null : await recordedOf(bundle)
          const isOther = recorded !== null && bundle.sha256 !== recorded
          bundles.push({ ...bundle, recorded, ...(isOther ? { state: 'changed' as const } : {}) })
        }
        return { evidence: bundles }
      },
    }),
  }
}
