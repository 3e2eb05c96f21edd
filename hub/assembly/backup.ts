/**
 * `hub backup`: a whole, verifiable copy of a home while its hub runs (T86): the database as one consistent snapshot, then every file that is
 * its home's own. Not in it: what a running pair of processes makes anew (sockets, logs, caches) and the watchdog's memory, since a copy
 * that is put back must not pretend that its witness saw it.
 *
 * B1. The database comes first. A row names only files that were there before it, so what is copied later is never less.
 * B2. It gets its name once it is whole and on disk, files and folders; a broken-off copy never looks finished.
 * B3. What a killed hub left half-made below `backups/` holds keys: it is removed when the hub starts and before the next backup.
 */
import { createHash } from 'node:crypto'
import { createReadStream, readdirSync, rmSync } from 'node:fs'
import { copyFile, lstat, mkdir, open, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { HubError } from '../base/errors.ts'
import type { Log } from '../base/telemetry.ts'

/** What a backup holds, with the digest of every file: what `hub restore` checks before it believes any of it. */
export interface Manifest {
  version: 1
  instance: string
  madeAtMs: number
  auditSize: number
  auditHead: string
  /** By path in the home. */
  files: Record<string, { sha256: string; bytes: number }>
}

export const MANIFEST = 'backup.json'
export const DATABASE = 'hub.db'
/** Names in the home that are copied where they are there. */
const COPIED = [
  'instance',
  'hub.yaml',
  'keys',
  'secrets',
  'agents',
  'policy',
  'definitions',
  'artifacts',
  'evidence',
  'audit',
]
/** Of the watchdog's folder: its configuration and what it knows of the contact, never its state. */
const WATCHDOG_FILES = /^[a-z-]+\.json$/
const FILES_MAX = 1_000_000

export async function digestOf(path: string): Promise<{ sha256: string; bytes: number }> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    hash.update(chunk)
    bytes += chunk.length
  }
  return { sha256: hash.digest('hex'), bytes }
}

/** Every plain file below `path`, as paths from `root`; links and sockets are not a home's own. Throws `limit_exceeded` past a million. */
export async function filesBelow(root: string, path: string, found: string[] = []): Promise<string[]> {
  const here = await lstat(join(root, path)).catch(() => undefined)
  if (here?.isFile()) found.push(path)
  if (here?.isDirectory())
    // What arrives, and a month that is being sealed, are not whole yet.
    for (const name of (await readdir(join(root, path))).sort())
      if (join(path, name) !== join('artifacts', 'arriving') && !(path === 'audit' && name.endsWith('.part')))
        await filesBelow(root, join(path, name), found)
  if (found.length > FILES_MAX) throw new HubError('limit_exceeded', `a backup holds at most ${FILES_MAX} files`)
  return found
}

export async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r')
  await handle.sync().finally(() => handle.close())
}

/**
 * Makes the backup `to`, a folder that is not there yet, and answers its manifest. Throws `conflict` where it is, `store_unavailable` naming
 * the file that could not be read or written; then nothing is left of it.
 */
export async function backupHome(options: {
  home: string
  to: string
  nowMs: number
  audit: { size: number; head: string }
  /** Writes one consistent copy of the database to the path. */
  copyDatabase: (path: string) => Promise<void>
}): Promise<Manifest> {
  const { home, to, nowMs, audit, copyDatabase } = options
  if ((await stat(to).catch(() => undefined)) !== undefined)
    throw new HubError('conflict', `${to} is there already; a backup never overwrites one`)
  const partial = `${to}.partial`
  await rm(partial, { recursive: true, force: true })
  try {
    await mkdir(partial, { recursive: true, mode: 0o700 })
    await copyDatabase(join(partial, DATABASE))
    const files: Manifest['files'] = { [DATABASE]: await digestOf(join(partial, DATABASE)) }
    const own = await readdir(join(home, 'watchdog')).catch(() => [])
    const wanted = [...COPIED, ...own.filter((name) => WATCHDOG_FILES.test(name)).map((name) => join('watchdog', name))]
    for (const name of wanted) {
      for (const path of await filesBelow(home, name)) {
        const place = join(partial, path)
        await mkdir(dirname(place), { recursive: true, mode: 0o700 })
        await copyFile(join(home, path), place)
        await syncPath(place)
        files[path] = await digestOf(place)
      }
    }
    const instance = files.instance === undefined ? '' : (await readText(join(partial, 'instance'))).trim()
    const manifest: Manifest = {
      version: 1,
      instance,
      madeAtMs: nowMs,
      auditSize: audit.size,
      auditHead: audit.head,
      files,
    }
    await writeFile(join(partial, MANIFEST), `${JSON.stringify(manifest, null, 1)}\n`, { mode: 0o600 })
    for (const path of [DATABASE, MANIFEST]) await syncPath(join(partial, path))
    for (const folder of foldersOf(Object.keys(files))) await syncPath(join(partial, folder))
    await rename(partial, to)
    await syncPath(dirname(to))
    return manifest
  } catch (thrown) {
    await rm(partial, { recursive: true, force: true })
    throw new HubError('store_unavailable', `the backup could not be made: ${(thrown as Error).message}`, {
      cause: thrown,
    })
  }
}

export async function readText(path: string): Promise<string> {
  const handle = await open(path, 'r')
  return handle.readFile('utf8').finally(() => handle.close())
}

/** Every folder these files lie in, up to the backup's own: an entry is on disk when its folder is. */
function foldersOf(files: readonly string[]): Set<string> {
  const folders = new Set(['.'])
  for (const file of files) for (let at = dirname(file); at !== '.'; at = dirname(at)) folders.add(at)
  return folders
}

/** As `createBackup` names them while they are made. */
const HALF_MADE = /^\d{4}-[\dT-]+Z\.partial$/

/** Answers what was removed. Only while no backup is being made. */
function removeHalfMade(folder: string): string[] {
  let names: string[] = []
  try {
    names = readdirSync(folder).filter((name) => HALF_MADE.test(name))
  } catch {
    // No backup was ever made here.
  }
  for (const name of names) rmSync(join(folder, name), { recursive: true, force: true })
  return names
}

/** What `backup.run` does: a folder named by the instant below `backups/` of the home. */
export function createBackup(parts: {
  home: string
  clock: Clock
  log: Log
  audit: { head(): { size: number; head: string } }
  copyDatabase: (path: string) => Promise<void>
}) {
  const { home, clock, log, audit, copyDatabase } = parts
  const folder = join(home, 'backups')
  const tidy = () => {
    try {
      const removed = removeHalfMade(folder)
      if (removed.length > 0) log.warn({ removed }, 'backups that were broken off were removed; they held keys')
    } catch (thrown) {
      log.error(
        { reason: (thrown as Error).message },
        'a backup that was broken off could not be removed; it holds keys',
      )
    }
  }
  tidy()
  return async () => {
    tidy()
    const nowMs = clock.wallMs()
    const to = join(folder, new Date(nowMs).toISOString().replaceAll(/[:.]/g, '-'))
    const { files, auditSize, auditHead } = await backupHome({ home, to, nowMs, audit: audit.head(), copyDatabase })
    const bytes = Object.values(files).reduce((sum, file) => sum + file.bytes, 0)
    return { path: to, files: Object.keys(files).length, bytes, auditSize, auditHead }
  }
}
