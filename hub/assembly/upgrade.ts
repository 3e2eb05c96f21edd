/**
 * A database of an earlier hub is copied before its schema changes (T85), which takes as long as it is large. So it is done before the hub is
 * built, in turns, and each of them is progress: whoever waits for the start counts from the last one, not from the first (fault B2).
 */
import { readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/telemetry.ts'
import { syncFile, syncFolder } from '../base/whole-file.ts'
import { openStore, type Store } from '../store/database.ts'
import { COPY_BEFORE, dueMigrations, migrate, shippedMigrations } from '../store/migrations.ts'

export interface Progress {
  /** What is being done. */
  what: string
  /** How much of how much. */
  done: number
  of: number
}

/** Where the copy is made; what a cut start left there is removed by the next one. */
export const besideCopy = (home: string): string => join(home, 'hub.db.copying')

/** The way back, `hub undo-update`: whole and on disk under its name, and the copies of earlier updates are taken away. */
export function keepCopy(home: string, nowMs: number): void {
  const path = join(home, `hub.db.before-${nowMs}`)
  syncFile(besideCopy(home))
  renameSync(besideCopy(home), path)
  syncFolder(home)
  for (const name of readdirSync(home))
    if (COPY_BEFORE.test(name) && join(home, name) !== path) rmSync(join(home, name))
}

/** Opens the database, its schema brought up to date where that needs a copy first. Throws what `openStore` and `migrate` throw. */
export async function openUpToDate(
  home: string,
  outer: { clock: Clock; log: Log; onProgress: (progress: Progress) => void },
): Promise<Store> {
  const { clock, log, onProgress } = outer
  const path = join(home, 'hub.db')
  const beside = besideCopy(home)
  rmSync(beside, { force: true })
  const store = openStore(path)
  try {
    const { due, known } = dueMigrations(store, shippedMigrations())
    if (due.length === 0 || known.length === 0) return store
    await store.copy(beside, (done, of) =>
      onProgress({ what: 'copying the database before its schema changes', done, of }),
    )
    keepCopy(home, clock.wallMs())
    const applied = migrate(store, shippedMigrations(), clock.wallMs(), () => undefined)
    log.info({ applied }, 'the database schema was brought up to date')
    return store
  } catch (thrown) {
    rmSync(beside, { force: true })
    store.close()
    throw thrown
  }
}
