/** Stopping the hub's sessions, with requested and confirmed per container (safety.md section 5, S0-15). */
import type { Clock } from '../../base/clock.ts'
import type { StopGrant } from '../../guard/grant.ts'
import type { Launcher } from './launcher.ts'
import type { Reaper } from './reaper.ts'
import type { Tasks } from './tasks.ts'

export interface StopReport {
  path: 'hub'
  requested: number
  containers: { container: string; session: string; outcome: 'gone' | 'already_gone' | 'failed'; reason?: string }[]
}

const POLL_MS = 50

/**
 * Tells every session to finish, waits for results up to `waitMs`, interrupts the rest (their tasks come back held), and answers
 * once each container is confirmed gone or has failed to go. A second call while one is under way is given the same answer.
 */
export async function stopSessions(
  options: { waitMs: number; confirmMs: number },
  grant: StopGrant,
  parts: {
    clock: Clock
    tasks: Tasks
    launcher: Launcher
    reaper: Reaper
    tellFinish: (session: string, graceMs: number) => void
  },
): Promise<StopReport> {
  const { clock, tasks, launcher, reaper, tellFinish } = parts
  await launcher.settled()
  const asked = tasks.sessionsOpen()
  for (const session of asked) if (session.state !== 'recycling') tellFinish(session.id, options.waitMs)
  const deadline = clock.monotonicMs() + options.waitMs
  const working = () => tasks.sessionsOpen().filter((session) => session.state !== 'recycling')
  while (working().length > 0 && clock.monotonicMs() < deadline) {
    reaper.round()
    await clock.sleep(POLL_MS)
  }
  for (const session of working()) tasks.interrupt(grant, session.id, 'shutdown')
  const confirmBy = clock.monotonicMs() + options.confirmMs
  while (tasks.sessionsOpen().length > 0 && clock.monotonicMs() < confirmBy) {
    reaper.round()
    await reaper.idle()
    await clock.sleep(POLL_MS)
  }
  const containers = asked.map((session) => {
    const gone = tasks.session(session.id)?.state === 'recycled'
    const seen = reaper.outcomeOf(session.id)
    const outcome =
      gone && seen !== undefined
        ? seen
        : {
            outcome: 'failed' as const,
            reason: seen && 'reason' in seen ? seen.reason : 'it was not confirmed in time',
          }
    return { container: session.containerName, session: session.id, ...outcome }
  })
  return { path: 'hub', requested: asked.length, containers }
}
