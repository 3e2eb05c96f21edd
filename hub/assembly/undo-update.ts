/**
 * `hub undo-update`: the way back after an update (fault G7). The database becomes the copy that was made before its schema changed; what came
 * after is kept beside it and is no longer this hub's. As after a restore everything that was unfinished is held and the hub comes up safe.
 */
import { copyFileSync, existsSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { HubError } from '../base/errors.ts'
import { syncFile, syncFolder } from '../base/whole-file.ts'
import { openStore } from '../store/database.ts'
import { COPY_BEFORE, shippedMigrations } from '../store/migrations.ts'
import { openFile } from '../store/open-file.ts'
import { settleDatabase } from './restore.ts'

export interface UndoReport {
  home: string
  /** When the copy was made that is in force now, epoch milliseconds. */
  madeAtMs: number
  /** The newer database, kept in the home. */
  kept: string
  held: number
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
  for (const file of [beside, `${beside}-wal`]) rmSync(file, { force: true })
  copyFileSync(join(home, usable.name), beside)
  syncFile(beside)
  const made = new Date(usable.madeAtMs).toISOString()
  const held = settleDatabase(beside, clock, {
    reason: `put back to ${made}, before an update; look first, then hub resume`,
    record: { action: 'hub.update_undone', reason: `the copy of ${made}`, effect: `kept:${kept}` },
  })
  // Its lock is taken, so that no hub runs on it, and its log is emptied into the file, which is then whole by itself.
  const newer = openFile(path)
  newer.pragma('wal_checkpoint(truncate)')
  newer.close()
  if (existsSync(`${path}-wal`)) renameSync(`${path}-wal`, `${kept}-wal`)
  renameSync(path, kept)
  renameSync(beside, path)
  syncFolder(home)
  const next =
    'hub up; the watchdog has seen a longer log and asks about it once: hub audit verify prints the head, then hub resume --accept-head HEAD'
  return { home, madeAtMs: usable.madeAtMs, kept, held, next }
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
