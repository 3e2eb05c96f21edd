/** Builds the edge ring: every way in, over the same operations. */
import { release } from 'node:os'
import { readArrivals } from '../base/arrivals.ts'
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Log } from '../base/telemetry.ts'
import type { Config } from '../config.ts'
import { apiRoom } from '../edge/api-room.ts'
import { channelChecks } from '../edge/channel-checks.ts'
import { consoleRoom, readConsoleFiles } from '../edge/console-room.ts'
import { createDoctor } from '../edge/doctor.ts'
import { createEngineChecks } from '../edge/doctor-engine.ts'
import { createPortChecks, portOwners } from '../edge/doctor-ports.ts'
import { createProcessCheck } from '../edge/doctor-process.ts'
import { createRuntimeCheck, createUsersCheck } from '../edge/doctor-runtime.ts'
import { createUnitsCheck } from '../edge/doctor-units.ts'
import { createFootingChecks } from '../edge/footing-checks.ts'
import { hookRoom } from '../edge/hook.ts'
import { createOperatorHttp } from '../edge/http.ts'
import { createLoopbackHttp } from '../edge/loopback.ts'
import { roomCheck } from '../edge/room-check.ts'
import { agentHandlers } from '../edge/routes/agents.ts'
import { alertHandlers } from '../edge/routes/alerts.ts'
import { approvalHandlers } from '../edge/routes/approvals.ts'
import { artifactHandlers } from '../edge/routes/artifacts.ts'
import { auditHandlers } from '../edge/routes/audit.ts'
import { backupHandlers } from '../edge/routes/backup.ts'
import { consoleHandlers } from '../edge/routes/console.ts'
import { deviceHandlers } from '../edge/routes/devices.ts'
import { drillHandlers } from '../edge/routes/drill.ts'
import { keyHandlers } from '../edge/routes/keys.ts'
import { createHealth, operatorHandlers } from '../edge/routes/operator.ts'
import { presenceHandlers } from '../edge/routes/presence.ts'
import { retentionHandlers } from '../edge/routes/retention.ts'
import { stoppingHandlers } from '../edge/routes/stopping.ts'
import { taskHandlers } from '../edge/routes/tasks.ts'
import { createServe, handler } from '../edge/serve.ts'
import { createWatchdogChecks } from '../edge/watchdog-checks.ts'
import { createConsoleLinks } from '../guard/identity/console-links.ts'
import type { Ending } from '../work/dispatch/shutdown.ts'
import type { Hook } from '../work/messages/hooks.ts'
import type { Engine } from '../work/sandbox/engine.ts'
import type { Secrets } from '../work/sandbox/secrets.ts'
import { createAgentEntrance } from './agent-entrance.ts'
import type { AlertDelivery } from './alert-channels.ts'
import { createBackup } from './backup.ts'
import { createContactSide } from './contact-side.ts'
import { checkCopy } from './copy-check.ts'
import { createDrillSide } from './drill-side.ts'
import type { Guard } from './guard.ts'
import { createListeners } from './listeners.ts'
import { createQuarantine } from './quarantine.ts'
import type { Upkeep } from './upkeep.ts'
import { createWatchdogSide } from './watchdog-side.ts'
import type { Work } from './work.ts'

export interface EntranceOptions {
  home: string
  instance: string
  version: string
  config: Config
  watchdogKey: Buffer
  hooks: readonly Hook[]
  environment: NodeJS.ProcessEnv
  isWorking: () => boolean
}
export function createEntrances(
  options: EntranceOptions,
  outer: {
    clock: Clock
    random: Random
    log: Log
    engine: Engine
    guard: Guard
    work: Work
    upkeep: Upkeep
    secrets: Secrets
    alertDelivery: AlertDelivery
    onExit: (how: Ending) => void
  },
) {
  const { home, instance, version, config } = options
  const { clock, log, engine, guard, work, upkeep, secrets, alertDelivery, onExit } = outer
  const { gate, store, modes, audit, checkpoints, events, lease, meta, policy } = guard
  const { tasks, registry, mailboxes, artifacts } = work

  const watchdog = createWatchdogSide(
    { home, instance, watchdogKey: options.watchdogKey, shutdownMs: config.shutdownTimeout },
    { clock, log, guard, work, onExit: (how) => void contactSide.desk.seen().then(() => onExit(how)) },
  )
  const { shutdown } = watchdog
  const contactSide = createContactSide(
    { reach: config.reach, port: () => listeners.port(), instance },
    { clock, random: outer.random, log, guard, tasks, shutdown, ask: watchdog.say },
  )

  const drillSide = createDrillSide({ clock, log, engine, guard, work, alertDelivery, say: watchdog.say })

  const health = createHealth({
    instance,
    version,
    clock,
    modes,
    tasks,
    audit,
    onShown: guard.shownHeads.note,
    lease,
    meta,
    stopping: shutdown.progress,
    drill: drillSide.view,
    room: upkeep.room.view,
    stuck: work.reaper.stuck,
    canary: work.runtime.view,
  })
  const links = createConsoleLinks({ clock, random: outer.random })
  const views = { tasks, artifacts, journal: work.journal, mailboxes, vitals: work.vitals, clock }
  const serve = createServe({
    gate,
    handlers: {
      ...taskHandlers({
        ...views,
        asking: work.asking,
        containerLogs: work.containerLogs,
        hardening: work.hardening,
        denyList: guard.denyList,
        cutFrames: (session) => frames.close(session),
      }),
      ...keyHandlers({ keyRing: guard.keyRing }),
      ...deviceHandlers({
        credentials: guard.credentials,
        nowMs: guard.footing.steady.wallMs,
        base: () => config.reach.publicUrl ?? listeners.base(),
      }),
      ...consoleHandlers({ links, credentials: guard.credentials, base: () => listeners.base() }),
      ...backupHandlers({
        makeBackup: createBackup({ home, clock, log, audit, copyDatabase: store.copy, checkCopy }),
        pauses: upkeep.pauses,
      }),
      ...retentionHandlers({ retention: upkeep.retention }),
      ...agentHandlers({
        registry,
        tasks,
        policy,
        rules: guard.footing.rules,
        changes: guard.policyChanges,
        onChanged: () => guard.decisions.forget(),
        decideAgain: work.decideAgain,
      }),
      ...approvalHandlers({ approvals: guard.approvals, tasks, mailboxes, clock, random: outer.random }),
      ...auditHandlers({
        ...{ audit, checkpoints, verifier: guard.verifier, onShown: guard.shownHeads.note },
        onExported: (isLast) => upkeep.pauses.piece('an audit export', isLast),
      }),
      ...createQuarantine({ home }, { ...outer, cutFrames: (session) => frames.close(session) }),
      ...alertHandlers({ alerts: guard.alerts, delivery: alertDelivery, testAtWatchdog: watchdog.testAlerts }),
      ...stoppingHandlers({ modes, tasks, shutdown }),
      ...drillHandlers({ drill: drillSide.drill }),
      ...presenceHandlers({
        modes,
        clock,
        gate,
        askWatchdog: watchdog.say,
        watchdogStatus: watchdog.status,
        countHeld: tasks.countHeld,
      }),
      ...contactSide.handlers,
      ...operatorHandlers({
        health,
        modes,
        isAcceptable: (head) => guard.shownHeads.has(head) && audit.includes(head),
        watchdog,
        proveClock: () => guard.footing.steady.prove(),
        acceptClock: () => guard.footing.steady.accept(tasks.sessionsOpen().length),
        releaseAlert: guard.alerts.release,
        questions: () => guard.approvals.list(false),
        doctor: createDoctor({
          footing: createFootingChecks({ home, store, audit, policy, modes, ...guard.footing }),
          engine: createEngineChecks(engine, { kernel: release(), node: process.version }),
          registry,
          modes,
          lease,
          secrets,
          more: [
            createRuntimeCheck(work.runtime),
            createUsersCheck(config.engine.firstUser),
            createPortChecks(() => portOwners(home, { port: listeners.port(), isUp: true }, watchdog.status)),
            createUnitsCheck({ home }),
            createProcessCheck({ home, env: options.environment }),
            drillSide.checks,
            createWatchdogChecks(watchdog.status),
            contactSide.checks,
            async () => [roomCheck(upkeep.room.view())],
            async () =>
              channelChecks(config.alerts, alertDelivery.states(), guard.alertRows, clock.wallMs(), readArrivals(home)),
          ],
        }),
      }),
      'event.stream': handler({ effect: () => undefined }),
      ...artifactHandlers({ artifacts }),
    },
  })

  const { agents, frames, sumRefusals } = createAgentEntrance(
    { instance, hooks: options.hooks, artifactBytesMax: config.limits.artifactBytes, health: config.health },
    { clock, random: outer.random, log, guard, work, secrets },
  )

  /** Anybody may read it: which containers are stuck is not for them. */
  const healthz = () => ({ status: options.isWorking() ? 200 : 503, body: { ...health(), stuck: undefined } })
  const httpParts = { serve, gate, artifacts, events, clock, log, healthz, inputBytesMax: config.limits.inputBytes }
  const operator = createOperatorHttp(httpParts)
  const hook = hookRoom({
    credentials: guard.credentials,
    gate,
    clock,
    zone: config.alerts.zone,
    heartbeat: (device) => watchdog.heartbeat(`device ${device}`, 'webhook'),
  })
  const page = consoleRoom({
    files: readConsoleFiles(log),
    links,
    credentials: guard.credentials,
    gate,
    clock,
    nowMs: guard.footing.steady.wallMs,
  })
  const loopback = createLoopbackHttp(() => listeners.port(), {
    ...httpParts,
    reach: config.reach,
    rooms: [hook, page, apiRoom({ ...httpParts, credentials: guard.credentials }), contactSide.room],
    before: contactSide.refuseElsewhere,
  })

  const listeners = createListeners({ home, port: config.http.port }, { operator, loopback, watchdog: watchdog.door })

  return {
    agents,
    open: listeners.open,
    knock: watchdog.knock,
    sumRefusals,
    remindOfDrill: drillSide.remind,
    farewell: watchdog.farewell,
    leave: watchdog.leave,
    /** Tells the watchdog what it does not know of the contact's card. */
    tellContact: () => void (guard.contact.untold() !== undefined && contactSide.news()),
    async close() {
      agents.closeAll()
      await listeners.close()
    },
  }
}
