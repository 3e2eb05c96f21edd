/**
 * `hub backup`: a whole, verifiable copy of a home while its hub runs (T86): the database as one consistent snapshot, then the home's other
 * files. It leaves out what the running processes make again (sockets, logs, caches) and the watchdog's memory: a restored copy
 * must not pretend that its witness saw it.
 *
 * B1. The database comes first. A row names only files that were there before it, so what is copied later is never less.
 * B2. It gets its name once all of it is on disk, files and folders; an unfinished copy never looks finished.
 * B3. What a killed hub left half-made below `backups/` holds keys: it is removed when the hub starts and before the next backup.
 * B4. A symbolic link is followed, as the hub follows it: its target is copied in its place. The answer names what could not be copied, and
 *     every artifact whose file is already missing or damaged in the home; nothing is left out silently (fault B8).
 * B5. Before it gets its name the copy is opened and judged: a backup that cannot be restored is not a backup.
 * B6. No secret of HOME/secrets is in it unless the operator asks for that by name: a copy travels further than the home. Each one that is left
 *     out is named, so that whoever restores it knows what to set again. A link elsewhere in the home that leads to one is left out too.
 */
import { createHash } from 'node:crypto'
import { createReadStream, readdirSync, rmSync } from 'node:fs'
import { copyFile, lstat, mkdir, open, readdir, realpath, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { diskWords } from '../base/disk-words.ts'
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
  /** What is in the home but not in the backup, and why. Absent in a backup of an earlier version. */
  leftOut?: LeftOut[]
}
export interface LeftOut {
  path: string
  why: string
  /** It is in the copy, as damaged as in the home. */
  damaged?: true
  /** A file of `secrets/`: whoever restores the backup sets it again. */
  secret?: true
}
/** What a look into the copied database found. */
export interface CopyVerdict {
  /** `ok`, or what is wrong with the file. */
  integrity: string
  /** Whether it holds the record that was the newest when the backup began. */
  hasHead: boolean
  /** Every artifact that a row names. */
  artifacts: string[]
}

export const MANIFEST = 'backup.json'
export const DATABASE = 'hub.db'
/** Names in the home that are copied if they exist. */
const COPIED = [
  'instance',
  'hub.yaml',
  'prices.yaml',
  'keys',
  'secrets',
  'agents',
  'image-builds.json',
  'policy',
  'definitions',
  'artifacts',
  'evidence',
  'audit',
]
/** Of the watchdog's folder: its configuration in both forms and what it knows of the contact, never its state. */
const WATCHDOG_FILES = /^(?:[a-z-]+\.json|config\.yaml)$/
export const SECRETS = 'secrets/'
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

interface Found {
  files: string[]
  /** Those that a link led to, or that are below one. */
  behindLinks: Set<string>
  leftOut: LeftOut[]
}

/**
 * Every file below `path`, as paths from `root`, links followed. Throws what the file system says of a folder that cannot be read, and
 * `limit_exceeded` past a million files.
 */
async function filesBelow(
  root: string,
  path: string,
  found: Found,
  above: readonly string[] = [],
  isBehindLink = false,
): Promise<void> {
  const leaveOut = (why: string) => void found.leftOut.push({ path, why })
  const link = await lstat(join(root, path)).catch(() => undefined)
  if (link === undefined) return
  if (link.isSymbolicLink() && path.startsWith(SECRETS)) return leaveOut('a link: the hub reads no secret through one')
  const here = await stat(join(root, path)).catch((thrown: NodeJS.ErrnoException) => thrown.code ?? 'unknown')
  if (typeof here === 'string') return leaveOut(`a link that leads nowhere (${here})`)
  const isBehind = isBehindLink || link.isSymbolicLink()
  if (here.isFile() && isBehind) found.behindLinks.add(path)
  if (here.isFile()) found.files.push(path)
  else if (!here.isDirectory()) return leaveOut('neither a file nor a folder')
  if (found.files.length > FILES_MAX) throw new HubError('limit_exceeded', `a backup holds at most ${FILES_MAX} files`)
  if (!here.isDirectory()) return
  const real = await realpath(join(root, path))
  const own = await realpath(root)
  const isWithin = (inner: string, outer: string) => inner === outer || inner.startsWith(`${outer}/`)
  // It would copy the home, and every backup in it, into itself.
  if (link.isSymbolicLink() && (isWithin(real, own) || isWithin(own, real)))
    return leaveOut('a link to a folder of the home itself, or around it')
  if (above.includes(real)) return leaveOut('a link that leads back to a folder that contains it')
  // What arrives, and a month that is being sealed, are not whole yet.
  for (const name of (await readdir(join(root, path))).sort())
    if (join(path, name) !== join('artifacts', 'arriving') && !(path === 'audit' && name.endsWith('.part')))
      await filesBelow(root, join(path, name), found, [...above, real], isBehind)
}

/** Throws `store_unavailable` if the copy could not be restored; answers what was already damaged in the home. */
function judgeCopy(verdict: CopyVerdict, files: Manifest['files']): LeftOut[] {
  const refused = (why: string) =>
    new HubError(
      'store_unavailable',
      `no backup was made, because it could not be restored: ${why}; keep your older backups`,
    )
  if (verdict.integrity !== 'ok') throw refused(`the copied database is damaged (${verdict.integrity})`)
  if (!verdict.hasHead) throw refused('the copied database ends before the audit log did')
  return verdict.artifacts.flatMap((sha256) => {
    const path = join('artifacts', sha256.slice(0, 2), sha256)
    const copied = files[path]
    if (copied?.sha256 === sha256) return []
    if (copied === undefined) return [{ path, why: 'missing in the home' }]
    return [{ path, why: 'damaged in the home, and so in the backup', damaged: true }]
  })
}

export async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r')
  await handle.sync().finally(() => handle.close())
}

/** The same without the secrets, each of which is named instead. */
async function withoutSecrets(
  home: string,
  { files, behindLinks, leftOut }: Found,
): Promise<Omit<Found, 'behindLinks'>> {
  const folder = await realpath(join(home, SECRETS)).catch(() => undefined)
  const others: string[] = []
  const left = [...leftOut]
  for (const path of files) {
    if (path.startsWith(SECRETS)) left.push({ path, why: 'a secret: set it again after a restore', secret: true })
    else if (
      folder !== undefined &&
      behindLinks.has(path) &&
      (await realpath(join(home, path))).startsWith(`${folder}/`)
    )
      left.push({ path, why: 'a link to a secret' })
    else others.push(path)
  }
  return { files: others, leftOut: left }
}

/**
 * Makes the backup `to`, a folder that does not exist yet, and answers its manifest. Throws `conflict` if it exists, `store_unavailable` with
 * the file that could not be read or written; then nothing of the backup is left.
 */
export async function backupHome(options: {
  home: string
  to: string
  nowMs: number
  audit: { size: number; head: string }
  /** Copies `secrets/` too, in plain text. */
  withSecrets?: boolean
  /** Writes one consistent copy of the database to the path. */
  copyDatabase: (path: string) => Promise<void>
  /** Opens the copy and looks into it (copy-check.ts). */
  checkCopy: (path: string, audit: { size: number; head: string }) => Promise<CopyVerdict>
}): Promise<Manifest> {
  const { home, to, nowMs, audit, copyDatabase, checkCopy, withSecrets = false } = options
  if ((await stat(to).catch(() => undefined)) !== undefined)
    throw new HubError('conflict', `${to} already exists; a backup never overwrites one`)
  const partial = `${to}.partial`
  await rm(partial, { recursive: true, force: true })
  try {
    await mkdir(partial, { recursive: true, mode: 0o700 })
    await copyDatabase(join(partial, DATABASE))
    const files: Manifest['files'] = { [DATABASE]: await digestOf(join(partial, DATABASE)) }
    const own = await readdir(join(home, 'watchdog')).catch(() => [])
    const wanted = [...COPIED, ...own.filter((name) => WATCHDOG_FILES.test(name)).map((name) => join('watchdog', name))]
    const whole: Found = { files: [], behindLinks: new Set(), leftOut: [] }
    for (const name of wanted) await filesBelow(home, name, whole)
    const found = withSecrets ? whole : await withoutSecrets(home, whole)
    for (const path of found.files) {
      const place = join(partial, path)
      await mkdir(dirname(place), { recursive: true, mode: 0o700 })
      await copyFile(join(home, path), place)
      await syncPath(place)
      files[path] = await digestOf(place)
    }
    const damaged = judgeCopy(await checkCopy(join(partial, DATABASE), audit), files)
    const instance = files.instance === undefined ? '' : (await readText(join(partial, 'instance'))).trim()
    const manifest: Manifest = {
      version: 1,
      instance,
      madeAtMs: nowMs,
      auditSize: audit.size,
      auditHead: audit.head,
      files,
      leftOut: [...found.leftOut, ...damaged],
    }
    await writeFile(join(partial, MANIFEST), `${JSON.stringify(manifest, null, 1)}\n`, { mode: 0o600 })
    for (const path of [DATABASE, MANIFEST]) await syncPath(join(partial, path))
    for (const folder of foldersOf(Object.keys(files))) await syncPath(join(partial, folder))
    await rename(partial, to)
    await syncPath(dirname(to))
    return manifest
  } catch (thrown) {
    await rm(partial, { recursive: true, force: true })
    const why = diskWords(thrown) ?? (thrown as Error).message
    throw new HubError('store_unavailable', `the backup could not be made: ${why}`, { cause: thrown })
  }
}

export async function readText(path: string): Promise<string> {
  const handle = await open(path, 'r')
  return handle.readFile('utf8').finally(() => handle.close())
}

/** Every folder that contains these files, up to the backup's own: an entry is on disk once its folder is. */
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
  checkCopy: (path: string, audit: { size: number; head: string }) => Promise<CopyVerdict>
}) {
  const { home, clock, log, audit, copyDatabase, checkCopy } = parts
  const folder = join(home, 'backups')
  const tidy = () => {
    try {
      const removed = removeHalfMade(folder)
      if (removed.length > 0) log.warn({ removed }, 'unfinished backups were removed; they held keys')
    } catch (thrown) {
      log.error({ reason: (thrown as Error).message }, 'an unfinished backup could not be removed; it holds keys')
    }
  }
  tidy()
  return async ({ withSecrets = false }: { withSecrets?: boolean } = {}) => {
    tidy()
    const nowMs = clock.wallMs()
    const to = join(folder, new Date(nowMs).toISOString().replaceAll(/[:.]/g, '-'))
    const made = await backupHome({ home, to, nowMs, audit: audit.head(), withSecrets, copyDatabase, checkCopy })
    const { files, auditSize, auditHead, leftOut = [] } = made
    const bytes = Object.values(files).reduce((sum, file) => sum + file.bytes, 0)
    return { path: to, files: Object.keys(files).length, bytes, auditSize, auditHead, leftOut }
  }
}
