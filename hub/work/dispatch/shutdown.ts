/** Stopping the hub's sessions, with requested and confirmed per container (safety.md section 5, S0-15). */
import type { Clock } from '../../base/clock.ts'
import type { Log } from '../../base/telemetry.ts'
import type { StopGrant } from '../../guard/grant.ts'
import type { Modes } from '../../guard/modes.ts'
import type { Launcher } from './launcher.ts'
import type { Reaper } from './reaper.ts'
import type { Tasks } from './tasks.ts'

export interface StopReport {
  path: 'hub'
  requested: number
  containers: { container: string; session: string; outcome: 'gone' | 'already_gone' | 'failed'; reason?: string }[]
}

export interface StopRequest {
  /** Wait until the sessions end by themselves, to their TTL at most. */
  drain: boolean
  reason: string
  /** `restart` leaves the containers to the hub that comes after. */
  exit: 'shutdown' | 'down' | 'restart'
}
interface StopParts {
  clock: Clock
  tasks: Tasks
  launcher: Launcher
  reaper: Reaper
  tellFinish: (session: string, graceMs: number) => void
}

const POLL_MS = 50
/** After the waiting: SIGTERM, five seconds, SIGKILL, removal, with room for a slow engine. */
const CONFIRM_MS = 20_000
const DRAIN_MAX_MS = 24 * 3_600_000
/** For the answer to leave before the process does. */
const FAREWELL_MS = 100

/** The one way the hub stops itself: once only, a second request is answered with the first one's report. */
export function createShutdown(
  options: { waitMs: number },
  parts: StopParts & { log: Log; modes: Modes; onExit: (how: StopRequest['exit']) => void },
): (grant: StopGrant, request: StopRequest) => Promise<StopReport> {
  const { clock, log, modes, onExit } = parts
  let stopping: Promise<StopReport> | undefined

  async function stop(grant: StopGrant, { drain, reason, exit }: StopRequest): Promise<StopReport> {
    modes.raise('draining', reason === '' ? exit : reason)
    const waitMs = drain ? DRAIN_MAX_MS : options.waitMs
    const nothing: StopReport = { path: 'hub', requested: 0, containers: [] }
    const report = exit === 'restart' ? nothing : await stopSessions({ waitMs, confirmMs: CONFIRM_MS }, grant, parts)
    const failed = report.containers.filter((one) => one.outcome === 'failed').length
    log.info({ requested: report.requested, failed }, 'the sessions were stopped')
    clock.after(FAREWELL_MS, () => onExit(exit))
    return report
  }
  return (grant, request) => {
    stopping ??= stop(grant, request)
    return stopping
  }
}

/**
 * Tells every session to finish, waits for results up to `waitMs`, interrupts the rest (their tasks come back held), and answers
 * once each container is confirmed gone or has failed to go. A second call while one is under way is given the same answer.
 */
async function stopSessions(
  options: { waitMs: number; confirmMs: number },
  grant: StopGrant,
  parts: StopParts,
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
