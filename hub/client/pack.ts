/**
 * Packs a directory for `hub submit --input DIR`: every file's bytes one after the other, and the manifest that names them
 * (protocol/folder.ts). Nothing is written anywhere (fault B6): the files are read once for their digests, which the hub must know first, and
 * again while they are sent. Symbolic links are not followed; `left` names what is left out, `secrets` what looks like a secret.
 */
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, lstat, open, readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { HubError } from '../base/errors.ts'
import { type FolderEntry, type FolderManifest, MANIFEST_FILES_MAX } from '../protocol/folder.ts'
import { comparePaths } from '../protocol/paths.ts'
import { type FolderFiles, listFolder } from './folder-files.ts'
import type { LeftOut } from './left-out.ts'

export interface PackLimits {
  bytesMax: number
  filesMax: number
  /** Whether `left` also names files that a .gitignore excludes. */
  ignored?: boolean
  /** Called with how many files have been read, of how many. */
  onFile?: (done: number, of: number) => void
}

/** A file that looks like a secret, and why. `tracked`: git tracks it. */
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
  /** `content` reads the files again; throws `conflict` naming a file that has changed. */
  pack: { size: number; sha256: string; content: () => AsyncGenerator<Buffer> }
  left: LeftOut[]
  /** Empty for a single file, because the person named it. */
  secrets: SecretFile[]
}

/**
 * Throws `schema_invalid` for a directory that is missing, empty or holds a file that cannot be read, naming it,
 * and `limit_exceeded` naming the limit.
 */
export async function packFolder(dir: string, limits: PackLimits): Promise<PackedFolder> {
  const stat = await lstat(join(dir, '.')).catch((thrown: NodeJS.ErrnoException) => {
    throw new HubError('schema_invalid', `cannot read ${dir}: ${thrown.code}; name a directory that exists`)
  })
  if (!stat.isDirectory()) throw new HubError('schema_invalid', `${dir} is not a directory`)
  const found = await listFolder(dir, limits.ignored)
  const { paths } = found
  const filesLimit = Math.min(limits.filesMax, MANIFEST_FILES_MAX)
  if (paths.length > filesLimit) {
    throw new HubError('limit_exceeded', `${dir} holds ${paths.length} files; at most ${filesLimit} can be sent`)
  }
  const packed = await packPaths(dir, found, limits)
  if (packed.manifest.files.length === 0) throw new HubError('schema_invalid', `${dir} holds no files that can be sent`)
  return packed
}

/** The same for one file, under this name. */
export async function packFile(file: string, bytesMax: number, name = basename(file)): Promise<PackedFolder> {
  const only = { paths: [basename(file)], tracked: new Set<string>(), left: [] }
  return { ...(await packPaths(dirname(file), only, { bytesMax, name })), secrets: [] }
}

interface Packing extends Pick<PackLimits, 'bytesMax' | 'onFile'> {
  /** What the only file is called in the pack. */
  name?: string
}

const chunksOf = (handle: FileHandle) =>
  handle.createReadStream({ autoClose: false, highWaterMark: 1 << 18 }) as AsyncIterable<Buffer>

async function packPaths(
  dir: string,
  { paths, tracked, left }: FolderFiles,
  { bytesMax, onFile, name }: Packing,
): Promise<PackedFolder> {
  const packHash = createHash('sha256')
  const files: FolderEntry[] = []
  const secrets: SecretFile[] = []
  const places: string[] = []
  let offset = 0
  for (const [at, path] of [...paths].sort(comparePaths).entries()) {
    onFile?.(at, paths.length)
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

/** The bytes of the pack, file after file. Throws if a file has changed since it was hashed. */
async function* contentOf(
  dir: string,
  places: readonly string[],
  files: readonly FolderEntry[],
): AsyncGenerator<Buffer> {
  for (const [at, { path, size, sha256 }] of files.entries()) {
    const changed = () =>
      new HubError('conflict', `${path} changed while it was sent; try again when nothing writes to it`)
    await using source = await openRegular(dir, places[at] ?? path, false)
    if (!('handle' in source)) throw changed()
    const hash = createHash('sha256')
    let left = size
    // The last chunk of a file is sent only after its digest is checked. Else the hub would have all bytes and might refuse them first.
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

/** What a folder is where a file was expected: git lists submodules as files. */
async function folderKind(full: string): Promise<'repository' | 'empty' | 'folder'> {
  const names = await readdir(full).catch((): string[] => ['?'])
  if (names.includes('.git')) return 'repository'
  return names.length === 0 ? 'empty' : 'folder'
}

const unreadable = (path: string, thrown: NodeJS.ErrnoException) =>
  new HubError('schema_invalid', `cannot read ${path}: ${thrown.code}; make it readable, or have git ignore it`)

/** Opens a regular file without following a link or waiting on a pipe; else says what is there instead. */
async function openRegular(dir: string, path: string, tracked: boolean): Promise<Source | NoSource> {
  const full = join(dir, path)
  const stat = await lstat(full).catch((thrown: NodeJS.ErrnoException) => thrown)
  if (stat instanceof Error) {
    // ENOTDIR: a folder above it has become a file.
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

/** Names of files that usually hold secrets, in lower case; each pattern is for the last part of a path. */
const NAMES: readonly RegExp[] = [
  /^\.env$|^\.envrc$|\.env$/,
  /^\.env\.(?!(example|sample|template|dist|defaults|schema)$)/,
  /^id_(rsa|dsa|ecdsa|ed25519)(_sk)?$/,
  /\.(key|p12|pfx|jks|keystore|kdbx|ppk|tfstate)$/,
  /^[._]netrc$|^\.pgpass$|^\.my\.cnf$|^\.pypirc$|^\.git-credentials$|^\.htpasswd$|^\.dockercfg$|^\.vault-token$/,
  /^kubeconfig$|^credentials(\.json)?$|^client_secrets?.*\.json$|^service[-_]account.*\.json$/,
  /^secrets?\.(ya?ml|json|toml|ini)$/,
]
/** Files that hold a secret although their name does not say so. */
const PLACES: readonly RegExp[] = [/(^|\/)\.docker\/config\.json$/, /(^|\/)\.kube\/config$/, /(^|\/)\.gnupg\//]
const PRIVATE_KEY = /-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----/
/** How much of a file is searched for a key. */
const START_BYTES = 4096

/**
 * Why this file looks like a secret (fault C19), by its name or by how it begins; or undefined. This proves nothing: it catches files sent
 * by mistake, and does not find a secret in a file of any other name. `start` is its first bytes: source code that only mentions keys has
 * none there. A public key is no secret.
 */
export function secretLook(path: string, start: Uint8Array): string | undefined {
  const lower = path.toLowerCase()
  const name = lower.slice(lower.lastIndexOf('/') + 1)
  if (NAMES.some((each) => each.test(name)) || PLACES.some((each) => each.test(lower))) return 'by its name'
  const text = Buffer.from(start.subarray(0, START_BYTES)).toString('latin1')
  const found = PRIVATE_KEY.exec(text)
  // A file often holds certificates and keys together, with lines of text before them.
  if (found !== null && (/\.(pem|crt|cer)$/.test(name) || text.slice(0, found.index).trim() === ''))
    return 'it holds a private key'
  if (name === '.npmrc' && /_(authtoken|password|auth)\s*=/i.test(text)) return 'it holds a token'
  return undefined
}
