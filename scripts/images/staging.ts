/** Copies an agent's folder into a tree laid out like this repository, and points its imports of the SDK to that tree. */
import { copyFileSync, lstatSync, mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { dirname, join, posix, relative, sep } from 'node:path'

export interface StageOptions {
  /** The repository whose SDK the folder imports. */
  root: string
  folder: string
  /** The tree, and the folder's place in it: `agents/NAME`. */
  stage: string
  place: string
}

const FILES_MAX = 2_000
const BYTES_MAX = 64 * 1024 * 1024
const SKIPPED = /^(?:node_modules|\..*)$/
const PROGRAM = /\.(?:ts|js|mjs)$/
const SPECIFIER = /(\bfrom\s*|\bimport\s*\(\s*|\bimport\s*)(['"])((?:\.|hub-sdk\/)[^'"\n]+)\2/g
const SDK = 'hub/client'

/** Links are not copied: they lead out of the folder. Throws naming what may not be in an image. */
export function stageFolder(options: StageOptions): void {
  const { folder, stage, place } = options
  let files = 0
  let bytes = 0
  const copy = (below: string) => {
    for (const name of readdirSync(join(folder, below)).sort()) {
      const path = join(below, name)
      const found = lstatSync(join(folder, path))
      if (SKIPPED.test(name)) continue
      if (found.isDirectory()) copy(path)
      else if (found.isFile()) {
        files += 1
        bytes += found.size
        if (files > FILES_MAX)
          throw new Error(`${folder} holds over ${FILES_MAX} files; an agent's folder is its program`)
        if (bytes > BYTES_MAX) throw new Error(`${folder} holds over ${BYTES_MAX} bytes; give data as a task's input`)
        const target = join(stage, place, path)
        mkdirSync(dirname(target), { recursive: true })
        if (PROGRAM.test(name)) writeFileSync(target, restate(options, path.split(sep).join('/')))
        else copyFileSync(join(folder, path), target)
      }
    }
  }
  copy('')
}

/** The text of a program as from its place in the tree. It may import its own folder and, as `hub-sdk/` or by a path, the SDK. */
function restate({ root, folder, place }: StageOptions, path: string): string {
  const from = posix.dirname(posix.join(place, path))
  const rewrite = (whole: string, lead: string, quote: string, to: string) => {
    const real = to.startsWith('.')
      ? realOf(join(folder, dirname(path), to))
      : join(root, SDK, to.slice('hub-sdk/'.length))
    // The assembly names an import that leads nowhere.
    if (real === undefined || !relative(realpathSync(folder), real).startsWith('..')) return whole
    const shared = relative(realpathSync(root), realOf(real) ?? real)
    if (shared.startsWith('..')) throw new Error(`${path} imports ${to}, which is outside the folder`)
    return `${lead}${quote}${posix.relative(from, shared.split(sep).join('/'))}${quote}`
  }
  return readFileSync(join(folder, path), 'utf8').replaceAll(SPECIFIER, rewrite)
}

function realOf(path: string): string | undefined {
  try {
    return realpathSync(path)
  } catch {
    return undefined
  }
}
