/**
 * Stopping while the store cannot be written (I6, T79): the containers of a task and of its children are stopped, and their sessions can do
 * nothing any more. No row says so; once the store works again the reconcile finds the containers gone, and what they worked on
 * comes back as after any interruption.
 */
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { StopGrant } from '../../guard/grant.ts'
import { STOP_GRACE_MS } from '../../protocol/task.ts'
import type { Containers } from '../sandbox/containers.ts'
import type { SessionRow, TaskRows } from './rows.ts'

export interface UnwrittenStops {
  /** Begins to stop what runs of this task; a second call for the same session does nothing. */
  stop(grant: StopGrant, task: string): void
}

export function createUnwrittenStops(parts: {
  rows: Pick<TaskRows, 'children' | 'sessionOfTask' | 'sessionsOpen'>
  containers: Pick<Containers, 'recycle'>
  /** Lets go of everything the session had: mailbox, entrance, subscriptions. */
  release: (session: string) => void
  log: Log
}): UnwrittenStops {
  const { rows, containers, release, log } = parts
  /** Of open sessions alone: of what has been recycled nobody asks any more. */
  const stopping = new Set<string>()

  const running = (task: string): SessionRow[] => {
    const own = rows.sessionOfTask(task)
    return [...(own === undefined ? [] : [own]), ...rows.children(task).flatMap(({ id }) => running(id))]
  }

  function stopOne(grant: StopGrant, session: SessionRow): void {
    if (stopping.has(session.id)) return
    stopping.add(session.id)
    log.error({ session: session.id }, 'a session is stopped without a word in the store')
    release(session.id)
    containers
      .recycle(grant, session.containerId ?? session.containerName, { graceMs: STOP_GRACE_MS })
      .catch((thrown) => ({ outcome: 'failed', reason: toHubError(thrown).reason }) as const)
      .then((outcome) => {
        if (outcome.outcome !== 'failed') return
        // To be tried again by whoever asks next: the operator, or its time to live.
        stopping.delete(session.id)
        log.error({ session: session.id, reason: outcome.reason }, 'its container is not gone')
      })
  }
  return {
    stop(grant, task) {
      const open = new Set(rows.sessionsOpen().map(({ id }) => id))
      for (const id of stopping) if (!open.has(id)) stopping.delete(id)
      for (const session of running(task)) stopOne(grant, session)
    },
  }
}
