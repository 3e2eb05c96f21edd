/** For which machine an image is, and where its parts come from: this machine, or a tree with another machine's files. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { readElf } from './elf.ts'

/** As Node names it. */
export type Arch = 'x64' | 'arm64'

interface Facts {
  /** As images name it. */
  oci: string
  /** As ELF numbers it. */
  elf: number
  /** Where its loader looks without a cache, in order: Debian's and Ubuntu's folders, then everybody's. */
  folders: readonly string[]
}

const PLAIN = ['/lib64', '/usr/lib64', '/lib', '/usr/lib']
export const ARCHES: Readonly<Record<Arch, Facts>> = {
  x64: { oci: 'amd64', elf: 62, folders: ['/lib/x86_64-linux-gnu', '/usr/lib/x86_64-linux-gnu', ...PLAIN] },
  arm64: { oci: 'arm64', elf: 183, folders: ['/lib/aarch64-linux-gnu', '/usr/lib/aarch64-linux-gnu', ...PLAIN] },
}

/** A kind of machine by its name; default: this machine. Only this function asks; everything else is given an `Arch`. */
export function archOf(arch: string = process.arch): Arch {
  if (Object.hasOwn(ARCHES, arch)) return arch as Arch
  throw new Error(`images are assembled for ${Object.keys(ARCHES).join(' and ')} only, this is ${arch}`)
}

/** One file of the base: its path in the image, and its path here. */
export interface Part {
  path: string
  from: string
}

/** Node and every shared library it needs, the loader among them, for one kind of machine. */
export interface Parts {
  arch: Arch
  /** The path of the Node binary here. */
  node: string
  libraries: readonly Part[]
  /** True for this machine; else the bases with a shell or Python are left out. */
  own: boolean
}

/** Paths of the shared libraries of a binary of this machine, as its own loader resolves them. */
export function librariesOf(binary: string): string[] {
  // This variable makes the loader list and exit, which is all that `ldd` does.
  const listed = execFileSync(binary, [], { encoding: 'utf8', env: { LD_TRACE_LOADED_OBJECTS: '1' } })
  const paths = listed.split('\n').flatMap((line) => /(?:=>\s+)?(\/\S+)\s+\(0x/.exec(line)?.[1] ?? [])
  if (paths.length === 0) throw new Error(`${binary} lists no shared library; use an official Node build for Linux`)
  return [...new Set(paths)].sort()
}

/** Of the Node that runs this. */
export function ownParts(node: string = process.execPath): Parts {
  const libraries = librariesOf(node).map((path) => ({ path, from: path }))
  return { arch: archOf(), node, libraries, own: true }
}

/**
 * The parts of another machine's Node, which cannot run here. Its libraries are found below `sysroot`, a tree with that machine's files; each
 * names those that it needs. Throws naming a file that is missing or is for some other machine.
 */
export function foreignParts(options: { arch: Arch; node: string; sysroot: string }): Parts {
  const { arch, node, sysroot } = options
  const facts = ARCHES[arch]
  const read = (path: string) => {
    const elf = readElf(readFileSync(path), path)
    if (elf.machine !== facts.elf) throw new Error(`${path} is not for ${arch}: its machine is ${elf.machine}`)
    return elf
  }
  const found = new Map<string, Part>()
  const { interpreter, needed } = read(node)
  if (interpreter === undefined) throw new Error(`${node} names no loader; use an official Node build for Linux`)
  const open = [interpreter, ...needed]
  for (let name = open.shift(); name !== undefined; name = open.shift()) {
    // Libraries need the loader by its bare name as well: by then it is there.
    if (name === basename(interpreter)) continue
    const part = partOf(name, sysroot, facts.folders)
    if (part === undefined) throw new Error(`${name} is not below ${sysroot}, and Node for ${arch} needs it`)
    if (found.has(part.path)) continue
    found.set(part.path, part)
    open.push(...read(part.from).needed)
  }
  const libraries = [...found.values()].sort((a, b) => (a.path < b.path ? -1 : 1))
  return { arch, node, libraries, own: false }
}

function partOf(name: string, sysroot: string, folders: readonly string[]): Part | undefined {
  const paths = name.startsWith('/') ? [name] : folders.map((folder) => `${folder}/${name}`)
  return paths.map((path) => ({ path, from: join(sysroot, path) })).find(({ from }) => existsSync(from))
}
