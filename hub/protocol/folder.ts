/**
 * A folder as two blobs (S1-68, docs/protocol.md 4): `manifest.json` names every file, `pack` is their contents one after the other,
 * so a part of the folder is one contiguous byte range. Free of packages, because it also runs inside agents' containers.
 *
 * 1. Paths are relative, plain and sorted strictly by their UTF-8 bytes: no duplicates, no file that is also a directory (T69).
 * 2. Offsets are contiguous from 0: every byte of the pack belongs to exactly one file.
 */
import { HubError } from '../base/errors.ts'
import { comparePaths, judgePath } from './paths.ts'

export interface FolderEntry {
  path: string
  /** Permission bits with setuid, setgid and sticky: 0 to 0o7777. */
  mode: number
  size: number
  /** First byte in the pack. */
  offset: number
  sha256: string
}

export interface FolderManifest {
  version: 1
  files: FolderEntry[]
}

export const MANIFEST_FILES_MAX = 100_000
export const MANIFEST_BYTES_MAX = 64 * 1024 ** 2
const invalid = (detail: string) => new HubError('schema_invalid', `manifest: ${detail}`)
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

/** A parsed JSON value as a manifest. Throws `schema_invalid` naming the first file that breaks a rule, `limit_exceeded` for too many. */
export function checkManifest(value: unknown): FolderManifest {
  const { version, files, ...rest } = (value ?? {}) as Record<string, unknown>
  if (version !== 1) throw invalid('version must be 1')
  if (!Array.isArray(files) || Object.keys(rest).length > 0) throw invalid('exactly `version` and `files` are known')
  if (files.length > MANIFEST_FILES_MAX) throw new HubError('limit_exceeded', `more than ${MANIFEST_FILES_MAX} files`)
  const seen = new Set<string>()
  let end = 0
  let last: string | undefined
  const checked = files.map((file: unknown) => {
    const entry = checkEntry(file)
    const name = JSON.stringify(entry.path)
    if (last !== undefined && comparePaths(last, entry.path) >= 0)
      throw invalid(`${name} is out of order or listed twice`)
    if (entry.offset !== end) throw invalid(`${name} does not begin where the file before it ends`)
    if (parentsOf(entry.path).some((parent) => seen.has(parent))) throw invalid(`${name} lies below a file`)
    seen.add(entry.path)
    last = entry.path
    end += entry.size
    return entry
  })
  return { version: 1, files: checked }
}

function checkEntry(value: unknown): FolderEntry {
  const { path, mode, size, offset, sha256, ...rest } = (value ?? {}) as Record<string, unknown>
  if (typeof path !== 'string') throw invalid('a file without a path')
  const name = JSON.stringify(path.slice(0, 200))
  const fault = judgePath(path)
  if (fault !== undefined) throw invalid(`${name} ${fault}`)
  if (!isCount(mode) || mode > 0o7777) throw invalid(`${name} has a bad mode`)
  if (!isCount(size) || !isCount(offset) || !isCount(size + offset)) throw invalid(`${name} has a bad size or offset`)
  if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256)) throw invalid(`${name} has a bad sha256`)
  if (Object.keys(rest).length > 0) throw invalid(`${name} has an unknown key ${Object.keys(rest)[0]}`)
  return { path, mode, size, offset, sha256 }
}

function parentsOf(path: string): string[] {
  const parts = path.split('/')
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('/'))
}

export interface FolderPart {
  /** Index of the first file. */
  first: number
  /** Index after the last file. */
  end: number
  bytes: number
}

/** Cuts the files into at most `count` contiguous parts of about equal bytes, one file each at least. No files, no parts. */
export function planParts(files: readonly Pick<FolderEntry, 'size'>[], count: number): FolderPart[] {
  const parts: FolderPart[] = []
  let bytesLeft = files.reduce((sum, file) => sum + file.size, 0)
  let first = 0
  for (let left = Math.min(count, files.length); left > 0; left -= 1) {
    const target = bytesLeft / left
    const endMax = files.length - (left - 1)
    let end = first + 1
    let bytes = files[first]?.size ?? 0
    while (end < endMax && (left === 1 || bytes + (files[end]?.size ?? 0) / 2 <= target)) {
      bytes += files[end]?.size ?? 0
      end += 1
    }
    parts.push({ first, end, bytes })
    bytesLeft -= bytes
    first = end
  }
  return parts
}
