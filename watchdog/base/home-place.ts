/**
 * Whether the home is where it was made (fault B4): a copy has the same instance, so its watchdog would stop the agents of the other home as
 * orphans. The hub writes the file `place`; the watchdog judges it by its own code. The number of the file system counts only within one
 * boot. Without a machine id, only path and inode are compared.
 */
import { createHash } from 'node:crypto'
import { readFileSync, realpathSync, statSync } from 'node:fs'
import path from 'node:path'
import { StartError } from './home.ts'

const MACHINE_IDS = ['/etc/machine-id', '/var/lib/dbus/machine-id']

function machine(files: readonly string[]): string | null {
  for (const file of files) {
    try {
      const id = readFileSync(file, 'utf8').trim()
      if (/^[0-9a-f]{32}$/.test(id))
        return createHash('sha256').update(`hub-place-v1\0${id}`).digest('hex').slice(0, 32)
    } catch {
      // The next one, or none.
    }
  }
  return null
}

/** How the home differs from where it was made; null if it does not, or if that was never recorded. */
export function misplaced(home: string, bootId: string, machineIds: readonly string[] = MACHINE_IDS): string | null {
  const file = path.join(home, 'place')
  let said: Record<string, unknown>
  try {
    said = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? null : `${file} cannot be read`
  }
  const { ino, dev } = statSync(home, { bigint: true })
  const here = machine(machineIds)
  if (typeof said.machine === 'string' && here !== null && said.machine !== here)
    return 'it was made on another machine'
  if (said.path !== realpathSync(home)) return `it was made at ${String(said.path)}`
  if (said.inode !== String(ino)) return 'it is not the folder that was made here'
  if (said.bootId === bootId && said.device !== String(dev)) return 'it is on another file system than before'
  return null
}

/** @throws StartError with the remedy */
export function requirePlace(home: string, bootId: string): void {
  const why = misplaced(home, bootId)
  if (why !== null)
    throw new StartError(
      `${home} is a copy, or was moved: ${why}; if the old home is gone: hub --home ${home} adopt moved; to keep both: hub --home ${home} adopt copy, which makes this one another hub`,
    )
}
