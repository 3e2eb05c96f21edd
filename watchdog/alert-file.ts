/**
 * The alert file: one JSON line per alert, synced, always written, whatever other channels there are. A restart reads its end, so that
 * what a crash left between this file and the state is not written twice. Past its limit it is moved aside once, over the older one.
 */
import { closeSync, fstatSync, fsyncSync, openSync, readSync, renameSync, statSync, writeSync } from 'node:fs'

const TAIL_BYTES = 64 * 1024
const FILE_BYTES_MAX = 4 * 1024 * 1024

export interface AlertFile {
  /** @throws if the disk did not take it. */
  append(lines: readonly (object & { readonly id: string })[]): void
}

/** Ids of the last lines; a line that a crash cut counts as not written. */
function lastIds(file: string): Set<string> {
  const ids = new Set<string>()
  try {
    const fd = openSync(file, 'r')
    try {
      const { size } = fstatSync(fd)
      const tail = Buffer.alloc(Math.min(size, TAIL_BYTES))
      readSync(fd, tail, 0, tail.length, size - tail.length)
      for (const line of tail.toString('utf8').split('\n')) {
        const id = /^\{"id":"([^"]{1,100})".*\}$/.exec(line)?.[1]
        if (id !== undefined) ids.add(id)
      }
    } finally {
      closeSync(fd)
    }
  } catch {
    // A file that is not there holds nothing; one that cannot be read is met again by the writing.
  }
  return ids
}

export function createAlertFile(file: string): AlertFile {
  const known = lastIds(file)
  return {
    append(lines) {
      const fresh = lines.filter(({ id }) => !known.delete(id))
      if (fresh.length === 0) return
      if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) > FILE_BYTES_MAX) renameSync(file, `${file}.1`)
      const fd = openSync(file, 'a+', 0o600)
      try {
        const { size } = fstatSync(fd)
        const last = Buffer.alloc(1)
        // After a line that a crash cut, a new one begins.
        const cut = size > 0 && readSync(fd, last, 0, 1, size - 1) === 1 && last.toString('latin1') !== '\n'
        const text = Buffer.from(`${cut ? '\n' : ''}${fresh.map((line) => JSON.stringify(line)).join('\n')}\n`)
        if (writeSync(fd, text) !== text.length) throw new Error('the line was not written whole')
        fsyncSync(fd)
      } finally {
        closeSync(fd)
      }
    },
  }
}
