/** `hub init`, `hub serve`, `hub up`: the processes of a home, started by hand. */
import { spawn } from 'node:child_process'
import path from 'node:path'
import { mayStart } from '../../base/stay-down.ts'
import { EXIT, toProblem, usage } from '../problem.ts'
import type { Context, Run } from './context.ts'
import { type Paths, pathsOf } from './home.ts'
import { requireConfig, requireWatchdogConfig } from './judge.ts'
import {
  cleanArgv,
  environmentOf,
  hubArgv,
  type Program,
  processOf,
  SHELL,
  type Started,
  startProcess,
  watchdogArgv,
} from './processes.ts'
import type { Alone } from './row.ts'
import type { Terminal } from './terminal.ts'
import { clean, cleanLines, countOf, whenText } from './text.ts'
import { startUnit, type Units, unitsOf } from './units.ts'

export interface Programs {
  hub: Program
  watchdog: Program
}
export const programsOf = (paths: Paths): Programs => ({
  hub: { name: 'hub', argv: hubArgv(paths.home, 'serve'), log: paths.hubLog },
  watchdog: { name: 'watchdog', argv: watchdogArgv(paths.home), log: paths.watchdogLog },
})

/** `hub init` runs in a process of its own: it loads what the command must not. */
export const init: Alone = (home, _args, json) =>
  told(hubArgv(home, 'init'), json, ({ made }: { made: string[] }) =>
    made.length === 0
      ? `${home} is a home already, and nothing of it was missing. Next: hub up`
      : made.includes('instance')
        ? `${home} is a new home: keys, rules, agents, database. Next: hub up`
        : `${home} was a home already; put there anew: ${made.join(', ')}. Next: hub up`,
  )
/** `hub keys renew`: likewise. */
export const renewKeys: Alone = (home, _args, json) =>
  told(hubArgv(home, 'renew-keys'), json, ({ renewed }: { renewed: string[] }) =>
    renewed.length === 0
      ? 'Every key is whole; nothing was changed.'
      : `New: ${renewed.join(', ')}. Open tokens have ended. Next: hub up`,
  )
/** `hub undo-update`: likewise. */
export const undoUpdate: Alone = (home, _args, json) =>
  told(hubArgv(home, 'undo-update'), json, (report: { madeAtMs: number; kept: string; held: number; next: string }) =>
    [
      `The database of ${whenText(report.madeAtMs, Date.now())} is in force again; the newer one is kept in ${report.kept}.`,
      `Tasks held: ${report.held}. The hub comes up safe. Next: ${report.next}`,
    ].join('\n'),
  )
/** `hub restore BACKUP`: likewise. */
export const restore: Alone = (home, [from = ''], json) =>
  told([...hubArgv(home, 'restore'), '--from', path.resolve(from)], json, (report: Restored) =>
    [
      `${home} is the backup of ${whenText(report.madeAtMs, Date.now())}, as another hub (instance ${report.instance}).`,
      `Audit log: ${countOf(report.auditSize, 'record')}, head ${report.auditHead.slice(0, 16)}. Tasks held: ${report.held}. It comes up safe.`,
      `Containers of the hub it was (instance ${report.formerInstance}) belong to nobody now. Next: hub --home ${home} up`,
    ].join('\n'),
  )
interface Restored {
  instance: string
  formerInstance: string
  madeAtMs: number
  auditSize: number
  auditHead: string
  held: number
}

/** `hub adopt moved|copy`: likewise. @throws Problem usage */
export const adopt: Alone = (home, [as = ''], json) => {
  if (as !== 'moved' && as !== 'copy')
    throw usage(
      `a home is adopted as moved or as a copy, not as ${JSON.stringify(as)}`,
      'hub adopt moved, or hub adopt copy',
    )
  return told([...hubArgv(home, 'adopt'), '--as', as], json, ({ held }: { held: number }) =>
    as === 'moved'
      ? `${home} is the hub it was. Next: hub up`
      : `${home} is another hub now. Tasks held: ${held}. Look through: hub device list, hub token list, hub contact card. Next: hub up`,
  )
}

/** As `alone`, with its report in words for a person. */
function told<Report>(argv: readonly string[], json: boolean, words: (report: Report) => string): Promise<number> {
  if (json) return alone(argv)
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, argv, { stdio: ['inherit', 'pipe', 'inherit'] })
    let said = ''
    child.stdout.on('data', (piece: Buffer) => {
      said += piece
    })
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0) process.stdout.write(`${cleanLines(words(JSON.parse(said) as Report))}\n`)
      resolve(code ?? EXIT.fault)
    })
  })
}

function alone(argv: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, argv, { stdio: 'inherit' })
    child.on('error', reject)
    child.on('exit', (code) => resolve(code ?? EXIT.fault))
  })
}

/** `hub serve`: this process becomes the hub, so a service manager sees one process and its signals reach it. */
export const serve: Run = async ({ home }) => {
  const argv = cleanArgv(hubArgv(home, 'serve'))
  const cache = process.env.NODE_COMPILE_CACHE ?? pathsOf(home).cache
  const env = { ...environmentOf('hub', home, process.env), NODE_COMPILE_CACHE: cache }
  process.execve?.(SHELL, [SHELL, ...argv], env)
  const child = spawn(SHELL, argv, { stdio: 'inherit', env })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code) => resolve(code ?? EXIT.fault))
  })
}

const answers = async (ask: Promise<unknown>): Promise<boolean> => {
  try {
    await ask
    return true
  } catch (error) {
    const problem = toProblem(error)
    // A socket that is not ours must stop the command, not be taken for silence.
    if (problem.code === 'not_private') throw problem
    return problem.code !== 'unreachable'
  }
}
export const hubAnswers = ({ hub }: Context): Promise<boolean> =>
  answers(hub.send('GET', '/healthz', undefined, { deadlineMs: 3_000 }))
export const watchdogAnswers = ({ watchdog }: Context): Promise<boolean> =>
  answers(watchdog.send('GET', '/v1/status', undefined, { deadlineMs: 3_000 }))

export interface UpView {
  /** The units that were used, where a service manager runs both. */
  units?: Units
  hub: { started: boolean; pid: number | null; ready: Started['ready'] | null }
  watchdog: { started: boolean; pid: number | null; ready: Started['ready'] | null }
}

/** Starts what is not there, the hub first: a hub that does not start leaves no lone watchdog behind. Safe to run twice. */
export async function bringUp(
  context: Context,
  programs: Programs,
  readyMs?: number,
  units = unitsOf(context.home),
  startOne = startUnit,
): Promise<UpView> {
  const { home, terminal } = context
  const paths = pathsOf(home)
  const options = {
    home,
    cache: paths.cache,
    note: (text: string) => terminal.note(text),
    ...(readyMs === undefined ? {} : { readyMs }),
  }
  for (const part of ['hub', 'watchdog'] as const) mayStart(home, part)
  const one = async (there: boolean, pidFile: string, program: Program): Promise<UpView['hub']> => {
    if (there) return { started: false, pid: processOf(pidFile, home) ?? null, ready: null }
    if (units !== undefined) {
      await startOne(program.name === 'hub' ? units.hub : units.watchdog)
      return { started: true, pid: processOf(pidFile, home) ?? null, ready: null }
    }
    const { pid, ready } = await startProcess(program, options)
    return { started: true, pid, ready }
  }
  const hub = await one(await hubAnswers(context), paths.hubPid, programs.hub)
  const watchdog = await one(await watchdogAnswers(context), paths.watchdogPid, programs.watchdog)
  return { ...(units === undefined ? {} : { units }), hub, watchdog }
}

export function sayUp(terminal: Terminal, json: boolean, view: UpView): void {
  if (json) {
    terminal.json(view)
    return
  }
  for (const name of ['hub', 'watchdog'] as const) {
    const { started, pid } = view[name]
    terminal.out(`${name}: ${started ? 'up' : 'already up'}${pid === null ? '' : ` (process ${pid})`}`)
    const notes: unknown = view[name].ready?.notes
    for (const note of Array.isArray(notes) ? notes : []) terminal.note(`note: ${clean(String(note))}`)
  }
  if (view.units !== undefined || (!view.hub.started && !view.watchdog.started)) return
  terminal.out(
    'Nothing restarts these two: after a crash or a reboot run `hub up` again, or let systemd do it (`scripts/systemd/install`). See `hub status`; end with `hub down`.',
  )
}

/**
 * The operator's own `hub up`, told to the watchdog: after an unattended stop the next heartbeat counts only then, and what a service
 * manager starts by itself never says it (safety.md section 1).
 */
async function sayToWatchdog({ watchdog, terminal }: Context): Promise<void> {
  try {
    const said = (await watchdog.send('POST', '/v1/up', {}, { deadlineMs: 5_000 })) as { conditions?: unknown[] }
    if (said.conditions?.includes('unattended_stop'))
      terminal.note('the unattended stop holds until your heartbeat: `hub heartbeat`')
  } catch (error) {
    terminal.note(`the watchdog did not take it: ${toProblem(error).message}; run \`hub up\` again`)
  }
}

function sayBadFile({ terminal }: Context, { message }: { message: string }): void {
  terminal.note(`${clean(message.replace(/; $/, ''))}; the hub goes on by what it was started with`)
}

export const up: Run = async (context) => {
  // A hub that runs goes on by what it has; one that is to start is not begun with a file that it would refuse.
  if (!(await hubAnswers(context))) await requireConfig(context, 'nothing was started')
  else await requireConfig(context, '').catch((error) => sayBadFile(context, toProblem(error)))
  if (!(await watchdogAnswers(context))) await requireWatchdogConfig(context, 'nothing was started')
  sayUp(context.terminal, context.json, await bringUp(context, programsOf(pathsOf(context.home))))
  await sayToWatchdog(context)
  return EXIT.done
}
