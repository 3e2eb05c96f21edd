/** Which names files and artifacts may have, and their order. Free of packages, because it also runs inside agents' containers. */

const PATH_BYTES_MAX = 1024

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it refuses
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/

/** Why a relative path may not be used, or undefined when it may. The one check before anything is written by name (T69). */
export function judgePath(path: string): string | undefined {
  if (path === '') return 'is empty'
  if (Buffer.byteLength(path) > PATH_BYTES_MAX) return `is longer than ${PATH_BYTES_MAX} bytes`
  if (!path.isWellFormed()) return 'is not valid UTF-8'
  if (CONTROL.test(path)) return 'holds a control character'
  if (path.startsWith('/')) return 'is absolute'
  for (const part of path.split('/')) {
    if (part === '') return 'has an empty part'
    if (part === '.' || part === '..') return `has a part "${part}"`
    if (Buffer.byteLength(part) > 255) return 'has a part longer than 255 bytes'
  }
  return undefined
}

/** Why an artifact may not have this name, or undefined when it may: what holds for paths, and no backslash, which other systems take for a path. */
export const judgeArtifactName = (name: string): string | undefined =>
  judgePath(name) ?? (name.includes('\\') ? 'holds a backslash' : undefined)

/** Order of paths: by their UTF-8 bytes. */
export const comparePaths = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))
