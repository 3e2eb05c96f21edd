/** Builds what starts sessions, watches over them and removes them. */
import type { Clock } from '../base/clock.ts'
import { HubError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { Log } from '../base/telemetry.ts'
import type { Guard } from '../guard/guard.ts'
import type { Tracer } from '../protocol/traces.ts'
import type { Catalogue } from './catalogue.ts'
import type { Containment } from './containment.ts'
import { createBacklog } from './dispatch/backlog.ts'
import { createChats } from './dispatch/chats.ts'
import { createDispatcher } from './dispatch/dispatcher.ts'
import { createDistrust } from './dispatch/distrust.ts'
import { lastOf } from './dispatch/expiry.ts'
import { createLauncher } from './dispatch/launcher.ts'
import type { Losses } from './dispatch/losses.ts'
import { createMade } from './dispatch/made.ts'
import { createReaper } from './dispatch/reaper.ts'
import type { SessionRow } from './dispatch/rows.ts'
import type { RuntimeGate } from './dispatch/runtime.ts'
import { createServices } from './dispatch/services.ts'
import { createUnwrittenStops } from './dispatch/shutdown.ts'
import type { Tasks } from './dispatch/tasks.ts'
import { createVitals, type HealthSpans, type StallListener } from './dispatch/vitals.ts'
import type { Messaging } from './messaging.ts'
import { createTaskMeters, taskTimes } from './meters.ts'
import { type AfterStart, createAfterStart } from './sandbox/after-start.ts'
import { createGrading, THIS_MACHINE } from './sandbox/hardening.ts'
import type { Runtime } from './sandbox/profile.ts'
import { createTaskTraces } from './traces.ts'

export interface SupervisionOptions {
  home: string
  instance: string
  runtime: Runtime
  /** Where the range of sessions' users begins. */
  firstUser: number
  health: HealthSpans
  /** After a longer rest the backlog is held. */
  staleAfterMs: number
  /** Sessions at once: of all agents, and of one. */
  sessions: number
  sessionsPerAgent: number
  delegationDepth: number
  tasksPerTree: number
  joinWindowMs: number
  questionWaitMs: number
}

/** How a session is let in, and shut out. It is handed in once the edge is built, since an inner ring never imports an outer one. */
export interface Entrance {
  open(session: string): Promise<void>
  close(session: string): void
  /** Ends its fast session at once; its socket stays until it is closed. */
  cut(session: string): void
}

export interface SupervisionParts {
  clock: Clock
  random: Random
  log: Log
  guard: Guard
  containment: Containment
  catalogue: Catalogue
  messaging: Messaging
  tasks: Tasks
  losses: Losses
  runtimeGate: RuntimeGate
  /** Keeps spans; absent where nobody does. */
  tracer?: Tracer | undefined
}

export function createSupervision(options: SupervisionOptions, parts: SupervisionParts) {
  const { instance, firstUser } = options
  const { clock, random, log, guard, containment, catalogue, messaging, tasks, losses, runtimeGate } = parts
  const { store, alerts, approvals, gate, modes, events, meta, flags } = guard
  const { engine, engineWatch, looks, containers, ledger, sockets } = containment
  const { registry, sessionCards: cards } = catalogue
  let entrance: Entrance | undefined

  const meters = createTaskMeters()
  const distrust = createDistrust(options, parts)
  const { custody } = distrust
  const traces = parts.tracer && createTaskTraces(parts.tracer, { clock, rows: tasks })
  if (traces !== undefined) {
    tasks.listen(traces.listener)
    approvals.listen(traces.approvals)
  }
  const exampleOf = (task: string) => traces?.exampleOf(task)
  tasks.listen(taskTimes(meters, { clock, taskOf: tasks.task, exampleOf }))
  containment.findBy(exampleOf)
  const made = createMade(store)
  const vitals = createVitals(options, { clock, log, tasks, cards, losses, listener: stallTeller(parts) })
  const afterStart = createAfterStart({
    inspect: engine.inspect,
    beside: THIS_MACHINE,
    relaxOf: (session) => tasks.session(session)?.authority.relax ?? [],
    differs: distrust.changed,
  })
  tasks.listen({
    sessionChanged({ id, state, exitReason }) {
      // Its tokens have ended with this step. What it had sent ahead on an open line is not carried out either.
      if (state === 'recycling' && exitReason === 'security') entrance?.cut(id)
      if (state === 'recycling' && exitReason === 'unhealthy') {
        // Its shim asks again, and hears that it may hand in what it has (late.ts).
        entrance?.cut(id)
        messaging.mailboxes.wake(id)
      }
      if (state !== 'recycled') return
      afterStart.ended(id)
      alerts.resolve(`session_stalled:${id}`, 'The session has ended.')
    },
  })

  function factsOf(session: SessionRow) {
    const limits = cards.of(session)?.limits
    if (limits === undefined) throw new HubError('unknown_agent', `the card of ${session.agent} is gone`)
    const { id, task, attempt, generation, imageId } = session
    // A session from before sessions had their own users is graded as it should be now.
    const own = { instance, session: id, task, attempt, agent: session.agent, user: session.uid ?? firstUser }
    // What it was granted at its start decides which calls its container may make, to its end.
    const egress = session.authority.egress.length > 0
    const relax = session.authority.relax ?? []
    const more = { generation, imageId, socketDir: sockets.socketDirOf(id), runtime: options.runtime, egress, relax }
    return { facts: { ...own, ...more, ...lastOf(session) }, limits }
  }
  async function openEntrance(session: string): Promise<void> {
    if (entrance === undefined)
      throw new HubError('internal', '', { reason: 'a session was started before the entrance was built' })
    messaging.mailboxes.open(session)
    await entrance.open(session)
  }
  function release(session: string): void {
    entrance?.close(session)
    messaging.close(session)
    vitals.forget(session)
    sockets.remove(session)
  }

  tasks.onStopUnwritten(createUnwrittenStops({ rows: tasks, containers, custody, release, log }).stop)
  const launcher = createLauncher({
    ...{ log, gate, events, tasks, containers, ledger, losses, looks, made, openEntrance, factsOf },
    imageGone: () => registry.read(),
    runtimeText: runtimeGate.text,
    began(session, containerId, body) {
      vitals.began(session)
      afterStart.began(session, containerId, body)
    },
    tookOver: afterStart.tookOver,
  })
  const reaper = createReaper({
    ...{ clock, log, gate, alerts, modes, tasks, launcher, losses, looks, engineWatch },
    ...{ containers, ledger, made, cards, custody, release, late: catalogue.late },
  })
  const dispatcher = createDispatcher(options, {
    clock,
    random,
    gate,
    modes,
    meta,
    tasks,
    registry,
    cards,
    approvals,
    launch: launcher.launch,
    runtimeGate,
    flags,
    traces,
  })
  const services = createServices({ clock, log, gate, modes, alerts, tasks, registry })
  const cardOf = (session: { id: string; agent: string }) => cards.of(session)?.card
  const chats = createChats({ clock, log, gate, tasks, turns: messaging.turns, cardOf })
  const backlog = createBacklog(options, { clock, log, gate, modes, meta, tasks })
  return {
    meters,
    /** The places of tasks in traces; undefined where nobody keeps any. */
    traces,
    vitals,
    launcher,
    reaper,
    distrust,
    dispatcher,
    /** How the container of a session is hardened, check by check. */
    hardening: createGrading({
      ...{ engine, containers, factsOf, beside: THIS_MACHINE },
      madeFrom: ({ id }: SessionRow) => made.of(id),
    }),
    setEntrance(made: Entrance) {
      entrance = made
    },
    /** Before every round of the dispatcher: what must wait, which services must run, and which chats have ended. */
    beforeDispatch() {
      backlog.round()
      runtimeGate.round()
      services.round()
      chats.round()
    },
    /** Every minute: looks at containers again, and ends the alerts of agents that may start again or that nobody starts any more. */
    everyMinute: () => lookAround(parts, afterStart),
  }
}

function stallTeller({ guard, catalogue, messaging, log }: SupervisionParts): StallListener {
  const { alerts, events } = guard
  return {
    stalled: ({ id, agent, task }, why) =>
      alerts.raise(
        `session_stalled:${id}`,
        'warning',
        `agent ${agent} makes no progress in session ${id}, task ${task}: ${why}`,
      ),
    // This goes where the agent's author looks: beside what the agent says, live and in `hub task logs`.
    silent({ id, agent, task }, text) {
      log.warn({ session: id, agent, task }, text)
      catalogue.journal.log(task, { level: 'warn', text })
      events.publish('hub.task.log.v1', `task:${task}`, { agent, session: id, level: 'warn', text })
    },
    quiet({ id, task }, body) {
      log.warn({ session: id, step: body.step }, body.why)
      if (body.step === 'end')
        catalogue.journal.log(task, { level: 'warn', text: `the hub ends its program: ${body.why}` })
      messaging.tellSilence(id, body)
    },
    goesOn: (session) => alerts.resolve(`session_stalled:${session}`),
  }
}

async function lookAround({ guard, catalogue }: SupervisionParts, afterStart: AfterStart): Promise<void> {
  const { alerts } = guard
  const { registry } = catalogue
  const mayServe = (name: string) => {
    const agent = registry.find(name)
    return agent?.card.mode === 'service' && agent.state === 'registered'
  }
  for (const { cause } of alerts.list()) {
    const [kind, name = ''] = cause.split(':')
    if (kind === 'agent_unhealthy' && registry.find(name)?.state !== 'unhealthy')
      alerts.resolve(cause, `Agent ${name} may start again.`)
    if (kind === 'service_refused' && !mayServe(name))
      alerts.resolve(cause, `Agent ${name} is not a service that may start now.`)
  }
  await afterStart.round()
}
