/**
 * Packs a directory for `hub submit --input DIR`: every file's bytes one after the other into one temporary file, hashed on the way,
 * and the manifest that names them (protocol/folder.ts). Symbolic links are not followed; what is left out is said in `notes`.
 */
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, lstat, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HubError } from '../base/errors.ts'
import { comparePaths, type FolderEntry, type FolderManifest, MANIFEST_FILES_MAX } from '../protocol/folder.ts'
import { listFolder } from './folder-files.ts'

export interface PackLimits {
  bytesMax: number
  filesMax: number
  /** Where the pack is written meanwhile; the system's own by default. */
  tmpDir?: string
}

export interface PackedFolder {
  manifest: FolderManifest
  /** The bytes of `manifest.json`, and their digest: the artifact's name. */
  manifestBytes: Buffer
  manifestSha256: string
  pack: { file: string; size: number; sha256: string }
  /** One line for each thing that was left out, and why. */
  notes: string[]
  /** Removes the temporary file. */
  remove(): Promise<void>
}

/**
 * Throws `schema_invalid` for a directory that is missing, empty or holds a file that cannot be read, naming it,
 * and `limit_exceeded` naming the limit. Nothing is left behind when it throws.
 */
export async function packFolder(dir: string, { bytesMax, filesMax, tmpDir }: PackLimits): Promise<PackedFolder> {
  const stat = await lstat(join(dir, '.')).catch((thrown: NodeJS.ErrnoException) => {
    throw new HubError('schema_invalid', `cannot read ${dir}: ${thrown.code}; name a directory that exists`)
  })
  if (!stat.isDirectory()) throw new HubError('schema_invalid', `${dir} is not a directory`)
  const { paths, notes } = await listFolder(dir)
  const filesLimit = Math.min(filesMax, MANIFEST_FILES_MAX)
  if (paths.length > filesLimit) {
    throw new HubError('limit_exceeded', `${dir} holds ${paths.length} files, and at most ${filesLimit} may be sent`)
  }
  const room = await mkdtemp(join(tmpDir ?? tmpdir(), 'hub-pack-'))
  const remove = () => rm(room, { recursive: true, force: true })
  try {
    const file = join(room, 'pack')
    const { files, sha256, size } = await writePack(dir, paths, file, bytesMax, notes)
    if (files.length === 0) throw new HubError('schema_invalid', `${dir} holds no files that could be sent`)
    const manifest: FolderManifest = { version: 1, files }
    const manifestBytes = Buffer.from(JSON.stringify(manifest))
    const manifestSha256 = createHash('sha256').update(manifestBytes).digest('hex')
    return { manifest, manifestBytes, manifestSha256, pack: { file, size, sha256 }, notes, remove }
  } catch (thrown) {
    await remove()
    throw thrown
  }
}

async function writePack(dir: string, paths: string[], target: string, bytesMax: number, notes: string[]) {
  const packHash = createHash('sha256')
  const files: FolderEntry[] = []
  let offset = 0
  await using pack = await open(target, 'wx', 0o600)
  for (const path of [...paths].sort(comparePaths)) {
    await using source = await openRegular(dir, path, notes)
    if (source === undefined) continue
    const hash = createHash('sha256')
    let size = 0
    for await (const chunk of source.handle.createReadStream({ autoClose: false, highWaterMark: 1 << 18 })) {
      hash.update(chunk as Buffer)
      packHash.update(chunk as Buffer)
      size += (chunk as Buffer).length
      if (offset + size > bytesMax) {
        throw new HubError(
          'limit_exceeded',
          `${dir} is larger than ${bytesMax} bytes (reached at ${path}); send less, or raise the limit`,
        )
      }
      await pack.write(chunk as Buffer)
    }
    files.push({ path, mode: source.mode, size, offset, sha256: hash.digest('hex') })
    offset += size
  }
  return { files, size: offset, sha256: packHash.digest('hex') }
}

interface Source extends AsyncDisposable {
  handle: FileHandle
  mode: number
}

/** Opens without following a link and without waiting on a pipe; undefined, with a note, for what is no regular file. */
async function openRegular(dir: string, path: string, notes: string[]): Promise<Source | undefined> {
  const full = join(dir, path)
  const stat = await lstat(full).catch((thrown: NodeJS.ErrnoException) => thrown)
  if (stat instanceof Error) {
    if (stat.code !== 'ENOENT') throw unreadable(path, stat)
    notes.push(`${path}: left out, it no longer exists`)
    return undefined
  }
  if (!stat.isFile()) {
    const what = stat.isSymbolicLink()
      ? 'a symbolic link'
      : stat.isDirectory()
        ? 'a directory of its own'
        : 'no regular file'
    notes.push(`${path}: left out, it is ${what}`)
    return undefined
  }
  const handle = await open(full, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch((thrown) => {
    throw unreadable(path, thrown)
  })
  const opened = await handle.stat()
  return { handle, mode: opened.mode & 0o7777, [Symbol.asyncDispose]: () => handle.close() }
}

const unreadable = (path: string, thrown: NodeJS.ErrnoException) =>
  new HubError('schema_invalid', `cannot read ${path}: ${thrown.code}; make it readable, or have git ignore it`)
