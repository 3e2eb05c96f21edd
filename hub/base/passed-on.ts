/**
 * Which environment variables hub and watchdog are given (fault F20): a fixed list, not whatever the shell that ran `hub up` had set. One of
 * Node's variables switches off the check of every certificate, another opens a debugger. Pure.
 */

/** For programs and paths, for language and time zone, and from the service manager. */
const KEPT: ReadonlySet<string> = new Set([
  ...['PATH', 'HOME', 'USER', 'LOGNAME', 'TMPDIR'],
  ...['LANG', 'LANGUAGE', 'TZ'],
  ...['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID'],
  'NODE_COMPILE_CACHE',
])
const KEPT_PREFIX = /^(?:HUB_|LC_)/

/** What Node and its TLS library read. `NODE_ENV` is a convention among programs; Node ignores it. */
const READ_BY_NODE = /^(?:NODE_(?!(?:COMPILE_CACHE|ENV)$)|OPENSSL_|SSL_CERT_)/
/** What the program loader and the C library read, and the proxies of connections. */
const READ_BELOW = /^(?:LD_|GLIBC_TUNABLES$|GCONV_PATH$|LOCPATH$|(?:https?|all|no)_proxy$)/i

/** Lists the variables that were left out and would have changed how the process works; doctor shows them. */
const DROPPED = 'HUB_NOT_PASSED_ON'
const NAMES_MAX = 20
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,63}$/

/** Whether a variable changes how Node, its libraries or its connections work, whatever program runs. */
export const isWeakening = (name: string): boolean => READ_BY_NODE.test(name) || READ_BELOW.test(name)
/** A process can get rid of these only by starting again. */
export const isReadByNode = (name: string): boolean => READ_BY_NODE.test(name)

/** Names of variables that a configuration asks for: in `config.json` each text that is nothing but such a name, else what `passEnv` lists. */
export function namedIn(text: string): ReadonlySet<string> {
  const lists = [...text.matchAll(/passEnv["']?\s*:\s*(\[[^\]]*\]|(?:\s*\n\s*-[^\n]*)+)/g)]
    .map(([, list = '']) => list)
    .join()
  const names = [...text.matchAll(/"([A-Z][A-Z0-9_]*)"/g), ...lists.matchAll(/\b([A-Z][A-Z0-9_]*)\b/g)]
  return new Set(names.map(([, name = '']) => name).filter((name) => !isWeakening(name)))
}

/** The environment for hub or watchdog; `DROPPED` in it lists what was left out. */
export function passedOn(env: NodeJS.ProcessEnv, named: ReadonlySet<string> = new Set()): NodeJS.ProcessEnv {
  const isKept = (name: string) => KEPT.has(name) || KEPT_PREFIX.test(name) || named.has(name)
  const entries = Object.entries(env).filter(([name]) => isKept(name) && name !== DROPPED)
  return withWord(Object.fromEntries(entries), [...droppedOf(env), ...Object.keys(env).filter(isWeakening)])
}

/** The environment without these variables; `DROPPED` in it lists them. */
export function withoutNames(env: NodeJS.ProcessEnv, names: readonly string[]): NodeJS.ProcessEnv {
  const entries = Object.entries(env).filter(([name]) => !names.includes(name) && name !== DROPPED)
  return withWord(Object.fromEntries(entries), [...droppedOf(env), ...names])
}

function withWord(env: NodeJS.ProcessEnv, names: readonly string[]): NodeJS.ProcessEnv {
  const told = [...new Set(names.filter((name) => NAME.test(name) && name !== 'NODE_COMPILE_CACHE'))].sort()
  return told.length === 0 ? env : { ...env, [DROPPED]: told.slice(0, NAMES_MAX).join(',') }
}

/** What was left out of this environment, as `DROPPED` in it says. */
export function droppedOf(env: NodeJS.ProcessEnv): string[] {
  return (env[DROPPED] ?? '')
    .split(',')
    .filter((name) => NAME.test(name))
    .slice(0, NAMES_MAX)
}
