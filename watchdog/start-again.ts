/**
 * A process that had to strip types from a source itself carries the compiler for that, 30 MiB, for as long as it lives. With what it
 * compiled written into the compile cache it starts again at once, in its own place: same process id, same files, same arguments. So the
 * first start, and the first after an update, are as small as every other. Called before anything is opened. (The hub has its own copy.)
 */
import { flushCompileCache, getCompileCacheDir } from 'node:module'

/** Says in the environment that this has been done: a cache that takes nothing must not let a process start for ever. */
const MARK = 'HUB_WATCHDOG_STARTED_AGAIN'
/** Node's own module that holds the compiler. */
const COMPILER = 'NativeModule internal/deps/amaro/dist/index'

/** What Node keeps of the modules of its own that it has loaded; undocumented, so its absence only means that nothing is gained. */
const loadedByNode = (): readonly string[] =>
  (process as unknown as { moduleLoadList?: readonly string[] }).moduleLoadList ?? []

/** True where starting again makes this process smaller. */
export const isWorthIt = (env: NodeJS.ProcessEnv, cache: string | undefined, loaded: readonly string[]): boolean =>
  env[MARK] === undefined && cache !== undefined && loaded.includes(COMPILER)

/** Does not return where it starts again. Removes its mark from `env`, so that no child inherits it. */
export function startAgainOnce(env: NodeJS.ProcessEnv): void {
  const again = isWorthIt(env, getCompileCacheDir(), loadedByNode())
  delete env[MARK]
  if (!again) return
  flushCompileCache()
  const argv = [process.execPath, ...process.execArgv, ...process.argv.slice(1)]
  process.execve?.(process.execPath, argv, { ...env, [MARK]: '1' })
}
