/**
 * How a process that holds keys starts, whoever started it: no core dump holds its memory (fault F15), no signal opens Node's debugger (fault
 * F19), and Node has read nothing from its environment that weakens it (fault F20). `hub up` and the units start it that way. Started in any
 * other way, it fixes what it can, and starts itself again if only that helps: same process id, files and arguments. (The hub has its own copy.)
 */
import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs'

/** Node's own option that keeps SIGUSR1 from opening a debugger. */
const NO_DEBUGGER = '--disable-sigusr1'
const SHELL = '/bin/sh'
/** `sh -c` of this runs what follows it without core dumps, now and for whatever that starts. */
const WITHOUT_CORES = 'ulimit -c 0 && exec "$0" "$@"'
/**
 * Says that this process has already started again: a limit that cannot be lowered must not make it do so forever. The value is the process
 * id: it stays the same, and nobody can know it beforehand.
 */
const MARK = 'HUB_WATCHDOG_STARTED_CLEAN'

/** What Node and its TLS library read. `NODE_ENV` is a convention among programs; Node ignores it. */
const READ_BY_NODE = /^(?:NODE_(?!(?:COMPILE_CACHE|ENV)$)|OPENSSL_|SSL_CERT_)/
/** Lists the variables that were left out, for the log; `hub up` sets it too. */
const DROPPED = 'HUB_NOT_PASSED_ON'

/** Reasons to start again: variables that Node has read, and a limit that allows core dumps. Pure. */
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

/** No memory of this process or its children goes into a core dump, not even into one that is piped to a program. */
function keepMemoryIn(): void {
  try {
    writeFileSync('/proc/self/coredump_filter', '0x0')
  } catch {
    // A kernel without core dumps has no such file.
  }
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
  const clean = { ...without(env, faults.names), [MARK]: String(process.pid) }
  if (faults.dumpsCore && isThere(SHELL)) process.execve?.(SHELL, [SHELL, '-c', WITHOUT_CORES, ...argv], clean)
  process.execve?.(process.execPath, argv, clean)
}

/** What was left out of this environment, as `DROPPED` in it says. */
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

/** Executing a file that is not there would end this process. */
function isThere(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
