/**
 * How a process that holds keys begins, whoever started it: no core dump holds its memory (fault F15), no signal opens Node's debugger (fault
 * F19), and Node has read nothing of its environment that weakens it (fault F20). `hub up` and the units start it so; started otherwise it
 * puts right what it can, and starts itself again where only that helps: same process id, same files, same arguments.
 */
import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs'
import { isReadByNode, withoutNames } from './passed-on.ts'

/** Node's own switch against the debugger that SIGUSR1 opens. */
export const NO_DEBUGGER = '--disable-sigusr1'
const SHELL = '/bin/sh'
/** `sh -c` of this runs what follows it without core dumps, now and for whatever that starts. */
export const WITHOUT_CORES = 'ulimit -c 0 && exec "$0" "$@"'
/**
 * Says that this process has done so once: a limit that cannot be lowered must not let it start for ever. Its value is the process id, which
 * stays and which nobody knows beforehand.
 */
const MARK = 'HUB_STARTED_CLEAN'

/** What makes it worth starting again: variables that Node has read, and a limit that lets memory be written to a file. Pure. */
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

/** Nothing of this process's memory, nor of its children's, goes into a core dump, also where one is piped to a program. */
export function keepMemoryIn(): void {
  try {
    writeFileSync('/proc/self/coredump_filter', '0x0')
  } catch {
    // A kernel without core dumps has no such file.
  }
}

/** Does not return where it starts again. Removes its mark from `env`, so that no child inherits it. */
export function startClean(env: NodeJS.ProcessEnv): void {
  keepMemoryIn()
  // With a listener there is no debugger on this signal; with Node's own switch there is none before this line either.
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

/** A call to start what is not there would end this process. */
function isThere(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
