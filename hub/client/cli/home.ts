/** Which home a command means, and where its files are (docs/protocol.md 1). */
import { statSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Problem } from '../problem.ts'
import type { Door } from '../wire.ts'

/** `--home`, else HUB_HOME, else `~/.hub`; always absolute. */
export function homeOf(flag: string | undefined, env: NodeJS.ProcessEnv): string {
  const named = flag ?? env.HUB_HOME
  return path.resolve(named === undefined || named === '' ? path.join(env.HOME ?? os.homedir(), '.hub') : named)
}

export function pathsOf(home: string) {
  return {
    home,
    instance: path.join(home, 'instance'),
    hubPid: path.join(home, 'run', 'hub.pid'),
    hubLog: path.join(home, 'logs', 'hub.log'),
    watchdogPid: path.join(home, 'watchdog', 'watchdog.pid'),
    watchdogLog: path.join(home, 'logs', 'watchdog.log'),
    watchdogConfig: path.join(home, 'watchdog', 'config.yaml'),
    cache: path.join(home, 'cache'),
  }
}
export type Paths = ReturnType<typeof pathsOf>

export const hubDoor = (home: string): Door => ({
  socketPath: path.join(home, 'run', 'operator.sock'),
  name: 'hub',
  start: 'start it: `hub up`',
})
export const watchdogDoor = (home: string): Door => ({
  socketPath: path.join(home, 'watchdog', 'run', 'watchdog.sock'),
  name: 'watchdog',
  start: 'start it: `hub up`',
})

const absent = (home: string): Problem =>
  new Problem('no_home', 'unavailable', `no hub at ${home}: run \`hub init\``, `hub init --home ${home}`)

/** Each of these shows that a hub was made here. If another is missing, the start names it, and a running hub can still be stopped (fault G9). */
const SIGNS = ['instance', 'hub.db', 'ledger.json', 'keys']

/** A home that exists, is ours and private; anything else stops the command. @throws Problem `no_home`, `not_private` */
export function requireHome(home: string): void {
  let found: ReturnType<typeof statSync>
  try {
    found = statSync(home)
    if (!SIGNS.some((name) => statSync(path.join(home, name), { throwIfNoEntry: false }) !== undefined))
      throw absent(home)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES') {
      throw new Problem('not_private', 'refused', `this user may not read the home ${home}`, 'run as its owner')
    }
    throw absent(home)
  }
  const mine = process.getuid?.() ?? 0
  if (!found.isDirectory() || found.uid !== mine) {
    const next = 'run as its owner, or choose another --home'
    throw new Problem('not_private', 'refused', `the home ${home} is not a folder of this user`, next)
  }
  if ((found.mode & 0o077) !== 0) {
    const mode = (found.mode & 0o777).toString(8)
    const text = `the home ${home} is open to other users (mode ${mode})`
    throw new Problem('not_private', 'refused', text, `chmod 700 ${home}`)
  }
}
