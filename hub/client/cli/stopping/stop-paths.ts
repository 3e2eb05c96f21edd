/**
 * The three paths that stop everything (docs/safety.md 5): the hub; if it is dead or hangs, the watchdog; if both are dead, and only with
 * `--emergency`, this command itself. S1 the answer says which path was taken and what became of each container.
 * S2 a container counts as stopped only when it was confirmed gone, and at the end the engine is asked by this command too (X1).
 * S3 if a path fails, hangs or cannot say what is left, the next one is tried. S4 a hub that did not stop by itself is killed, so that it starts nothing later.
 */
import { closeSync, constants, fsyncSync, openSync, writeSync } from 'node:fs'
import path from 'node:path'
import { keepDown } from '../../../base/stay-down.ts'
import type { StoppedContainer, StopView } from '../../answers.ts'
import { Problem, toProblem } from '../../problem.ts'
import type { Context } from '../context.ts'
import { type Found, listContainers, remainsOf, stopContainers } from '../engine.ts'
import { pathsOf } from '../home.ts'
import { processOf, sleep, waitGone } from '../processes.ts'
import { hubAnswers, watchdogAnswers } from '../setup/start.ts'

/** The file has this size from `hub init` on, so that writing it in place needs no room on the disk. */
const BYTES = 512
const REASON_MAX = 200

/** Writes the order; on disk when it returns. */
function leaveStopOrder(home: string, order: { by: 'emergency' | 'contact'; reason: string }): void {
  const text = Buffer.from(JSON.stringify({ by: order.by, reason: order.reason.slice(0, REASON_MAX) }))
  const bytes = Buffer.alloc(Math.max(BYTES, text.length))
  text.copy(bytes)
  const fd = openSync(path.join(home, 'stop-order'), constants.O_RDWR | constants.O_CREAT, 0o600)
  try {
    writeSync(fd, bytes, 0, bytes.length, 0)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

export type Ending = 'shutdown' | 'down' | 'restart'
export interface StopOrder {
  exit: Ending
  drain: boolean
  emergency: boolean
  reason: string
  /** What the engine showed before anybody was told of the stop. Whoever was told first may have removed some of it before the path that answers looks. */
  before?: readonly Found[]
}
export interface StopTimes {
  /** The hub's own wait, SIGTERM, SIGKILL and removal, with room for a slow engine. */
  hubMs: number
  /** With `--drain` sessions may work until their time to live ends, which has its own limit. */
  drainMs: number
  watchdogMs: number
  /** For the hub to exit after it answered, or after the watchdog stopped its sessions. */
  goneMs: number
}
const STOP_TIMES: StopTimes = { hubMs: 45_000, drainMs: 25 * 3_600_000, watchdogMs: 90_000, goneMs: 5_000 }
const LOOK_MS = 500
const FIRST_LOOK_MS = 2_000

export const failedOf = (view: StopView): StoppedContainer[] =>
  view.containers.filter(({ outcome }) => outcome === 'failed')

/** What the engine shows now; nothing if it does not say so within two seconds, because a stop waits no longer for a count. */
export async function firstLook({ home }: Context): Promise<readonly Found[]> {
  const late = Promise.withResolvers<readonly Found[]>()
  // Cleared, because a timer that is left keeps a command from ending that has said all.
  const timer = setTimeout(() => late.resolve([]), FIRST_LOOK_MS)
  const found = await Promise.race([listContainers(pathsOf(home)).catch(() => []), late.promise])
  clearTimeout(timer)
  return found
}

/** Shows progress on stderr, by what the engine still shows. An engine that does not answer is not asked again. */
async function withProgress<Result>({ home, terminal }: Context, work: Promise<Result>): Promise<Result> {
  const paths = pathsOf(home)
  let over = false
  const end = work.finally(() => {
    over = true
  })
  const watch = async () => {
    const first = (await listContainers(paths)).length
    while (!over && first > 0) {
      const left = (await listContainers(paths)).length
      if (!over) terminal.live(`stopping: ${Math.max(0, first - left)} of ${first} confirmed`)
      await Promise.race([end.catch(() => undefined), sleep(LOOK_MS)])
    }
  }
  void watch().catch(() => undefined)
  try {
    return await end
  } finally {
    terminal.live('')
  }
}

/**
 * Checks an answer against the engine: a container that the engine still shows counts as failed. This also settles an answer whose author
 * could not ask the engine at the end. What was there before the stop and is not named counts too. If the engine cannot be asked from here,
 * the answer stays as it is.
 */
async function proven(
  context: Context,
  { unproven, ...view }: StopView,
  before: readonly Found[] = [],
): Promise<StopView> {
  const paths = pathsOf(context.home)
  const known = new Map(failedOf(view).map((one) => [one.container, one]))
  try {
    const left = await listContainers(paths)
    const still = left.map(async (found): Promise<StoppedContainer> => {
      const { name, session } = found
      const said: Omit<StoppedContainer, 'outcome'> = known.get(name) ?? {
        container: name,
        session,
        reason: 'the engine still shows it',
      }
      return { ...said, outcome: 'failed', remains: said.remains ?? (await remainsOf(paths, found)) }
    })
    const names = new Set(left.map(({ name }) => name))
    const others = view.containers.filter(({ container }) => !names.has(container))
    const named = new Set([...names, ...others.map(({ container }) => container)])
    const earlier = before
      .filter(({ name }) => !named.has(name))
      .map(({ name, session }): StoppedContainer => ({ container: name, session, outcome: 'gone' }))
    const containers = [...others, ...earlier, ...(await Promise.all(still))]
    return { ...view, requested: Math.max(view.requested, containers.length), containers }
  } catch {
    return unproven === undefined ? view : { ...view, unproven }
  }
}

/** Ends a hub that hangs or was bypassed: left alone it could start more (S4). */
async function endHub({ home, terminal }: Context, goneMs: number, emergency: boolean): Promise<void> {
  const pid = processOf(pathsOf(home).hubPid, home)
  // The hub could not record this itself. After an emergency it may start at the next boot: it then answers reads and starts nothing.
  if (!emergency) keepDown(home, 'hub')
  if (pid === undefined || (await waitGone(pid, home, goneMs))) return
  terminal.note(`the hub hangs (process ${pid}): killed`)
  process.kill(pid, 'SIGKILL')
}

/** Tries the paths in order. @throws Problem `not_stopped` if none answers */
export async function stopEverything(
  context: Context,
  order: StopOrder,
  times: StopTimes = STOP_TIMES,
): Promise<StopView> {
  const { hub, watchdog, home, terminal } = context
  const { exit, drain, reason, emergency } = order
  const byHub = async () => {
    if (!(await hubAnswers(context))) throw new Problem('unreachable', 'unavailable', 'the hub does not answer', '')
    const request = { exit, drain, reason, ...(emergency ? { emergency } : {}) }
    return hub.call('hub.shutdown', request, { deadlineMs: drain ? times.drainMs : times.hubMs })
  }
  const byWatchdog = async () => {
    // A stop by the watchdog may take long; a watchdog that hangs must not delay the last path that long.
    if (emergency && !(await watchdogAnswers(context)))
      throw new Problem('unreachable', 'unavailable', 'the watchdog does not answer', '')
    const body = { reason, by: emergency ? 'emergency' : 'operator' }
    const view = await watchdog.send('POST', '/v1/shutdown', body, { deadlineMs: times.watchdogMs })
    if (exit !== 'restart') await endHub(context, times.goneMs, emergency)
    return view
  }
  const byCommand = async () => {
    try {
      leaveStopOrder(home, { by: 'emergency', reason })
    } catch (error) {
      terminal.note(`could not record in ${home} that everything should stay stopped: ${toProblem(error).message}`)
    }
    await endHub(context, 0, emergency)
    return stopContainers(pathsOf(home))
  }
  const paths: [string, () => Promise<unknown>][] = [
    ['hub', byHub],
    ['watchdog', byWatchdog],
    ...(emergency ? ([['command', byCommand]] as [string, () => Promise<unknown>][]) : []),
  ]
  let last: StopView | undefined
  for (const [name, act] of paths) {
    try {
      const view = (await withProgress(context, act())) as StopView
      last = { ...view, path: view.path ?? name, containers: view.containers ?? [] }
      if (exit !== 'restart') last = await proven(context, last, order.before)
      const failed = failedOf(last).length
      if (failed === 0 && last.unproven === undefined) return last
      terminal.note(
        `by the ${name}: ${failed === 0 ? 'could not find out what is left' : `${failed} not confirmed gone`}`,
      )
      if (!emergency) return last
    } catch (error) {
      terminal.note(`the ${name} could not stop everything: ${toProblem(error).message}`)
    }
  }
  if (last !== undefined) return last
  const text = emergency ? 'nothing could be stopped' : 'neither the hub nor the watchdog answers'
  const next = emergency ? 'start the container engine, or switch the machine off' : '`hub shutdown --emergency`'
  throw new Problem('not_stopped', 'unavailable', text, next)
}
