/** Builds the work ring: agents, tasks, messages, containers. */
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { HubError, toHubError } from '../base/errors.ts'
import { newUuid, type Random } from '../base/random.ts'
import type { Log } from '../base/telemetry.ts'
import type { Config } from '../config.ts'
import { createEngineWatch } from '../guard/conditions/engine-health.ts'
import { hubPrincipal } from '../guard/principal.ts'
import type { AgentCard, SessionLimits } from '../protocol/agent.ts'
import { createAsking } from '../work/dispatch/asking.ts'
import type { Canary } from '../work/dispatch/canary.ts'
import { lastOf } from '../work/dispatch/expiry.ts'
import { holdTasks } from '../work/dispatch/holding.ts'
import { recover } from '../work/dispatch/recovery.ts'
import type { SessionRow } from '../work/dispatch/rows.ts'
import { createTasks } from '../work/dispatch/tasks.ts'
import { createUnwrittenStops } from '../work/dispatch/unwritten-stops.ts'
import { createJournal } from '../work/journal.ts'
import { createDecideAgain } from '../work/messages/decided-again.ts'
import { createDelegation } from '../work/messages/delegation.ts'
import { createDelivered } from '../work/messages/delivered.ts'
import { createMailboxes } from '../work/messages/mailboxes.ts'
import { createOutcomes } from '../work/messages/outcomes.ts'
import { createQuotas } from '../work/messages/quotas.ts'
import { createReplies } from '../work/messages/replies.ts'
import { createRouter } from '../work/messages/router.ts'
import { createTargets } from '../work/messages/targets.ts'
import { createTopics } from '../work/messages/topics.ts'
import { createPinnedImages } from '../work/pinned-images.ts'
import { createRegistry } from '../work/registry.ts'
import { createContainers } from '../work/sandbox/containers.ts'
import type { Engine } from '../work/sandbox/engine.ts'
import { createGrading, THIS_MACHINE } from '../work/sandbox/hardening.ts'
import { createResolveImage } from '../work/sandbox/image-gate.ts'
import { createLedger, readLedger } from '../work/sandbox/ledger.ts'
import type { HostFacts, Runtime } from '../work/sandbox/profile.ts'
import { createSockets } from '../work/sandbox/sockets.ts'
import { hasSwap } from '../work/sandbox/swap.ts'
import { createAlertedArtifacts, createAlertedBreaker } from './alerted.ts'
import type { Guard } from './guard.ts'
import { createSupervision } from './supervision.ts'
import { createTaskListener } from './task-listener.ts'

export interface WorkOptions {
  home: string
  instance: string
  uid: number
  host: HostFacts
  watchdogKey: Buffer
  runtime: Runtime
  /** Where the range of sessions' users begins. */
  firstUser: number
  limits: Config['limits']
  health: Config['health']
  staleAfterMs: number
  limitsOf: (card: AgentCard) => SessionLimits
}

export type Work = ReturnType<typeof createWork>

export function createWork(
  options: WorkOptions,
  outer: { clock: Clock; random: Random; log: Log; engine: Engine; guard: Guard; canary?: Canary },
) {
  const { home, instance, limits } = options
  const { clock, random, log, engine, guard } = outer
  const { store, gate, modes, events } = guard
  /** Handed in once the edge is built: the inner ring never imports the outer one. */
  let entrance: { open: (session: string) => Promise<void>; close: (session: string) => void } | undefined
  let onDue: () => void = () => undefined

  const engineWatch = createEngineWatch({ modes })
  /** An image could not be looked up: its agent is looked for again as soon as the engine answers. */
  let unresolved = false
  const resolveImage = createResolveImage(engine, (thrown) => {
    unresolved = true
    log.warn({ reason: toHubError(thrown).reason }, 'an image could not be looked up')
  })
  const breaker = createAlertedBreaker(limits.recycles, outer)
  const images = createPinnedImages({
    ...{ store, gate, events, resolve: resolveImage },
    sessions: { sessionsOpen: () => tasks.sessionsOpen() },
  })
  const registry = createRegistry(
    { folder: join(home, 'agents'), limitsOf: options.limitsOf },
    { store, images, breaker },
  )
  const artifacts = createAlertedArtifacts(join(home, 'artifacts'), outer)
  const journal = createJournal(clock)
  const mailboxes = createMailboxes({
    epoch: guard.epoch,
    ownMax: limits.tasksPerTree + 1,
    sessions: limits.sessions,
  })
  const replies = createReplies(clock, guard.footing.watch.pace.heldBackMs)
  const topics = createTopics()
  const outcomes = createOutcomes(store)
  const perSecondOf = (agent: string) => registry.find(agent)?.card.limits.messagesPerSecond
  const quotas = createQuotas({ perSecond: limits.messages.perSecond, perSecondOf }, clock)
  const sockets = createSockets({ home, uid: options.uid })
  const ledgerOptions = {
    path: join(home, 'ledger.json'),
    instance,
    epoch: guard.epoch,
    key: options.watchdogKey,
    mode: modes.current(),
  }
  const ledger = createLedger(ledgerOptions, { clock, entries: readLedger(ledgerOptions) })
  const containers = createContainers({ host: options.host, instance, hasSwap }, { engine, log, clock })

  const tasks = createTasks({
    requireRoom: guard.footing.disk.requireRoom,
    stopUnwritten: (grant, task) => unwritten.stop(grant, task),
    store,
    clock,
    steady: guard.footing.steady,
    random,
    listener: createTaskListener({
      events,
      recycling: breaker.count,
      answer: (child) => delegation.answer(child),
      onDue: () => onDue(),
    }),
  })
  const delegation = createDelegation(
    { tasksPerTreeMax: limits.tasksPerTree },
    { store, clock, random, tasks, registry, mailboxes, artifacts },
  )
  const delivered = createDelivered({ audit: guard.audit, nowMs: clock.wallMs, log })
  const targets = createTargets({ rows: tasks, registry, mailboxes, delivered })
  const router = createRouter({
    store,
    clock,
    random,
    tasks,
    registry,
    mailboxes,
    replies,
    topics,
    delegation,
    journal,
    events,
    approvals: guard.approvals,
    handBack: (grant, sender, detail) => supervision.losses.stopped(grant, sender, detail),
  })

  const decideAgain = createDecideAgain({ gate, rows: tasks, mailboxes, topics, targets, log })

  function factsOf(session: SessionRow) {
    const agent = registry.find(session.agent)
    if (agent === undefined) throw new HubError('unknown_agent', `the card of ${session.agent} is gone`)
    const facts = {
      instance,
      session: session.id,
      task: session.task,
      attempt: session.attempt,
      agent: session.agent,
      generation: session.generation,
      imageId: session.imageId,
      // One of before sessions had users of their own is graded as what it should be by now.
      user: session.uid ?? options.firstUser,
      socketDir: sockets.socketDirOf(session.id),
      ...lastOf(session),
      runtime: options.runtime,
    }
    return { facts, limits: agent.limits }
  }

  const openEntrance = async (session: string) => {
    if (entrance === undefined)
      throw new HubError('internal', '', { reason: 'a session was started before the entrance was built' })
    mailboxes.open(session)
    await entrance.open(session)
  }
  const release = (session: string) => {
    entrance?.close(session)
    mailboxes.close(session)
    for (const part of [replies, topics, outcomes, quotas, supervision.vitals]) part.forget(session)
    sockets.remove(session)
  }

  const unwritten = createUnwrittenStops({ rows: tasks, containers, release, log })
  const wakes = { wake: () => onDue(), ...(outer.canary === undefined ? {} : { canary: outer.canary }) }
  const supervision = createSupervision(
    {
      ...{ instance, limits, health: options.health, staleAfterMs: options.staleAfterMs },
      ...{ runtime: options.runtime, firstUser: options.firstUser },
    },
    {
      ...{ clock, random, log, engine, engineWatch, guard, tasks, registry, containers, ledger, sockets, journal },
      ...{ openEntrance, factsOf, release },
      ...wakes,
    },
  )
  const { launcher, reaper, dispatcher, vitals } = supervision
  const asking = createAsking(
    { tasksPerTreeMax: limits.tasksPerTree },
    {
      ...{ clock, tasks, registry, artifacts, runtimeFault: supervision.runtime.fault },
      grantedTtlMs(agent) {
        const rows = guard.policy.active().data?.agents ?? {}
        return Object.hasOwn(rows, agent) ? rows[agent]?.ttlMs : undefined
      },
    },
  )

  return {
    registry,
    artifacts,
    journal,
    mailboxes,
    replies,
    topics,
    outcomes,
    quotas,
    sockets,
    ledger,
    containers,
    tasks,
    delegation,
    targets,
    router,
    decideAgain,
    launcher,
    reaper,
    dispatcher,
    asking,
    vitals,
    runtime: supervision.runtime,
    beforeDispatch: supervision.beforeDispatch,
    afterStart: supervision.afterStart,
    setEntrance(made: typeof entrance) {
      entrance = made
    },
    /** Reads the catalogue again where images could not be looked up. */
    async lookUpAgain() {
      if (!unresolved || engineWatch.isAway()) return
      unresolved = false
      await registry.read()
    },
    /** Hears that a task or session may need a loop's attention now. */
    onDue(listener: () => void) {
      onDue = listener
    },
    holdTasks: () => holdTasks({ gate, tasks, log }),
    recover: () => {
      delivered.recall(new Set(tasks.sessionsOpen().map(({ id }) => id)))
      return recover(instance, {
        clock,
        tasks,
        engine,
        launcher,
        losses: supervision.losses,
        engineWatch,
        log,
        redeliver: delegation.answer,
      })
    },
    tellFinish(session: string, graceMs: number) {
      try {
        mailboxes.put(session, {
          kind: 'finish',
          id: newUuid(random, clock.wallMs()),
          sentAtMs: clock.wallMs(),
          body: { graceMs },
        })
      } catch {
        // No mailbox or a full one: the SIGTERM that follows says the same.
      }
    },
    /** Questions end with the session that asked them; what waits is told. */
    expireQuestions() {
      const call = {
        principal: hubPrincipal('approvals'),
        operation: 'approval.expire',
        resource: 'approvals',
      } as const
      if (guard.approvals.list(false).some(({ session }) => !mailboxes.isOpen(session)))
        gate.admit(call, (grant) => guard.approvals.expire(grant))
      guard.approvals.tell()
    },
    hardening: createGrading({ engine, containers, factsOf, beside: THIS_MACHINE }),
    containerLogs: (container: string) => engine.logs(container, 64 * 1024),
  }
}
