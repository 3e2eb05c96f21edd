/**
 * Removes what is over: sessions past their TTL, sessions to be recycled, containers of ours that belong to nobody (T60, T61, T94).
 * Line two of the three TTL lines (sandbox.md section 4). Takes nothing but stop grants, so it works in every mode.
 */
import type { Clock } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Alerts } from '../../guard/alerts/alerts.ts'
import type { EngineWatch } from '../../guard/conditions/engine-health.ts'
import type { Gate } from '../../guard/gate.ts'
import type { Modes } from '../../guard/modes.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import { STOP_GRACE_MS, taskMachine } from '../../protocol/task.ts'
import type { Containers } from '../sandbox/containers.ts'
import type { ContainerFact, Engine, Removal } from '../sandbox/engine.ts'
import type { Ledger } from '../sandbox/ledger.ts'
import { leftMs } from './expiry.ts'
import type { Launcher } from './launcher.ts'
import type { Losses } from './losses.ts'
import type { Made } from './made.ts'
import { decideRecovery, nowOf } from './recovery.ts'
import { createRemovals } from './removals.ts'
import { type SessionRow, unreadableError } from './rows.ts'
import { createStubborn, type Stuck } from './stubborn.ts'
import type { Tasks } from './tasks.ts'

const REAPER = hubPrincipal('reaper')
/** An agent that gave its result may end by itself for this long before it is stopped. */
const FAREWELL_MS = 2000
const ORPHAN_AGE_MS = 60_000
/** An end that could not be written down is tried again after so long: each try leaves a record in the bounded audit buffer. */
const UNWRITTEN_AGAIN_MS = 30_000

/** A frozen engine is noticed after 5 s between two looks, twice this and `LOOK_AGAIN_MS` (fault A11). */
const LOOK_MS = 5000
/** After a look that says otherwise than the one before. */
const LOOK_AGAIN_MS = 1000

export interface Reaper {
  /** Expires what is past its TTL and begins to recycle what is due. */
  round(): void
  /** Compares rows with the engine's containers: ends what the engine ended, removes what belongs to nobody. */
  reconcile(): Promise<void>
  /** The engine says that the container of this session has ended: looked at now, not at the next reconcile (T12). */
  look(session: string): void
  /** Looks whether the engine answers; its health is judged by it. */
  answers(): Promise<boolean>
  /** Resolves when nothing is being recycled. */
  idle(): Promise<void>
  /** Keeps its hands off a session that is looked at first, for so long at most; answers what ends that earlier. */
  hold(session: string, forMs: number): () => void
  /** How each session's container went, for the newest sessions recycled by this process (removals.ts). */
  outcomeOf(session: string): Removal | undefined
  /** The host denied its stop so often that another try says nothing new (removals.ts). */
  isBarred(session: string): boolean
  /** Containers that did not go when they were last tried. */
  stuck(): Stuck[]
}

export function createReaper(
  options: { instance: string },
  parts: {
    clock: Clock
    log: Log
    gate: Gate
    alerts: Pick<Alerts, 'raise' | 'resolve'>
    modes: Modes
    tasks: Tasks
    launcher: Launcher
    losses: Losses
    engine: Engine
    engineWatch: EngineWatch
    containers: Containers
    ledger: Ledger
    made: Pick<Made, 'drop'>
    /** Lets go of everything the session had: mailbox, entrance, subscriptions, socket folder. */
    release: (session: string) => void
  },
): Reaper {
  const {
    clock,
    log,
    gate,
    alerts,
    modes,
    tasks,
    launcher,
    losses,
    engine,
    engineWatch,
    containers,
    ledger,
    made,
    release,
  } = parts
  const busy = new Map<string, Promise<void>>()
  const stubborn = createStubborn({ clock, alerts })
  const held = new Set<string>()
  /** Sessions past their TTL whose end the store did not take: when to try again, monotonic. */
  const unwritten = new Map<string, number>()
  const removals = createRemovals()
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

  /** What it may do is not known any more: its task fails, and it is taken away like any other. */
  function endUnreadable(session: SessionRow, why: string): void {
    if (busy.has(session.id)) return
    log.error({ session: session.id, why }, 'the row of a session cannot be read; it is ended')
    const end = { state: 'failed', error: unreadableError(why) } as const
    try {
      gate.admitStop(resourceOf(session.id), (grant) => {
        const task = tasks.task(session.task)
        if (task === undefined || taskMachine.isTerminal(task.state)) tasks.interrupt(grant, session.id, 'security')
        else tasks.stop(grant, task.id, end, 'security')
      })
    } catch (thrown) {
      // The others are not to wait for it; its container falls to the look for orphans, its time to live or the operator.
      log.error({ session: session.id, reason: toHubError(thrown).reason }, 'it could not be written down')
    }
  }

  /** A store that cannot write must not keep a session past its TTL: its container is stopped all the same (I4, I6). */
  function expireOrStop(session: SessionRow): void {
    unwritten.set(session.id, clock.monotonicMs() + UNWRITTEN_AGAIN_MS)
    try {
      expire(session)
      if (tasks.session(session.id)?.state !== session.state) unwritten.delete(session.id)
    } catch (thrown) {
      log.error(
        { session: session.id, reason: toHubError(thrown).reason },
        'an expired session could not be written down; its container is stopped',
      )
      const grant = gate.admitStop(resourceOf(session.id), (proof) => proof)
      const work = containers.recycle(grant, session.containerId ?? session.containerName, { graceMs: STOP_GRACE_MS })
      busy.set(
        session.id,
        work.then(() => void busy.delete(session.id)),
      )
    }
  }

  async function recycle(session: SessionRow): Promise<void> {
    const farewell =
      session.exitReason === 'done' || session.exitReason === 'failed' ? launcher.exitOf(session.id) : undefined
    if (farewell !== undefined) await Promise.race([farewell, clock.sleep(FAREWELL_MS)])
    const grant = gate.admitStop(resourceOf(session.id), (proof) => proof)
    const outcome = await containers.recycle(grant, session.containerId ?? session.containerName, {
      graceMs: STOP_GRACE_MS,
    })
    removals.note(session.id, outcome)
    judgeRemoval(session.containerName, outcome)
    if (outcome.outcome === 'failed' && outcome.remains?.kind !== 'nothing')
      throw toHubError(new Error(`container ${session.containerName} is not gone: ${outcome.reason}`))
    // Nothing of it runs: its slot is free, and what the engine still shows is removed as an orphan (fault A6).
    const isLeft = outcome.outcome === 'failed' && session.detail === ''
    const detail = isLeft ? `nothing of it runs; the engine still shows it: ${outcome.reason}`.slice(0, 500) : ''
    gate.admitStop(resourceOf(session.id), (proof) => {
      tasks.recycled(proof, session.id, detail)
      made.drop(proof, session.id)
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
    const isInHands = busy.has(session.id) || held.has(session.id) || launcher.isLaunching(session.id)
    if (isInHands || !stubborn.mayTry(session.containerName)) return
    const work = recycle(session)
      .catch((thrown) =>
        log.error(
          { session: session.id, reason: toHubError(thrown).reason },
          'a container could not be recycled; it will be tried again',
        ),
      )
      .finally(() => busy.delete(session.id))
    busy.set(session.id, work)
  }

  /** By the same table as at start: with the engine away then, a launch that was cut is judged here. */
  function judgeOpen(session: SessionRow, found: ContainerFact | undefined): void {
    const step = decideRecovery(session, found, nowOf(clock))
    if (step === 'interrupted')
      losses.interrupted(session.id, found === undefined ? 'its container is gone' : 'its start was cut')
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

  /** One look at the engine, by which its health is judged. */
  async function listed(): Promise<ContainerFact[] | undefined> {
    try {
      const found = await engine.list(options.instance, LOOK_MS)
      engineWatch.good()
      return found
    } catch (thrown) {
      engineWatch.bad(toHubError(thrown).message)
      return undefined
    }
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
      // One that is being launched while the engine is asked may be older in its answer than in its row.
      const before = tasks.sessionsOpen().filter((session) => !launcher.isLaunching(session.id))
      let found = await listed()
      if (engineWatch.isUnsure()) {
        await clock.sleep(LOOK_AGAIN_MS)
        found = await listed()
      }
      if (found === undefined) return
      const byName = new Map(found.map((container) => [container.name, container]))
      // Only sessions that stood before the engine was asked: a younger one may simply not have been in its answer.
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
    answers: async () => (await listed()) !== undefined,
    idle: async () => {
      while (busy.size > 0) await Promise.all(busy.values())
    },
    hold(session, forMs) {
      held.add(session)
      const timer = clock.after(forMs, () => held.delete(session))
      return () => {
        timer.cancel()
        held.delete(session)
      }
    },
    outcomeOf: removals.of,
    isBarred: removals.isBarred,
    stuck: stubborn.list,
  }
}
