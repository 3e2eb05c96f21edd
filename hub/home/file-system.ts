/**
 * Tries whether the home's file system can hold a home at all, and says so in one line (fault B7): modes, sockets, locks, links, renames.
 * A probe that fails for another reason (a full disk, a read-only mount) proves nothing here: that is reported elsewhere.
 */
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { HubError } from '../base/errors.ts'

/** By the number that statfs gives. */
const NAMES: Readonly<Record<number, string>> = {
  19780: 'vfat',
  1397703499: 'ntfs',
  538032816: 'exfat',
  16914839: '9p',
  4283649346: 'cifs',
  4266872130: 'smb',
  20859: 'smb',
  26985: 'nfs',
  1702057286: 'fuse',
  2035054128: 'overlay',
  16914836: 'tmpfs',
  61267: 'ext4',
}

/** Each throws, or answers false, if the file system cannot do it. */
export interface Probe {
  /** As the message says it. */
  what: string
  holds: (folder: string) => boolean | Promise<boolean>
}

/** Errors of a full disk, a quota or the process: they say nothing about the kind of file system. */
const OF_THE_MOMENT =
  /^(?:ENOSPC|EDQUOT|EROFS|EMFILE|ENFILE|EIO|EACCES|ENOMEM|SQLITE_FULL|SQLITE_CANTOPEN|SQLITE_IOERR_(?:WRITE|FSYNC|SHMSIZE|TRUNCATE))$/
/** A Unix socket path ends there; a longer home is refused for that, in its own words. */
const SOCKET_BYTES_MAX = 107
const FOLDER = /^\.probe-(\d{1,10})$/

function modesHold(folder: string): boolean {
  const file = join(folder, 'mode')
  writeFileSync(file, 'x')
  return [0o600, 0o640].every((mode) => {
    chmodSync(file, mode)
    const found = statSync(file)
    return (found.mode & 0o777) === mode && found.uid === process.getuid?.()
  })
}

function socketsHold(folder: string): Promise<boolean> {
  const path = join(folder, 's')
  if (Buffer.byteLength(path) > SOCKET_BYTES_MAX) return Promise.resolve(true)
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(path, () => server.close(() => resolve(true)))
  })
}

/** As the database holds its file: a second one must find it taken. */
function locksHold(folder: string): boolean {
  const path = join(folder, 'db')
  const first = new Database(path, { timeout: 0 })
  try {
    first.pragma('locking_mode = exclusive')
    if (first.pragma('journal_mode = wal', { simple: true }) !== 'wal') return false
    first.exec('create table t (a)')
    const second = new Database(path, { timeout: 0 })
    try {
      second.exec('insert into t values (1)')
      return false
    } catch (thrown) {
      return String((thrown as { code?: unknown }).code).startsWith('SQLITE_BUSY')
    } finally {
      second.close()
    }
  } finally {
    first.close()
  }
}

function renamesHold(folder: string): boolean {
  const [from, to] = [join(folder, 'from'), join(folder, 'to')]
  for (const file of [from, to]) writeFileSync(file, file)
  renameSync(from, to)
  linkSync(to, join(folder, 'linked'))
  return true
}

function syncsHold(folder: string): boolean {
  const handle = openSync(folder, 'r')
  try {
    fsyncSync(handle)
    return true
  } finally {
    closeSync(handle)
  }
}

export const PROBES: readonly Probe[] = [
  { what: 'file modes and owners', holds: modesHold },
  { what: 'Unix sockets', holds: socketsHold },
  { what: 'file locks', holds: locksHold },
  { what: 'hard links and renames that replace', holds: renamesHold },
  { what: 'folders that can be synced', holds: syncsHold },
]

function nameOf(folder: string): string {
  const { type } = statfsSync(folder)
  return NAMES[type] ?? `a file system of type 0x${type.toString(16)}`
}

/** Removes what an interrupted probe left. */
function removeStale(home: string): void {
  for (const name of readdirSync(home)) {
    const pid = FOLDER.exec(name)?.[1]
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) rmSync(join(home, name), { recursive: true, force: true })
  }
}

/** Throws `config_invalid` with the file system and everything it lacks. The folder has to exist. */
export async function requireFileSystem(home: string, probes: readonly Probe[] = PROBES): Promise<void> {
  const folder = join(home, `.probe-${process.pid}`)
  const lacking: string[] = []
  try {
    removeStale(home)
    mkdirSync(folder, { mode: 0o700 })
  } catch {
    return
  }
  try {
    for (const { what, holds } of probes) {
      try {
        if (!(await holds(folder))) lacking.push(what)
      } catch (thrown) {
        if (!OF_THE_MOMENT.test(String((thrown as { code?: unknown }).code))) lacking.push(what)
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  if (lacking.length > 0)
    throw new HubError(
      'config_invalid',
      `the home ${home} is on ${nameOf(home)}, which lacks ${lacking.join(', ')}; choose a --home on a local Linux file system (ext4, xfs, btrfs)`,
    )
}
