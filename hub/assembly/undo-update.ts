/**
 * `hub undo-update`: the way back after an update (fault G7). The database becomes the copy that was made before its schema changed; what came
 * after is kept beside it and is no longer this hub's, but for what only restricts (carry-over.ts). As after a restore everything that was
 * unfinished is held and the hub comes up safe.
 */
import { copyFileSync, linkSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { HubError } from '../base/errors.ts'
import { syncFile, syncFolder } from '../base/whole-file.ts'
import { openStore } from '../store/database.ts'
import { COPY_BEFORE, shippedMigrations } from '../store/migrations.ts'
import { openFile } from '../store/open-file.ts'
import { type Carried, carryOver } from './carry-over.ts'
import { settleDatabase } from './restore.ts'

export interface UndoReport {
  home: string
  /** When the copy was made that is in force now, epoch milliseconds. */
  madeAtMs: number
  /** The newer database, kept in the home. */
  kept: string
  held: number
  /** How much of what was revoked, suspended or withheld since goes on being so. */
  carried: Carried['counts']
  /** What of that could not be read in the newer database: look through it, and revoke anew. */
  revokeAnew: readonly string[]
  /** The watchdog has seen a longer log, and asks about that once. */
  next: string
}

/** Throws `config_invalid` where no copy is there that this version can use, `conflict` while a hub runs on the home. */
export function undoUpdate({ home }: { home: string }, clock: Clock): UndoReport {
  const path = join(home, 'hub.db')
  const copies = readdirSync(home)
    .map((name) => ({ name, madeAtMs: Number(COPY_BEFORE.exec(name)?.[1]) }))
    .filter(({ madeAtMs }) => Number.isFinite(madeAtMs))
    .sort((a, b) => b.madeAtMs - a.madeAtMs)
  const usable = copies.find(({ name }) => isKnown(join(home, name)))
  if (usable === undefined)
    throw new HubError(
      'config_invalid',
      copies.length === 0
        ? `no copy of before an update lies in ${home} (hub.db.before-*); make a home of a backup: hub restore BACKUP --home NEW`
        : `no copy in ${home} is of this version or older (${copies.map(({ name }) => name).join(', ')}); start the version that made it`,
    )
  const kept = `${path}.after-${clock.wallMs()}`
  const beside = `${path}.making`
  const made = new Date(usable.madeAtMs).toISOString()
  // Its lock is held until the other stands in its place: a hub that is started meanwhile ends there.
  const newer = openLocked(path)
  try {
    for (const file of [beside, `${beside}-wal`]) rmSync(file, { force: true })
    copyFileSync(join(home, usable.name), beside)
    syncFile(beside)
    let carried: Carried = { counts: {}, revokeAnew: [] }
    const held = settleDatabase(beside, clock, {
      reason: `put back to ${made}, before an update; look first, then hub resume`,
      record: { action: 'hub.update_undone', reason: `the copy of ${made}`, effect: `kept:${kept}` },
      within(store) {
        carried = carryOver(newer, store, clock.wallMs())
        const counts = Object.entries(carried.counts).map(([what, count]) => `${what} ${count}`)
        return counts.length === 0 ? '' : `; as strict as since: ${counts.join(', ')}`
      },
    })
    setAside(newer, path, kept)
    renameSync(beside, path)
    syncFolder(home)
    const next =
      'hub up; the watchdog has seen a longer log and asks about it once: hub audit verify prints the head, then hub resume --accept-head HEAD'
    return {
      ...{ home, madeAtMs: usable.madeAtMs, kept, held },
      ...{ carried: carried.counts, revokeAnew: carried.revokeAnew, next },
    }
  } finally {
    // Under another name by now, SQLite takes no log away that is not its own.
    newer.close()
  }
}

/** Opened alone a database still lets others open it, who fail later; after a first write nobody can. */
function openLocked(path: string): ReturnType<typeof openFile> {
  const database = openFile(path)
  try {
    database.exec('begin immediate; commit')
    return database
  } catch (thrown) {
    database.close()
    if (!String((thrown as { code?: unknown }).code).startsWith('SQLITE_BUSY')) throw thrown
    throw new HubError('conflict', `another hub is running on ${path}; stop it with \`hub down\``, { cause: thrown })
  }
}

/**
 * Its log is emptied into the file, which is then whole by itself, and taken away while the lock keeps everybody out. The second name comes
 * before the first is given to the other file: at no instant is there no database, in whose place an empty one could be made.
 */
function setAside(newer: ReturnType<typeof openFile>, path: string, kept: string): void {
  newer.pragma('wal_checkpoint(truncate)')
  const log = `${path}-wal`
  if ((statSync(log, { throwIfNoEntry: false })?.size ?? 0) > 0)
    throw new HubError('store_unavailable', `${log} cannot be emptied; look at the disk (dmesg), then try again`)
  // Its index as well: by that of another file a database would be read wrongly.
  for (const file of [log, `${path}-shm`]) rmSync(file, { force: true })
  linkSync(path, kept)
}

/** Whether every step this copy has had is one of this program. */
function isKnown(path: string): boolean {
  const store = openStore(path)
  try {
    const names = store.prepare('select name from migration').pluck().all() as string[]
    const shipped = new Set(shippedMigrations().map(({ name }) => name))
    return names.every((name) => shipped.has(name))
  } finally {
    store.close()
  }
}
