/** `hub init`, `hub serve`, `hub up`: start the processes of a home without a service manager. */
import { spawn } from 'node:child_process'
import path from 'node:path'
import { mayStart } from '../../../base/stay-down.ts'
import { EXIT, toProblem, usage } from '../../problem.ts'
import type { Alone } from '../command.ts'
import type { Context, Run } from '../context.ts'
import { type Paths, pathsOf } from '../home.ts'
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
} from '../processes.ts'
import type { Terminal } from '../terminal.ts'
import { clean, cleanLines, countOf, whenText } from '../text.ts'
import { requireConfig, requireWatchdogConfig } from './judge.ts'
import { startUnit, type Units, unitsOf } from './units.ts'

export interface Programs {
  hub: Program
  watchdog: Program
}
export const programsOf = (paths: Paths): Programs => ({
  hub: { name: 'hub', argv: hubArgv(paths.home, 'serve'), log: paths.hubLog },
  watchdog: { name: 'watchdog', argv: watchdogArgv(paths.home), log: paths.watchdogLog },
})

/** `hub init` runs as a separate process, because it loads modules that the command must not load. */
export const init: Alone = (at) =>
  told(at, hubArgv(at.home, 'init'), ({ made }: { made: string[] }) =>
    made.length === 0
      ? `${at.home} is a home already, and nothing is missing. Next: hub up`
      : made.includes('instance')
        ? `${at.home} is a new home: keys, rules, agents, database. Next: hub up`
        : `${at.home} is a home already; added what was missing: ${made.join(', ')}. Next: hub up`,
  )
/** `hub keys renew`: as above. */
export const renewKeys: Alone = (at) =>
  told(at, hubArgv(at.home, 'renew-keys'), ({ renewed }: { renewed: string[] }) =>
    renewed.length === 0
      ? 'Every key is valid; nothing was changed.'
      : `New: ${renewed.join(', ')}. Open tokens are no longer valid. Next: hub up`,
  )
/** `hub undo-update`: as above. */
export const undoUpdate: Alone = (at) =>
  told(at, hubArgv(at.home, 'undo-update'), (report: { madeAtMs: number; kept: string; held: number; next: string }) =>
    [
      `The database of ${whenText(report.madeAtMs, Date.now())} is in force again; the newer one is kept in ${report.kept}.`,
      `Tasks held: ${report.held}. The hub starts in safe mode. Next: ${report.next}`,
    ].join('\n'),
  )
/** `hub restore BACKUP`: as above. */
export const restore: Alone = (at, [from = '']) =>
  told(at, [...hubArgv(at.home, 'restore'), '--from', path.resolve(from)], (report: Restored) =>
    [
      `${at.home} is the backup of ${whenText(report.madeAtMs, Date.now())}, as another hub (instance ${report.instance}).`,
      `Audit log: ${countOf(report.auditSize, 'record')}, head ${report.auditHead.slice(0, 16)}. Tasks held: ${report.held}. It starts in safe mode.`,
      ...report.setAnew.map(({ name, words }) => `The backup left out the secret ${name}. Set it: ${words}`),
      `This hub does not own the containers of the earlier instance ${report.formerInstance}. Next: hub --home ${at.home} up`,
    ].join('\n'),
  )
interface Restored {
  instance: string
  formerInstance: string
  madeAtMs: number
  auditSize: number
  auditHead: string
  held: number
  setAnew: { name: string; words: string }[]
}

/** `hub adopt moved|copy`: as above. @throws Problem usage */
export const adopt: Alone = (at, [as = '']) => {
  if (as !== 'moved' && as !== 'copy')
    throw usage(
      `a home can be adopted as moved or as a copy, not as ${JSON.stringify(as)}`,
      '`hub adopt moved` or `hub adopt copy`',
    )
  return told(at, [...hubArgv(at.home, 'adopt'), '--as', as], ({ held }: { held: number }) =>
    as === 'moved'
      ? `${at.home} is the same hub as before. Next: hub up`
      : `${at.home} is a new hub now. Tasks held: ${held}. Check: hub device list, hub token list, hub contact card. Next: hub up`,
  )
}

/** Runs a program that reports as JSON; without `--json` its report is shown in words. */
function told<Report>(
  { json, terminal }: Parameters<Alone>[0],
  argv: readonly string[],
  words: (report: Report) => string,
): Promise<number> {
  if (json) return runProgram(argv)
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, argv, { stdio: ['inherit', 'pipe', 'inherit'] })
    let said = ''
    child.stdout.on('data', (piece: Buffer) => {
      said += piece
    })
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0) terminal.out(cleanLines(words(JSON.parse(said) as Report)))
      resolve(code ?? EXIT.fault)
    })
  })
}

function runProgram(argv: readonly string[]): Promise<number> {
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
    // A socket of another account must stop the command; it is not the same as no answer.
    if (problem.code === 'not_private') throw problem
    return problem.code !== 'unreachable'
  }
}
export const hubAnswers = ({ hub }: Context): Promise<boolean> =>
  answers(hub.send('GET', '/healthz', undefined, { deadlineMs: 3_000 }))
export const watchdogAnswers = ({ watchdog }: Context): Promise<boolean> =>
  answers(watchdog.send('GET', '/v1/status', undefined, { deadlineMs: 3_000 }))

export interface UpView {
  /** The units that were used, if a service manager runs both. */
  units?: Units
  hub: { started: boolean; pid: number | null; ready: Started['ready'] | null }
  watchdog: { started: boolean; pid: number | null; ready: Started['ready'] | null }
}

/** Starts what does not run, the hub first: if it fails, no watchdog is left alone. Safe to run twice. */
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
    'Nothing restarts these two automatically: after a crash or a reboot run `hub up` again, or let systemd do it (`scripts/systemd/install`). See `hub status`; end with `hub down`.',
  )
}

/**
 * Tells the watchdog that the operator ran `hub up`: after an unattended stop the next heartbeat counts only then, and a start by a service
 * manager does not count as this (docs/safety.md 1).
 */
async function sayToWatchdog({ watchdog, terminal }: Context): Promise<void> {
  try {
    const said = (await watchdog.send('POST', '/v1/up', {}, { deadlineMs: 5_000 })) as { conditions?: unknown[] }
    if (said.conditions?.includes('unattended_stop'))
      terminal.note('the unattended stop holds until your heartbeat: `hub heartbeat`')
  } catch (error) {
    terminal.note(`could not tell the watchdog: ${toProblem(error).message}; run \`hub up\` again`)
  }
}

function sayBadFile({ terminal }: Context, { message }: { message: string }): void {
  terminal.note(`${clean(message.replace(/; $/, ''))}; the hub keeps the configuration it was started with`)
}

export const up: Run = async (context) => {
  // A running hub keeps the configuration it has; a new one is not started with a file that it would refuse.
  if (!(await hubAnswers(context))) await requireConfig(context, 'nothing was started')
  else await requireConfig(context, '').catch((error) => sayBadFile(context, toProblem(error)))
  if (!(await watchdogAnswers(context))) await requireWatchdogConfig(context, 'nothing was started')
  sayUp(context.terminal, context.json, await bringUp(context, programsOf(pathsOf(context.home))))
  await sayToWatchdog(context)
  return EXIT.done
}
