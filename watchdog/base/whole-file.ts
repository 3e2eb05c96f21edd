/** How the watchdog makes and replaces a file: written beside it, synced, then renamed or linked, and the folder synced. No name ever leads to half a file. */
import { closeSync, fsyncSync, linkSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import path from 'node:path'

function writeBeside(file: string, bytes: Uint8Array): string {
  const beside = `${file}.new`
  // Never into an existing file: after a kill between link and removal that is the file itself.
  rmSync(beside, { force: true })
  const fd = openSync(beside, 'wx', 0o600)
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  return beside
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Whole or not at all, and on the disk when it returns. @throws what the file system says */
export function replaceFile(file: string, text: string | Uint8Array): void {
  renameSync(writeBeside(file, Buffer.from(text)), file)
  syncFolder(path.dirname(file))
}

/** Makes the file, but never replaces one. @throws EEXIST if it is there, else what the file system says; then nothing of it is left */
export function createFile(file: string, text: string | Uint8Array): void {
  try {
    linkSync(writeBeside(file, Buffer.from(text)), file)
  } finally {
    rmSync(`${file}.new`, { force: true })
  }
  syncFolder(path.dirname(file))
}
