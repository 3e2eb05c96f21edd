/** Reads a program or library for Linux (ELF, 64 bits, little-endian): its machine, its loader, the libraries it needs. Pure. */

export interface Elf {
  /** Of the machine: 62 is x86-64, 183 is AArch64. */
  machine: number
  /** The loader that a program asks for; a library asks for none. */
  interpreter: string | undefined
  /** Names of the shared libraries it needs, without folders. */
  needed: string[]
  /** Where it says that they are, folder by folder; `$ORIGIN` stands for where it is itself. */
  folders: string[]
}

const HEADER_BYTES = 64
const SEGMENT = { load: 1, dynamic: 2, interpreter: 3 }
const TAG = { end: 0n, needed: 1n, strings: 5n, folders: 15n, debug: 21n, runFolders: 29n }
/** Of a name or a list of folders, in bytes; and of entries. A file of a stranger could say more than memory holds. */
const TEXT_BYTES_MAX = 8192
const ENTRIES_MAX = 4096

interface Segment {
  type: number
  offset: number
  address: number
  size: number
}

/** Throws if it is no such file; `path` is only for the message. */
export function readElf(data: Buffer, path: string): Elf {
  try {
    return read(data)
  } catch (thrown) {
    throw new Error(`${path} is not a program or library for Linux: ${(thrown as Error).message}`)
  }
}

function read(data: Buffer): Elf {
  if (data.subarray(0, 4).toString('latin1') !== '\x7fELF') throw new Error('it does not begin as one')
  if (data[4] !== 2 || data[5] !== 1) throw new Error('it is not 64-bit and little-endian')
  if (data.length < HEADER_BYTES) throw new Error('it is cut off')
  const segments = segmentsOf(data)
  const text = (at: number) => {
    const end = data.indexOf(0, at)
    if (at < 0 || end === -1) throw new Error('a name in it has no end')
    if (end - at > TEXT_BYTES_MAX) throw new Error('a name in it is too long')
    return data.toString('utf8', at, end)
  }
  const asked = segments.find(({ type }) => type === SEGMENT.interpreter)
  const entries = entriesOf(data, segments)
  const strings = entries.find(([tag]) => tag === TAG.strings)
  const names = strings === undefined ? 0 : offsetOf(segments, Number(strings[1]))
  return {
    machine: data.readUInt16LE(18),
    interpreter: asked === undefined ? undefined : text(asked.offset),
    needed: entries.filter(([tag]) => tag === TAG.needed).map(([, value]) => text(names + Number(value))),
    folders: entries
      .filter(([tag]) => tag === TAG.folders || tag === TAG.runFolders)
      .flatMap(([, value]) => text(names + Number(value)).split(':')),
  }
}

/** Where in the file things stand that may be written over; undefined for what it has not. */
export interface Places {
  /** The path of the loader: where in the file, at which address, and how many bytes with the one that ends it. */
  interpreter: { offset: number; address: number; length: number } | undefined
  /** The address of the table of names. */
  strings: number | undefined
  /** The place in the file of the entry that only debuggers read. */
  debug: number | undefined
}

/** Throws as `readElf` does. */
export function readPlaces(data: Buffer, path: string): Places {
  readElf(data, path)
  const segments = segmentsOf(data)
  const asked = segments.find(({ type }) => type === SEGMENT.interpreter)
  const dynamic = segments.find(({ type }) => type === SEGMENT.dynamic)
  const entries = entriesOf(data, segments)
  const strings = entries.find(([tag]) => tag === TAG.strings)?.[1]
  const debug = entries.findIndex(([tag]) => tag === TAG.debug)
  return {
    interpreter: asked && { offset: asked.offset, address: asked.address, length: asked.size },
    strings: strings === undefined ? undefined : Number(strings),
    debug: dynamic === undefined || debug === -1 ? undefined : dynamic.offset + 16 * debug,
  }
}

function segmentsOf(data: Buffer): Segment[] {
  const [first, bytes, count] = [Number(data.readBigUInt64LE(32)), data.readUInt16LE(54), data.readUInt16LE(56)]
  return Array.from({ length: count }, (_, nth) => {
    const at = first + nth * bytes
    return {
      type: data.readUInt32LE(at),
      offset: Number(data.readBigUInt64LE(at + 8)),
      address: Number(data.readBigUInt64LE(at + 16)),
      size: Number(data.readBigUInt64LE(at + 32)),
    }
  })
}

/** Tag and value of each entry of the dynamic segment, in order. */
function entriesOf(data: Buffer, segments: readonly Segment[]): [bigint, bigint][] {
  const dynamic = segments.find(({ type }) => type === SEGMENT.dynamic)
  const entries: [bigint, bigint][] = []
  for (let at = dynamic?.offset ?? 0; dynamic !== undefined && at < dynamic.offset + dynamic.size; at += 16) {
    const tag = data.readBigUInt64LE(at)
    if (tag === TAG.end) break
    if (entries.length === ENTRIES_MAX) throw new Error('it has too many entries')
    entries.push([tag, data.readBigUInt64LE(at + 8)])
  }
  return entries
}

/** The place in the file of what is loaded at this address. */
function offsetOf(segments: readonly Segment[], address: number): number {
  const holder = segments.find(
    (each) => each.type === SEGMENT.load && each.address <= address && address < each.address + each.size,
  )
  if (holder === undefined) throw new Error('its names are outside the file')
  return address - holder.address + holder.offset
}
