/** `hub down`, `hub restart`: the two processes ended, or the hub alone, each step said and each confirmed. */
import { keepDown } from '../../base/stay-down.ts'
import type { StopView } from '../answers.ts'
import { EXIT, Problem, toProblem } from '../problem.ts'
import type { Context, Run } from './context.ts'
import { listContainers } from './engine.ts'
import { pathsOf } from './home.ts'
import { configText, handOn, judge, requireConfig } from './judge.ts'
import { processOf, waitGone } from './processes.ts'
import { bringUp, hubAnswers, type Programs, programsOf, sayUp, watchdogAnswers } from './start.ts'
import { announce, stopCode, stopText } from './stop.ts'
import { stopEverything } from './stop-paths.ts'
import { clean } from './text.ts'

/** The hub has answered by then; what is left is its last write. */
const EXIT_MS = 20_000

export interface DownView {
  hub: 'ended' | 'was_gone'
  watchdog: 'ended' | 'was_gone'
  stop: StopView | null
  /** Containers of this home that the engine still shows. */
  left: string[]
}

/** Ends a process that should have ended by itself: asked, then by signal. @throws Problem where it stays */
async function endProcess(context: Context, name: string, pid: number | undefined, exitMs: number): Promise<void> {
  if (pid === undefined || (await waitGone(pid, context.home, exitMs))) return
  context.terminal.note(`the ${name} (process ${pid}) does not end by itself: SIGTERM`)
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    process.kill(pid, signal)
    if (await waitGone(pid, context.home, 5_000)) return
  }
  throw new Problem('not_stopped', 'fault', `the ${name} (process ${pid}) does not end`, `kill -9 ${pid}`)
}

/** Everything of this home ended: containers, hub, watchdog. Whatever is gone already is no fault. */
export async function takeDown(context: Context, exitMs = EXIT_MS): Promise<DownView> {
  const { home, watchdog } = context
  const paths = pathsOf(home)
  const there = { hub: await hubAnswers(context), watchdog: await watchdogAnswers(context) }
  const pids = { hub: processOf(paths.hubPid, home), watchdog: processOf(paths.watchdogPid, home) }
  const view: DownView = { hub: 'was_gone', watchdog: 'was_gone', stop: null, left: [] }
  if (there.watchdog) await announce(context, 'down')
  if (there.hub || there.watchdog) {
    view.stop = await stopEverything(context, { exit: 'down', drain: false, emergency: false, reason: 'hub down' })
  }
  if (there.hub || pids.hub !== undefined) {
    await endProcess(context, 'hub', pids.hub, exitMs)
    view.hub = 'ended'
  }
  if (there.watchdog || pids.watchdog !== undefined) {
    keepDown(home, 'watchdog')
    if (there.watchdog) {
      await watchdog.send('POST', '/v1/exit', {}, { deadlineMs: 5_000 }).catch((error: unknown) => {
        context.terminal.note(`the watchdog did not take it: ${toProblem(error).message}`)
      })
    }
    await endProcess(context, 'watchdog', pids.watchdog, exitMs)
    view.watchdog = 'ended'
  }
  // Silence of the engine is no finding here: what was stopped is in the answer above.
  view.left = await listContainers(paths).then(
    (found) => found.map(({ name }) => name),
    () => [],
  )
  return view
}

/** A stop is never refused; that the way back is barred is said before it begins. */
async function sayWayBack({ home, terminal }: Context): Promise<void> {
  const { faults } = await judge('config', home, configText(home)).catch(() => ({ faults: [] }))
  const [first] = faults
  if (first !== undefined)
    terminal.note(
      `hub.yaml line ${first.line}, column ${first.column}: ${clean(`${first.key}: ${first.message}`)}; \`hub up\` will refuse until it is corrected`,
    )
}

export const down: Run = async (context) => {
  const { terminal, json } = context
  await sayWayBack(context)
  const view = await takeDown(context)
  if (json) terminal.json(view)
  else {
    if (view.stop !== null) terminal.out(stopText(view.stop, terminal.paint))
    for (const name of ['hub', 'watchdog'] as const)
      terminal.out(`${name}: ${view[name] === 'ended' ? 'ended' : 'was not running'}`)
  }
  if (view.left.length > 0) {
    const text = `containers of this home are still there: ${view.left.join(', ')}`
    throw new Problem('not_stopped', 'unavailable', text, '`hub shutdown --emergency`')
  }
  return view.stop === null ? EXIT.done : stopCode(view.stop)
}

/**
 * The hub anew, containers kept: they are adopted again. The watchdog stays, or is started where it was gone. The configuration is judged
 * before anything is touched, and the text that was judged is what the new hub takes. @throws Problem; the hub that ran runs on then
 */
export async function restartHub(context: Context, programs: Programs, exitMs = EXIT_MS) {
  const { home, hub } = context
  const text = await requireConfig(context, 'nothing was restarted')
  return handOn(home, text, async () => {
    const pid = processOf(pathsOf(home).hubPid, home)
    if (await hubAnswers(context)) {
      await announce(context, 'restart')
      await hub.call('hub.shutdown', { exit: 'restart', reason: 'hub restart' }, { deadlineMs: 30_000 })
    }
    await endProcess(context, 'hub', pid, exitMs)
    return bringUp(context, programs)
  })
}

export const restart: Run = async (context) => {
  sayUp(context.terminal, context.json, await restartHub(context, programsOf(pathsOf(context.home))))
  return EXIT.done
}
