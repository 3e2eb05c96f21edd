/** How the watchdog makes and replaces a file: beside its name, synced, renamed or linked, its folder synced. A name never stands for half a file. */
import { closeSync, fsyncSync, linkSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import path from 'node:path'

function writeBeside(file: string, bytes: Uint8Array): string {
  const beside = `${file}.new`
  // Never into one that is there: after a kill between link and removal it is the file itself.
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

/** Makes the file; never over one that is there. @throws EEXIST where it is, else what the file system says; then nothing is left of it */
export function createFile(file: string, text: string | Uint8Array): void {
  try {
    linkSync(writeBeside(file, Buffer.from(text)), file)
  } finally {
    rmSync(`${file}.new`, { force: true })
  }
  syncFolder(path.dirname(file))
}
