/**
 * A process that had to strip types from a source file itself keeps the compiler, 30 MiB, for as long as it lives. So it writes what it
 * compiled into the compile cache and starts again at once, in its own place: same process id, same files, same arguments. That makes the
 * first start, and the first after an update, as small as every other. Called before anything is opened. (The hub has its own copy.)
 */
import { flushCompileCache, getCompileCacheDir } from 'node:module'

/** Says in the environment that this has been done: a cache that cannot be written must not make a process start again forever. */
const MARK = 'HUB_WATCHDOG_STARTED_AGAIN'
/** Node's own module that holds the compiler. */
const COMPILER = 'NativeModule internal/deps/amaro/dist/index'

/** Node's list of its own loaded modules. It is undocumented; if it is missing, the process just stays large. */
const loadedByNode = (): readonly string[] =>
  (process as unknown as { moduleLoadList?: readonly string[] }).moduleLoadList ?? []

/** True where starting again makes this process smaller. */
export const isWorthIt = (env: NodeJS.ProcessEnv, cache: string | undefined, loaded: readonly string[]): boolean =>
  env[MARK] === undefined && cache !== undefined && loaded.includes(COMPILER)

/** Does not return if it starts again. Removes its mark from `env`, so that no child inherits it. */
export function startAgainOnce(env: NodeJS.ProcessEnv): void {
  const again = isWorthIt(env, getCompileCacheDir(), loadedByNode())
  delete env[MARK]
  if (!again) return
  flushCompileCache()
  const argv = [process.execPath, ...process.execArgv, ...process.argv.slice(1)]
  process.execve?.(process.execPath, argv, { ...env, [MARK]: '1' })
}
