/** `hub shutdown`: asks, announces, stops everything by the first path that works (stop-paths.ts), and reports the result. */
import { wayOut } from '../../../base/container-processes.ts'
import type { StopView } from '../../answers.ts'
import { EXIT, toProblem } from '../../problem.ts'
import type { Context, Run } from '../context.ts'
import { clean, countOf, type Paint, whenText } from '../text.ts'
import { type Ending, failedOf, firstLook, stopEverything } from './stop-paths.ts'

/** How long the watchdog raises no alarm about what was announced. */
const ANNOUNCE_MS = 300_000

/** Tells the watchdog about the planned stop, so that it raises no alarm. If that fails, the stop goes on. */
export async function announce({ watchdog, terminal }: Context, kind: Ending, by?: 'emergency'): Promise<boolean> {
  try {
    await watchdog.send(
      'POST',
      '/v1/announce',
      { kind, forMs: ANNOUNCE_MS, ...(by === undefined ? {} : { by }) },
      { deadlineMs: 3_000 },
    )
    return true
  } catch (error) {
    terminal.note(`the watchdog was not told: ${toProblem(error).message}`)
    return false
  }
}

/** Which path was taken, how many are confirmed gone, and the name of everything that is not. */
export function stopText(view: StopView, paint: Paint): string {
  const failed = failedOf(view)
  const gone = view.containers.length - failed.length
  const lines = [
    `by the ${clean(view.path)}: ${countOf(view.requested, 'container')} told to stop, ${gone} confirmed gone`,
  ]
  for (const { container, reason = 'no reason given', remains } of failed) {
    lines.push(paint('red', `still there: ${clean(container)}: ${clean(reason)}`))
    if (remains !== undefined) lines.push(`  ${clean(wayOut(container, reason, remains))}`)
  }
  if (view.unproven !== undefined)
    lines.push(paint('red', `could not find out whether anything still runs: ${clean(view.unproven)}`))
  return lines.join('\n')
}

/** What to do after a stop that did not end everything. If the machine itself forbids the stop, another path cannot do it either (fault A10). Pure. */
export function nextAfterStop(view: StopView): string {
  const isForbidden = failedOf(view).some(({ reason }) =>
    /permission denied|operation not permitted/i.test(reason ?? ''),
  )
  const isLast = view.path === 'command' && view.unproven === undefined
  return isForbidden || isLast
    ? 'follow the advice for each; `hub status` shows what is still there. Switching the machine off stops everything too'
    : '`hub shutdown --emergency`, then `hub doctor`'
}

/** 0 only if every container is confirmed gone and the engine says that no other is left. */
export const stopCode = (view: StopView): number =>
  failedOf(view).length === 0 && view.unproven === undefined ? EXIT.done : EXIT.fault

async function dryRun({ hub, json, terminal }: Context): Promise<number> {
  const { sessions } = await hub.call('session.list', { limit: 100 })
  if (json)
    terminal.json(sessions.map(({ id, agent, task, containerId }) => ({ session: id, agent, task, containerId })))
  else {
    const lines = sessions.map(({ id, agent, containerId }) =>
      clean(`${id}  ${agent}  ${containerId?.slice(0, 12) ?? ''}`),
    )
    terminal.out(
      [`would stop ${countOf(sessions.length, 'session')} and end the hub; their tasks would be held`, ...lines].join(
        '\n',
      ),
    )
  }
  return EXIT.done
}

/** A drain may take hours: says until when, and how to stop sooner. If that fails, the drain goes on. */
async function sayUntilWhen({ hub, terminal }: Context): Promise<void> {
  try {
    const { sessions } = await hub.call('session.list', { limit: 100 }, { deadlineMs: 3_000 })
    if (sessions.length === 0) return
    const lastMs = Math.max(...sessions.map(({ expiresAtMs }) => expiresAtMs))
    terminal.note(
      `running sessions may work until ${whenText(lastMs, Date.now())} at the latest; \`hub shutdown\` stops it sooner`,
    )
  } catch (error) {
    terminal.note(`could not find out how long that may take: ${toProblem(error).message}`)
  }
}

export const shutdown: Run = async (context, _, options) => {
  const emergency = options.emergency === true
  if (options.dryRun === true) return dryRun(context)
  const question = 'Stop every agent and end the hub? Nothing is deleted; unfinished tasks are held.'
  if (!(await context.terminal.confirm(question, options.yes === true))) return EXIT.refused
  // Told of an emergency, the watchdog removes what it sees, and may be done before the hub is asked: the answer counts that too.
  const before = emergency ? await firstLook(context) : []
  await announce(context, 'shutdown', emergency ? 'emergency' : undefined)
  if (options.drain === true && !emergency) await sayUntilWhen(context)
  const view = await stopEverything(context, {
    exit: 'shutdown',
    drain: options.drain === true,
    emergency,
    reason: emergency ? 'emergency stop by the operator' : 'shutdown by the operator',
    before,
  })
  if (context.json) context.terminal.json(view)
  else context.terminal.out(stopText(view, context.terminal.paint))
  if (stopCode(view) !== EXIT.done) context.terminal.note(`next: ${nextAfterStop(view)}`)
  return stopCode(view)
}
