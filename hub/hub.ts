/**
 * The composition root: builds every part once, in ring order, lists every loop, starts and drains them.
 * Also what another program embeds: no global state, no signal handlers, no exit.
 */

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { CardPlaces } from './base/card-files.ts'
import type { Clock } from './base/clock.ts'
import { HubError, toHubError } from './base/errors.ts'
import { requireOwnFiles } from './base/lines-files.ts'
import { joined } from './base/live.ts'
import { createLoop, type Loop } from './base/loop.ts'
import type { Random } from './base/random.ts'
import { createRedaction, type Redaction } from './base/redaction.ts'
import type { Log } from './base/telemetry.ts'
import type { Config, ConfigRead } from './config.ts'
import { createForce } from './config-force.ts'
import { ringsOf } from './config-rings.ts'
import { createEntrances, type Entrances } from './edge/entrances.ts'
import { CHECKPOINT_EVERY_MS } from './guard/audit/checkpoint.ts'
import { createCalendar, type Schedule } from './guard/audit/nightly-look.ts'
import type { DiskFacts } from './guard/conditions/disk.ts'
import { createLoopWatch } from './guard/conditions/loop-watch.ts'
import { TICK_MS } from './guard/conditions/pace.ts'
import { createGuard, type Guard } from './guard/guard.ts'
import type { HubKeys } from './guard/identity/keys.ts'
import { lookThroughHome } from './guard/look-through.ts'
import type { CommitOf } from './guard/policy/bundle.ts'
import { type ConfigWatch, createConfigWatch } from './home/config-watch.ts'
import { createMetricsDoor, type MetricsDoor } from './observe/door.ts'
import { createMetrics } from './observe/metrics.ts'
import type { Tracing } from './observe/tracing.ts'
import type { Ballast } from './store/ballast.ts'
import type { Store } from './store/database.ts'
import type { Canary } from './work/dispatch/canary.ts'
import type { Ending } from './work/dispatch/shutdown.ts'
import type { Hook } from './work/messages/hooks.ts'
import type { CardProblem } from './work/registry.ts'
import { SAMPLE_EVERY_MS } from './work/retention/home-size.ts'
import type { Engine } from './work/sandbox/engine.ts'
import type { HostFacts } from './work/sandbox/profile.ts'
import { createSecrets } from './work/sandbox/secrets.ts'
import { createWork, type Work } from './work/work.ts'

export interface HubOptions {
  home: string
  instance: string
  version: string
  /** What `HOME/hub.yaml` says. The file is watched for changes (config-watch.ts). */
  settings: ConfigRead
  keys: HubKeys
  /** Folder of the shipped policy bundle. */
  bundleFolder: string
  /** Where cards of agents lie beside those of the home; nowhere without it. */
  cards?: Pick<CardPlaces, 'package' | 'system'>
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
  /** The one that `log` masks by; one that knows what this hub learns, if there is none. */
  redaction?: Redaction
  engine: Engine
  /** The home's database, opened and up to date; opened by the hub without it. */
  store?: Store
  /** Asked around every message of an agent, in this order; see work/messages/hooks.ts. */
  hooks?: readonly Hook[]
  /** The commit of the operator's rules, if they are in a repository. */
  commitOf?: CommitOf
  /** For jobs of the calendar; without it there are none. */
  schedule?: Schedule
  /**
   * Goes on with the log in this file; throws if it cannot. `isTrial`: it only looks whether it could. Without it the file is not the hub's to
   * choose.
   */
  useLog?: (file: Config['log'], isTrial?: boolean) => void
  /** Called when a shutdown has been answered and the process may go. */
  onExit: (how: Ending) => void
  /** What the home's file system has left; the system's own answer without it. */
  statfs?: (path: string) => DiskFacts
  /** The room that is freed on a full disk so that a stop can be recorded; a file of the home without it. */
  ballast?: Ballast
  /** What tries the engine before anything is dispatched on it; a real canary session without it. */
  canary?: Canary
  /** Keeps spans of what the hub does; closed with the hub. Without it none are made. */
  tracing?: Tracing | undefined
}

export interface Hub {
  /** Recovers, then opens the entrances. Resolves with the port of the loopback listener. */
  start(): Promise<{ port: number; socket: string }>
  /** Resolves once the checks after the start are done, or the hub ends. */
  looked(): Promise<void>
  /** Stops loops and entrances; containers are left as they are. */
  stop(): Promise<void>
  /** For a signal, before `stop`: how the process ends. Undefined while a stop is under way, because that ends the process itself. */
  leave(): Promise<Ending | undefined>
  /**
   * The check before the service manager is told that all is well: the work loops turn, and the store and the engine have answered, well or
   * not. If something hangs, this never returns. A failure has its own condition and is no reason to restart. Throws if the loops stand still.
   */
  selfCheck(): Promise<void>
  readonly guard: Guard
  readonly work: Work
}

const WORK_FRESH_MS = 15_000
/** How often an ended month of the audit log is looked for. */
const SEALING_MS = 60_000

export function createHub(options: HubOptions, outer: HubOuter): Hub {
  const { home, instance, version, settings, keys, bundleFolder, cards, host, uid, environment = {} } = options
  const { clock, log, hooks = [], redaction = createRedaction() } = outer
  for (const folder of ['run', 'logs', 'artifacts', 'transcripts', 'evidence'])
    mkdirSync(join(home, folder), { recursive: true, mode: 0o700 })
  const fromEnvironment = options.secretsFromEnvironment ?? new Map()
  const secrets = createSecrets({ folder: join(home, 'secrets'), uid, fromEnvironment, know: redaction.know })
  learnSecrets()
  const secretOf = (name: string) => secrets.ofHub(name).toString('utf8').trim()
  const force = createForce(settings)
  const rings = ringsOf(force.now)
  const watchdogKey = keys.watchdog
  const tracer = outer.tracing?.tracer

  const guard = createGuard(joined({ home, instance, keys, bundleFolder }, rings.guard), {
    ...outer,
    secretOf,
    redaction,
    tracer,
  })
  const work = createWork(joined({ home, instance, bundleFolder, cards, uid, host, watchdogKey }, rings.work), {
    ...{ ...outer, guard, tracer },
  })
  const { engine } = work.containment
  const metrics = createMetricsDoor(force.now().metrics, {
    ...{ clock, log, healthz },
    text: createMetrics({ version, clock, guard, work, egress: egressMeters }),
  })
  const entrances: Entrances = createEntrances(
    joined({ home, instance, version, watchdogKey, hooks, environment, isWorking }, rings.edge),
    { ...outer, engine, guard, work, secrets, metrics, config: showConfig },
  )
  work.supervision.setEntrance(entrances.agents)
  const ending = new AbortController()
  const config = createConfigWatch(
    { path: join(home, 'hub.yaml'), text: settings.text },
    {
      ...{ clock, log, guard, force },
      prepare: ({ config: next, changed }) => {
        requireOwnFiles(next, home)
        if (changed.some((key) => key.startsWith('log.'))) outer.useLog?.(next.log, true)
      },
      applied,
    },
  )
  const { loops, calendar } = createLoops({
    ...{ ...outer, guard, work, entrances, config, metrics, learnSecrets },
    signal: ending.signal,
  })
  function showConfig() {
    return config.view()
  }
  /** What has to hear of a change; all else reads it when it needs it. */
  function applied(changed: readonly string[]): void {
    const has = (group: string) => changed.some((key) => key === group || key.startsWith(`${group}.`))
    if (has('logLevel')) log.level = force.now().logLevel
    if (has('log')) moveLog()
    if (has('alerts')) guard.alertDelivery.settingsChanged()
    if (has('health')) loops.vitals.nudge()
    const fits = has('limits') || has('upstreams')
    if (!fits && !has('images')) return
    const { registry } = work.catalogue
    if (has('images')) registry.imagesChanged()
    if (fits) {
      registry.limitsChanged()
      loops.dispatch.nudge()
    }
    registry.read().then(
      ({ problems }) => sayUnloaded(guard, problems),
      (thrown) => log.error({ reason: toHubError(thrown).reason }, 'the cards could not be read again'),
    )
  }
  /** Only now: what is not committed changes nothing. It could be opened a moment ago. */
  function moveLog(): void {
    try {
      outer.useLog?.(force.now().log)
    } catch (thrown) {
      log.error({ reason: toHubError(thrown).reason }, 'the log goes on in its earlier file')
    }
  }
  guard.host.pace.onResume(() => {
    work.supervision.reaper.round()
    entrances.knock()
  })
  work.onDue(() => {
    loops.dispatch.nudge()
    loops.reaper.nudge()
  })

  function learnSecrets(): void {
    const weak = secrets.learn()
    if (weak.length > 0)
      log.warn(
        { secrets: weak },
        'these secrets are short or ordinary words: they are masked nowhere; take values of 16 odd characters or more',
      )
  }

  /** Asked once the hub is built. */
  function egressMeters() {
    return entrances.egressMeters
  }
  /** Asked once the hub is built. */
  function healthz() {
    return entrances.healthz()
  }

  /** The work loops' last success: health is what they did, not that a listener answers (T88). */
  function isWorking(): boolean {
    return [loops.dispatch, loops.reaper].every(
      (each) => clock.monotonicMs() - (each.lastSuccessAt() ?? Number.NEGATIVE_INFINITY) < WORK_FRESH_MS,
    )
  }

  let stopCalendar = () => {}
  let looking: Promise<void> = Promise.resolve()

  return {
    guard,
    work,
    async start() {
      // Disk and clock are judged before anything is started or taken up.
      guard.host.tick()
      guard.checkStart()
      guard.recordRules()
      guard.flags.recordProfile(guard.gate)
      await work.catalogue.registry.read()
      guard.writeStops()
      await work.recover()
      guard.gate.stopAgain()
      if (guard.modes.has('emergency_stop') || guard.modes.has('unattended_stop')) work.holdTasks()
      work.containment.ledger.write(guard.modes.current())
      const opened = await entrances.open()
      await metrics.open()
      entrances.knock()
      for (const each of Object.values(loops)) each.start()
      stopCalendar = calendar.start()
      void work.followEngine(ending.signal)
      looking = lookThroughHome(guard, { clock, log, signal: ending.signal })
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
      work.containment.containers.close()
      guard.alertDelivery.stop()
      guard.forwarder.stop()
      await Promise.all(Object.values(loops).map((each) => each.stop()))
      await Promise.all([entrances.close(), metrics.close()])
      await looking
      await work.supervision.launcher.settled()
      await work.runtime.settled()
      secrets.scrub()
      await entrances.farewell()
      await outer.tracing?.close()
      guard.close()
    },
  }
}

const UNLOADED = 'cards_not_loaded'
const UNLOADED_LASTS_MS = 3_600_000

/** After a change of the limits: an agent whose card asks for more than is allowed now starts no more. */
function sayUnloaded({ alerts }: Guard, problems: readonly CardProblem[]): void {
  if (problems.length === 0) {
    alerts.resolve(UNLOADED, 'Every card is loaded.')
    return
  }
  const each = problems.map(({ file, line, message }) => `${file} line ${line}: ${message}`).join('; ')
  const text = `After a change of hub.yaml these cards are not loaded. Their agents start nothing new; what runs of them goes on by the card that it was started with: ${each}`
  alerts.raise(UNLOADED, 'warning', text, UNLOADED_LASTS_MS)
}

interface LoopParts extends HubOuter {
  guard: Guard
  work: Work
  entrances: Entrances
  learnSecrets: () => void
  metrics: MetricsDoor
  config: ConfigWatch
  signal: AbortSignal
}

/** Every loop of the hub, and the calendar. None runs yet. */
function createLoops(parts: LoopParts) {
  const {
    clock,
    log,
    guard,
    work,
    entrances,
    config,
    metrics,
    learnSecrets,
    signal,
    schedule = () => () => undefined,
  } = parts
  const health = createLoopWatch({ modes: guard.modes, alerts: guard.alerts })
  function onFault(loop: string, thrown: unknown, faultsInARow: number): void {
    const error = toHubError(thrown)
    log.error({ loop, faultsInARow, code: error.code, reason: error.reason }, 'a loop failed; it will run again')
    // A statement outside a transaction may be the first to find the disk broken.
    if (guard.store.heard(thrown)) return
    if (error.code === 'store_unavailable') guard.modes.raise('store_failing', error.reason)
    else health.failed(loop, error.reason, faultsInARow)
  }
  const loop = (name: string, everyMs: number | (() => number), run: () => void | Promise<void>): Loop =>
    createLoop({ name, everyMs, run, onFault, onWell: health.well }, clock)
  const calendar = createCalendar({
    ...{ record: guard, steady: guard.host.steady, log, clock, signal, schedule },
    turn: () => clock.sleep(0),
  })
  const loops = {
    dispatch: loop('dispatch', 1000, () => {
      guard.recoverStore()
      work.supervision.beforeDispatch()
      work.runner.round()
      work.supervision.dispatcher.round()
    }),
    reaper: loop('reaper', 1000, () => work.supervision.reaper.round()),
    reconcile: loop('reconcile', 5000, work.reconcile),
    engineDisk: loop('engineDisk', 30_000, work.containment.lookAtEngineDisk),
    vitals: loop('vitals', work.supervision.vitals.everyMs, work.supervision.vitals.round),
    config: loop('config', 1000, config.look),
    watch: loop('watch', TICK_MS, () => guard.host.tick()),
    integrity: loop('integrity', 60_000, async () => void (await work.catalogue.artifacts.scan())),
    lease: loop('lease', 1000, () => guard.lease.tick()),
    checkpoint: loop('checkpoint', CHECKPOINT_EVERY_MS, () => void guard.checkpoints.take()),
    alerts: loop('alerts', 1000, () => guard.alertDelivery.round()),
    forward: loop('forward', 1000, () => guard.forwarder.round()),
    retention: loop('retention', 1000, work.upkeep.retention.round),
    room: loop('room', SAMPLE_EVERY_MS, work.upkeep.size.sample),
    sealing: loop('sealing', SEALING_MS, async () => {
      if (!guard.modes.has('disk_low')) await guard.sealing.round(signal)
      await work.upkeep.dropMonths(signal)
      await work.upkeep.forgetDecisions(signal)
    }),
    auditLook: loop('auditLook', 60_000, calendar.catchUp),
    workWatch: loop('workWatch', 60_000, work.everyMinute),
    housekeeping: loop('housekeeping', 15_000, async () => {
      learnSecrets()
      entrances.sumRefusals()
      entrances.remindOfDrill()
      guard.nonces.purge()
      guard.denyList.purge()
      guard.credentials.saveAgain()
      work.messaging.replies.expire()
      entrances.tellContact()
      guard.flags.settle(guard.gate)
      work.messaging.expireApprovals()
      guard.workClock.save()
      await metrics.open()
    }),
  }
  return { loops, calendar }
}
