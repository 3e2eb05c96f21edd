/**
 * Carries a session from its row to a running container, and watches for its end (S1-47).
 *
 * L1. Order: entrance open, ledger, create, compare, row, start. Each phase that fails leaves nothing behind.
 * L2. One exit is observed once: whoever hears of it first (wait, reconcile, recovery) moves the row, the others find it moved.
 * L3. While a launch is under way the reaper keeps its hands off that session.
 */
import { HubError, toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Events } from '../../guard/events.ts'
import type { Gate } from '../../guard/gate.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import type { SessionLimits } from '../../protocol/agent.ts'
import type { Containers, Exit } from '../sandbox/containers.ts'
import type { Ledger } from '../sandbox/ledger.ts'
import type { CreateBody, SessionFacts } from '../sandbox/profile.ts'
import { expiryText, lastOf } from './expiry.ts'
import type { Losses } from './losses.ts'
import type { Made } from './made.ts'
import type { SessionRow } from './rows.ts'
import type { Tasks } from './tasks.ts'

const LAUNCHER = hubPrincipal('launcher')

export interface Launcher {
  /** Starts the session's container; failures settle the attempt. Never throws. */
  launch(session: SessionRow): void
  /** Takes over a container that a former run of the hub started. */
  adopt(session: SessionRow): Promise<void>
  isLaunching(session: string): boolean
  /** Reads the exit of a container that ended unseen, and moves the row by it. */
  collect(session: string, containerId: string): void
  /** Resolves when the container of the session has ended, if this process watches it. */
  exitOf(session: string): Promise<unknown> | undefined
  settled(): Promise<void>
}

export interface LauncherParts {
  log: Log
  gate: Gate
  events: Events
  tasks: Tasks
  losses: Losses
  /** The container runs, made from this body. */
  began: (session: string, containerId: string, body: CreateBody) => void
  /** Likewise, and an earlier run of the hub has started it. */
  tookOver: (session: string, containerId: string, body: CreateBody) => void
  /** Looks whether the engine answers at all; the engine's health is judged by it. */
  engineAnswers: () => Promise<boolean>
  /** Of the record: name and version of the runtime. */
  runtimeText: () => string
  containers: Containers
  ledger: Ledger
  made: Made
  /** Opens the session's mailbox and socket and answers once it listens. */
  openEntrance: (session: string) => Promise<void>
  factsOf: (session: SessionRow) => { facts: SessionFacts; limits: SessionLimits }
}

export function createLauncher(parts: LauncherParts): Launcher {
  const { log, gate, events, tasks, losses, containers, ledger, made, openEntrance, factsOf } = parts
  const launching = new Map<string, Promise<void>>()
  const exits = new Map<string, Promise<unknown>>()

  const entryOf = (session: SessionRow, containerId: string | null) => ({
    session: session.id,
    container: session.containerName,
    containerId,
    agent: session.agent,
    generation: session.generation,
    attempt: tasks.attempts(session.task).find((attempt) => attempt.id === session.attempt)?.ordinal ?? 0,
    // The watchdog knows the last instant alone, as the labels say it.
    expiresAtMs: lastOf(session).expiresAtMs,
    expiresBoot: expiryText(lastOf(session).expiresBoot),
  })

  async function start(session: SessionRow): Promise<void> {
    await openEntrance(session.id)
    ledger.put(entryOf(session, null))
    const { facts, limits } = factsOf(session)
    const body = containers.plan(facts, limits)
    const { grant } = gate.admit(
      {
        principal: LAUNCHER,
        operation: 'session.provision',
        resource: `session:${session.id}`,
        facts: { body },
      },
      (proof) => ({ grant: proof, auditEffect: `runtime:${parts.runtimeText()}` }),
    )
    const placed = await containers.provision(grant, facts, limits)
    if (!losses.isLive(session.id)) return drop(placed.containerId, session)
    losses.observe(session.id, (proof) => {
      tasks.provisioned(proof, session.id, placed.containerId)
      made.keep(proof, session.id, body)
      return { auditEffect: `container:${placed.containerId}` }
    })
    ledger.put(entryOf(session, placed.containerId))
    await placed.start()
    parts.began(session.id, placed.containerId, body)
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

  function watch(id: string, exited: Promise<Exit>): void {
    const seen = exited
      .then((exit) => losses.ended(id, exit))
      .catch((thrown) =>
        log.warn(
          { session: id, reason: toHubError(thrown).reason },
          'the end of a container was not heard or could not be written down; the reconcile will see it',
        ),
      )
    exits.set(id, seen)
    void seen.finally(() => exits.delete(id))
  }

  /** What a failed call means for this start: with an engine that answers nothing else either it is the engine, else it is this start. */
  async function weighed(error: HubError): Promise<HubError> {
    if (error.code !== 'engine_unavailable' && error.code !== 'engine_refused') return error
    const code = (await parts.engineAnswers()) ? 'engine_refused' : 'engine_unavailable'
    return code === error.code
      ? error
      : new HubError(code, error.message, { reason: error.reason, facts: error.facts, cause: error })
  }

  return {
    launch(session) {
      const work = start(session)
        .catch(async (thrown) => losses.startFailed(session, await weighed(toHubError(thrown))))
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
      if (session.containerId === null) return
      watch(session.id, containers.adopt(session.containerId))
      const body = made.of(session.id)
      if (body !== undefined) parts.tookOver(session.id, session.containerId, body)
      else
        log.warn({ session: session.id }, 'it is not known what this container was made from: it is not compared again')
    },
    isLaunching: (session) => launching.has(session),
    collect: (session, containerId) => watch(session, containers.adopt(containerId)),
    exitOf: (session) => exits.get(session),
    settled: async () => void (await Promise.all(launching.values())),
  }
}
