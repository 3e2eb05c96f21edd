/** Files of this machine that go into images: programs, the libraries they need, certificates. */
import { execFileSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readSync, realpathSync } from 'node:fs'
import { join, normalize } from 'node:path'
import { librariesOf } from './machine.ts'
import { fileData, type TarEntry } from './tar.ts'

/** This machine lacks what a base is made of: its images are left out, the others are built. */
export class BaseMissing extends Error {}

/** Fixed folders, not PATH: what a person has put there first does not belong in an image. */
export const TOOL_FOLDERS = ['/usr/bin', '/bin', '/usr/local/bin']
/** Debian's, and Fedora's. In an image it is the first. */
const CERTIFICATES = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt']
export const fileOf = (path: string, from: string, mode: number): TarEntry => ({
  path,
  kind: 'file',
  mode,
  data: fileData(from),
})
export const linkOf = (path: string, target: string): TarEntry => ({ path, kind: 'link', mode: 0o777, target })

export type Libraries = ReturnType<typeof createLibraries>

/**
 * The loader of this very Node lists what any binary or module needs, without starting it. What a package brings for itself, in its folder `own`, is
 * left out: its programs find that from where they stand, in the image as here.
 */
export function createLibraries(own?: string) {
  const present = librariesOf(process.execPath)
  const loader = present.find((path) => /\/ld-/.test(path))
  const needed = new Set<string>()
  const folders = own === undefined ? [] : [own, realpathSync(own)]
  return {
    add(binary: string): void {
      if (loader === undefined) throw new BaseMissing('the loader of shared libraries was not found')
      let listed = ''
      try {
        listed = execFileSync(loader, ['--list', binary], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
      } catch {
        // Linked statically: it needs none.
      }
      if (listed.includes('not found')) throw new BaseMissing(`${binary} lacks a shared library`)
      for (const path of librariesListed(listed, folders)) needed.add(path)
    },
    /** Those that the base layer does not hold already. */
    entries: () =>
      [...needed]
        .filter((path) => !present.includes(path))
        .sort()
        .map((path) => fileOf(path.slice(1), path, 0o755)),
  }
}

/** The libraries in what a loader lists, outside these folders. One that a program finds from where it stands is listed as `/a/bin/../lib/b`. */
export function librariesListed(listed: string, folders: readonly string[]): string[] {
  return [...listed.matchAll(/(?:=>\s+)?(\/\S+)\s+\(0x/g)]
    .map(([, path = '']) => normalize(path))
    .filter((path) => !folders.some((folder) => path.startsWith(`${folder}/`)))
}

/** Whether a file is a program or library for Linux, by how it begins. */
export function isElf(path: string): boolean {
  const head = Buffer.alloc(4)
  const file = openSync(path, 'r')
  try {
    return readSync(file, head) === 4 && head.toString('latin1') === '\x7fELF'
  } finally {
    closeSync(file)
  }
}

/** The file itself behind the links, or undefined where there is none. */
export function findTool(name: string): string | undefined {
  const found = TOOL_FOLDERS.map((folder) => join(folder, name)).find((path) => existsSync(path))
  return found === undefined ? undefined : realpathSync(found)
}

/** The binary of that name, or undefined where there is none; a script is no tool. */
export function toolPath(name: string): string | undefined {
  const path = findTool(name)
  return path !== undefined && isElf(path) ? path : undefined
}

/** This machine's certificates of authorities, at the paths where programs look for them; empty where it has none. */
export function certificateEntries(alsoAt: readonly string[] = []): TarEntry[] {
  const found = CERTIFICATES.find((path) => existsSync(path))
  if (found === undefined) return []
  const [first = ''] = CERTIFICATES
  const others = [...new Set(alsoAt)].filter((path) => path.startsWith('/') && path !== first)
  return [
    { path: first.slice(1), kind: 'file', mode: 0o444, data: fileData(realpathSync(found)) },
    ...others.map((path) => linkOf(path.slice(1), first)),
  ]
}
