/**
 * The one rule by which a file of the home is made or replaced (T77, fault G2): written beside its name, synced, renamed, its folder synced.
 * So a reader sees the old text or the new one, and after a crash or on a full disk the name never leads to half a file.
 */
import { closeSync, fsyncSync, linkSync, openSync, readdirSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { diskProblem } from './disk-words.ts'

/** The name of a file while it is written: its own name, the id of the process that writes it, and this ending. */
const HALF_MADE = /\.(\d{1,10})\.new$/
const halfMadeOf = (path: string): string => `${path}.${process.pid}.new`

/** What the file holds is on disk when this returns. */
export function syncFile(path: string): void {
  const handle = openSync(path, 'r')
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}

/** What was done in the folder is on disk when this returns: a rename survives a crash only if its folder was synced. */
export const syncFolder = (folder: string): void => syncFile(folder)

type Parts = Iterable<Uint8Array>

function writeBeside(beside: string, parts: Parts, mode: number): string {
  rmSync(beside, { force: true })
  const file = openSync(beside, 'wx', mode)
  try {
    for (const bytes of parts) for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  return beside
}

function replace(path: string, beside: string, parts: Parts, mode: number): void {
  try {
    renameSync(writeBeside(beside, parts, mode), path)
    syncFolder(dirname(path))
  } catch (thrown) {
    rmSync(beside, { force: true })
    throw diskProblem(thrown, path)
  }
}

/** Replaces the file, or makes it; on disk when it returns. Throws `store_unavailable` with the remedy, and then the file is whole: as it was, or new. */
export const replaceFile = (path: string, text: string | Uint8Array, mode = 0o600): void =>
  replace(path, halfMadeOf(path), [Buffer.from(text)], mode)

/** The same for a file that is too large to be held: part by part. What the parts throw passes, and the file is as it was. */
export const replaceInParts = (path: string, parts: Parts, mode = 0o600): void =>
  replace(path, halfMadeOf(path), parts, mode)

/**
 * The same for a file that only one process ever writes, while it holds the home's database. A killed process leaves its half-written copy
 * under one fixed name, and the next write replaces it. So nothing piles up, however large the file is and however often that happens.
 */
export const replaceOwn = (path: string, parts: Parts, mode = 0o600): void => replace(path, `${path}.new`, parts, mode)

/** Makes the file unless it is there; answers whether it did. On disk when it returns. Throws as `replaceFile`. */
export function createFile(path: string, text: string | Uint8Array, mode = 0o600): boolean {
  try {
    // A link, unlike a rename, never replaces what somebody else made meanwhile.
    linkSync(writeBeside(halfMadeOf(path), [Buffer.from(text)], mode), path)
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw diskProblem(thrown, path)
    return false
  } finally {
    rmSync(halfMadeOf(path), { force: true })
  }
  syncFolder(dirname(path))
  return true
}

/** Removes half-written files of dead processes from this folder, and answers their names. They may hold keys. */
export function removeHalfMade(folder: string): string[] {
  const left = readdirSync(folder).filter((name) => {
    const pid = HALF_MADE.exec(name)?.[1]
    return pid !== undefined && !isAlive(Number(pid))
  })
  for (const name of left) rmSync(join(folder, name), { force: true })
  return left
}

function isAlive(pid: number): boolean {
  if (pid === process.pid) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}
