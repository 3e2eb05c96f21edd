/**
 * Stopping everything (safety.md section 5): the hub does it; where it is dead or hangs, the watchdog; where both are, and only with
 * `--emergency`, this command itself. S1 the answer says which path was taken and what each container came to.
 * S2 a container counts as stopped only when it was confirmed gone. S3 a rung that fails never stops the next one from being tried.
 */
import type { SessionView, StoppedContainer, StopView } from '../answers.ts'
import { EXIT, Problem, toProblem } from '../problem.ts'
import type { Context, Run } from './context.ts'
import { stopContainers } from './engine.ts'
import { pathsOf } from './home.ts'
import { processOf } from './processes.ts'
import { clean, type Paint } from './text.ts'

export type Ending = 'shutdown' | 'down' | 'restart'
export interface StopOrder {
  exit: Ending
  drain: boolean
  emergency: boolean
  reason: string
}
export interface StopTimes {
  hubMs: number
  /** With `--drain` sessions may work to their TTL, which has its own ceiling. */
  drainMs: number
  watchdogMs: number
}
export const STOP_TIMES: StopTimes = { hubMs: 30_000, drainMs: 25 * 3_600_000, watchdogMs: 60_000 }
/** How long the watchdog keeps silent about what was announced. */
const ANNOUNCE_MS = 300_000

const failedOf = (view: StopView): StoppedContainer[] => view.containers.filter(({ outcome }) => outcome === 'failed')

/** Tells the watchdog what is meant, so that it raises no alarm; that it cannot be told changes nothing. */
export async function announce({ watchdog, terminal }: Context, kind: Ending): Promise<boolean> {
  try {
    await watchdog.send('POST', '/v1/announce', { kind, forMs: ANNOUNCE_MS }, { deadlineMs: 3_000 })
    return true
  } catch (error) {
    terminal.note(`the watchdog was not told: ${toProblem(error).message}`)
    return false
  }
}

/** Climbs down the three rungs until one answers. @throws Problem `not_stopped` where none does */
export async function stopEverything(
  context: Context,
  order: StopOrder,
  times: StopTimes = STOP_TIMES,
): Promise<StopView> {
  const { hub, watchdog, home, terminal } = context
  const { exit, drain, reason } = order
  let last: StopView | undefined
  const rungs: [string, () => Promise<unknown>][] = [
    [
      'hub',
      () => hub.call('hub.shutdown', { exit, drain, reason }, { deadlineMs: drain ? times.drainMs : times.hubMs }),
    ],
    ['watchdog', () => watchdog.send('POST', '/v1/shutdown', { reason }, { deadlineMs: times.watchdogMs })],
  ]
  if (order.emergency) {
    const paths = pathsOf(home)
    rungs.push([
      'command',
      () => {
        const hung = processOf(paths.hubPid, home)
        if (hung !== undefined) {
          // It answers nobody, and left alone it could start more.
          terminal.note(`the hub hangs (process ${hung}): killed`)
          process.kill(hung, 'SIGKILL')
        }
        return stopContainers(paths)
      },
    ])
  }
  for (const [name, act] of rungs) {
    try {
      const view = (await act()) as StopView
      last = { ...view, path: view.path ?? name, containers: view.containers ?? [] }
      if (failedOf(last).length === 0) return last
      terminal.note(`by the ${name}: ${failedOf(last).length} not confirmed gone`)
      if (!order.emergency) return last
    } catch (error) {
      terminal.note(`the ${name} did not do it: ${toProblem(error).message}`)
    }
  }
  if (last !== undefined) return last
  const text = order.emergency ? 'nothing could be stopped' : 'neither the hub nor the watchdog answers'
  const next = order.emergency ? 'start the container engine, or switch the machine off' : '`hub shutdown --emergency`'
  throw new Problem('not_stopped', 'unavailable', text, next)
}

/** Which path was taken, how many are confirmed gone, and the name of everything that is not. */
export function stopText(view: StopView, paint: Paint): string {
  const failed = failedOf(view)
  const gone = view.containers.length - failed.length
  const lines = [`by the ${clean(view.path)}: ${view.requested} containers told to stop, ${gone} confirmed gone`]
  for (const { container, reason } of failed)
    lines.push(paint('red', `still there: ${clean(container)}: ${clean(reason ?? 'no reason given')}`))
  return lines.join('\n')
}

/** 0 only when every container is confirmed gone. */
export const stopCode = (view: StopView): number => (failedOf(view).length === 0 ? EXIT.done : EXIT.fault)

async function dryRun({ hub, json, terminal }: Context): Promise<number> {
  const { sessions } = (await hub.call('session.list', { limit: 100 })) as { sessions: SessionView[] }
  if (json)
    terminal.json(sessions.map(({ id, agent, task, containerId }) => ({ session: id, agent, task, containerId })))
  else {
    const lines = sessions.map(({ id, agent, containerId }) =>
      clean(`${id}  ${agent}  ${containerId?.slice(0, 12) ?? ''}`),
    )
    terminal.out(
      [`would stop ${sessions.length} sessions and end the hub; their tasks would be held`, ...lines].join('\n'),
    )
  }
  return EXIT.done
}

export const shutdown: Run = async (context, _, options) => {
  const emergency = options.emergency === true
  if (options.dryRun === true) return dryRun(context)
  const question = 'Stop every agent and end the hub? Nothing is deleted; unfinished tasks are held.'
  if (!(await context.terminal.confirm(question, options.yes === true))) return EXIT.refused
  await announce(context, 'shutdown')
  const view = await stopEverything(context, {
    exit: 'shutdown',
    drain: options.drain === true,
    emergency,
    reason: emergency ? 'emergency stop by the operator' : 'shutdown by the operator',
  })
  if (context.json) context.terminal.json(view)
  else context.terminal.out(stopText(view, context.terminal.paint))
  if (stopCode(view) !== EXIT.done) context.terminal.note('next: `hub shutdown --emergency`, then `hub doctor`')
  return stopCode(view)
}
