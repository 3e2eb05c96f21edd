/**
 * Secrets given in the environment (`HUB_SECRET_*`, S0-24): taken out of it at the start, so that no child process inherits one, and
 * overwritten where the kernel keeps what this process was started with (T35).
 */
import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs'
import { HubError } from '../base/errors.ts'
import { SECRET_PREFIX } from '../work/sandbox/secrets.ts'

/** Every secret by its name (`HUB_SECRET_API_KEY` is `api-key`), removed from `env`. Throws `config_invalid` for a key that names none. */
export function takeSecrets(env: NodeJS.ProcessEnv): Map<string, Buffer> {
  const taken = Object.entries(env).filter(([key]) => key.startsWith(SECRET_PREFIX))
  for (const [key] of taken) delete env[key]
  return new Map(
    taken.map(([key, value = '']) => {
      const word = key.slice(SECRET_PREFIX.length)
      if (!/^[A-Z0-9_]{1,63}$/.test(word))
        throw new HubError(
          'config_invalid',
          `${key} names no secret: after ${SECRET_PREFIX} come 1 to 63 of A-Z, 0-9 and _`,
        )
      return [word.toLowerCase().replaceAll('_', '-'), Buffer.from(value)]
    }),
  )
}

/** Fields of /proc/self/stat (proc(5)), counted from the one after the command's closing bracket, which is the third. */
const ENV_START = 50 - 3
const ENV_END = 51 - 3

/**
 * Overwrites the secrets in this process's own start environment, which `/proc/<pid>/environ` shows to its account and to root for as
 * long as it lives. Only after `takeSecrets`: nothing may point there any more. False if the kernel does not allow it.
 */
export function scrubStartEnvironment(): boolean {
  let fd: number | undefined
  try {
    const stat = readFileSync('/proc/self/stat', 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const start = Number(fields[ENV_START])
    const block = Buffer.alloc(Number(fields[ENV_END]) - start)
    fd = openSync('/proc/self/mem', 'r+')
    readSync(fd, block, 0, block.length, start)
    // If the bytes there are not what the kernel shows, it is the wrong place, and nothing is written.
    if (!block.equals(readFileSync('/proc/self/environ'))) return false
    for (let at = 0; at < block.length; ) {
      const end = block.indexOf(0, at)
      if (end === -1) break
      if (block.toString('latin1', at, at + SECRET_PREFIX.length) === SECRET_PREFIX)
        writeSync(fd, Buffer.alloc(end - at), 0, end - at, start + at)
      at = end + 1
    }
    return !readFileSync('/proc/self/environ', 'latin1').includes(SECRET_PREFIX)
  } catch {
    return false
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
