/**
 * The three paths by which everything is stopped (safety.md section 5): the hub does it; where it is dead or hangs, the watchdog; where both
 * are, and only with `--emergency`, this command itself. S1 the answer says which path was taken and what each container came to.
 * S2 a container counts as stopped only when it was confirmed gone, and at the end the engine is asked by this command too (X1).
 * S3 a path that fails, hangs or cannot say what is left never keeps the next one from being tried. S4 a hub that did not stop by itself is ended, so that it starts nothing later.
 */
import { keepDown } from '../../base/stay-down.ts'
import type { StoppedContainer, StopView } from '../answers.ts'
import { Problem, toProblem } from '../problem.ts'
import type { Context } from './context.ts'
import { listContainers, remainsOf, stopContainers } from './engine.ts'
import { pathsOf } from './home.ts'
import { processOf, sleep, waitGone } from './processes.ts'
import { hubAnswers, watchdogAnswers } from './start.ts'
import { leaveStopOrder } from './stop-order.ts'

export type Ending = 'shutdown' | 'down' | 'restart'
export interface StopOrder {
  exit: Ending
  drain: boolean
  emergency: boolean
  reason: string
}
export interface StopTimes {
  /** The hub's own wait, SIGTERM, SIGKILL and removal, with room for a slow engine. */
  hubMs: number
  /** With `--drain` sessions may work to their TTL, which has its own ceiling. */
  drainMs: number
  watchdogMs: number
  /** For the hub to go once it has answered, or once the watchdog has stopped what it had. */
  goneMs: number
}
export const STOP_TIMES: StopTimes = { hubMs: 45_000, drainMs: 25 * 3_600_000, watchdogMs: 90_000, goneMs: 5_000 }
const LOOK_MS = 500

export const failedOf = (view: StopView): StoppedContainer[] =>
  view.containers.filter(({ outcome }) => outcome === 'failed')

/** Says on stderr how far it is, by what the engine shows, while the work goes on. An engine that is silent is not asked again. */
export async function withProgress<Result>({ home, terminal }: Context, work: Promise<Result>): Promise<Result> {
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
 * What the engine still shows of this home although it was reported gone; whoever stopped it and could not ask the engine at the end is
 * answered for by this look. Where it is not to be asked from here, the answer stands as given.
 */
async function proven(context: Context, { unproven, ...view }: StopView): Promise<StopView> {
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
    const containers = [...others, ...(await Promise.all(still))]
    return { ...view, requested: Math.max(view.requested, containers.length), containers }
  } catch {
    return unproven === undefined ? view : { ...view, unproven }
  }
}

/** Ends a hub that hangs or was stopped around: left alone it could start more (S4). */
async function endHub({ home, terminal }: Context, goneMs: number, emergency: boolean): Promise<void> {
  const pid = processOf(pathsOf(home).hubPid, home)
  // It could not say so itself. After an emergency it may start at the next boot: it then answers reads and holds.
  if (!emergency) keepDown(home, 'hub')
  if (pid === undefined || (await waitGone(pid, home, goneMs))) return
  terminal.note(`the hub hangs (process ${pid}): killed`)
  process.kill(pid, 'SIGKILL')
}

/** Climbs down the paths until one answers. @throws Problem `not_stopped` where none does */
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
    // It takes its time over a stop; one that hangs must not keep the last path waiting for all of it.
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
      terminal.note(`the order to stay stopped could not be left in ${home}: ${toProblem(error).message}`)
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
      if (exit !== 'restart') last = await proven(context, last)
      const failed = failedOf(last).length
      if (failed === 0 && last.unproven === undefined) return last
      terminal.note(`by the ${name}: ${failed === 0 ? 'not known what is left' : `${failed} not confirmed gone`}`)
      if (!emergency) return last
    } catch (error) {
      terminal.note(`the ${name} did not do it: ${toProblem(error).message}`)
    }
  }
  if (last !== undefined) return last
  const text = emergency ? 'nothing could be stopped' : 'neither the hub nor the watchdog answers'
  const next = emergency ? 'start the container engine, or switch the machine off' : '`hub shutdown --emergency`'
  throw new Problem('not_stopped', 'unavailable', text, next)
}
