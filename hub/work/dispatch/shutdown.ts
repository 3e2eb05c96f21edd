/**
 * Stops the hub's sessions, with requested and confirmed per container (docs/safety.md 5, S0-15, X2).
 *
 * W1. The order: condition saved -> watchdog told -> sessions told to finish -> inboxes closed -> wait -> SIGTERM, 5 s, SIGKILL -> recycled
 *     -> exit. What the contact or `--emergency` asks for does not wait for results.
 * W2. It runs once. A second request speeds up the first if it waits less, and gets the same answer. A restart stops nothing, so a stop
 *     during a restart is a stop of its own, and the restart does not happen.
 * W3. Nothing stops the stop: no full disk, no deaf watchdog, no slow engine. The answer says what could not be done.
 */

import type { Clock } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Gate } from '../../guard/gate.ts'
import type { StopGrant } from '../../guard/grant.ts'
import type { Modes } from '../../guard/modes.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import type { ExitReason } from '../../protocol/task.ts'
import type { Place, SpanName, Tracer } from '../../protocol/traces.ts'
import type { Store } from '../../store/database.ts'
import type { Containers } from '../sandbox/containers.ts'
import type { Removal } from '../sandbox/engine.ts'
import type { Custody } from './custody.ts'
import type { Launcher } from './launcher.ts'
import type { Reaper } from './reaper.ts'
import type { SessionRow, TaskRows } from './rows.ts'
import type { RuntimeGate } from './runtime.ts'
import type { Tasks } from './tasks.ts'

export type StopOutcome = { container: string; session: string | null } & Removal
export interface StopReport {
  path: 'hub'
  requested: number
  containers: StopOutcome[]
  /** Why the engine could not say at the end whether anything is left. Absent if it said that nothing is. */
  unproven?: string
}

/** `unattended`: the watchdog's ceiling. Contact and emergency leave the condition `emergency_stop`. */
export type StopBy = 'operator' | 'contact' | 'emergency' | 'unattended'
export interface StopRequest {
  /** Wait until the sessions end by themselves, to their TTL at most. */
  drain: boolean
  reason: string
  /** `restart` leaves the containers to the next hub. */
  exit: 'shutdown' | 'down' | 'restart'
  by: StopBy
}
/** How the process ends; each has an exit code of its own (main.ts). */
export type Ending = StopRequest['exit'] | 'emergency_stop' | 'unattended_stop'

interface Swept {
  more: StopOutcome[]
  unproven?: string
}

export interface StopParts {
  clock: Clock
  log: Log
  store: Pick<Store, 'transaction'>
  gate: Gate
  modes: Modes
  tasks: Tasks
  launcher: Launcher
  runtime: Pick<RuntimeGate, 'isLooking' | 'settled'>
  reaper: Reaper
  custody: Pick<Custody, 'hurry' | 'graceMsOf'>
  containers: Pick<Containers, 'list' | 'recycle'>
  tellFinish: (session: string, graceMs: number) => void
  /** Closes the session's inbox to everybody but the hub. */
  sealInbox: (session: string) => void
  /** Tells the watchdog. `by` is given if the watchdog must remember the stop as well. */
  announce: (exit: StopRequest['exit'], by?: 'operator' | 'contact' | 'emergency') => Promise<unknown>
  onExit: (how: Ending) => void
  /** Keeps spans; absent where nobody does. */
  tracer?: Tracer | undefined
}

export interface Shutdown {
  (grant: StopGrant, request: StopRequest): Promise<StopReport>
  /** The stop under way, for those who wait for its end; undefined if there is none. */
  progress(): { exit: StopRequest['exit']; requested: number; confirmed: number } | undefined
  /** How the process will end once the request is done. `not_yet` until then; undefined if nothing was asked for. */
  ending(): Ending | 'not_yet' | undefined
}

const POLL_MS = 50
/** After the waiting: SIGTERM, five seconds, SIGKILL, removal, with room for a slow engine. */
const CONFIRM_MS = 20_000
const DRAIN_MAX_MS = 24 * 3_600_000
const ANNOUNCE_WAIT_MS = 2000
/** Time for the answer to leave before the process does. */
const FAREWELL_MS = 100

const STILL_MAKING =
  'the engine has not said yet whether it made the container of a canary session; that container would not be started'

const isEmergency = (by: StopBy): by is 'contact' | 'emergency' => by === 'contact' || by === 'emergency'

/** The condition that outlives the stop. */
export function keepStop(modes: Modes, { by, reason }: Pick<StopRequest, 'by' | 'reason'>): void {
  if (isEmergency(by)) modes.raise('emergency_stop', reason === '' ? `asked for by ${by}` : reason)
}

/** In the transaction that records who asked: sets the condition that outlives the stop, so nothing new starts. */
export function beginStop(modes: Modes, { by, exit, reason }: Pick<StopRequest, 'by' | 'exit' | 'reason'>): void {
  keepStop(modes, { by, reason })
  modes.raise('draining', reason === '' ? exit : reason)
}

/** The only way in which the hub stops itself (W1-W3). */
export function createShutdown(options: { waitMs: number }, parts: StopParts): Shutdown {
  const { clock, log, store, modes, tasks, launcher, runtime, reaper, tracer, onExit } = parts
  let stopping: Promise<StopReport> | undefined
  let waitUntilMs = Number.POSITIVE_INFINITY
  let asked: readonly SessionRow[] = []
  let exit: StopRequest['exit'] = 'shutdown'
  let worst: StopBy = 'operator'
  let over: Ending | undefined
  /** Counts up when a stop takes the place of a restart. That restart then no longer ends the process. */
  let turn = 0
  /** Where the stop under way stands in a trace. */
  let place: Place | undefined
  const spanOf = (name: SpanName) => tracer?.begin(name, { parent: place, ids: {} })
  /** Containers that were stopped although their row could not be moved. */
  const forced = new Map<string, Removal>()

  const outcomeOf = (session: SessionRow): Removal | undefined => forced.get(session.id) ?? reaper.outcomeOf(session.id)
  const isGone = (session: SessionRow) => (outcomeOf(session)?.outcome ?? 'failed') !== 'failed'
  /** Gone, or nothing of it runs any more, or the host denies its stop each time: not worth waiting for. */
  const isOver = (session: SessionRow) => {
    const seen = outcomeOf(session)
    return (
      isGone(session) || reaper.isBarred(session.id) || (seen?.outcome === 'failed' && seen.remains?.kind === 'nothing')
    )
  }

  async function interrupt(grant: StopGrant, session: SessionRow): Promise<void> {
    try {
      // Attempt, session and task move together or not at all: a disk that fills up between two of the rows would leave a running task
      // without a session.
      store.transaction(() => tasks.interrupt(grant, session.id, 'shutdown'))
    } catch (thrown) {
      log.error(
        { session: session.id, reason: toHubError(thrown).reason },
        'a session was stopped, but the store could not record it',
      )
      const name = session.containerId ?? session.containerName
      forced.set(session.id, await parts.containers.recycle(grant, name, { graceMs: parts.custody.graceMsOf(session) }))
    }
  }

  const until = async (isOver: () => boolean, deadlineMs: () => number) => {
    while (!isOver() && clock.monotonicMs() < deadlineMs()) {
      reaper.round()
      await clock.sleep(POLL_MS)
    }
  }

  /** All our containers that the engine shows or is still making (X1). A canary has no row; the first look ends one that runs. */
  async function sweep(grant: StopGrant, known: readonly SessionRow[]): Promise<Swept> {
    const isMaking = runtime.isLooking()
    const first = await sweepOnce(grant, known)
    if (!isMaking) return first
    const settled = runtime.settled().then(() => true)
    const isSettled = await Promise.race([settled, clock.sleep(options.waitMs).then(() => false)])
    const second = await sweepOnce(grant, known)
    const again = new Set(second.more.map(({ container }) => container))
    const more = [...first.more.filter(({ container }) => !again.has(container)), ...second.more]
    const unproven = second.unproven ?? (isSettled ? undefined : STILL_MAKING)
    return { more, ...(unproven === undefined ? {} : { unproven }) }
  }

  const graceMsOf = (id = '') => parts.custody.graceMsOf(tasks.session(id) ?? { id, exitReason: null })

  /** Our containers that the engine shows now, with or without a session. */
  async function sweepOnce(grant: StopGrant, known: readonly SessionRow[]): Promise<Swept> {
    const stuck = new Set(known.filter((session) => !isGone(session)).map((session) => session.containerName))
    try {
      const left = (await parts.containers.list()).filter(({ name }) => !stuck.has(name))
      const more = left.map(async ({ id, name, labels }) => ({
        container: name,
        session: labels['hub.session'] ?? null,
        ...(await parts.containers.recycle(grant, id, { graceMs: graceMsOf(labels['hub.session']) })),
      }))
      return { more: await Promise.all(more) }
    } catch (thrown) {
      return { more: [], unproven: toHubError(thrown).message }
    }
  }

  async function stopSessions(grant: StopGrant): Promise<StopReport> {
    const before = tasks.sessionsOpen()
    asked = before
    await Promise.race([launcher.settled(), clock.sleep(options.waitMs)])
    const open = tasks.sessionsOpen()
    const isOpen = new Set(open.map(({ id }) => id))
    // The watchdog knows of the stop by now and may have removed some while a start ended: they are counted all the same. One whose removal
    // nobody saw had no container.
    asked = [...before.filter((session) => !isOpen.has(session.id) && outcomeOf(session) !== undefined), ...open]
    const finish = spanOf('orch.shutdown.finish')
    for (const session of open) {
      if (session.state === 'recycling') continue
      parts.tellFinish(session.id, Math.max(0, waitUntilMs - clock.monotonicMs()))
      parts.sealInbox(session.id)
    }
    const working = () => tasks.sessionsOpen().filter(({ state }) => state !== 'recycling')
    await until(
      () => working().length === 0,
      () => waitUntilMs,
    )
    finish?.end()
    const confirm = spanOf('orch.shutdown.confirm')
    const confirmBy = clock.monotonicMs() + CONFIRM_MS
    const interrupted = working().map((session) => interrupt(grant, session))
    await until(
      () => asked.every(isOver),
      () => confirmBy,
    )
    await Promise.race([Promise.all(interrupted), clock.sleep(Math.max(0, confirmBy - clock.monotonicMs()))])
    const { more, unproven } = await sweep(grant, asked)
    confirm?.end(unproven === undefined ? undefined : 'engine_unavailable')
    const containers = asked.map((session) => {
      const seen = outcomeOf(session) ?? { outcome: 'failed' as const, reason: 'its removal was not confirmed in time' }
      return { container: session.containerName, session: session.id, ...seen }
    })
    const all = [...containers, ...more]
    return { path: 'hub', requested: all.length, containers: all, ...(unproven === undefined ? {} : { unproven }) }
  }

  /** If even the rows cannot be read, what the engine shows by label is still stopped (W3). */
  async function stopAll(grant: StopGrant): Promise<StopReport> {
    try {
      return await stopSessions(grant)
    } catch (thrown) {
      log.error(
        { reason: toHubError(thrown).reason },
        'the sessions could not be read; every container of this hub is stopped',
      )
      const { more, unproven } = await sweep(grant, [])
      const rest = unproven === undefined ? {} : { unproven }
      return { path: 'hub', requested: more.length, containers: more, ...rest }
    }
  }

  async function stop(grant: StopGrant, request: StopRequest): Promise<StopReport> {
    exit = request.exit
    turn += 1
    const mine = turn
    const span = tracer?.begin('orch.shutdown', { ids: { exit, reason: request.by } })
    place = span?.place
    const restarts = exit === 'restart'
    // Before anything is interrupted: whatever happens from here on, no task starts again by itself.
    const held = restarts || holdTasks(parts)
    // If the watchdog asked for the stop, it knows already. It is told only what it cannot know.
    const told = parts
      .announce(exit, isEmergency(request.by) ? request.by : held ? undefined : 'operator')
      .catch((thrown) => log.warn({ reason: toHubError(thrown).message }, 'the watchdog was not told of the stop'))
    const report: StopReport = restarts ? { path: 'hub', requested: 0, containers: [] } : await stopAll(grant)
    await Promise.race([told, clock.sleep(ANNOUNCE_WAIT_MS)])
    const failed = report.containers.filter((one) => one.outcome === 'failed').length
    log.info({ requested: report.requested, failed }, 'the sessions were stopped')
    span?.end(failed === 0 ? undefined : 'stop_unconfirmed', { requested: report.requested })
    const how = isEmergency(worst) ? 'emergency_stop' : worst === 'unattended' ? 'unattended_stop' : exit
    if (mine === turn) over = how
    clock.after(FAREWELL_MS, () => {
      if (mine === turn) onExit(how)
    })
    return report
  }

  const shutdown = (grant: StopGrant, request: StopRequest) => {
    const isFirst = stopping === undefined || (exit === 'restart' && request.exit !== 'restart')
    if (isFirst) {
      waitUntilMs = Number.POSITIVE_INFINITY
      over = undefined
    }
    beginStop(modes, request)
    reaper.hurry()
    const waitMs = isEmergency(request.by) ? 0 : request.drain ? DRAIN_MAX_MS : options.waitMs
    waitUntilMs = Math.min(waitUntilMs, clock.monotonicMs() + waitMs)
    if (request.by !== 'operator') parts.custody.hurry()
    if (request.by !== 'operator') worst = isEmergency(worst) ? worst : request.by
    if (stopping === undefined || isFirst) stopping = stop(grant, request)
    else if (isEmergency(request.by)) void parts.announce(exit, request.by).catch(() => undefined)
    return stopping
  }
  return Object.assign(shutdown, {
    progress: () =>
      stopping === undefined ? undefined : { exit, requested: asked.length, confirmed: asked.filter(isGone).length },
    ending: () => (stopping === undefined ? undefined : (over ?? 'not_yet')),
  })
}

const STOPPER = hubPrincipal('shutdown')

/**
 * Holds every unfinished task, with a record: none starts again before the operator says so. False if the store could not record it; then
 * another part must remember.
 */
export function holdTasks(parts: { gate: Gate; tasks: Tasks; log: Log }): boolean {
  const { gate, tasks, log } = parts
  try {
    gate.admitStop({ principal: STOPPER, operation: 'session.reap', resource: 'tasks' }, (grant) => ({
      auditEffect: `${tasks.holdAll(grant)} tasks were not held before`,
    }))
    return true
  } catch (thrown) {
    log.error({ reason: toHubError(thrown).reason }, 'the unfinished tasks could not be held')
    return false
  }
}

/**
 * Stops while the store cannot be written (I6, T79). The containers of a task and its children are stopped, and their sessions can do
 * nothing any more. No row records it. Once the store works again, the reconcile finds the containers gone, and their work comes back as
 * after any interruption.
 */
export interface UnwrittenStops {
  /**
   * Begins to stop what runs of this task. A second call for the same session does nothing. If its own session is stopped for security,
   * evidence of that is kept first.
   */
  stop(grant: StopGrant, task: string, reason: ExitReason): void
}

export function createUnwrittenStops(parts: {
  rows: Pick<TaskRows, 'children' | 'sessionOfTask' | 'sessionsOpen'>
  containers: Pick<Containers, 'recycle'>
  custody: Pick<Custody, 'take' | 'has' | 'graceMsOf'>
  /** Releases everything that the session had: mailbox, entrance, subscriptions. */
  release: (session: string) => void
  log: Log
}): UnwrittenStops {
  const { rows, containers, custody, release, log } = parts
  /** Holds open sessions only: nobody asks about a recycled one. */
  const stopping = new Set<string>()

  const running = (task: string): SessionRow[] => {
    const own = rows.sessionOfTask(task)
    return [...(own === undefined ? [] : [own]), ...rows.children(task).flatMap(({ id }) => running(id))]
  }

  async function remove(grant: StopGrant, session: SessionRow, isSecurity: boolean): Promise<Removal> {
    if (isSecurity || custody.has(session.id)) await custody.take(grant, session)
    const graceMs = custody.graceMsOf(session)
    return containers.recycle(grant, session.containerId ?? session.containerName, { graceMs })
  }

  function stopOne(grant: StopGrant, session: SessionRow, isSecurity: boolean): void {
    if (stopping.has(session.id)) return
    stopping.add(session.id)
    log.error({ session: session.id }, 'a session is stopped, but the store cannot record it')
    release(session.id)
    remove(grant, session, isSecurity)
      .catch((thrown) => ({ outcome: 'failed', reason: toHubError(thrown).reason }) as const)
      .then((outcome) => {
        if (outcome.outcome !== 'failed') return
        // Whoever asks next tries it again: the operator, or its time to live.
        stopping.delete(session.id)
        log.error({ session: session.id, reason: outcome.reason }, 'its container is not gone')
      })
  }
  return {
    stop(grant, task, reason) {
      const open = new Set(rows.sessionsOpen().map(({ id }) => id))
      for (const id of stopping) if (!open.has(id)) stopping.delete(id)
      for (const session of running(task)) stopOne(grant, session, reason === 'security' && session.task === task)
    },
  }
}
