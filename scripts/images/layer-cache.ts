/** Layers that take long to make, kept as files: the base of 100 MB, and what was installed from a registry. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { removeHalfMade, replaceFile, replaceInParts } from '../../hub/base/whole-file.ts'
import { type Layer, sha256Of } from './archive.ts'
import { fileData, piecesOfFile } from './tar.ts'

/** The layer that is kept under this name, or else the one that `make` gives. It is read from the kept file, so what it was made of may go. */
export function cachedLayer(cacheDir: string, name: string, title: string, make: (title: string) => Layer): Layer {
  const cached = join(cacheDir, `${name}.tar`)
  mkdirSync(cacheDir, { recursive: true })
  // Two builds may run side by side, so only half-made files of ended processes are removed.
  removeHalfMade(cacheDir)
  try {
    const pieces = piecesOfFile(fileData(cached))
    // Hashed again each time: a torn or edited file in the cache must not become an image.
    const digest = sha256Of(pieces)
    if (readFileSync(`${cached}.sha256`, 'utf8') === digest) {
      // For `removeUnused`: it was needed now.
      const nowMs = Date.now()
      utimesSync(cached, nowMs / 1000, nowMs / 1000)
      return { diffId: `sha256:${digest}`, title, pieces }
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const { diffId, pieces } = make(title)
  replaceInParts(cached, pieces, 0o644)
  replaceFile(`${cached}.sha256`, diffId.slice(7), 0o644)
  return { diffId, title, pieces: piecesOfFile(fileData(cached)) }
}

const DAY_MS = 24 * 3_600_000
/** A layer that no build has needed for so long goes. */
const UNUSED_MS = 30 * DAY_MS
/** All of them together; above it those go first that were needed least lately. */
const BYTES_MAX = 8 * 1024 ** 3
/** What a build may still be reading stays in any case. */
const SURE_MS = DAY_MS

/**
 * Removes layers that no image needs any more, as far as builds tell: no build has needed one for 30 days, or all of them take more than 8 GiB. A layer
 * that is needed again is made again. Answers the names of those that went, and their bytes.
 */
export function removeUnused(
  cacheDir: string,
  nowMs: number,
  bytesMax = BYTES_MAX,
): { names: string[]; bytes: number } {
  const kept = (existsSync(cacheDir) ? readdirSync(cacheDir) : [])
    .filter((name) => name.endsWith('.tar'))
    .flatMap((name) => {
      const found = statSync(join(cacheDir, name), { throwIfNoEntry: false })
      return found === undefined ? [] : [{ name, size: found.size, ageMs: nowMs - found.mtimeMs }]
    })
    .sort((one, other) => other.ageMs - one.ageMs)
  let all = kept.reduce((sum, { size }) => sum + size, 0)
  const gone = { names: [] as string[], bytes: 0 }
  for (const { name, size, ageMs } of kept) {
    if (ageMs <= SURE_MS || (ageMs <= UNUSED_MS && all <= bytesMax)) continue
    for (const each of [name, `${name}.sha256`]) rmSync(join(cacheDir, each), { force: true })
    all -= size
    gone.names.push(name)
    gone.bytes += size
  }
  return gone
}
