/** `hub down` ends both processes; `hub restart` restarts one. Each step is reported and confirmed. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { keepDown, mayStart } from '../../../base/stay-down.ts'
import { watchdogPortOf } from '../../../base/watchdog-words.ts'
import type { StopView } from '../../answers.ts'
import { EXIT, Problem, toProblem } from '../../problem.ts'
import type { Context, Run } from '../context.ts'
import { listContainers } from '../engine.ts'
import { pathsOf } from '../home.ts'
import { processOf, sleep, startProcess, waitGone } from '../processes.ts'
import { announce, stopCode, stopText } from '../stopping/shutdown.ts'
import { stopEverything } from '../stopping/stop-paths.ts'
import { clean } from '../text.ts'
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
import { bringUp, hubAnswers, type Programs, programsOf, sayUp, type UpView, watchdogAnswers } from './start.ts'
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

/** Waits for a process to end by itself, then sends signals. @throws Problem if it stays */
async function endProcess(context: Context, name: string, pid: number | undefined, exitMs: number): Promise<void> {
  if (pid === undefined || (await waitGone(pid, context.home, exitMs))) return
  context.terminal.note(`the ${name} (process ${pid}) did not end by itself; sending SIGTERM`)
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    process.kill(pid, signal)
    if (await waitGone(pid, context.home, 5_000)) return
  }
  throw new Problem('not_stopped', 'fault', `the ${name} (process ${pid}) does not end`, `kill -9 ${pid}`)
}

/** Ends everything of this home: containers, hub, watchdog. It is no fault if something is gone already. */
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
        context.terminal.note(`could not tell the watchdog: ${toProblem(error).message}`)
      })
    }
    await endProcess(context, 'watchdog', pids.watchdog, exitMs)
    view.watchdog = 'ended'
  }
  // If the engine does not answer, the answer above still says what was stopped.
  view.left = await listContainers(paths).then(
    (found) => found.map(({ name }) => name),
    () => [],
  )
  return view
}

/** A stop is never refused. If a bad file would keep the hub from starting again, says so before it begins. */
async function sayWayBack(context: Context): Promise<void> {
  const { home, terminal } = context
  const said = (file: string, { line, column, key, message }: Fault) =>
    terminal.note(
      `${file} line ${line}, column ${column}: ${clean(`${key}: ${message}`)}; \`hub up\` will refuse to start until you fix it`,
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
 * Restarts the hub; containers stay, and the new hub takes them over. The watchdog stays, or is started if it was gone. The configuration is
 * checked first, and the new hub takes exactly the checked text. @throws Problem if it is refused; the old hub then keeps running
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

/** systemd restarts a process that ended by itself; after this long it is asked to. */
const UNIT_MS = 15_000

/**
 * Restarts the watchdog with its present file. Hub and agents go on, because the lease lasts longer. The file and its port are checked first,
 * and the new process takes exactly the checked text. @throws Problem if the file is refused; the old watchdog then keeps running
 */
export async function restartWatchdog(context: Context, programs: Programs, units = unitsOf(context.home)) {
  const { home, watchdog, terminal } = context
  const paths = pathsOf(home)
  const text = await requireWatchdogConfig(context, 'nothing was restarted')
  mayStart(home, 'watchdog')
  const fault = await portFault(watchdogPortOf(home), processOf(paths.watchdogPid, home))
  if (fault !== undefined) {
    const next = `\`ss -ltnp\` shows which: end it, or set http.port in watchdog/config.yaml`
    throw new Problem('port_taken', 'refused', `${fault}; nothing was restarted, the watchdog keeps running`, next)
  }
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
  else terminal.out(`watchdog: up${view.pid === null ? '' : ` (process ${view.pid})`}; hub and agents kept running`)
  return EXIT.done
}

const HOST = '127.0.0.1'
const LISTENS = '0A'

/** The error code if listening fails, or undefined. */
const tryPort = (port: number): Promise<string | undefined> =>
  new Promise((resolve) => {
    const server = createServer()
    server.once('error', ({ code, message }: NodeJS.ErrnoException) => resolve(code ?? message))
    server.listen({ host: HOST, port, exclusive: true }, () => server.close(() => resolve(undefined)))
  })

/** Whether this process listens on that port. False for a process of another account, which cannot be looked into. */
function holds(pid: number, port: number): boolean {
  const wanted = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`
  try {
    const inodes = new Set(
      readFileSync('/proc/net/tcp', 'utf8')
        .split('\n')
        .map((line) => line.trim().split(/\s+/))
        .filter(([, local, , state]) => local === wanted && state === LISTENS)
        .map((fields) => `socket:[${fields[9]}]`),
    )
    return readdirSync(`/proc/${pid}/fd`).some((fd) => inodes.has(readlinkSync(`/proc/${pid}/fd/${fd}`)))
  } catch {
    return false
  }
}

/**
 * Why the successor of the process `pid` could not listen on the port of loopback, asked before `pid` is ended; undefined if it could, also
 * because `pid` will free it.
 */
async function portFault(port: number, pid: number | undefined): Promise<string | undefined> {
  if (port === 0) return undefined
  const code = await tryPort(port)
  if (code === undefined || (code === 'EADDRINUSE' && pid !== undefined && holds(pid, port))) return undefined
  return code === 'EADDRINUSE'
    ? `${HOST}:${port} is taken by another program`
    : `${HOST}:${port} cannot be used by this account (${code})`
}
