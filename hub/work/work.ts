/** The work ring: agents, tasks, messages, containers. Built in the order in which the parts need each other. */
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Log } from '../base/telemetry.ts'
import type { Grant } from '../guard/grant.ts'
import type { Guard } from '../guard/guard.ts'
import type { Approval } from '../guard/operator/approval-rows.ts'
import type { Tracer } from '../protocol/traces.ts'
import { type CatalogueOptions, createCatalogue } from './catalogue.ts'
import { type ContainmentOptions, createContainment } from './containment.ts'
import { type Canary, createCanary } from './dispatch/canary.ts'
import { createLosses } from './dispatch/losses.ts'
import { recover } from './dispatch/recovery.ts'
import { createRuntimeGate } from './dispatch/runtime.ts'
import { holdTasks } from './dispatch/shutdown.ts'
import { createTasks } from './dispatch/tasks.ts'
import { createMoney, type Money, type MoneyOptions } from './egress/money.ts'
import { createIntake } from './intake.ts'
import { createMessaging, type Messaging, type MessagingOptions } from './messaging.ts'
import type { RetentionSettings } from './retention/settings.ts'
import { createUpkeep } from './retention/upkeep.ts'
import type { Engine } from './sandbox/engine.ts'
import { followEngine } from './sandbox/engine-following.ts'
import { readMachine } from './sandbox/machine.ts'
import { createSupervision, type SupervisionOptions } from './supervision.ts'

const LOG_BYTES = 64 * 1024

export type WorkOptions = ContainmentOptions &
  CatalogueOptions &
  MessagingOptions &
  SupervisionOptions &
  MoneyOptions & { retention: RetentionSettings }

export interface WorkOuter {
  clock: Clock
  random: Random
  log: Log
  engine: Engine
  guard: Guard
  /** What tries the engine. Without it: a real canary session. */
  canary?: Canary
  tracer?: Tracer | undefined
}

export type Work = ReturnType<typeof createWork>

/** What follows from an answer of a person, in its transaction; answers words for the record. */
const settling = (messaging: Messaging, money: Money) => (grant: Grant, approval: Approval) => {
  const said = messaging.settleApproval(grant, approval)
  return [said, money.settleApproval(grant, approval)].filter((each) => each !== '').join('; ')
}

export function createWork(options: WorkOptions, outer: WorkOuter) {
  const { instance, runtime } = options
  const { clock, random, log, guard } = outer
  const { store, gate, modes, events, alerts, host, flags, redaction } = guard
  /** Called when a task or session may need a loop's attention now. */
  let due: () => void = () => undefined

  const containment = createContainment(options, outer)
  const { engine, containers, ledger, sockets, looks, engineWatch } = containment
  const tasks = createTasks({
    store,
    clock,
    random,
    steady: host.steady,
    requireRoom: host.disk.requireRoom,
    redaction,
  })
  const catalogue = createCatalogue(options, { ...outer, containment, tasks })
  const { registry } = catalogue
  const canary =
    outer.canary ??
    createCanary(options, { clock, random, gate, registry, engine, containers, ledger, sockets, machine: readMachine })
  const runtimeGate = createRuntimeGate({ runtime }, { clock, log, modes, alerts, canary, wake: () => due() })
  const losses = createLosses({
    clock,
    log,
    gate,
    modes,
    events,
    alerts,
    tasks,
    registry,
    cards: catalogue.sessionCards,
    runtimeGate,
    flags,
  })
  const messaging = createMessaging(options, { ...outer, catalogue, tasks, losses })
  const supervision = createSupervision(options, {
    ...{ ...outer, containment, catalogue, messaging, tasks, losses, runtimeGate },
  })
  const { launcher, distrust } = supervision
  tasks.listen({
    taskChanged: () => due(),
    sessionChanged({ state }) {
      if (state === 'recycling' || state === 'recycled') due()
    },
  })
  const { whyWaits } = supervision.dispatcher
  const { asking, runs, runner } = createIntake(options, { clock, log, guard, catalogue, tasks, runtimeGate, whyWaits })

  const money = createMoney(options, { ...outer, tasks, mail: messaging.tellBudget })
  /** Readers take the group that they need, by the name of its builder. */
  return {
    ...{ containment, catalogue },
    ...{ messaging, money },
    distrust,
    supervision,
    tasks,
    losses,
    /** What was counted and timed. */
    meters: { ...messaging.meters, ...supervision.meters, ...containment.meters },
    asking,
    runs,
    runner,
    runtime: runtimeGate,
    upkeep: createUpkeep(options, { clock, log, guard, transcripts: catalogue.transcripts }),
    /** Sets the one listener for a task or session that may need a loop's attention now. */
    onDue(listener: () => void) {
      due = listener
    },
    /** Runs until the signal ends it. */
    followEngine: (signal: AbortSignal) =>
      followEngine(
        { instance, signal },
        { engine, clock, began: runtimeGate.engineChanged, died: supervision.reaper.look },
      ),
    async reconcile() {
      await supervision.reaper.reconcile()
      looks.judgeAgreement()
      await catalogue.lookUpAgain()
    },
    async everyMinute() {
      await supervision.everyMinute()
      await containment.usersWatch.round()
    },
    settleApproval: settling(messaging, money),
    holdTasks: () => holdTasks({ gate, tasks, log }),
    recover() {
      money.recover()
      messaging.delivered.recall(new Set(tasks.sessionsOpen().map(({ id }) => id)))
      const redeliver = messaging.tellAgain
      return recover(instance, { clock, tasks, engine, launcher, losses, engineWatch, log, redeliver })
    },
    /** The end of what its container printed; it may begin within a line. */
    containerLogs: async (container: string) => redaction.piece(await engine.logs(container, LOG_BYTES)),
  }
}
