/** `hub down`, `hub restart`: the two processes ended, or the hub alone, each step said and each confirmed. */
import { keepDown, mayStart } from '../../base/stay-down.ts'
import type { StopView } from '../answers.ts'
import { EXIT, Problem, toProblem } from '../problem.ts'
import type { Context, Run } from './context.ts'
import { listContainers } from './engine.ts'
import { pathsOf } from './home.ts'
import {
  configText,
  type Fault,
  handOn,
  judge,
  judgeWatchdogFile,
  requireConfig,
  requireStandingPolicy,
  requireWatchdogConfig,
} from './judge.ts'
import { processOf, sleep, startProcess, waitGone } from './processes.ts'
import { bringUp, hubAnswers, type Programs, programsOf, sayUp, type UpView, watchdogAnswers } from './start.ts'
import { announce, stopCode, stopText } from './stop.ts'
import { stopEverything } from './stop-paths.ts'
import { clean } from './text.ts'
import { startUnit, unitsOf } from './units.ts'

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
async function sayWayBack(context: Context): Promise<void> {
  const { home, terminal } = context
  const said = (file: string, { line, column, key, message }: Fault) =>
    terminal.note(
      `${file} line ${line}, column ${column}: ${clean(`${key}: ${message}`)}; \`hub up\` will refuse until it is corrected`,
    )
  const [own] = (await judge('config', home, configText(home)).catch(() => ({ faults: [] }))).faults
  if (own !== undefined) said('hub.yaml', own)
  const theirs = await judgeWatchdogFile(home).catch(() => undefined)
  const [fault] = theirs?.verdict.faults ?? []
  if (theirs !== undefined && fault !== undefined) said(`watchdog/${theirs.form}`, fault)
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
  const answers = await hubAnswers(context)
  if (answers) await requireStandingPolicy(home, 'nothing was restarted')
  return handOn(home, text, async () => {
    const pid = processOf(pathsOf(home).hubPid, home)
    if (answers) {
      await announce(context, 'restart')
      await hub.call('hub.shutdown', { exit: 'restart', reason: 'hub restart' }, { deadlineMs: 30_000 })
    }
    await endProcess(context, 'hub', pid, exitMs)
    return bringUp(context, programs)
  })
}

/** systemd starts by itself what has ended; so long it is waited for before it is asked. */
const UNIT_MS = 15_000

/**
 * The watchdog anew, with what its file says now. Hub and agents go on: the lease outlives the moment. The file is judged before anything is
 * touched, and the text that was judged is what the new process takes. @throws Problem; the watchdog that ran runs on where a file is refused
 */
export async function restartWatchdog(context: Context, programs: Programs, units = unitsOf(context.home)) {
  const { home, watchdog, terminal } = context
  const paths = pathsOf(home)
  const text = await requireWatchdogConfig(context, 'nothing was restarted')
  mayStart(home, 'watchdog')
  const start = async (): Promise<UpView['watchdog']> => {
    const pid = processOf(paths.watchdogPid, home)
    if (await watchdogAnswers(context)) await watchdog.send('POST', '/v1/exit', {}, { deadlineMs: 5_000 })
    await endProcess(context, 'watchdog', pid, EXIT_MS)
    if (units === undefined) {
      const options = { home, cache: paths.cache, note: (note: string) => terminal.note(note) }
      return { started: true, ...(await startProcess(programs.watchdog, options)) }
    }
    for (const endAtMs = Date.now() + UNIT_MS; Date.now() < endAtMs; await sleep(200))
      if (await watchdogAnswers(context)) break
    if (!(await watchdogAnswers(context))) await startUnit(units.watchdog)
    return { started: true, pid: processOf(paths.watchdogPid, home) ?? null, ready: null }
  }
  return text === undefined ? start() : handOn(home, text, start, 'watchdog/run')
}

export const restart: Run = async (context, _, options) => {
  const { terminal, json, home } = context
  const programs = programsOf(pathsOf(home))
  if (options.watchdog !== true) {
    sayUp(terminal, json, await restartHub(context, programs))
    return EXIT.done
  }
  const view = await restartWatchdog(context, programs)
  if (json) terminal.json({ watchdog: view })
  else terminal.out(`watchdog: up${view.pid === null ? '' : ` (process ${view.pid})`}; hub and agents went on`)
  return EXIT.done
}
