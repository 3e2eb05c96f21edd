/**
 * `hub restore`: a backup becomes a home (T86). First every file is checked against the manifest. Then the copy becomes another hub of the
 * same owner. It gets a new instance id, so that tokens, leases, ledgers and containers of the old one mean nothing to it. It starts in safe
 * mode, by the operator's own condition, and every unfinished task is held. It gets its name once all of that is on disk.
 */
import { copyFile, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { HubError } from '../base/errors.ts'
import { newUuid, type Random } from '../base/random.ts'
import { createAuditLog } from '../guard/audit/log.ts'
import { endActs } from '../guard/operator/approval-rows.ts'
import { nameShape } from '../protocol/ids.ts'
import { openStore, type Store } from '../store/database.ts'
import { migrate, shippedMigrations } from '../store/migrations.ts'
import { holdRows } from '../work/dispatch/row-checks.ts'
import { setWords } from '../work/sandbox/secrets.ts'
import { HOME_BYTES_MAX } from '../work/sandbox/sockets.ts'
import { DATABASE, digestOf, MANIFEST, type Manifest, readText, SECRETS, syncPath } from './backup.ts'

export interface RestoreReport {
  home: string
  from: string
  instance: string
  /** The hub that was backed up; containers of it that still run belong to nobody now. */
  formerInstance: string
  madeAtMs: number
  auditSize: number
  auditHead: string
  held: number
  /** What was revoked after the backup is in force again: these commands show two lists to look through, and make a new card. */
  revokeAnew: readonly string[]
  /** The secrets that the backup left out, each with the words that set it again. */
  setAnew: readonly { name: string; words: string }[]
}

const REVOKE_ANEW = ['hub device list', 'hub token list', 'hub contact card'] as const

/** A path below the home and nowhere else (T69). */
const isInside = (path: string) =>
  path !== '' && !path.startsWith('/') && path.split('/').every((part) => part !== '' && part !== '.' && part !== '..')

async function readManifest(from: string): Promise<Manifest> {
  const refused = (why: string) => new HubError('config_invalid', `${from} is not a complete backup: ${why}`)
  let manifest: Manifest | null
  try {
    manifest = JSON.parse(await readText(join(from, MANIFEST))) as Manifest | null
  } catch (thrown) {
    throw refused(`${MANIFEST} cannot be read (${(thrown as Error).message})`)
  }
  if (manifest?.version !== 1 || typeof manifest.files !== 'object' || manifest.files?.[DATABASE] === undefined)
    throw refused(`${MANIFEST} is of another version`)
  const { leftOut = [], madeAtMs } = manifest
  if (Number.isNaN(new Date(madeAtMs).getTime())) throw refused(`${MANIFEST} does not say when it was made`)
  if (!Array.isArray(leftOut) || leftOut.some((each) => typeof each?.path !== 'string'))
    throw refused(`${MANIFEST} does not say by their paths what was left out`)
  for (const [path, file] of Object.entries(manifest.files)) {
    if (!isInside(path)) throw refused(`${JSON.stringify(path)} is not a path of a home`)
    const found = await digestOf(join(from, path)).catch(() => undefined)
    if (found === undefined) throw refused(`${path} is missing`)
    if (found.sha256 !== file?.sha256 || found.bytes !== file.bytes)
      throw refused(`${path} is not the file that was copied`)
  }
  return manifest
}

/** Of the manifest's word: names that could be of a secret's file, and nothing else. */
const secretsLeftOut = ({ leftOut = [] }: Manifest): string[] =>
  leftOut.flatMap(({ path, secret }) => {
    const name = path.startsWith(SECRETS) ? path.slice(SECRETS.length) : ''
    return secret === true && nameShape.safeParse(name).success ? [name] : []
  })

/** X8: never over a home, live or not; whatever is there has to be moved away by hand. */
async function requireEmpty(home: string): Promise<void> {
  const there = await readdir(home).catch((thrown: NodeJS.ErrnoException) => {
    if (thrown.code === 'ENOENT') return []
    throw new HubError('config_invalid', `${home} cannot be read: ${thrown.message}`)
  })
  if (there.length > 0)
    throw new HubError('conflict', `${home} is not empty; stop its hub, move it away and restore again`)
}

/**
 * Prepares an older or copied database for its first start: records what happened, and with a `reason` makes it safe by the operator's
 * own condition and holds every unfinished task. Answers how many tasks are held.
 */
export function settleDatabase(
  path: string,
  clock: Clock,
  what: {
    reason?: string
    record: { action: string; reason: string; effect: string }
    /** Runs in the same transaction; its answer goes into the record too. */
    within?: (store: Store) => string
  },
): number {
  const store = openStore(path)
  try {
    // An older backup may lack tables that the log needs. No copy is made first: the backup is the copy.
    migrate(store, shippedMigrations(), clock.wallMs(), () => undefined)
    const audit = createAuditLog({ store, clock })
    return store.transaction(() => {
      let held = 0
      if (what.reason !== undefined) {
        const condition = store.prepare('insert or replace into condition values (?, ?, ?)')
        condition.run('operator_request', clock.wallMs(), what.reason)
        // The positions of another watchdog's leases would refuse the new one's.
        store.prepare("delete from meta where key in ('lease_position', 'lease_demand')").run()
        // Running tasks are held too: their containers are not this home's, and they would go back to the queue by themselves.
        holdRows(store, "'queued', 'running'")
        // What a person answered may have been used since, by the hub that went on.
        endActs(store, clock.wallMs())
        held = Number(store.prepare("select count(*) from task where state in ('queued', 'running')").pluck().get())
      }
      audit.append({
        principal: 'operator',
        resource: 'hub',
        decisionId: null,
        policyRevision: null,
        payloadHash: null,
        outcome: 'ok',
        ...what.record,
        effect: `${what.record.effect}${what.within?.(store) ?? ''}`,
      })
      return held
    })
  } finally {
    store.checkpoint()
    store.close()
  }
}

/**
 * Makes the home from the backup. Throws `config_invalid` for a backup that is not whole, `conflict` if the home is not empty; then
 * nothing was made.
 */
export async function restoreHome(
  options: { from: string; home: string },
  outer: { clock: Clock; random: Random; initWatchdog: (home: string) => void },
): Promise<RestoreReport> {
  const { from, home } = options
  const { clock, random } = outer
  if (Buffer.byteLength(home) > HOME_BYTES_MAX)
    throw new HubError(
      'config_invalid',
      `the home ${home} is longer than ${HOME_BYTES_MAX} bytes; choose a shorter one`,
    )
  await requireEmpty(home)
  const manifest = await readManifest(from)
  const partial = `${home}.restoring`
  await rm(partial, { recursive: true, force: true })
  try {
    await mkdir(partial, { mode: 0o700, recursive: true })
    for (const path of Object.keys(manifest.files)) {
      await mkdir(dirname(join(partial, path)), { recursive: true, mode: 0o700 })
      await copyFile(join(from, path), join(partial, path))
    }
    for (const name of ['run', 'logs', 'watchdog', 'artifacts', 'transcripts', 'evidence', 'secrets'])
      await mkdir(join(partial, name), { recursive: true, mode: 0o700 })
    const instance = newUuid(random, clock.wallMs())
    await writeFile(join(partial, 'instance'), `${instance}\n`, { mode: 0o600 })
    const made = new Date(manifest.madeAtMs).toISOString()
    const held = settleDatabase(join(partial, DATABASE), clock, {
      reason: `restored from the backup of ${made}; look first, then hub resume`,
      record: { action: 'hub.restored', reason: `the backup of ${made}`, effect: `instance:${instance}` },
    })
    outer.initWatchdog(partial)
    // Each file and each folder, whoever wrote it: under its name the home is whole after a crash too (T77, fault G2).
    for (const path of [...(await readdir(partial, { recursive: true })), '.']) await syncPath(join(partial, path))
    // Replaces only an empty folder: anything that came there meanwhile is somebody's home (X8).
    await requireEmpty(home)
    await rename(partial, home)
    await syncPath(dirname(home))
    const { instance: formerInstance, madeAtMs, auditSize, auditHead } = manifest
    return {
      ...{ home, from, instance, formerInstance, madeAtMs, auditSize, auditHead, held },
      revokeAnew: REVOKE_ANEW,
      setAnew: secretsLeftOut(manifest).map((name) => ({ name, words: setWords(join(home, 'secrets'), name) })),
    }
  } catch (thrown) {
    await rm(partial, { recursive: true, force: true })
    throw thrown
  }
}
