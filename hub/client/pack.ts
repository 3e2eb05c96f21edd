/**
 * Packs a directory for `hub submit --input DIR`: every file's bytes one after the other, and the manifest that names them
 * (protocol/folder.ts). Nothing is written anywhere (fault B6): the files are read once for their digests, which the hub has to be told first,
 * and once more while they are sent. Symbolic links are not followed; what is left out is said in `notes`.
 */
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, lstat, open } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { HubError } from '../base/errors.ts'
import { comparePaths, type FolderEntry, type FolderManifest, MANIFEST_FILES_MAX } from '../protocol/folder.ts'
import { listFolder } from './folder-files.ts'

export interface PackLimits {
  bytesMax: number
  filesMax: number
}

export interface PackedFolder {
  manifest: FolderManifest
  /** The bytes of `manifest.json`, and their digest: the artifact's name. */
  manifestBytes: Buffer
  manifestSha256: string
  /** `content` reads the files again; throws `conflict` naming one that is not what it was. */
  pack: { size: number; sha256: string; content: () => AsyncGenerator<Buffer> }
  /** One line for each thing that was left out, and why. */
  notes: string[]
}

/**
 * Throws `schema_invalid` for a directory that is missing, empty or holds a file that cannot be read, naming it,
 * and `limit_exceeded` naming the limit.
 */
export async function packFolder(dir: string, { bytesMax, filesMax }: PackLimits): Promise<PackedFolder> {
  const stat = await lstat(join(dir, '.')).catch((thrown: NodeJS.ErrnoException) => {
    throw new HubError('schema_invalid', `cannot read ${dir}: ${thrown.code}; name a directory that exists`)
  })
  if (!stat.isDirectory()) throw new HubError('schema_invalid', `${dir} is not a directory`)
  const { paths, notes } = await listFolder(dir)
  const filesLimit = Math.min(filesMax, MANIFEST_FILES_MAX)
  if (paths.length > filesLimit) {
    throw new HubError('limit_exceeded', `${dir} holds ${paths.length} files, and at most ${filesLimit} may be sent`)
  }
  const packed = await packPaths(dir, paths, bytesMax, notes)
  if (packed.manifest.files.length === 0)
    throw new HubError('schema_invalid', `${dir} holds no files that could be sent`)
  return packed
}

/** The same of one file, under this name, wherever it lies. */
export async function packFile(file: string, bytesMax: number, name = basename(file)): Promise<PackedFolder> {
  return packPaths(dirname(file), [basename(file)], bytesMax, [], name)
}

/** `name`: what the only file is called in the pack. */
async function packPaths(
  dir: string,
  paths: string[],
  bytesMax: number,
  notes: string[],
  name?: string,
): Promise<PackedFolder> {
  const packHash = createHash('sha256')
  const files: FolderEntry[] = []
  const places: string[] = []
  let offset = 0
  for (const path of [...paths].sort(comparePaths)) {
    await using source = await openRegular(dir, path, notes)
    if (source === undefined) continue
    const hash = createHash('sha256')
    let size = 0
    for await (const chunk of chunksOf(source.handle)) {
      hash.update(chunk)
      packHash.update(chunk)
      size += chunk.length
      if (offset + size > bytesMax) {
        throw new HubError(
          'limit_exceeded',
          `${dir} is larger than ${bytesMax} bytes (reached at ${path}); send less, or raise the limit`,
        )
      }
    }
    files.push({ path: name ?? path, mode: source.mode, size, offset, sha256: hash.digest('hex') })
    places.push(path)
    offset += size
  }
  const manifest: FolderManifest = { version: 1, files }
  const manifestBytes = Buffer.from(JSON.stringify(manifest))
  const manifestSha256 = createHash('sha256').update(manifestBytes).digest('hex')
  const pack = { size: offset, sha256: packHash.digest('hex'), content: () => contentOf(dir, places, files) }
  return { manifest, manifestBytes, manifestSha256, pack, notes }
}

const chunksOf = (handle: FileHandle) =>
  handle.createReadStream({ autoClose: false, highWaterMark: 1 << 18 }) as AsyncIterable<Buffer>

/** The bytes of the pack, file after file. A file that changed since it was hashed is never sent as what it was. */
async function* contentOf(
  dir: string,
  places: readonly string[],
  files: readonly FolderEntry[],
): AsyncGenerator<Buffer> {
  for (const [at, { path, size, sha256 }] of files.entries()) {
    const changed = () =>
      new HubError('conflict', `${path} changed while it was sent; try again when nothing writes it`)
    await using source = await openRegular(dir, places[at] ?? path, [])
    if (source === undefined) throw changed()
    const hash = createHash('sha256')
    let left = size
    // Each file's last piece goes only once the whole is known to be right: else the hub, which has all bytes, may refuse their digest first.
    let last: Buffer | undefined
    for await (const chunk of chunksOf(source.handle)) {
      left -= chunk.length
      if (left < 0) throw changed()
      hash.update(chunk)
      if (last !== undefined) yield last
      last = chunk
    }
    if (left > 0 || hash.digest('hex') !== sha256) throw changed()
    if (last !== undefined) yield last
  }
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
