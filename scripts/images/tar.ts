/**
 * A reproducible tar: fixed order, owner root, time 1970, so that the same inputs give the same bytes on every machine. It is made piece by piece
 * as it is read: the program of a command-line agent has 400 MB, and no more of a file than one chunk is ever in memory.
 */
import { closeSync, openSync, readSync, statSync } from 'node:fs'

/** The content of a file of this machine; read when the archive is. */
export interface FileData {
  from: string
  /** As it was when it was looked at. If it is not so when it is read, the archive is refused. */
  length: number
}

export interface TarEntry {
  /** Relative, without a leading slash; a folder has no trailing one either. */
  path: string
  kind: 'file' | 'folder' | 'link'
  mode: number
  data?: Content
  /** Of a link: where it leads, at most 100 bytes. */
  target?: string
}

/** The bytes of something that is made anew each time it is walked through. */
export interface Pieces extends Iterable<Buffer> {
  /** How many bytes that are in all. */
  readonly length: number
}

export type Content = Buffer | FileData | Pieces

const BLOCK = 512
const CHUNK = 1024 ** 2
const TYPES = { file: '0', link: '2', folder: '5' } as const

/** The content of this file, to be read later. Throws if it is no regular file. */
export function fileData(from: string): FileData {
  const found = statSync(from)
  if (!found.isFile()) throw new Error(`${from} is not a regular file`)
  return { from, length: found.size }
}

/** Reads a file chunk by chunk. Throws naming it if it is shorter or longer than it was. */
export function piecesOfFile({ from, length }: FileData): Pieces {
  function* read(): Generator<Buffer> {
    const file = openSync(from, 'r')
    try {
      let left = length
      for (;;) {
        const chunk = Buffer.allocUnsafe(Math.min(CHUNK, left + 1))
        const got = readSync(file, chunk)
        if (got > left || (got === 0 && left > 0)) throw new Error(`${from} was changed while it was read`)
        if (got === 0) return
        left -= got
        yield chunk.subarray(0, got)
      }
    } finally {
      closeSync(file)
    }
  }
  return { length, [Symbol.iterator]: read }
}

function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width - 1, '0')}\0`
}

/** Splits a long path over the two name fields of ustar (POSIX.1-1988). */
function splitName(path: string): { name: string; prefix: string } | undefined {
  if (Buffer.byteLength(path) <= 100) return { name: path, prefix: '' }
  for (let at = path.indexOf('/'); at !== -1; at = path.indexOf('/', at + 1)) {
    const [prefix, name] = [path.slice(0, at), path.slice(at + 1)]
    if (Buffer.byteLength(name) <= 100 && Buffer.byteLength(prefix) <= 155 && name !== '') return { name, prefix }
  }
  return undefined
}

function headerOf(entry: Pick<TarEntry, 'path' | 'mode' | 'target'>, type: string, length: number): Buffer {
  const header = Buffer.alloc(BLOCK)
  const { name, prefix } = splitName(entry.path) ?? { name: entry.path, prefix: '' }
  header.write(name, 0, 100)
  header.write(octal(entry.mode, 8), 100)
  header.write(octal(0, 8), 108)
  header.write(octal(0, 8), 116)
  header.write(octal(length, 12), 124)
  header.write(octal(0, 12), 136)
  header.write(' '.repeat(8), 148)
  header.write(type, 156)
  header.write(entry.target ?? '', 157, 100)
  header.write('ustar\x0000', 257)
  header.write(prefix, 345)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return header
}

const padding = (length: number): Buffer => Buffer.alloc((BLOCK - (length % BLOCK)) % BLOCK)

/** Those of one entry: for a name or a target that ustar has no room for, first a record of pax (POSIX.1-2001). */
function headersOf(entry: TarEntry): Buffer[] {
  const path = entry.kind === 'folder' ? `${entry.path}/` : entry.path
  const long = [
    ...(splitName(path) === undefined ? [['path', path] as const] : []),
    ...(Buffer.byteLength(entry.target ?? '') > 100 ? [['linkpath', entry.target ?? ''] as const] : []),
  ]
  const own = headerOf({ ...entry, path }, TYPES[entry.kind], entry.data?.length ?? 0)
  if (long.length === 0) return [own]
  const said = Buffer.concat(long.map(([key, value]) => paxRecord(key, value)))
  const head = headerOf({ path: 'pax', mode: 0o644 }, 'x', said.length)
  return [head, said, padding(said.length), own]
}

/** `LENGTH KEY=VALUE` and a line's end, where the length counts its own digits. */
function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.byteLength(` ${key}=${value}\n`)
  let length = rest + 1
  while (rest + String(length).length !== length) length = rest + String(length).length
  return Buffer.from(`${length} ${key}=${value}\n`)
}

/**
 * The bytes of an archive. Entries are sorted by path. Parent folders that nobody named are added as 0755.
 */
export function tarOf(entries: readonly TarEntry[]): Pieces {
  const byPath = new Map<string, TarEntry>()
  for (const entry of entries) {
    if (byPath.has(entry.path)) throw new Error(`${entry.path} is in the archive twice`)
    if (entry.path.startsWith('/') || entry.path.split('/').includes('..')) {
      throw new Error(`${entry.path} leaves the archive`)
    }
    byPath.set(entry.path, entry)
  }
  for (const { path } of entries) {
    for (let at = path.indexOf('/'); at !== -1; at = path.indexOf('/', at + 1)) {
      const parent = path.slice(0, at)
      if (!byPath.has(parent)) byPath.set(parent, { path: parent, kind: 'folder', mode: 0o755 })
    }
  }
  const sorted = [...byPath.keys()].sort().map((path) => byPath.get(path) as TarEntry)
  const heads = sorted.map(headersOf)
  const end = Buffer.alloc(2 * BLOCK)
  const length = sorted.reduce((sum, { data }, at) => {
    const own = (heads[at] ?? []).reduce((total, head) => total + head.length, 0)
    return sum + own + (data === undefined ? 0 : data.length + padding(data.length).length)
  }, end.length)
  function* pieces(): Generator<Buffer> {
    for (const [at, { data }] of sorted.entries()) {
      yield* heads[at] ?? []
      if (data === undefined) continue
      if (Buffer.isBuffer(data)) yield data
      else yield* 'from' in data ? piecesOfFile(data) : data
      if (data.length % BLOCK !== 0) yield padding(data.length)
    }
    yield end
  }
  return { length, [Symbol.iterator]: pieces }
}
