/**
 * The composition root: builds every part once, in ring order, lists every loop, starts and drains them.
 * Also what another program embeds: no global state, no signal handlers, no exit.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createAlertDelivery } from './assembly/alert-channels.ts'
import { createCalendar, type Schedule } from './assembly/calendar.ts'
import { createEngineWatch } from './assembly/engine-watch.ts'
import { createEntrances } from './assembly/entrances.ts'
import { createGuard } from './assembly/guard.ts'
import { createUpkeep, type Upkeep } from './assembly/upkeep.ts'
import { createWork } from './assembly/work.ts'
import { createWorkWatch } from './assembly/work-watch.ts'
import type { Clock } from './base/clock.ts'
import { seesAll } from './base/container-processes.ts'
import { HubError, toHubError } from './base/errors.ts'
import { createLoop, type Loop } from './base/loop.ts'
import type { Random } from './base/random.ts'
import type { Log } from './base/telemetry.ts'
import { nextTurn } from './base/turn.ts'
import { type Config, limitsOfCard } from './config.ts'
import type { DiskFacts } from './guard/conditions/disk.ts'
import { createLoopWatch } from './guard/conditions/loop-watch.ts'
import { TICK_MS } from './guard/conditions/pace.ts'
import type { HubKeys } from './guard/identity/keys.ts'
import type { Ballast } from './store/ballast.ts'
import type { Store } from './store/database.ts'
import { lookThrough } from './store/look.ts'
import type { Canary } from './work/dispatch/canary.ts'
import type { Ending } from './work/dispatch/shutdown.ts'
import { vitalsEveryMs } from './work/dispatch/vitals.ts'
import type { Hook } from './work/messages/hooks.ts'
import { SAMPLE_EVERY_MS } from './work/retention/room.ts'
import type { Engine } from './work/sandbox/engine.ts'
import type { HostFacts } from './work/sandbox/profile.ts'
import { createSecrets } from './work/sandbox/secrets.ts'

export interface HubOptions {
  home: string
  instance: string
  version: string
  config: Config
  keys: HubKeys
  /** Folder of the shipped policy bundle. */
  bundleFolder: string
  host: HostFacts
  uid: number
  /** What this process was started with, for doctor to judge (fault F20). */
  environment?: NodeJS.ProcessEnv
  /** By name; those of the home's folder come before them. Taken over: overwritten when the hub stops. */
  secretsFromEnvironment?: ReadonlyMap<string, Buffer>
}

export interface HubOuter {
  clock: Clock
  random: Random
  log: Log
  engine: Engine
  /** The home's database, opened and up to date; opened by the hub without it. */
  store?: Store
  /** Asked around every message of an agent, in this order; see work/messages/hooks.ts. */
  hooks?: readonly Hook[]
  /** The commit of the operator's rules, where they stand in a repository. */
  commitOf?: (path: string) => string | undefined
  /** For jobs of the calendar; without it there are none. */
  schedule?: Schedule
  /** Called when a shutdown has been answered and the process may go. */
  onExit: (how: Ending) => void
  /** What the home's file system has left; the system's own answer without it. */
  statfs?: (path: string) => DiskFacts
  /** What a full disk is given so that a stop can be recorded; a file of the home without it. */
  ballast?: Ballast
  /** What tries the engine before anything is dispatched on it; a real canary session without it. */
  canary?: Canary
}

export interface Hub {
  /** Recovers, then opens the entrances. Resolves with the port of the loopback listener. */
  start(): Promise<{ port: number; socket: string }>
  /** Resolves once everything a start need not wait for was looked through, or the hub ends. */
  looked(): Promise<void>
  /** Stops loops and entrances; containers are left as they are. */
  stop(): Promise<void>
  /** For a signal, before `stop`: as what the process ends. Undefined while a stop is under way, which ends the process itself. */
  leave(): Promise<Ending | undefined>
  /**
   * What a service manager's watchdog is fed from: the work loops turn, the store and the engine have answered, well or not. What hangs
   * never comes back from here; what fails has a condition of its own and is no reason to begin anew. Throws where the loops stand still.
   */
  selfCheck(): Promise<void>
  readonly guard: ReturnType<typeof createGuard>
  readonly work: ReturnType<typeof createWork>
  readonly upkeep: Upkeep
}

const WORK_FRESH_MS = 15_000
const DATA_ROOT_MS = 600_000
/** The look through the home after a start leaves most of the time to the work. */
const PAGES_A_REST = 4
const REST_MS = 10
/** How often an ended month of the audit log is looked for. */
const SEALING_MS = 60_000

export function createHub(options: HubOptions, outer: HubOuter): Hub {
  const { home, instance, config, keys } = options
  const { clock, random, log, engine } = outer
  for (const folder of ['run', 'logs', 'artifacts', 'evidence'])
    mkdirSync(join(home, folder), { recursive: true, mode: 0o700 })

  const guard = createGuard(
    {
      home,
      instance,
      keys,
      bundleFolder: options.bundleFolder,
      alerts: config.alerts,
      disk: config.disk,
      recordsPerHour: config.limits.messages.recordsPerHour,
    },
    outer,
  )
  const work = createWork(
    {
      home,
      instance,
      uid: options.uid,
      host: options.host,
      watchdogKey: keys.watchdog,
      runtime: config.engine.runtime,
      firstUser: config.engine.firstUser,
      limits: config.limits,
      health: config.health,
      staleAfterMs: config.staleAfter,
      limitsOf: (card) => limitsOfCard(config, card),
    },
    { clock, random, log, engine, guard, ...(outer.canary === undefined ? {} : { canary: outer.canary }) },
  )
  const secrets = createSecrets({
    folder: join(home, 'secrets'),
    uid: options.uid,
    fromEnvironment: options.secretsFromEnvironment ?? new Map(),
  })
  const alertDelivery = createAlertDelivery(
    { settings: config.alerts, home, instance },
    { guard, clock, random, log, secretOf: (name) => secrets.ofHub(name).toString('utf8').trim() },
  )
  const workWatch = createWorkWatch({ guard, work })
  const upkeep = createUpkeep({ home, settings: config.retention }, { clock, log, guard })
  const watchEngine = createEngineWatch({ instance }, { engine, alerts: guard.alerts })
  const entrances = createEntrances(
    {
      home,
      instance,
      version: options.version,
      config,
      watchdogKey: keys.watchdog,
      hooks: outer.hooks ?? [],
      environment: options.environment ?? {},
      isWorking,
    },
    { clock, random, log, engine, guard, work, upkeep, secrets, alertDelivery, onExit: outer.onExit },
  )
  work.setEntrance({ open: entrances.agents.open, close: entrances.agents.close })

  const loopWatch = createLoopWatch({ modes: guard.modes, alerts: guard.alerts })
  const onFault = (loop: string, thrown: unknown, faultsInARow: number) => {
    const error = toHubError(thrown)
    log.error({ loop, faultsInARow, code: error.code, reason: error.reason }, 'a loop failed; it goes on')
    // A statement outside a transaction may be the first to find the disk broken.
    if (guard.store.heard(thrown)) return
    if (error.code === 'store_unavailable') guard.modes.raise('store_failing', error.reason)
    else loopWatch.failed(loop, error.reason, faultsInARow)
  }
  let rootAskedAt = Number.NEGATIVE_INFINITY
  /** Its data root is asked for now and then: another engine may stand on its socket. Not of this machine, it cannot be watched from here. */
  async function lookAtEngineDisk(): Promise<void> {
    const { engineDisk } = guard.footing
    if (clock.monotonicMs() - rootAskedAt > DATA_ROOT_MS && !guard.modes.has('engine_unavailable')) {
      rootAskedAt = clock.monotonicMs()
      const info = await engine.info().catch(() => undefined)
      if (info !== undefined) engineDisk.at(info.dataRoot !== '' && seesAll(info) ? info.dataRoot : undefined)
    }
    engineDisk.tick()
  }
  const loop = (name: string, everyMs: number, run: () => void | Promise<void>): Loop =>
    createLoop({ name, everyMs, run, onFault, onWell: loopWatch.well }, clock)
  const ending = new AbortController()
  const calendar = createCalendar({
    ...{ guard, log, clock, signal: ending.signal },
    schedule: outer.schedule ?? (() => () => undefined),
    turn: () => clock.sleep(0),
  })
  const loops = {
    dispatch: loop('dispatch', 1000, () => {
      guard.recoverStore()
      work.beforeDispatch()
      work.dispatcher.round()
    }),
    reaper: loop('reaper', 1000, () => work.reaper.round()),
    reconcile: loop('reconcile', 5000, async () => {
      await work.reaper.reconcile()
      watchEngine()
      await work.lookUpAgain()
    }),
    engineDisk: loop('engineDisk', 30_000, lookAtEngineDisk),
    vitals: loop('vitals', vitalsEveryMs(config.health), work.vitals.round),
    watch: loop('watch', TICK_MS, () => guard.footing.watch.tick()),
    integrity: loop('integrity', 60_000, async () => void (await work.artifacts.scan())),
    lease: loop('lease', 1000, () => guard.lease.tick()),
    checkpoint: loop('checkpoint', 2000, () => void guard.checkpoints.take()),
    alerts: loop('alerts', 1000, () => alertDelivery.round()),
    retention: loop('retention', 1000, upkeep.retention.round),
    room: loop('room', SAMPLE_EVERY_MS, upkeep.room.sample),
    sealing: loop('sealing', SEALING_MS, async () => {
      if (!guard.modes.has('disk_low')) await guard.sealing.round(ending.signal)
      await upkeep.dropMonths(ending.signal)
      await upkeep.forgetDecisions(ending.signal)
    }),
    auditLook: loop('auditLook', 60_000, calendar.catchUp),
    workWatch: loop('workWatch', 60_000, () => workWatch.round()),
    housekeeping: loop('housekeeping', 15_000, () => {
      entrances.sumRefusals()
      entrances.remindOfDrill()
      guard.nonces.purge()
      guard.denyList.purge()
      guard.credentials.saveAgain()
      work.replies.expire()
      entrances.tellContact()
      work.expireQuestions()
    }),
  }
  guard.footing.watch.onResume(() => {
    work.reaper.round()
    entrances.knock()
  })
  work.onDue(() => {
    loops.dispatch.nudge()
    loops.reaper.nudge()
  })

  /** The work loops' last success: health is what they did, not that a listener answers (T88). */
  function isWorking(): boolean {
    return [loops.dispatch, loops.reaper].every(
      (each) => clock.monotonicMs() - (each.lastSuccessAt() ?? Number.NEGATIVE_INFINITY) < WORK_FRESH_MS,
    )
  }

  let stopCalendar = () => {}
  let looking: Promise<void> = Promise.resolve()
  /** What a start need not wait for: all rows of history, and the whole audit log. */
  async function lookThroughAll(): Promise<void> {
    let pages = 0
    const gently = async () => {
      ending.signal.throwIfAborted()
      await nextTurn()
      pages += 1
      if (pages % PAGES_A_REST === 0) await clock.sleep(REST_MS, ending.signal)
      ending.signal.throwIfAborted()
    }
    try {
      guard.alertWatch.databaseJudged(await lookThrough(guard.store, gently))
      await guard.verifier.look(gently, ending.signal)
    } catch (thrown) {
      if (!ending.signal.aborted) log.error({ reason: toHubError(thrown).reason }, 'the look through the home failed')
    }
  }
  async function followEngine(): Promise<void> {
    while (!ending.signal.aborted) {
      // The stream broke or begins: the engine may have been changed meanwhile.
      work.runtime.engineChanged()
      // A hint only: what an event misses, the wait on the container hears or the reconcile finds within five seconds.
      await engine
        .events(
          instance,
          ({ action, labels }) => action === 'die' && work.reaper.look(labels['hub.session'] ?? ''),
          ending.signal,
        )
        .catch(() => undefined)
      await clock.sleep(1000, ending.signal)
    }
  }

  return {
    guard,
    work,
    upkeep,
    async start() {
      // Disk and clock are judged before anything is started or taken up.
      guard.footing.watch.tick()
      guard.checkStart()
      guard.recordRules()
      await work.registry.read()
      guard.writeStops()
      await work.recover()
      guard.gate.stopAgain()
      if (guard.modes.has('emergency_stop') || guard.modes.has('unattended_stop')) work.holdTasks()
      work.ledger.write(guard.modes.current())
      const opened = await entrances.open()
      entrances.knock()
      for (const each of Object.values(loops)) each.start()
      stopCalendar = calendar.start()
      void followEngine()
      looking = lookThroughAll()
      return opened
    },
    looked: () => looking,
    async selfCheck() {
      try {
        guard.meta.set('epoch', String(guard.epoch))
      } catch (thrown) {
        if (toHubError(thrown).code !== 'store_unavailable') throw thrown
      }
      await engine.ping().catch(() => undefined)
      if (!isWorking()) throw new HubError('internal', '', { reason: 'the work loops stand still' })
    },
    leave: entrances.leave,
    async stop() {
      ending.abort()
      stopCalendar()
      work.containers.close()
      alertDelivery.stop()
      workWatch.end()
      await Promise.all(Object.values(loops).map((each) => each.stop()))
      await entrances.close()
      await looking
      await work.launcher.settled()
      await work.runtime.settled()
      secrets.scrub()
      await entrances.farewell()
      guard.close()
    },
  }
}
