/** `hub shutdown`: asks, announces, has everything stopped by whichever path works (stop-paths.ts), and says what came of it. */
import { wayOut } from '../../base/container-processes.ts'
import type { SessionView, StopView } from '../answers.ts'
import { EXIT, toProblem } from '../problem.ts'
import type { Context, Run } from './context.ts'
import { type Ending, failedOf, stopEverything } from './stop-paths.ts'
import { clean, countOf, type Paint, whenText } from './text.ts'

/** How long the watchdog keeps silent about what was announced. */
const ANNOUNCE_MS = 300_000

/** Tells the watchdog what is meant, so that it raises no alarm; that it cannot be told changes nothing. */
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
    lines.push(paint('red', `whether anything is left is not known: ${clean(view.unproven)}`))
  return lines.join('\n')
}

/** What to do after a stop that did not end everything. A path that the machine itself bars leads nowhere by another name (fault A10). Pure. */
export function nextAfterStop(view: StopView): string {
  const isBarred = failedOf(view).some(({ reason }) => /permission denied|operation not permitted/i.test(reason ?? ''))
  const isLast = view.path === 'command' && view.unproven === undefined
  return isBarred || isLast
    ? 'do what is said of each; `hub status` shows what is left until it is gone. Switching the machine off stops everything too'
    : '`hub shutdown --emergency`, then `hub doctor`'
}

/** 0 only when every container is confirmed gone, and the engine has said that no other is left. */
export const stopCode = (view: StopView): number =>
  failedOf(view).length === 0 && view.unproven === undefined ? EXIT.done : EXIT.fault

async function dryRun({ hub, json, terminal }: Context): Promise<number> {
  const { sessions } = (await hub.call('session.list', { limit: 100 })) as { sessions: SessionView[] }
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

/** Whoever drains waits, perhaps for hours: until when, and what ends it sooner. That it cannot be said stops nothing. */
async function sayUntilWhen({ hub, terminal }: Context): Promise<void> {
  try {
    const { sessions } = (await hub.call('session.list', { limit: 100 }, { deadlineMs: 3_000 })) as {
      sessions: SessionView[]
    }
    if (sessions.length === 0) return
    const lastMs = Math.max(...sessions.map(({ expiresAtMs }) => expiresAtMs))
    terminal.note(
      `what runs may work on until ${whenText(lastMs, Date.now())} at the latest; \`hub shutdown\` stops it sooner`,
    )
  } catch (error) {
    terminal.note(`how long that may take is not known: ${toProblem(error).message}`)
  }
}

export const shutdown: Run = async (context, _, options) => {
  const emergency = options.emergency === true
  if (options.dryRun === true) return dryRun(context)
  const question = 'Stop every agent and end the hub? Nothing is deleted; unfinished tasks are held.'
  if (!(await context.terminal.confirm(question, options.yes === true))) return EXIT.refused
  await announce(context, 'shutdown', emergency ? 'emergency' : undefined)
  if (options.drain === true && !emergency) await sayUntilWhen(context)
  const view = await stopEverything(context, {
    exit: 'shutdown',
    drain: options.drain === true,
    emergency,
    reason: emergency ? 'emergency stop by the operator' : 'shutdown by the operator',
  })
  if (context.json) context.terminal.json(view)
  else context.terminal.out(stopText(view, context.terminal.paint))
  if (stopCode(view) !== EXIT.done) context.terminal.note(`next: ${nextAfterStop(view)}`)
  return stopCode(view)
}
