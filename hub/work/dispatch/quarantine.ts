/**
 * Shuts off a session that is not trusted any more (S1-66, S1-70): its task fails, its tokens end, what it stored is withheld, evidence of it
 * is kept, and only then is it destroyed. The sessions that read of it are told by an event.
 *
 * The operator asks for it (`session.quarantine`), and so does every critical alert that names a session, before anybody is told of it (S1-67).
 */

import { HubError, toHubError } from '../../base/errors.ts'
import { countOf } from '../../base/shown-text.ts'
import type { Log } from '../../base/telemetry.ts'
import type { AuditSearch } from '../../guard/audit/search.ts'
import type { StopGrant } from '../../guard/grant.ts'
import type { Guard } from '../../guard/guard.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import type { Artifacts } from '../artifacts.ts'
import type { EvidenceReport } from '../evidence.ts'
import type { Custody } from './custody.ts'
import type { Late } from './late.ts'
import type { SessionRow } from './rows.ts'
import type { Tasks } from './tasks.ts'

export type Withheld = ReturnType<Artifacts['withhold']>

/** A session that read something which is withheld now. */
export interface Consumer {
  session: string
  agent: string | null
  task: string | null
  artifacts: string[]
}

export interface Quarantine {
  /** Within the transaction of the grant: fails the task, ends the tokens, withholds what it stored. Throws `unknown_session`. */
  shutOff(grant: StopGrant, session: string, detail: string): Withheld
  /** Captures evidence of it; see custody.ts. */
  keep(grant: StopGrant, session: SessionRow): Promise<EvidenceReport>
  /** Tells each task that read of this, by an event. Answers who they are. */
  tellConsumers(session: SessionRow, withheld: Withheld): Promise<Consumer[]>
  /**
   * Captures evidence of a session that has just begun to end because somebody outside reported it; its container waits for that, as for every
   * capture. Never throws.
   */
  examine(session: string): void
  /**
   * Shuts off what a critical alert names: a session, or the container of one. Of one that is being ended already, only evidence is kept.
   * Settles once that is done. Undefined if there is no such session, or it has ended. Never throws and never rejects.
   */
  contain(subject: string, why: string): Promise<void> | undefined
}

const CONTAINER = hubPrincipal('quarantine')

export function createQuarantine(parts: {
  log: Log
  guard: Pick<Guard, 'gate' | 'events'>
  audit: AuditSearch
  tasks: Tasks
  artifacts: Artifacts
  late: Pick<Late, 'shut'>
  custody: Custody
}): Quarantine {
  const { log, guard, audit, tasks, artifacts, late, custody } = parts
  const { gate, events } = guard

  const isEnding = ({ state }: SessionRow) => state === 'recycling' || state === 'recycled'

  function shutOff(grant: StopGrant, id: string, detail: string): Withheld {
    const session = tasks.session(id)
    if (session === undefined) throw new HubError('unknown_session', `there is no session with the id ${id}`)
    const end = { state: 'failed', error: { code: 'forbidden', detail: detail.slice(0, 500) } } as const
    if (!isEnding(session)) tasks.stop(grant, session.task, end, 'security')
    // While the store cannot be written nothing can be marked as withheld. Its session is ended all the same.
    if (grant.unwritten !== undefined) return []
    late.shut(grant, session)
    return artifacts.withhold(grant, id)
  }

  async function tellConsumers(session: SessionRow, withheld: Withheld): Promise<Consumer[]> {
    const digests = withheld.map(({ sha256 }) => sha256)
    const fetchers = await audit.fetchersOf(digests, session.createdAtMs)
    const consumers = fetchers
      .filter((each) => each.session !== session.id)
      .map((each) => {
        const row = tasks.session(each.session)
        return { session: each.session, agent: row?.agent ?? null, task: row?.task ?? null, artifacts: each.digests }
      })
    for (const { task, session: reader, artifacts: read } of consumers) {
      const data = { task, session: reader, from: session.id, artifacts: read }
      if (task !== null) events.publish('hub.artifact.quarantined.v1', `task:${task}`, data)
    }
    return consumers
  }

  const named = (subject: string): SessionRow | undefined =>
    tasks.session(subject) ?? tasks.sessionsOpen().find(({ containerName }) => containerName === subject)

  async function containOne(session: SessionRow, why: string): Promise<void> {
    const call = { principal: CONTAINER, operation: 'session.reap', resource: `session:${session.id}` } as const
    try {
      const { grant, withheld } = gate.admitStop(call, (proof) => {
        // What it left may be good: it is named because its container does not go, and it was not stopped for what it did.
        if (isEnding(session)) return { grant: proof, withheld: [], auditEffect: 'it is being ended already' }
        const kept = shutOff(proof, session.id, why)
        return { grant: proof, withheld: kept, auditEffect: `contained; ${countOf(kept.length, 'artifact')} withheld` }
      })
      // A pause would only delay the end of one that is being ended.
      await custody.take(grant, tasks.session(session.id) ?? session, { pauses: !isEnding(session) })
      await tellConsumers(session, withheld)
    } catch (thrown) {
      log.error({ session: session.id, reason: toHubError(thrown).reason }, 'a session could not be contained')
    }
  }

  return {
    shutOff,
    async keep(grant, session) {
      // As it is by now: with why it was stopped.
      return await custody.take(grant, tasks.session(session.id) ?? session)
    },
    tellConsumers,
    examine(id) {
      const session = tasks.session(id)
      if (session === undefined || session.state === 'recycled') return
      try {
        const call = { principal: CONTAINER, operation: 'session.reap', resource: `session:${id}` } as const
        const { proof: grant } = gate.admitStop(call, (proof) => {
          // Nothing that it hands in from now on counts (late.ts).
          late.shut(proof, session)
          return { proof, auditEffect: 'evidence is kept first' }
        })
        void custody.take(grant, session)
      } catch (thrown) {
        log.error({ session: id, reason: toHubError(thrown).reason }, 'evidence of a session could not be kept')
      }
    },
    contain(subject, why) {
      const session = named(subject)
      return session === undefined || session.state === 'recycled' ? undefined : containOne(session, why)
    },
  }
}
