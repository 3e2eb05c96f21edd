/**
 * A home knows its machine and its place (fault B4): a copy has the same instance, and two hubs of one instance remove each
 * other's agents as orphans.
 *
 * P1. The file `place` says where the home is: machine, path and inode. It is written at `hub init` and at the first start of a home that
 *     has none, and it is never part of a backup.
 * P2. The number of the file system counts only within one boot: a reboot may change it.
 * P3. If either side has no machine id, only path and inode are compared.
 * P4. A home that is not where it says does not start, until the operator says whether it was moved or is a copy. The watchdog judges the
 *     same by its own code.
 * Not noticed: a machine that was copied as a whole, with the same machine id, path and inode.
 */
import { createHash } from 'node:crypto'
import { readFileSync, realpathSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { HubError } from '../base/errors.ts'
import { replaceFile } from '../base/whole-file.ts'

export interface Place {
  version: 1
  /** A digest of the machine's id, because the id itself is private; null if there is none. */
  machine: string | null
  path: string
  inode: string
  device: string
  bootId: string
}

const MACHINE_IDS = ['/etc/machine-id', '/var/lib/dbus/machine-id']

function machineOf(files: readonly string[]): string | null {
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

/** Where the home is now. Throws what the file system says. */
export function placeOf(home: string, bootId: string, machineIds: readonly string[] = MACHINE_IDS): Place {
  const { ino, dev } = statSync(home, { bigint: true })
  const machine = machineOf(machineIds)
  return { version: 1, machine, path: realpathSync(home), inode: String(ino), device: String(dev), bootId }
}

/** Pure: how the home's place differs from what it says, or undefined. */
export function judgePlace(kept: Place, now: Place): string | undefined {
  if (kept.machine !== null && now.machine !== null && kept.machine !== now.machine)
    return 'it was made on another machine'
  if (kept.path !== now.path) return `it was made at ${kept.path}`
  if (kept.inode !== now.inode) return 'it is not the folder that was made here'
  if (kept.bootId === now.bootId && kept.device !== now.device) return 'it is on another file system than before'
  return undefined
}

const fileOf = (home: string) => join(home, 'place')

/** What the home says; undefined if it says nothing, null if that cannot be read. */
function readPlace(home: string): Place | undefined | null {
  let text: string
  try {
    text = readFileSync(fileOf(home), 'utf8')
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : null
  }
  try {
    const place = JSON.parse(text) as Place
    const texts = [place.path, place.inode, place.device, place.bootId]
    return place.version === 1 && texts.every((each) => typeof each === 'string') ? place : null
  } catch {
    return null
  }
}

export const writePlace = (home: string, place: Place): void => replaceFile(fileOf(home), `${JSON.stringify(place)}\n`)

/** Whether the home says where it is, and it is there. */
export function isInPlace(home: string, now: Place): boolean {
  const kept = readPlace(home)
  return kept !== undefined && kept !== null && judgePlace(kept, now) === undefined
}

/** Throws `config_invalid` with the remedy if the home is not where it says; else makes sure that it says where it is. */
export function requirePlace(home: string, bootId: string): void {
  const kept = readPlace(home)
  const now = placeOf(home, bootId)
  const why = kept === null ? `${fileOf(home)} cannot be read` : kept === undefined ? undefined : judgePlace(kept, now)
  if (why !== undefined)
    throw new HubError(
      'config_invalid',
      `${home} is a copy, or was moved: ${why}; if the old home is gone: hub --home ${home} adopt moved; to keep both: hub --home ${home} adopt copy, which makes this one another hub`,
    )
  try {
    if (JSON.stringify(kept) !== JSON.stringify(now)) writePlace(home, now)
  } catch {
    // On a full disk the hub starts anyway: the file is still true, or the next start writes it.
  }
}

/** Whether the home was moved away, or another folder put in its place, since the hub started. */
export function watchPlace(home: string): () => string | undefined {
  const first = statSync(home, { bigint: true })
  return () => {
    try {
      const { ino, dev } = statSync(home, { bigint: true })
      return ino === first.ino && dev === first.dev ? undefined : `another folder is in the place of the home ${home}`
    } catch (thrown) {
      // Any other error of the file system is no move.
      const { code } = thrown as NodeJS.ErrnoException
      return code === 'ENOENT' || code === 'ENOTDIR' ? `the home ${home} is no longer there` : undefined
    }
  }
}
