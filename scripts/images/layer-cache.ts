/** Layers that take long to make, kept as files: the base of 100 MB, and what was installed from a registry. */
import { mkdirSync, readFileSync } from 'node:fs'
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
    if (readFileSync(`${cached}.sha256`, 'utf8') === digest) return { diffId: `sha256:${digest}`, title, pieces }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const { diffId, pieces } = make(title)
  replaceInParts(cached, pieces, 0o644)
  replaceFile(`${cached}.sha256`, diffId.slice(7), 0o644)
  return { diffId, title, pieces: piecesOfFile(fileData(cached)) }
}
