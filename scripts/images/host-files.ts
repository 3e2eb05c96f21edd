/** Files of this machine that go into images: programs, the libraries they need, certificates. */
import { execFileSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, readSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join, normalize } from 'node:path'
import { type Elf, readElf } from './elf.ts'
import { ARCHES, archOf, librariesOf } from './machine.ts'
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
 * The libraries that binaries need, from this machine. The loader of this very Node lists them for a file of this machine (`add`), without starting it.
 * A loader does what a file asks of it before it lists anything, such as running another library first. So it is never given a file of a package
 * (`addOf`): that is only read.
 */
export function createLibraries() {
  const present = librariesOf(process.execPath)
  const loader = present.find((path) => /\/ld-/.test(path))
  const needed = new Set<string>()
  const { elf: machine, folders: systemFolders } = ARCHES[archOf()]

  function add(binary: string): void {
    if (loader === undefined) throw new BaseMissing('the loader of shared libraries was not found')
    let listed = ''
    try {
      listed = execFileSync(loader, ['--list', binary], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    } catch {
      // Linked statically: it needs none.
    }
    if (listed.includes('not found')) throw new BaseMissing(`${binary} lacks a shared library`)
    for (const path of librariesListed(listed)) needed.add(path)
  }

  /** Where a loader looks without a cache, which no image has. */
  function addSystem(name: string): void {
    if (name.includes('/') || present.some((path) => basename(path) === name)) return
    const path = systemFolders.map((folder) => join(folder, name)).find((each) => existsSync(each))
    if (path === undefined || needed.has(path)) return
    needed.add(path)
    add(path)
  }

  /** What it names in the folder of its package is there in the image as here, and is read too. */
  function addOf(own: string, binary: string, seen: Set<string>, fromAbove: readonly string[]): void {
    const elf = readIfElf(binary)
    if (elf === undefined || elf.machine !== machine) return
    const folders = [
      ...elf.folders.map((each) => each.replace(/\$(?:ORIGIN|\{ORIGIN\})/, dirname(binary))),
      ...fromAbove,
    ]
    for (const name of elf.needed) {
      const brought = folders.map((folder) => join(folder, name)).find((each) => isFileIn(own, each))
      if (brought === undefined) addSystem(name)
      else if (!seen.has(brought)) {
        seen.add(brought)
        addOf(own, brought, seen, folders)
      }
    }
  }

  return {
    add,
    /** `own`: the folder of the packages. What neither that nor this machine has is left out: it may be found by what is loaded before it. */
    addOf: (own: string, binary: string) => addOf(realpathSync(own), realpathSync(binary), new Set(), []),
    /** Those that the base layer does not hold already. */
    entries: () =>
      [...needed]
        .filter((path) => !present.includes(path))
        .sort()
        .map((path) => fileOf(path.slice(1), path, 0o755)),
  }
}

/** Undefined for what a loader of this machine would not take either. */
function readIfElf(path: string): Elf | undefined {
  try {
    return readElf(readFileSync(path), path)
  } catch {
    return undefined
  }
}

function isFileIn(folder: string, path: string): boolean {
  try {
    return realpathSync(path).startsWith(`${folder}/`) && statSync(path).isFile()
  } catch {
    return false
  }
}

/** The libraries in what a loader lists. One that a program finds from where it stands is listed as `/a/bin/../lib/b`. */
export function librariesListed(listed: string): string[] {
  return [...listed.matchAll(/(?:=>\s+)?(\/\S+)\s+\(0x/g)].map(([, path = '']) => normalize(path))
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
