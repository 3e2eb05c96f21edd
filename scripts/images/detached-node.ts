/**
 * Node as it goes into somebody else's image: with a loader and libraries of its own, in a folder of the hub's. Nothing of the image decides whether
 * it starts: neither the age of its C library, nor that it has another one (musl) or none; and nothing of the image's own libraries is replaced.
 *
 * How: a program names its loader by a path, and may name one folder where libraries are looked for before all others (DT_RPATH, which also counts
 * for the libraries of its libraries, and which no LD_LIBRARY_PATH overrides). Both paths are written over the path of the usual loader, for which
 * an official Node has 27 bytes; the entry that names the folder replaces one that only debuggers read (DT_DEBUG). No byte moves.
 */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { readElf, readPlaces } from './elf.ts'
import type { Parts } from './machine.ts'
import { fileData, type Pieces, piecesOfFile, type TarEntry } from './tar.ts'

const FOLDER = 'app/hub/l'
const LOADER = `/${FOLDER}/ld`
const DT_RPATH = 15n

interface Patch {
  at: number
  bytes: Buffer
}

/** The Node binary, and its loader and libraries beside it. Throws if this Node cannot be changed so. */
export function detachedNode({ node, libraries }: Parts): TarEntry[] {
  const data = readFileSync(node)
  const { interpreter } = readElf(data, node)
  const loader = libraries.find(({ path }) => path === interpreter)
  if (interpreter === undefined || loader === undefined)
    throw new Error(`${node} names no loader that this machine has; use an official Node build for Linux`)
  const library = (path: string, from: string): TarEntry => ({
    path: `${FOLDER}/${path}`,
    kind: 'file',
    mode: 0o755,
    data: fileData(from),
  })
  return [
    {
      path: 'usr/local/bin/node',
      kind: 'file',
      mode: 0o755,
      data: patched(piecesOfFile(fileData(node)), patchesOf(data, node)),
    },
    library('ld', loader.from),
    ...libraries.filter((each) => each !== loader).map(({ path, from }) => library(basename(path), from)),
  ]
}

function patchesOf(data: Buffer, path: string): Patch[] {
  const { interpreter, strings, debug } = readPlaces(data, path)
  const text = Buffer.alloc(interpreter?.length ?? 0)
  const [loader, folder] = [`${LOADER}\0`, `/${FOLDER}\0`]
  if (
    interpreter === undefined ||
    strings === undefined ||
    debug === undefined ||
    text.length < loader.length + folder.length
  )
    throw new Error(`${path} cannot be given a loader of its own; use an official Node build for Linux`)
  text.write(loader + folder, 'latin1')
  const entry = Buffer.alloc(16)
  entry.writeBigUInt64LE(DT_RPATH)
  // Counted from the table of names, which comes later: the loader adds as the machine does, past the end and from the start again.
  const at = BigInt(interpreter.address + loader.length) - BigInt(strings)
  entry.writeBigUInt64LE(BigInt.asUintN(64, at), 8)
  return [
    { at: interpreter.offset, bytes: text },
    { at: debug, bytes: entry },
  ]
}

/** The same bytes with these in the place of those that stood there. */
function patched(pieces: Pieces, patches: readonly Patch[]): Pieces {
  function* walk(): Generator<Buffer> {
    let start = 0
    for (const piece of pieces) {
      for (const { at, bytes } of patches) {
        const [from, to] = [Math.max(at, start), Math.min(at + bytes.length, start + piece.length)]
        if (from < to) bytes.copy(piece, from - start, from - at, to - at)
      }
      start += piece.length
      yield piece
    }
  }
  return { length: pieces.length, [Symbol.iterator]: walk }
}
