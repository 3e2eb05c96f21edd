/** Builds what starts sessions, watches over them and takes them away. */
import type { Clock } from '../base/clock.ts'
import { toHubError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { Log } from '../base/telemetry.ts'
import type { Config } from '../config.ts'
import type { EngineWatch } from '../guard/conditions/engine-health.ts'
import type { SessionLimits } from '../protocol/agent.ts'
import { createBacklog } from '../work/dispatch/backlog.ts'
import { type Canary, createCanary } from '../work/dispatch/canary.ts'
import { createDispatcher } from '../work/dispatch/dispatcher.ts'
import { createLauncher } from '../work/dispatch/launcher.ts'
import { createLosses } from '../work/dispatch/losses.ts'
import { createMade } from '../work/dispatch/made.ts'
import { createReaper } from '../work/dispatch/reaper.ts'
import type { SessionRow } from '../work/dispatch/rows.ts'
import { createRuntimeGate } from '../work/dispatch/runtime.ts'
import { createServices } from '../work/dispatch/services.ts'
import type { Tasks } from '../work/dispatch/tasks.ts'
import { createVitals } from '../work/dispatch/vitals.ts'
import type { Journal } from '../work/journal.ts'
import type { Registry } from '../work/registry.ts'
import { createAfterStart } from '../work/sandbox/after-start.ts'
import type { Containers } from '../work/sandbox/containers.ts'
import type { Engine } from '../work/sandbox/engine.ts'
import { THIS_MACHINE } from '../work/sandbox/hardening.ts'
import type { Ledger } from '../work/sandbox/ledger.ts'
import { readMachine } from '../work/sandbox/machine.ts'
import type { Runtime, SessionFacts } from '../work/sandbox/profile.ts'
import type { Sockets } from '../work/sandbox/sockets.ts'
import type { Guard } from './guard.ts'
import { stopForSecurity } from './security-stop.ts'

export interface SupervisionParts {
  clock: Clock
  random: Random
  log: Log
  engine: Engine
  engineWatch: EngineWatch
  guard: Guard
  tasks: Tasks
  registry: Registry
  containers: Containers
  ledger: Ledger
  sockets: Sockets
  journal: Pick<Journal, 'log'>
  openEntrance: (session: string) => Promise<void>
  factsOf: (session: SessionRow) => { facts: SessionFacts; limits: SessionLimits }
  release: (session: string) => void
  /** What is queued may start now. */
  wake: () => void
  /** What tries the engine; a real canary session without it. */
  canary?: Canary
}

export function createSupervision(
  options: {
    instance: string
    limits: Config['limits']
    health: Config['health']
    staleAfterMs: number
    runtime: Runtime
    firstUser: number
  },
  parts: SupervisionParts,
) {
  const { instance, limits } = options
  const {
    clock,
    random,
    log,
    engine,
    engineWatch,
    tasks,
    registry,
    containers,
    ledger,
    openEntrance,
    factsOf,
    release,
  } = parts
  const { alerts, gate, modes, events, meta } = parts.guard

  const made = createMade(parts.guard.store)
  const losses = createLosses({
    clock,
    log,
    gate,
    modes,
    events,
    tasks,
    registry,
    doubtEngine: () => runtime.doubt(),
  })
  const vitals = createVitals(
    { joinWindowMs: limits.joinWindow, health: options.health },
    {
      clock,
      log,
      tasks,
      registry,
      losses,
      listener: {
        stalled: ({ id, agent, task }, why) =>
          alerts.raise(
            `session_stalled:${id}`,
            'warning',
            `agent ${agent} stalls in session ${id}, task ${task}: ${why}`,
          ),
        // Where its author looks: beside what it says of itself, live and in `hub task logs`.
        silent({ id, agent, task }, text) {
          log.warn({ session: id, agent, task }, text)
          parts.journal.log(task, { level: 'warn', text })
          events.publish('hub.task.log.v1', `task:${task}`, { agent, session: id, level: 'warn', text })
        },
        goesOn: (session) => alerts.resolve(`session_stalled:${session}`),
      },
    },
  )
  const afterStart = createAfterStart({
    inspect: engine.inspect,
    beside: THIS_MACHINE,
    differs(session, found) {
      const text = `The container of session ${session} is not any more as the hub made it: ${found}. The session was stopped; whoever did that holds the engine.`
      alerts.raise(`profile_mismatch:${session}`, 'critical', text)
      try {
        stopForSecurity({ guard: parts.guard, tasks }, session, `its container is not as it was made: ${found}`)
      } catch (thrown) {
        log.error(
          { session, reason: toHubError(thrown).reason },
          'a session whose container was changed was not stopped',
        )
      }
    },
  })
  const { joinWindow } = limits
  const canary =
    parts.canary ??
    createCanary(
      { instance, runtime: options.runtime, firstUser: options.firstUser, joinWindowMs: joinWindow },
      { clock, random, gate, registry, engine, containers, ledger, sockets: parts.sockets, machine: readMachine },
    )
  const runtime = createRuntimeGate(
    { runtime: options.runtime },
    { clock, log, modes, alerts, canary, wake: parts.wake },
  )
  const launcher = createLauncher({
    log,
    gate,
    events,
    tasks,
    containers,
    ledger,
    losses,
    engineAnswers: () => reaper.answers(),
    runtimeText: runtime.text,
    began(session, containerId, body) {
      vitals.began(session)
      afterStart.began(session, containerId, body)
    },
    tookOver: afterStart.tookOver,
    made,
    openEntrance,
    factsOf,
  })
  const reaper = createReaper(
    { instance },
    {
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
    },
  )
  const dispatcher = createDispatcher(
    {
      instance,
      firstUser: options.firstUser,
      sessionsMax: limits.sessions,
      depthMax: limits.delegationDepth,
      tasksPerTreeMax: limits.tasksPerTree,
      questionWaitMs: limits.questionWait,
      sessionsPerAgentMax: limits.sessionsPerAgent,
    },
    {
      clock,
      random,
      gate,
      modes,
      meta,
      tasks,
      registry,
      launch: launcher.launch,
      runtimeFault: runtime.fault,
      hold: runtime.hold,
    },
  )
  const services = createServices({ clock, log, gate, modes, alerts, tasks, registry })
  const backlog = createBacklog({ staleAfterMs: options.staleAfterMs }, { clock, log, gate, modes, meta, tasks })
  return {
    losses,
    vitals,
    afterStart,
    launcher,
    reaper,
    dispatcher,
    runtime,
    /** Before every round of the dispatcher: what must wait, and which services must run. */
    beforeDispatch() {
      backlog.round()
      runtime.round()
      services.round()
    },
  }
}
