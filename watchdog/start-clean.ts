/**
 * How a process that holds keys begins, whoever started it: no core dump holds its memory (fault F15), no signal opens Node's debugger (fault
 * F19), and Node has read nothing of its environment that weakens it (fault F20). `hub up` and the units start it so; started otherwise it
 * puts right what it can, and starts itself again where only that helps: same process id, same files, same arguments. (The hub has its own copy.)
 */
import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs'

/** Node's own switch against the debugger that SIGUSR1 opens. */
const NO_DEBUGGER = '--disable-sigusr1'
const SHELL = '/bin/sh'
/** `sh -c` of this runs what follows it without core dumps, now and for whatever that starts. */
const WITHOUT_CORES = 'ulimit -c 0 && exec "$0" "$@"'
/**
 * Says that this process has done so once: a limit that cannot be lowered must not let it start for ever. Its value is the process id, which
 * stays and which nobody knows beforehand.
 */
const MARK = 'HUB_WATCHDOG_STARTED_CLEAN'

/** What Node itself reads, and the TLS library in it. `NODE_ENV` is a word among programs and means nothing to Node. */
const READ_BY_NODE = /^(?:NODE_(?!(?:COMPILE_CACHE|ENV)$)|OPENSSL_|SSL_CERT_)/
/** Names of variables that were left out, for the log to tell; `hub up` says by it what it left out. */
const DROPPED = 'HUB_NOT_PASSED_ON'

/** What makes it worth starting again: variables that Node has read, and a limit that lets memory be written to a file. Pure. */
export function faultsOfStart(
  env: NodeJS.ProcessEnv,
  limits: string,
  processId: number,
): { names: readonly string[]; dumpsCore: boolean } | undefined {
  const names = Object.keys(env).filter((name) => READ_BY_NODE.test(name))
  const core = /^Max core file size\s+(\S+)/m.exec(limits)?.[1]
  const dumpsCore = core !== undefined && core !== '0'
  return env[MARK] !== String(processId) && (names.length > 0 || dumpsCore) ? { names, dumpsCore } : undefined
}

/** Nothing of this process's memory, nor of its children's, goes into a core dump, also where one is piped to a program. */
function keepMemoryIn(): void {
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
  const clean = { ...without(env, faults.names), [MARK]: String(process.pid) }
  if (faults.dumpsCore && isThere(SHELL)) process.execve?.(SHELL, [SHELL, '-c', WITHOUT_CORES, ...argv], clean)
  process.execve?.(process.execPath, argv, clean)
}

/** What was left out of this environment, by its own word. */
export const leftOutOf = (env: NodeJS.ProcessEnv): string[] =>
  (env[DROPPED] ?? '').split(',').filter((name) => /^[A-Za-z_][A-Za-z0-9_]{0,63}$/.test(name))

function without(env: NodeJS.ProcessEnv, names: readonly string[]): NodeJS.ProcessEnv {
  const kept = Object.entries(env).filter(([name]) => !names.includes(name))
  const told = [...new Set([...leftOutOf(env), ...names])].sort()
  return { ...Object.fromEntries(kept), ...(told.length === 0 ? {} : { [DROPPED]: told.join(',') }) }
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
