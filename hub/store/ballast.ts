/**
 * A file of real blocks in the home, given back to a full disk so that a stop and its record can still be written (T80).
 *
 * B1. At least four times the largest write-ahead log: a checkpoint needs room too (measured, docs/threats.md 7).
 * B2. Random bytes: a file system that compresses would store zeros in no blocks at all.
 * B3. Made by the rule of whole-file.ts, so a file of that name is whole.
 */
import { rmSync, statSync } from 'node:fs'
import type { Random } from '../base/random.ts'
import { replaceOwn } from '../base/whole-file.ts'

export interface Ballast {
  /** Makes it unless it is there whole; answers why it could not. */
  keep(): string | undefined
  /** Gives its room back; answers whether there was any. */
  release(): boolean
  isWhole(): boolean
}

const BYTES_MIN = 4 * 1024 ** 2
const BYTES_MAX = 64 * 1024 ** 2
const WAL_TIMES = 4
const CHUNK_BYTES = 256 * 1024

/** Pure: how large it has to be for a log of this many bytes. */
export const ballastBytes = (walBytes: number): number =>
  Math.min(BYTES_MAX, Math.max(BYTES_MIN, Math.ceil((WAL_TIMES * walBytes) / CHUNK_BYTES) * CHUNK_BYTES))

export function createBallast(options: { path: string; database: string }, random: Random): Ballast {
  const { path, database } = options
  const sizeOf = (file: string) => statSync(file, { throwIfNoEntry: false })?.size ?? 0
  /** An open log never shrinks, so its size now is its largest so far. */
  const wanted = () => ballastBytes(sizeOf(`${database}-wal`))
  const isWhole = () => sizeOf(path) >= wanted()

  function* chunksOf(bytes: number): Generator<Uint8Array> {
    for (let written = 0; written < bytes; written += CHUNK_BYTES) yield random.bytes(CHUNK_BYTES)
  }

  return {
    isWhole,
    keep() {
      if (isWhole()) return undefined
      try {
        replaceOwn(path, chunksOf(wanted()))
        return undefined
      } catch (thrown) {
        return (thrown as Error).message
      }
    },
    release() {
      if (sizeOf(path) === 0) return false
      try {
        rmSync(path)
        return true
      } catch {
        return false
      }
    },
  }
}
