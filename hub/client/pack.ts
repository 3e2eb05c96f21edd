/**
 * Packs a directory for `hub submit --input DIR`: every file's bytes one after the other, and the manifest that names them
 * (protocol/folder.ts). Nothing is written anywhere (fault B6): the files are read once for their digests, which the hub has to be told first,
 * and once more while they are sent. Symbolic links are not followed; what is left out stands in `left`, what looks like a secret in `secrets`.
 */
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, lstat, open, readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { HubError } from '../base/errors.ts'
import { comparePaths, type FolderEntry, type FolderManifest, MANIFEST_FILES_MAX } from '../protocol/folder.ts'
import { type FolderFiles, listFolder } from './folder-files.ts'
import type { LeftOut } from './left-out.ts'
import { secretLook } from './secret-files.ts'

export interface PackLimits {
  bytesMax: number
  filesMax: number
  /** Whether `left` names what a .gitignore excludes, too. */
  ignored?: boolean
}

/** A file that looks like a secret, and why. `tracked`: git keeps it already. */
export interface SecretFile {
  path: string
  why: string
  tracked: boolean
}

export interface PackedFolder {
  manifest: FolderManifest
  /** The bytes of `manifest.json`, and their digest: the artifact's name. */
  manifestBytes: Buffer
  manifestSha256: string
  /** `content` reads the files again; throws `conflict` naming one that is not what it was. */
  pack: { size: number; sha256: string; content: () => AsyncGenerator<Buffer> }
  left: LeftOut[]
  /** None of a single file: what was named is meant. */
  secrets: SecretFile[]
}

/**
 * Throws `schema_invalid` for a directory that is missing, empty or holds a file that cannot be read, naming it,
 * and `limit_exceeded` naming the limit.
 */
export async function packFolder(dir: string, { bytesMax, filesMax, ignored }: PackLimits): Promise<PackedFolder> {
  const stat = await lstat(join(dir, '.')).catch((thrown: NodeJS.ErrnoException) => {
    throw new HubError('schema_invalid', `cannot read ${dir}: ${thrown.code}; name a directory that exists`)
  })
  if (!stat.isDirectory()) throw new HubError('schema_invalid', `${dir} is not a directory`)
  const found = await listFolder(dir, ignored)
  const { paths } = found
  const filesLimit = Math.min(filesMax, MANIFEST_FILES_MAX)
  if (paths.length > filesLimit) {
    throw new HubError('limit_exceeded', `${dir} holds ${paths.length} files, and at most ${filesLimit} may be sent`)
  }
  const packed = await packPaths(dir, found, bytesMax)
  if (packed.manifest.files.length === 0)
    throw new HubError('schema_invalid', `${dir} holds no files that could be sent`)
  return packed
}

/** The same of one file, under this name, wherever it lies. */
export async function packFile(file: string, bytesMax: number, name = basename(file)): Promise<PackedFolder> {
  const only = { paths: [basename(file)], tracked: new Set<string>(), left: [] }
  return { ...(await packPaths(dirname(file), only, bytesMax, name)), secrets: [] }
}

/** `name`: what the only file is called in the pack. */
async function packPaths(
  dir: string,
  { paths, tracked, left }: FolderFiles,
  bytesMax: number,
  name?: string,
): Promise<PackedFolder> {
  const packHash = createHash('sha256')
  const files: FolderEntry[] = []
  const secrets: SecretFile[] = []
  const places: string[] = []
  let offset = 0
  for (const path of [...paths].sort(comparePaths)) {
    await using source = await openRegular(dir, path, tracked.has(path))
    if (!('handle' in source)) {
      left.push(source.left)
      continue
    }
    const hash = createHash('sha256')
    let size = 0
    let start: Buffer | undefined
    for await (const chunk of chunksOf(source.handle)) {
      start ??= chunk
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
    const why = secretLook(path, start ?? Buffer.alloc(0))
    if (why !== undefined) secrets.push({ path, why, tracked: tracked.has(path) })
  }
  const manifest: FolderManifest = { version: 1, files }
  const manifestBytes = Buffer.from(JSON.stringify(manifest))
  const manifestSha256 = createHash('sha256').update(manifestBytes).digest('hex')
  const pack = { size: offset, sha256: packHash.digest('hex'), content: () => contentOf(dir, places, files) }
  return { manifest, manifestBytes, manifestSha256, pack, left, secrets }
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
    await using source = await openRegular(dir, places[at] ?? path, false)
    if (!('handle' in source)) throw changed()
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

/** Nothing is open. */
interface NoSource extends AsyncDisposable {
  left: LeftOut
}
const noSource = (path: string, why: LeftOut['why']): NoSource => ({
  left: { path, why },
  [Symbol.asyncDispose]: async () => undefined,
})

/** What a folder is where a file was expected: git lists a submodule so. */
async function folderKind(full: string): Promise<'repository' | 'empty' | 'folder'> {
  const names = await readdir(full).catch((): string[] => ['?'])
  if (names.includes('.git')) return 'repository'
  return names.length === 0 ? 'empty' : 'folder'
}

/** Opens without following a link and without waiting on a pipe; else says what is in the place of a regular file. */
async function openRegular(dir: string, path: string, tracked: boolean): Promise<Source | NoSource> {
  const full = join(dir, path)
  const stat = await lstat(full).catch((thrown: NodeJS.ErrnoException) => thrown)
  if (stat instanceof Error) {
    // A folder on the way that is a file by now is no folder that holds it.
    if (stat.code !== 'ENOENT' && stat.code !== 'ENOTDIR') throw unreadable(path, stat)
    return noSource(path, tracked ? 'absent' : 'gone')
  }
  if (stat.isSymbolicLink()) return noSource(path, 'link')
  if (stat.isDirectory()) return noSource(path, await folderKind(full))
  if (!stat.isFile()) return noSource(path, 'special')
  const handle = await open(full, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch((thrown) => {
    throw unreadable(path, thrown)
  })
  const opened = await handle.stat()
  return { handle, mode: opened.mode & 0o7777, [Symbol.asyncDispose]: () => handle.close() }
}

const unreadable = (path: string, thrown: NodeJS.ErrnoException) =>
  new HubError('schema_invalid', `cannot read ${path}: ${thrown.code}; make it readable, or have git ignore it`)
