/** A key that must be nowhere: the forms in which upstreams send one back, and the search for every piece of it. */
import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'

const PIECE = 8
/** Of one region of memory at once; the next begins this much before its end. */
const CHUNK_BYTES = 8 * 1024 ** 2
const OVERLAP_BYTES = 64

const escaped = (text: string): string =>
  [...text].map((each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')
const pieces = (text: string, size: number): string[] =>
  Array.from({ length: Math.floor(text.length / size) }, (_, at) => text.slice(at * size, (at + 1) * size))

/** As a service might show it: whole, escaped, in base64 and hex, its ends alone. */
export const shownForms = (key: string): string[] => [
  ...[
    key,
    `Bearer ${key}`,
    escaped(key),
    Buffer.from(key).toString('base64'),
    Buffer.from(`x${key}`).toString('base64'),
  ],
  ...[Buffer.from(key).toString('hex'), `${key.slice(0, PIECE)}****${key.slice(-PIECE)}`],
]

export interface Canary {
  /** What of the key stands in these bytes. */
  tracesIn(bytes: Buffer | string): string[]
  /** Files below a folder that hold a trace, with it. */
  filesWith(folder: string, skip?: (path: string) => boolean): string[]
  /** The regions of a process's memory that hold a trace, and how many bytes were read. */
  memoryWith(pid: number): { found: string[]; bytes: number }
}

/** Any sixteen characters of the key in a row have one of the pieces that are looked for. */
export function createCanary(key: string): Canary {
  const base64 = ['', 'x', 'xx'].flatMap((before) =>
    pieces(
      Buffer.from(before + key)
        .toString('base64')
        .slice(4, -4),
      12,
    ),
  )
  const raw = [...pieces(key, PIECE), key.slice(-PIECE), ...base64]
  const sought = [
    ...raw,
    ...pieces(escaped(key), 6 * 4),
    ...pieces(Buffer.from(key).toString('hex'), 2 * PIECE),
    ...pieces(Buffer.from(key).toString('hex').toUpperCase(), 2 * PIECE),
  ].map((each) => Buffer.from(each))
  const inMemory = raw.map((each) => Buffer.from(each))
  const found = (bytes: Buffer, patterns: readonly Buffer[]) =>
    patterns.flatMap((pattern) => (bytes.includes(pattern) ? [pattern.toString()] : []))
  const tracesIn = (bytes: Buffer | string) => found(Buffer.from(bytes as string), sought)

  function filesWith(folder: string, skip: (path: string) => boolean = () => false): string[] {
    return readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((entry) => {
      const path = join(entry.parentPath, entry.name)
      if (!entry.isFile() || skip(path)) return []
      try {
        return tracesIn(readFileSync(path)).map((trace) => `${path}: ${trace}`)
      } catch (thrown) {
        // A hub at work writes beside and renames.
        if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return []
        throw thrown
      }
    })
  }

  function memoryWith(pid: number): { found: string[]; bytes: number } {
    const all = new Set<string>()
    let bytes = 0
    const memory = openSync(`/proc/${pid}/mem`, 'r')
    try {
      const chunk = Buffer.alloc(CHUNK_BYTES)
      for (const line of readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n')) {
        const [, from = '0', to = '0', rights = ''] = /^([\da-f]+)-([\da-f]+) (\S+)/.exec(line) ?? []
        // What cannot be written is the program itself.
        if (!rights.startsWith('rw')) continue
        const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)]
        for (let at = start; at < end; at += CHUNK_BYTES - OVERLAP_BYTES) {
          const size = readSafely(memory, chunk, Math.min(CHUNK_BYTES, end - at), at)
          bytes += size
          for (const trace of found(chunk.subarray(0, size), inMemory)) all.add(`${line}: ${trace}`)
        }
      }
    } finally {
      closeSync(memory)
    }
    return { found: [...all], bytes }
  }

  return { tracesIn, filesWith, memoryWith }
}

/** Zero for a region that went meanwhile, or that nobody may read. */
function readSafely(file: number, into: Buffer, size: number, at: number): number {
  try {
    return readSync(file, into, 0, size, at)
  } catch {
    return 0
  }
}
