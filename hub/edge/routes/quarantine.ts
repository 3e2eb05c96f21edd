/**
 * `session.quarantine` (S1-66, S1-70): the session is shut off at once, evidence of it is kept, then it is destroyed. Its task fails, and
 * what it stored is withheld. The sessions that read of it are named, and told by an event.
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { AuditSearch } from '../../guard/audit/search.ts'
import type { Events } from '../../guard/events.ts'
import type { StopGrant } from '../../guard/grant.ts'
import type { Store } from '../../store/database.ts'
import type { Artifacts } from '../../work/artifacts.ts'
import type { Reaper } from '../../work/dispatch/reaper.ts'
import type { SessionRow } from '../../work/dispatch/rows.ts'
import type { Tasks } from '../../work/dispatch/tasks.ts'
import type { Evidence, EvidenceReport } from '../../work/evidence.ts'
import type { Containers } from '../../work/sandbox/containers.ts'
import { type Handlers, stopHandler } from '../serve.ts'

/** The container is destroyed after this long, captured or not. */
const CAPTURE_MS_MAX = 15_000

const END = {
  state: 'failed',
  error: { code: 'forbidden', detail: 'its session was quarantined by the operator' },
} as const

interface Shut {
  session: SessionRow
  /** Undefined while the store cannot be written: the container is destroyed anyway. */
  withheld: ReturnType<Artifacts['withhold']> | undefined
  letGo: () => void
  auditEffect: string
}

export function quarantineHandlers(parts: {
  clock: Clock
  store: Store
  tasks: Tasks
  artifacts: Artifacts
  reaper: Reaper
  containers: Containers
  evidence: Evidence
  audit: AuditSearch
  events: Events
  /** Ends its fast session at once. */
  cutFrames: (session: string) => void
}): Handlers {
  const { clock, store, tasks, artifacts, reaper, containers, evidence, audit, events, cutFrames } = parts

  function shutOff(grant: StopGrant, id: string): Shut {
    const session = tasks.session(id)
    if (session === undefined) throw new HubError('unknown_session', `there is no session with the id ${id}`)
    if (session.state === 'recycled') throw new HubError('already_resolved', 'the session has ended')
    const letGo = reaper.hold(id, CAPTURE_MS_MAX)
    // Outside of a transaction: the store cannot be written. Nothing of it can be moved then; it is destroyed below.
    if (!store.inTransaction) return { session, withheld: undefined, letGo, auditEffect: 'not recorded' }
    try {
      if (session.state !== 'recycling') tasks.stop(grant, session.task, END, 'security')
      const withheld = artifacts.withhold(grant, id)
      return { session, withheld, letGo, auditEffect: `${withheld.length} artifacts withheld` }
    } catch (thrown) {
      letGo()
      throw thrown
    }
  }

  /** For a session that was destroyed while nothing could be written. */
  function shutOffLater(grant: StopGrant, id: string): void {
    const session = tasks.session(id)
    if (session === undefined) return
    artifacts.withhold(grant, id)
    if (session.state !== 'recycling' && session.state !== 'recycled') tasks.stop(grant, session.task, END, 'security')
  }

  async function captured(grant: StopGrant, session: SessionRow): Promise<EvidenceReport> {
    const late: EvidenceReport = {
      folder: null,
      files: [],
      faults: [{ part: 'all', reason: `it took over ${CAPTURE_MS_MAX / 1000} s; what was captured is in evidence/` }],
    }
    return Promise.race([evidence.capture(grant, session), clock.sleep(CAPTURE_MS_MAX).then(() => late)])
  }

  /** Who read what it left: each such task hears by an event, and the operator by name. */
  async function tellConsumers(id: string, withheld: { sha256: string }[], sinceMs: number) {
    const fetchers = await audit.fetchersOf(
      withheld.map(({ sha256 }) => sha256),
      sinceMs,
    )
    const consumers = fetchers
      .filter(({ session }) => session !== id)
      .map(({ session, digests }) => {
        const row = tasks.session(session)
        return { session, agent: row?.agent ?? null, task: row?.task ?? null, artifacts: digests }
      })
    for (const { task, session, artifacts: read } of consumers) {
      if (task !== null)
        events.publish('hub.artifact.quarantined.v1', `task:${task}`, { task, session, from: id, artifacts: read })
    }
    return consumers
  }

  return {
    'session.quarantine': stopHandler({
      resource: ({ id }: { id: string }) => `session:${id}`,
      effect: (grant, { id }: { id: string }) => shutOff(grant, id),
      later: (grant, { id }: { id: string }) => shutOffLater(grant, id),
      async after({ session, withheld, letGo }, { id }, grant) {
        cutFrames(id)
        const report = await captured(grant, session)
        letGo()
        if (withheld === undefined)
          await containers.recycle(grant, session.containerId ?? session.containerName, { graceMs: 0 })
        else reaper.round()
        return {
          session: id,
          task: session.task,
          evidence: report,
          withheld: withheld ?? null,
          consumers: await tellConsumers(id, withheld ?? [], session.createdAtMs),
        }
      },
    }),
  }
}
