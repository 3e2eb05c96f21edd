/**
 * Takes a session from its row to a running container, and watches for its end (S1-47).
 *
 * L1. The order: entrance open, ledger, create, compare, row, start. A phase that fails leaves nothing behind.
 * L2. One exit is observed once: the first to hear of it (wait, reconcile, recovery) moves the row; the others find it moved.
 * L3. While a launch is under way, the reaper does not touch that session.
 */
import { HubError, toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Events } from '../../guard/events.ts'
import type { Gate } from '../../guard/gate.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import type { SessionLimits } from '../../protocol/agent.ts'
import type { Containers, Exit } from '../sandbox/containers.ts'
import type { EngineLooks } from '../sandbox/engine-looks.ts'
import type { Ledger } from '../sandbox/ledger.ts'
import type { CreateBody, SessionFacts } from '../sandbox/profile.ts'
import { expiryText, lastOf } from './expiry.ts'
import type { Losses } from './losses.ts'
import type { Made } from './made.ts'
import type { SessionRow } from './rows.ts'
import type { Tasks } from './tasks.ts'

const LAUNCHER = hubPrincipal('launcher')

export interface Launcher {
  /** Starts the session's container. A failure settles the attempt. Never throws. */
  launch(session: SessionRow): void
  /** Takes over a container that an earlier run of the hub started. */
  adopt(session: SessionRow): Promise<void>
  isLaunching(session: string): boolean
  /** Reads the exit of a container that ended unseen, and moves the row accordingly. */
  collect(session: string, containerId: string): void
  /** Resolves when the session's container has ended, if this process watches it. */
  exitOf(session: string): Promise<unknown> | undefined
  settled(): Promise<void>
}

export interface LauncherParts {
  log: Log
  gate: Gate
  events: Events
  tasks: Tasks
  losses: Losses
  /** The container runs; it was made from this body. */
  began: (session: string, containerId: string, body: CreateBody) => void
  /** The same for one that an earlier run of the hub started. */
  tookOver: (session: string, containerId: string, body: CreateBody) => void
  looks: Pick<EngineLooks, 'answers'>
  /** The image of an agent was removed since the cards were read: they are read again, so that nothing else is started from it. */
  imageGone: () => Promise<unknown>
  /** For the record: name and version of the runtime. */
  runtimeText: () => string
  containers: Containers
  ledger: Ledger
  made: Made
  /** Opens the session's mailbox and socket, and answers once the socket listens. */
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
    // The watchdog knows only the last instant, as in the labels.
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
      (proof) => ({
        grant: proof,
        auditEffect: `runtime:${parts.runtimeText()}${facts.relax.length === 0 ? '' : ` relax:${facts.relax.join(',')}`}`,
      }),
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

  /** It was cancelled while it was created. The reaper finds it by its id in the ledger and the row. */
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
          'the end of a container was missed or could not be recorded; the reconcile will see it',
        ),
      )
    exits.set(id, seen)
    void seen.finally(() => exits.delete(id))
  }

  /** What a failed call means for this start. If the engine answers nothing else either, the engine is the cause; otherwise it is this start. */
  async function weighed(error: HubError): Promise<HubError> {
    if (error.code !== 'engine_unavailable' && error.code !== 'engine_refused') return error
    const code = (await parts.looks.answers()) ? 'engine_refused' : 'engine_unavailable'
    return code === error.code
      ? error
      : new HubError(code, error.message, { reason: error.reason, facts: error.facts, cause: error })
  }

  return {
    launch(session) {
      const work = start(session)
        .catch(async (thrown) => {
          const error = await weighed(toHubError(thrown))
          if (error.code === 'image_missing')
            await parts
              .imageGone()
              .catch((why) =>
                log.warn({ agent: session.agent, reason: toHubError(why).reason }, 'images were not looked up again'),
              )
          losses.startFailed(session, error)
        })
        .catch((thrown) =>
          log.error({ session: session.id, reason: toHubError(thrown).reason }, 'a failed start could not be recorded'),
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
        log.warn({ session: session.id }, 'what this container was made from is not known, so it is not compared again')
    },
    isLaunching: (session) => launching.has(session),
    collect: (session, containerId) => watch(session, containers.adopt(containerId)),
    exitOf: (session) => exits.get(session),
    settled: async () => void (await Promise.all(launching.values())),
  }
}
