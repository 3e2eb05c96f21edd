/**
 * The alert file: one JSON line per alert, synced, always written besides any other channel. A restart reads its end, so that
 * nothing is written twice after a crash between this file and the state. Past its limit it is moved aside, over the older one.
 */
import { closeSync, fstatSync, fsyncSync, openSync, readSync, renameSync, statSync, writeSync } from 'node:fs'

const TAIL_BYTES = 64 * 1024
const FILE_BYTES_MAX = 4 * 1024 * 1024

type Line = Readonly<Record<string, unknown>> & { readonly id: string }

export interface AlertFile {
  /** The last lines at the start. */
  readonly last: readonly Line[]
  /** @throws if it could not be written to disk. */
  append(lines: readonly (object & { readonly id: string })[]): void
}

/** A JSON text with DEL, C1, line separators and marks of direction escaped: the same value, and nothing that controls a terminal (T30). */
export const escapeOdd = (json: string): string =>
  json.replace(
    /[\u007f-\u009f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/g,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )

/** A line as it was written; null for one that a crash cut. */
function lineOf(text: string): Line | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && 'id' in value && typeof value.id === 'string'
      ? { ...value, id: value.id }
      : null
  } catch {
    return null
  }
}

function lastLines(file: string): Line[] {
  try {
    const fd = openSync(file, 'r')
    try {
      const { size } = fstatSync(fd)
      const tail = Buffer.alloc(Math.min(size, TAIL_BYTES))
      readSync(fd, tail, 0, tail.length, size - tail.length)
      return tail
        .toString('utf8')
        .split('\n')
        .flatMap((text) => lineOf(text) ?? [])
    } finally {
      closeSync(fd)
    }
  } catch {
    // A missing file holds nothing; one that cannot be read shows again when it is written.
    return []
  }
}

export function createAlertFile(file: string): AlertFile {
  const last = lastLines(file)
  const known = new Set(last.map(({ id }) => id))
  return {
    last,
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
        const text = Buffer.from(
          `${cut ? '\n' : ''}${fresh.map((line) => escapeOdd(JSON.stringify(line))).join('\n')}\n`,
        )
        if (writeSync(fd, text) !== text.length) throw new Error('the line was not written whole')
        fsyncSync(fd)
      } finally {
        closeSync(fd)
      }
    },
  }
}
