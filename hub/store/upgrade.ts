/**
 * A database of an earlier hub is copied before its schema changes (T85). A large one takes long. So it is copied before the hub is built,
 * in turns, and each turn reports progress: a wait for the start counts from the last report, not from the beginning (fault B2).
 */
import { readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/telemetry.ts'
import { syncFile, syncFolder } from '../base/whole-file.ts'
import { openStore, type Store } from './database.ts'
import { createMeta } from './meta.ts'
import { COPY_BEFORE, dueMigrations, migrate, shippedMigrations } from './migrations.ts'

export interface Progress {
  /** What is being done. */
  what: string
  /** How much of how much. */
  done: number
  of: number
}

/** Where the copy is made. A start that was cut short may leave one here; the next start removes it. */
const besideCopy = (home: string): string => join(home, 'hub.db.copying')

/** The copy that `hub undo-update` goes back to, whole and on disk; answers its name. */
function keepCopy(home: string, nowMs: number): string {
  const name = `hub.db.before-${nowMs}`
  syncFile(besideCopy(home))
  renameSync(besideCopy(home), join(home, name))
  syncFolder(home)
  return name
}

/**
 * Applies the steps that are due. `copy` first makes a copy, unless there is one already. There is a way back at every moment: copies of
 * earlier updates go once the steps are in. If the steps did not go in, this copy goes, because the database is unchanged.
 */
function bringUpToDate(store: Store, home: string, nowMs: number, copy: () => void): string[] {
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

/**
 * The home's database for one run of the hub, up to date, and the number of that run. Without `store` it is opened here, for a hub inside
 * another program; the copy before an update is then made at once, not in turns.
 */
export function beginRun(options: { home: string; store: Store | undefined }, outer: { clock: Clock; log: Log }) {
  const { home, store = openStore(join(home, 'hub.db')) } = options
  const applied = upgradeAtOnce(store, home, outer.clock.wallMs())
  if (applied.length > 0) outer.log.info({ applied }, 'the database schema was brought up to date')
  const meta = createMeta(store)
  const epoch = Number(meta.get('epoch') ?? 0) + 1
  meta.set('epoch', String(epoch))
  return { store, meta, epoch }
}

function upgradeAtOnce(store: Store, home: string, nowMs: number): string[] {
  const beside = besideCopy(home)
  return bringUpToDate(store, home, nowMs, () => {
    rmSync(beside, { force: true })
    store.prepare('vacuum into ?').run(beside)
  })
}

/** False if that cannot be told; then the copy stays. */
function isUnchanged(due: () => number, before: number): boolean {
  try {
    return due() === before
  } catch {
    return false
  }
}

/** Opens the database, and brings its schema up to date if that needs a copy first. Throws what `openStore` and `migrate` throw. */
export async function openUpToDate(
  home: string,
  outer: { clock: Clock; log: Log; onProgress: (progress: Progress) => void },
): Promise<Store> {
  const { clock, log, onProgress } = outer
  const path = join(home, 'hub.db')
  const beside = besideCopy(home)
  const store = openStore(path)
  // Only under the database's lock: otherwise a second start would remove what the first is copying.
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
