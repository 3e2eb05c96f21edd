/**
 * The pass at start, before the entrances open (S1-12, X6): every open session is judged by what the engine says. Running containers are
 * taken over on their sockets, ended ones are settled, and what never started goes back to the queue.
 */
import type { Clock } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { EngineWatch } from '../../guard/conditions/engine-health.ts'
import type { ContainerFact, Engine } from '../sandbox/engine.ts'
import { type Expiry, endsBootMs, readExpiry } from './expiry.ts'
import type { Launcher } from './launcher.ts'
import type { Losses } from './losses.ts'
import type { SessionRow, TaskRow } from './rows.ts'
import type { Tasks } from './tasks.ts'

export type RecoveryStep = 'adopt' | 'ended' | 'interrupted' | 'leave'

/** What to do with one open session. Pure. Queued tasks are never lost; the engine's word beats the row. */
export function decideRecovery(
  session: Pick<SessionRow, 'state'> & Expiry,
  found: Pick<ContainerFact, 'state'> | undefined,
  now: { bootId: string; bootMs: number },
): RecoveryStep {
  if (session.state === 'recycling') return 'leave'
  const expiry = readExpiry(session.expiresBoot)
  // The machine took it away, whatever its exit looks like. So it is no crash, and it is repeated only if its card allows that.
  if (expiry.bootId !== now.bootId) return 'interrupted'
  // Its time ran out while nobody watched, and shim or watchdog ended it. The reaper records it as that.
  if (endsBootMs(session, { bootMs: () => now.bootMs }) <= now.bootMs) return 'leave'
  if (found === undefined || found.state === 'created' || found.state === 'removing') return 'interrupted'
  if (found.state === 'exited' || found.state === 'dead') return 'ended'
  // It runs, but the crash came before the row knew its container. Nothing has joined, so it is started again.
  return session.state === 'provisioning' ? 'interrupted' : 'adopt'
}

/** The facts that `decideRecovery` takes. */
export const nowOf = (clock: Clock) => ({ bootId: clock.bootId, bootMs: clock.bootMs() })

/**
 * Judges all open sessions, and answers how many took which step. If the engine does not answer, nothing is judged; the reconcile does it
 * later.
 */
export async function recover(
  instance: string,
  parts: {
    clock: Clock
    tasks: Tasks
    engine: Engine
    launcher: Launcher
    losses: Losses
    engineWatch: EngineWatch
    log: Log
    /** Puts into the mailbox of a session that was taken over what it may not have heard: how its children and its acts ended. */
    redeliver: (session: SessionRow, children: TaskRow[]) => void
  },
): Promise<Record<RecoveryStep, number>> {
  const { clock, tasks, engine, launcher, losses, engineWatch, log, redeliver } = parts
  const counts: Record<RecoveryStep, number> = { adopt: 0, ended: 0, interrupted: 0, leave: 0 }
  const open = tasks.sessionsOpen()
  let found: ContainerFact[]
  try {
    found = await engine.list(instance)
    engineWatch.good()
  } catch (thrown) {
    engineWatch.bad(toHubError(thrown).message)
    await Promise.all(open.map((session) => adopt(session)))
    return { ...counts, adopt: open.length }
  }
  const byName = new Map(found.map((container) => [container.name, container]))

  async function adopt(session: SessionRow): Promise<void> {
    if (session.state === 'recycling') return
    await launcher.adopt(session)
    redeliver(session, tasks.children(session.task))
  }

  for (const session of open) {
    const container = byName.get(session.containerName)
    const step = decideRecovery(session, container, nowOf(clock))
    counts[step] += 1
    if (step === 'adopt') await adopt(session)
    else if (step === 'ended') launcher.collect(session.id, container?.id ?? '')
    else if (step === 'interrupted') losses.interrupted(session.id, 'the hub restarted during its start')
  }
  if (open.length > 0) log.info({ ...counts }, 'open sessions were compared with the engine')
  return counts
}
