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
const besideCopy = (home: string): string => join(home, 'hub.db.copying')

/** The way back, `hub undo-update`: whole and on disk under its name, which is answered. */
function keepCopy(home: string, nowMs: number): string {
  const name = `hub.db.before-${nowMs}`
  syncFile(besideCopy(home))
  renameSync(besideCopy(home), join(home, name))
  syncFolder(home)
  return name
}

/**
 * Applies the steps that are due. `copy` puts a copy beside first, where it does not lie there yet. A way back is there at every instant: the
 * copies of earlier updates go once the steps are in; where they did not come in, this one goes, as the database is still what it holds.
 */
export function bringUpToDate(store: Store, home: string, nowMs: number, copy: () => void): string[] {
  let own: string | undefined
  const keep = () => {
    copy()
    own = keepCopy(home, nowMs)
  }
  const due = () => dueMigrations(store, shippedMigrations()).due.length
  const before = due()
  try {
    const applied = migrate(store, shippedMigrations(), nowMs, keep)
    if (own !== undefined)
      for (const name of readdirSync(home)) if (COPY_BEFORE.test(name) && name !== own) rmSync(join(home, name))
    return applied
  } catch (thrown) {
    if (own !== undefined && isUnchanged(due, before)) rmSync(join(home, own), { force: true })
    throw thrown
  }
}

/** For who builds a hub without a process of its own: copied at once, not in turns. */
export function upgradeAtOnce(store: Store, home: string, nowMs: number): string[] {
  const beside = besideCopy(home)
  return bringUpToDate(store, home, nowMs, () => {
    rmSync(beside, { force: true })
    store.prepare('vacuum into ?').run(beside)
  })
}

/** Where that cannot be told it is not known to be, and the copy stays. */
function isUnchanged(due: () => number, before: number): boolean {
  try {
    return due() === before
  } catch {
    return false
  }
}

/** Opens the database, its schema brought up to date where that needs a copy first. Throws what `openStore` and `migrate` throw. */
export async function openUpToDate(
  home: string,
  outer: { clock: Clock; log: Log; onProgress: (progress: Progress) => void },
): Promise<Store> {
  const { clock, log, onProgress } = outer
  const path = join(home, 'hub.db')
  const beside = besideCopy(home)
  const store = openStore(path)
  // Only under its lock: of two starts at once the second would take away what the first is copying.
  rmSync(beside, { force: true })
  try {
    const { due, known } = dueMigrations(store, shippedMigrations())
    if (due.length === 0 || known.length === 0) return store
    await store.copy(beside, (done, of) =>
      onProgress({ what: 'copying the database before its schema changes', done, of }),
    )
    const applied = bringUpToDate(store, home, clock.wallMs(), () => undefined)
    log.info({ applied }, 'the database schema was brought up to date')
    return store
  } catch (thrown) {
    rmSync(beside, { force: true })
    store.close()
    throw thrown
  }
}
