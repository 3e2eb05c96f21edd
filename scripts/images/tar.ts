/** A reproducible tar: fixed order, owner root, time 1970, so that the same inputs give the same bytes on every machine. */

export interface TarEntry {
  /** Relative, without a leading slash; a folder has no trailing one either. */
  path: string
  kind: 'file' | 'folder'
  mode: number
  data?: Buffer
}

const BLOCK = 512

function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width - 1, '0')}\0`
}

/** Splits a long path over the two name fields of ustar (POSIX.1-1988). */
function splitName(path: string): { name: string; prefix: string } {
  if (Buffer.byteLength(path) <= 100) return { name: path, prefix: '' }
  for (let at = path.indexOf('/'); at !== -1; at = path.indexOf('/', at + 1)) {
    const [prefix, name] = [path.slice(0, at), path.slice(at + 1)]
    if (Buffer.byteLength(name) <= 100 && Buffer.byteLength(prefix) <= 155) return { name, prefix }
  }
  throw new Error(`the path ${path} is too long for an archive; shorten it`)
}

function headerOf(entry: TarEntry): Buffer {
  const header = Buffer.alloc(BLOCK)
  const { name, prefix } = splitName(entry.kind === 'folder' ? `${entry.path}/` : entry.path)
  header.write(name, 0)
  header.write(octal(entry.mode, 8), 100)
  header.write(octal(0, 8), 108)
  header.write(octal(0, 8), 116)
  header.write(octal(entry.data?.length ?? 0, 12), 124)
  header.write(octal(0, 12), 136)
  header.write(' '.repeat(8), 148)
  header.write(entry.kind === 'folder' ? '5' : '0', 156)
  header.write('ustar\x0000', 257)
  header.write(prefix, 345)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return header
}

/** The bytes of an archive, in pieces. Entries are sorted by path; parent folders that nobody named are added as 0755. */
export function tarOf(entries: readonly TarEntry[]): Buffer[] {
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
  const pieces: Buffer[] = []
  for (const path of [...byPath.keys()].sort()) {
    const entry = byPath.get(path) as TarEntry
    pieces.push(headerOf(entry))
    if (entry.data === undefined) continue
    pieces.push(entry.data)
    if (entry.data.length % BLOCK !== 0) pieces.push(Buffer.alloc(BLOCK - (entry.data.length % BLOCK)))
  }
  pieces.push(Buffer.alloc(2 * BLOCK))
  return pieces
}
