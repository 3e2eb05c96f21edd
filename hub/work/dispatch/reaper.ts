/**
 * Removes what is over: sessions past their TTL, sessions to be recycled, containers of ours that belong to nobody (T60, T61, T94). It is
 * line two of the three TTL lines (docs/sandbox.md 4). It takes only stop grants, so it works in every mode.
 */

import type { Clock } from '../../base/clock.ts'
import { type Remains, wayOut } from '../../base/container-processes.ts'
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Alerts } from '../../guard/alerts/alerts.ts'
import type { EngineWatch } from '../../guard/conditions/engine-health.ts'
import type { Gate } from '../../guard/gate.ts'
import type { StopGrant } from '../../guard/grant.ts'
import type { Modes } from '../../guard/modes.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import { STOP_GRACE_MS } from '../../protocol/stop-grace.ts'
import { taskMachine } from '../../protocol/task.ts'
import type { Containers } from '../sandbox/containers.ts'
import type { ContainerFact, Removal } from '../sandbox/engine.ts'
import type { EngineLooks } from '../sandbox/engine-looks.ts'
import type { Ledger } from '../sandbox/ledger.ts'
import type { SessionCards } from '../session-cards.ts'
import type { Custody } from './custody.ts'
import { leftMs } from './expiry.ts'
import type { Late } from './late.ts'
import type { Launcher } from './launcher.ts'
import type { Losses } from './losses.ts'
import type { Made } from './made.ts'
import { decideRecovery, nowOf } from './recovery.ts'
import { type SessionRow, unreadableError } from './rows.ts'
import type { Tasks } from './tasks.ts'

/** A host that denies a stop denies it again (fault A10). Once or twice may be a bad moment of its engine. */
const DENIED_TRIES = 3

/** Counted in sessions. */
export const REMOVALS_MAX = 1024

/**
 * How the removal of sessions' containers went, for those who wait for it: a stop and a drill. Only the newest `REMOVALS_MAX` sessions are
 * kept. That is more than can be open at once (`limits.sessions` is at most 255), and nothing new starts during a stop, so none that a stop
 * waits for is forgotten.
 */
export function createRemovals() {
  const bySession = new Map<string, { removal: Removal; denied: number }>()
  return {
    note(session: string, removal: Removal): void {
      const isDenied = removal.outcome === 'failed' && removal.isRefused === true
      const denied = isDenied ? (bySession.get(session)?.denied ?? 0) + 1 : 0
      bySession.delete(session)
      bySession.set(session, { removal, denied })
      const [oldest] = bySession.keys()
      if (bySession.size > REMOVALS_MAX && oldest !== undefined) bySession.delete(oldest)
    },
    of: (session: string): Removal | undefined => bySession.get(session)?.removal,
    /** Stop, kill and removal were each refused at once, three times in a row: another try will not differ. */
    isBarred: (session: string): boolean => (bySession.get(session)?.denied ?? 0) >= DENIED_TRIES,
  }
}

const FIRST_WAIT_MS = 1000
const WAIT_MS_MAX = 15_000
/** A restart of the engine is over by then. */
const ALARM_AFTER_MS = 60_000
const TRIES_MIN = 3

/** Milliseconds until the next try, after this many failed ones. Pure. */
export const retryWaitMs = (failures: number): number =>
  Math.min(FIRST_WAIT_MS * 2 ** Math.max(0, failures - 1), WAIT_MS_MAX)

/** A kill that nobody confirms is an alarm. An engine that does not answer for a moment is not. Pure. */
export const isAlarming = (failures: number, sinceMs: number): boolean =>
  failures >= TRIES_MIN && sinceMs >= ALARM_AFTER_MS

export interface Stubborn {
  /** Whether it is time for another try. */
  mayTry(container: string): boolean
  /** Another try failed. */
  failed(container: string, reason: string, facts: { isEngineAway: boolean; remains?: Remains }): void
  gone(container: string): void
  /** All containers that did not go at the last try, oldest first. */
  list(): Stuck[]
}

/** A container that does not go, as `hub status` shows it until it is gone. */
export interface Stuck {
  container: string
  reason: string
  remains: Remains
  forMs: number
}

/**
 * A kill that nobody confirms is critical. If the engine does not answer, nothing can be confirmed, and that ends by itself. A container
 * without any process can do no harm. Pure.
 */
const stuckSeverity = (isEngineAway: boolean, remains: Remains): 'warning' | 'critical' =>
  isEngineAway || remains.kind === 'nothing' ? 'warning' : 'critical'

/**
 * Containers that do not go (T93) are tried again with back-off. After a minute of failures an alarm says how to end them on the host. This
 * is kept in memory: after a restart the count starts again, and the open alarm stays until the container is gone.
 */
export function createStubborn(parts: { clock: Clock; alerts: Pick<Alerts, 'raise' | 'resolve'> }): Stubborn {
  const { clock, alerts } = parts
  const known = new Map<
    string,
    { failures: number; firstAt: number; againAt: number; reason: string; remains: Remains }
  >()
  const causeOf = (container: string) => `kill_unconfirmed:${container}` as const
  return {
    mayTry: (container) => clock.monotonicMs() >= (known.get(container)?.againAt ?? 0),
    failed(container, reason, { isEngineAway, remains = { kind: 'unknown' } }) {
      const now = clock.monotonicMs()
      const { failures, firstAt } = known.get(container) ?? { failures: 0, firstAt: now }
      known.set(container, {
        failures: failures + 1,
        firstAt,
        againAt: now + retryWaitMs(failures + 1),
        reason,
        remains,
      })
      if (!isAlarming(failures + 1, now - firstAt)) return
      const text = `Container ${container} does not go away (${reason}). ${wayOut(container, reason, remains)}`
      alerts.raise(causeOf(container), stuckSeverity(isEngineAway, remains), text)
    },
    list: () =>
      [...known].map(([container, { reason, remains, firstAt }]) => ({
        container,
        reason,
        remains,
        forMs: Math.round(clock.monotonicMs() - firstAt),
      })),
    gone(container) {
      known.delete(container)
      alerts.resolve(causeOf(container), 'the container is gone')
    },
  }
}

const REAPER = hubPrincipal('reaper')
/** An agent that gave its result has this long to end by itself before it is stopped. */
const FAREWELL_MS = 2000
const ORPHAN_AGE_MS = 60_000
/** An end that could not be recorded is tried again after this time: each try leaves a record in the bounded audit buffer. */
const UNWRITTEN_AGAIN_MS = 30_000

/** Wait after a look that differs from the one before. */
const LOOK_AGAIN_MS = 1000

export interface Reaper {
  /** Expires what is past its TTL, and begins to recycle what is due. */
  round(): void
  /** Compares rows with the engine's containers: ends what the engine ended, removes what belongs to nobody. */
  reconcile(): Promise<void>
  /** The engine says that this session's container has ended. It is looked at now, not at the next reconcile (T12). */
  look(session: string): void
  /** Resolves when nothing is being recycled. */
  idle(): Promise<void>
  /** How the removal went for each of the newest sessions that this process recycled. */
  outcomeOf(session: string): Removal | undefined
  /** The host denied its stop so often that another try will not differ. */
  isBarred(session: string): boolean
  /** Everything is being stopped: no session gets time to hand in what it has. */
  hurry(): void
  /** Containers that did not go at the last try. */
  stuck(): Stuck[]
}

export interface ReaperParts {
  clock: Clock
  log: Log
  gate: Gate
  alerts: Pick<Alerts, 'raise' | 'resolve'>
  modes: Modes
  tasks: Tasks
  launcher: Launcher
  losses: Losses
  looks: EngineLooks
  engineWatch: EngineWatch
  containers: Containers
  ledger: Ledger
  made: Pick<Made, 'drop'>
  cards: Pick<SessionCards, 'drop'>
  custody: Pick<Custody, 'take' | 'has' | 'graceMsOf'>
  late: Pick<Late, 'handInMs' | 'handingIn'>
  /** Releases everything that the session had: mailbox, entrance, subscriptions, socket folder. */
  release: (session: string) => void
}

export function createReaper(parts: ReaperParts): Reaper {
  const {
    clock,
    log,
    gate,
    alerts,
    modes,
    tasks,
    launcher,
    losses,
    looks,
    engineWatch,
    containers,
    ledger,
    made,
    cards,
    custody,
    late,
    release,
  } = parts
  const busy = new Map<string, Promise<void>>()
  const stubborn = createStubborn({ clock, alerts })
  /** Sessions past their TTL whose end could not be stored: when to try again, on the monotonic clock. */
  const unwritten = new Map<string, number>()
  const removals = createRemovals()
  const hurried = new AbortController()
  const resourceOf = (session: string) => ({
    principal: REAPER,
    operation: 'session.reap' as const,
    resource: `session:${session}`,
  })

  function expire(session: SessionRow): void {
    const end = {
      state: 'timed_out',
      error: { code: 'ttl_expired', detail: 'the session reached its time to live' },
    } as const
    gate.admitStop(resourceOf(session.id), (grant) => tasks.stop(grant, session.task, end, 'ttl'))
  }

  /** Its authority is not known any more: its task fails, and it is ended like any other. */
  function endUnreadable(session: SessionRow, why: string): void {
    if (busy.has(session.id)) return
    log.error({ session: session.id, why }, 'the row of a session cannot be read; the session is ended')
    const end = { state: 'failed', error: unreadableError(why) } as const
    try {
      gate.admitStop(resourceOf(session.id), (grant) => {
        const task = tasks.task(session.task)
        if (task === undefined || taskMachine.isTerminal(task.state)) tasks.interrupt(grant, session.id, 'security')
        else tasks.stop(grant, task.id, end, 'security')
      })
    } catch (thrown) {
      // The other sessions must not wait for it. Orphan look, TTL or operator will end its container.
      log.error({ session: session.id, reason: toHubError(thrown).reason }, 'it could not be recorded')
    }
  }

  /** A store that cannot write must not keep a session past its TTL: its container is stopped anyway (I4, I6). */
  function expireOrStop(session: SessionRow): void {
    unwritten.set(session.id, clock.monotonicMs() + UNWRITTEN_AGAIN_MS)
    try {
      expire(session)
      if (tasks.session(session.id)?.state !== session.state) unwritten.delete(session.id)
    } catch (thrown) {
      log.error(
        { session: session.id, reason: toHubError(thrown).reason },
        'the end of an expired session could not be recorded; its container is stopped',
      )
      const grant = gate.admitStop(resourceOf(session.id), (proof) => proof)
      const work = endContainer(grant, session)
      busy.set(
        session.id,
        work.then(() => void busy.delete(session.id)),
      )
    }
  }

  /** Of a session that is examined only once evidence of it is kept (custody.ts). Never throws. */
  async function endContainer(grant: StopGrant, session: SessionRow): Promise<Removal> {
    if (session.exitReason === 'security' || custody.has(session.id)) await custody.take(grant, session)
    const graceMs = custody.graceMsOf(session)
    return containers.recycle(grant, session.containerId ?? session.containerName, { graceMs })
  }

  /** One that showed no life may hand in what it has, until it has ended by itself; never past its time to live (late.ts). */
  async function handIn(session: SessionRow): Promise<void> {
    // Once: a removal that failed is tried again without it.
    if (custody.has(session.id) || modes.has('draining') || removals.of(session.id) !== undefined) return
    const [ms, exit] = [late.handInMs(session), launcher.exitOf(session.id)]
    if (ms === undefined || exit === undefined) return
    const over = new AbortController()
    using stopped = late.handingIn(session.id)
    void exit.then(() => over.abort())
    const signals = [hurried.signal, over.signal, stopped.signal]
    await clock.sleep(Math.min(ms, leftMs(session, clock)), AbortSignal.any(signals))
  }

  async function recycle(session: SessionRow): Promise<void> {
    const farewell =
      session.exitReason === 'done' || session.exitReason === 'failed' ? launcher.exitOf(session.id) : undefined
    if (farewell !== undefined) await Promise.race([farewell, clock.sleep(FAREWELL_MS)])
    await handIn(session)
    const grant = gate.admitStop(resourceOf(session.id), (proof) => proof)
    const outcome = await endContainer(grant, session)
    removals.note(session.id, outcome)
    judgeRemoval(session.containerName, outcome)
    if (outcome.outcome === 'failed' && outcome.remains?.kind !== 'nothing')
      throw toHubError(new Error(`container ${session.containerName} is not gone: ${outcome.reason}`))
    // Nothing of it runs: its slot is free, and what the engine still shows is removed as an orphan (fault A6).
    const left = outcome.outcome === 'failed' ? outcome.reason.slice(0, 500) : undefined
    gate.admitStop(resourceOf(session.id), (proof) => {
      tasks.recycled(proof, session.id, left)
      made.drop(proof, session.id)
      cards.drop(proof, session.id)
    })
    ledger.drop(session.id)
    unwritten.delete(session.id)
    release(session.id)
  }

  function judgeRemoval(container: string, outcome: Removal): void {
    if (outcome.outcome !== 'failed') {
      stubborn.gone(container)
      return
    }
    const { reason, remains } = outcome
    const isEngineAway = modes.has('engine_unavailable')
    stubborn.failed(container, reason, { isEngineAway, ...(remains === undefined ? {} : { remains }) })
  }

  function beginRecycling(session: SessionRow): void {
    const isInHands = busy.has(session.id) || launcher.isLaunching(session.id)
    if (isInHands || !stubborn.mayTry(session.containerName)) return
    const work = recycle(session)
      .catch((thrown) =>
        log.error(
          { session: session.id, reason: toHubError(thrown).reason },
          'a container could not be removed; the hub will try again',
        ),
      )
      .finally(() => busy.delete(session.id))
    busy.set(session.id, work)
  }

  /** By the same table as at start: if the engine did not answer then, a launch that was cut off is judged here. */
  function judgeOpen(session: SessionRow, found: ContainerFact | undefined): void {
    const step = decideRecovery(session, found, nowOf(clock))
    if (step === 'interrupted')
      losses.interrupted(session.id, found === undefined ? 'its container is gone' : 'its start was cut off')
    else if (step === 'ended' && found !== undefined) launcher.collect(session.id, found.id)
  }

  async function removeOrphan(container: ContainerFact): Promise<void> {
    log.warn({ container: container.name, state: container.state }, 'an orphan container is removed')
    const grant = gate.admitStop(
      { ...resourceOf(container.labels['hub.session'] ?? 'none'), resource: `container:${container.name}` },
      (proof) => proof,
    )
    const outcome = await containers.recycle(grant, container.id, { graceMs: STOP_GRACE_MS })
    judgeRemoval(container.name, outcome)
    if (outcome.outcome === 'failed')
      log.error({ container: container.name, reason: outcome.reason }, 'an orphan container is not gone')
  }

  return {
    round() {
      for (const session of tasks.sessionsOpen()) {
        if (session.state === 'recycling') beginRecycling(session)
        else if (session.unreadable !== null) endUnreadable(session, session.unreadable)
        else if (leftMs(session, clock) === 0 && !busy.has(session.id)) {
          if (clock.monotonicMs() >= (unwritten.get(session.id) ?? 0)) expireOrStop(session)
        }
      }
    },
    async reconcile() {
      // A session that was being launched while the engine was asked may be newer than the engine's answer shows.
      const before = tasks.sessionsOpen().filter((session) => !launcher.isLaunching(session.id))
      let found = await looks.list()
      if (engineWatch.isUnsure()) {
        await clock.sleep(LOOK_AGAIN_MS)
        found = await looks.list()
      }
      if (found === undefined) return
      const byName = new Map(found.map((container) => [container.name, container]))
      // Only sessions that existed before the engine was asked: a younger one may simply not be in its answer.
      for (const session of before) {
        const now = tasks.session(session.id)
        if (now !== undefined && now.state !== 'recycled') judgeOpen(now, byName.get(now.containerName))
      }
      const ours = new Set(tasks.sessionsOpen().map((session) => session.containerName))
      const orphans = found.filter(
        ({ name, createdAtMs }) =>
          !ours.has(name) && clock.wallMs() - createdAtMs > ORPHAN_AGE_MS && stubborn.mayTry(name),
      )
      await Promise.all(orphans.map(removeOrphan))
    },
    look(id) {
      const session = tasks.session(id)
      if (session === undefined || session.containerId === null || launcher.isLaunching(id)) return
      if (session.state !== 'recycling' && session.state !== 'recycled') launcher.collect(id, session.containerId)
    },
    idle: async () => {
      while (busy.size > 0) await Promise.all(busy.values())
    },
    hurry: () => hurried.abort(),
    outcomeOf: removals.of,
    isBarred: removals.isBarred,
    stuck: stubborn.list,
  }
}
