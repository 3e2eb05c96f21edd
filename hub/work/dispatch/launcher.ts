/**
 * Carries a session from its row to a running container, and watches for its end (S1-47).
 *
 * L1. Order: entrance open, ledger, create, compare, row, start. Each phase that fails leaves nothing behind.
 * L2. One exit is observed once: whoever hears of it first (wait, reconcile, recovery) moves the row, the others find it moved.
 * L3. While a launch is under way the reaper keeps its hands off that session.
 */
import type { Clock } from '../../base/clock.ts'
import { type HubError, toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Events } from '../../guard/events.ts'
import type { Gate } from '../../guard/gate.ts'
import type { Grant } from '../../guard/grant.ts'
import type { Modes } from '../../guard/modes.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import type { SessionLimits } from '../../protocol/agent.ts'
import type { Registry } from '../registry.ts'
import type { Containers, Exit } from '../sandbox/containers.ts'
import type { Ledger } from '../sandbox/ledger.ts'
import type { SessionFacts } from '../sandbox/profile.ts'
import type { SessionRow } from './rows.ts'
import { decideAfterCrash, decideAfterInterruption, decideAfterStartFailure } from './supervisor.ts'
import type { AfterLoss, Tasks } from './tasks.ts'

const LAUNCHER = hubPrincipal('launcher')
const AUDIT_EFFECT_MAX = 500

export interface Launcher {
  /** Starts the session's container; failures settle the attempt. Never throws. */
  launch(session: SessionRow): void
  /** Takes over a container that a former run of the hub started. */
  adopt(session: SessionRow): Promise<void>
  isLaunching(session: string): boolean
  /** Reads the exit of a container that ended unseen, and moves the row by it. */
  collect(session: string, containerId: string): void
  /** The container is gone without an exit of its own. */
  interrupted(session: string, detail: string): void
  /** Resolves when the container of the session has ended, if this process watches it. */
  exitOf(session: string): Promise<unknown> | undefined
  settled(): Promise<void>
}

export interface LauncherParts {
  clock: Clock
  log: Log
  gate: Gate
  modes: Modes
  events: Events
  tasks: Tasks
  registry: Registry
  containers: Containers
  ledger: Ledger
  /** Opens the session's mailbox and socket and answers once it listens. */
  openEntrance: (session: string) => Promise<void>
  factsOf: (session: SessionRow) => { facts: SessionFacts; limits: SessionLimits }
}

export function createLauncher(parts: LauncherParts): Launcher {
  const { clock, log, gate, modes, events, tasks, registry, containers, ledger, openEntrance, factsOf } = parts
  const launching = new Map<string, Promise<void>>()
  const exits = new Map<string, Promise<unknown>>()

  const observe = (session: string, effect: (grant: Grant) => { auditEffect: string }) =>
    gate.admit({ principal: LAUNCHER, operation: 'session.observe', resource: `session:${session}` }, effect)

  const entryOf = (session: SessionRow, containerId: string | null) => ({
    session: session.id,
    container: session.containerName,
    containerId,
    agent: session.agent,
    generation: session.generation,
    attempt: tasks.attempts(session.task).find((attempt) => attempt.id === session.attempt)?.ordinal ?? 0,
    expiresAtMs: session.expiresAtMs,
    expiresBoot: session.expiresBoot,
  })

  async function start(session: SessionRow): Promise<void> {
    await openEntrance(session.id)
    ledger.put(entryOf(session, null))
    const { facts, limits } = factsOf(session)
    const grant = gate.admit(
      {
        principal: LAUNCHER,
        operation: 'session.provision',
        resource: `session:${session.id}`,
        facts: { body: containers.plan(facts, limits) },
      },
      (proof) => proof,
    )
    const placed = await containers.provision(grant, facts, limits)
    if (!isLive(session.id)) return drop(placed.containerId, session)
    observe(session.id, (proof) => {
      tasks.provisioned(proof, session.id, placed.containerId)
      return { auditEffect: `container:${placed.containerId}` }
    })
    ledger.put(entryOf(session, placed.containerId))
    await placed.start()
    watch(session.id, placed.exited)
    events.publish('hub.session.started.v1', `session:${session.id}`, { agent: session.agent, task: session.task })
  }

  /** Cancelled while it was created: the reaper finds it by its id in the ledger's entry and row. */
  async function drop(containerId: string, session: SessionRow): Promise<void> {
    const grant = gate.admitStop(
      { principal: LAUNCHER, operation: 'session.reap', resource: `session:${session.id}` },
      (proof) => proof,
    )
    await containers.recycle(grant, containerId, { graceMs: 0 })
  }

  function isLive(id: string): boolean {
    const row = tasks.session(id)
    return row !== undefined && row.state !== 'recycling' && row.state !== 'recycled'
  }

  function watch(id: string, exited: Promise<Exit>): void {
    const seen = exited.then(
      (exit) => ended(id, exit),
      (thrown) =>
        log.warn(
          { session: id, reason: toHubError(thrown).reason },
          'the wait for a container was cut; the reconcile will see its end',
        ),
    )
    exits.set(id, seen)
    void seen.finally(() => exits.delete(id))
  }

  function startFailed(session: SessionRow, error: HubError): void {
    log.error({ session: session.id, code: error.code, reason: error.reason }, 'a session did not start')
    if (error.code === 'engine_unavailable') modes.raise('engine_unavailable', error.message)
    if (!isLive(session.id)) return
    const attempts = tasks.task(session.task)?.attempts ?? 0
    const next = decideAfterStartFailure(error, attempts, clock.wallMs())
    lose(
      session.id,
      { reason: 'failed', exitCode: null, oomKilled: false, detail: `${error.code}: ${error.message}` },
      next,
    )
  }

  function lose(id: string, facts: Parameters<Tasks['lost']>[2], next: AfterLoss, also?: (grant: Grant) => void): void {
    observe(id, (grant) => {
      also?.(grant)
      tasks.lost(grant, id, facts, next)
      return { auditEffect: `${facts.reason}: ${facts.detail}`.slice(0, AUDIT_EFFECT_MAX) }
    })
  }

  function ended(id: string, exit: Exit): void {
    const session = tasks.session(id)
    if (session === undefined || !isLive(id)) return
    const task = tasks.task(session.task)
    const restarts = registry.find(session.agent)?.card.restarts ?? 0
    const how = exit.oomKilled ? 'out of memory' : `exit code ${exit.exitCode}`
    const stopping = modes.has('draining')
    const { next, giveUp } = decideAfterCrash({
      crashes: task?.crashes ?? 0,
      restarts,
      agent: session.agent,
      how,
      stopping,
      nowMs: clock.wallMs(),
    })
    lose(id, { reason: stopping ? 'shutdown' : 'crashed', ...exit, detail: how }, next, (grant) => {
      if (!stopping) registry.crashed(grant, session.agent, giveUp, how)
    })
    if (giveUp) events.publish('hub.agent.crashed.v1', `agent:${session.agent}`, { task: session.task, how })
  }

  return {
    launch(session) {
      const work = start(session)
        .catch((thrown) => startFailed(session, toHubError(thrown)))
        .catch((thrown) =>
          log.error(
            { session: session.id, reason: toHubError(thrown).reason },
            'a failed start could not be written down',
          ),
        )
        .finally(() => launching.delete(session.id))
      launching.set(session.id, work)
    },
    async adopt(session) {
      await openEntrance(session.id)
      ledger.put(entryOf(session, session.containerId))
      if (session.containerId !== null) watch(session.id, containers.adopt(session.containerId))
    },
    isLaunching: (session) => launching.has(session),
    collect: (session, containerId) => watch(session, containers.adopt(containerId)),
    interrupted(id, detail) {
      const session = tasks.session(id)
      if (session === undefined || !isLive(id)) return
      const repeatable = registry.find(session.agent)?.card.repeatable ?? false
      const started = session.state !== 'provisioning' && session.state !== 'starting'
      const next = decideAfterInterruption({
        repeatable,
        started,
        stopping: modes.has('draining'),
        nowMs: clock.wallMs(),
      })
      lose(id, { reason: 'orphan', exitCode: null, oomKilled: false, detail }, next)
    },
    exitOf: (session) => exits.get(session),
    settled: async () => void (await Promise.all(launching.values())),
  }
}
