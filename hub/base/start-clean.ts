/**
 * How a process that holds keys starts, whoever started it: no core dump holds its memory (fault F15), no signal opens Node's debugger (fault
 * F19), and Node has read nothing from its environment that weakens it (fault F20). `hub up` and the units start it that way. Started in any
 * other way, it fixes what it can, and starts itself again if only that helps: same process id, same files, same arguments.
 */
import { accessSync, constants, readFileSync } from 'node:fs'
import { keepMemoryIn } from './core-dumps.ts'
import { isReadByNode, withoutNames } from './passed-on.ts'

/** Node's own option that keeps SIGUSR1 from opening a debugger. */
export const NO_DEBUGGER = '--disable-sigusr1'
const SHELL = '/bin/sh'
/** `sh -c` of this runs what follows it without core dumps, now and for whatever that starts. */
export const WITHOUT_CORES = 'ulimit -c 0 && exec "$0" "$@"'
/**
 * Says that this process has already started again: a limit that cannot be lowered must not make it do so forever. The value is the process
 * id: it stays the same, and nobody can know it beforehand.
 */
const MARK = 'HUB_STARTED_CLEAN'

/** Reasons to start again: variables that Node has read, and a limit that allows core dumps. Pure. */
export function faultsOfStart(
  env: NodeJS.ProcessEnv,
  limits: string,
  processId: number,
): { names: readonly string[]; dumpsCore: boolean } | undefined {
  const names = Object.keys(env).filter(isReadByNode)
  const core = /^Max core file size\s+(\S+)/m.exec(limits)?.[1]
  const dumpsCore = core !== undefined && core !== '0'
  return env[MARK] !== String(processId) && (names.length > 0 || dumpsCore) ? { names, dumpsCore } : undefined
}

/** Does not return if it starts again. Removes its mark from `env`, so that no child inherits it. */
export function startClean(env: NodeJS.ProcessEnv): void {
  keepMemoryIn()
  // With a listener this signal opens no debugger; Node's own option also covers the time before this line.
  if (!process.execArgv.includes(NO_DEBUGGER)) process.on('SIGUSR1', () => undefined)
  const faults = faultsOfStart(env, readOrNothing('/proc/self/limits'), process.pid)
  delete env[MARK]
  if (faults === undefined) return
  const switches = [NO_DEBUGGER, ...process.execArgv.filter((word) => word !== NO_DEBUGGER)]
  const argv = [process.execPath, ...switches, ...process.argv.slice(1)]
  const clean = { ...withoutNames(env, faults.names), [MARK]: String(process.pid) }
  if (faults.dumpsCore && isThere(SHELL)) process.execve?.(SHELL, [SHELL, '-c', WITHOUT_CORES, ...argv], clean)
  process.execve?.(process.execPath, argv, clean)
}

function readOrNothing(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** Executing a file that is not there would end this process. */
function isThere(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
