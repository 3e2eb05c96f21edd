/** What the bases `shell` and `python` take from this machine: a shell with a few tools, or Python with its standard library. No registry. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type Layer, layerOf } from './archive.ts'
import { librariesOf } from './machine.ts'
import type { TarEntry } from './tar.ts'

/** This machine lacks what a base is made of: its images are left out, the others are built. */
export class BaseMissing extends Error {}

/** Fixed folders, not PATH: what a person has put there first does not belong in an image. */
const TOOL_FOLDERS = ['/usr/bin', '/bin', '/usr/local/bin']
const TOOLS = [
  ...[
    'awk',
    'basename',
    'cat',
    'cp',
    'cut',
    'date',
    'dirname',
    'env',
    'expr',
    'find',
    'grep',
    'head',
    'ls',
    'mkdir',
    'mv',
  ],
  ...['rm', 'sed', 'sha256sum', 'sleep', 'sort', 'tail', 'tee', 'tr', 'uniq', 'wc'],
]
/** Left out of the standard library: what needs a screen, a network or a compiler, installers, and its own tests. */
const LIBRARY_SKIPPED =
  /(?:^|\/)(?:__pycache__|tests?|idlelib|tkinter|turtledemo|turtle\.py|ensurepip|lib2to3|distutils|pydoc_data|venv|config-[^/]+|(?:site|dist)-packages|sitecustomize\.py|(?:_tkinter|_curses(?:_panel)?|readline|_test\w*|_ctypes_test|_xx\w*|xx\w*|nis|_dbm|_gdbm|_ssl|ossaudiodev)\.[^/]*)(?:\/|$)/
const LIBRARY_KEPT = /\.(?:py|so)$/

const file = (path: string, from: string, mode: number): TarEntry => ({
  path,
  kind: 'file',
  mode,
  data: readFileSync(from),
})

/** The loader of this very Node lists what any binary or module needs, without starting it. */
function createLibraries() {
  const present = librariesOf(process.execPath)
  const loader = present.find((path) => /\/ld-/.test(path))
  const needed = new Set<string>()
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
      for (const [, path = ''] of listed.matchAll(/(?:=>\s+)?(\/\S+)\s+\(0x/g)) needed.add(path)
    },
    /** Those that the base layer does not hold already. */
    entries: () =>
      [...needed]
        .filter((path) => !present.includes(path))
        .sort()
        .map((path) => file(path.slice(1), path, 0o755)),
  }
}

/** The binary itself behind the links, or undefined where there is none; a script of that name is no tool. */
function toolPath(name: string): string | undefined {
  const found = TOOL_FOLDERS.map((folder) => join(folder, name)).find((path) => existsSync(path))
  if (found === undefined) return undefined
  const path = realpathSync(found)
  return readFileSync(path).subarray(0, 4).toString('latin1') === '\x7fELF' ? path : undefined
}

/** A shell and a few tools. Throws BaseMissing where the host has no shell. */
export function shellLayer(): Layer {
  const libraries = createLibraries()
  const shell = toolPath('dash') ?? toolPath('busybox') ?? toolPath('sh')
  if (shell === undefined) throw new BaseMissing('there is no dash, busybox or sh')
  libraries.add(shell)
  const entries = [file('bin/sh', shell, 0o755)]
  for (const name of TOOLS) {
    const path = toolPath(name)
    if (path === undefined) continue
    libraries.add(path)
    entries.push(file(`usr/bin/${name}`, path, 0o755))
  }
  return layerOf('hub: a shell and its tools', [...entries, ...libraries.entries()])
}

/** Python and its standard library as source, below usr/local. Throws BaseMissing where the host has no Python 3. */
export function pythonLayer(binary: string | undefined = toolPath('python3')): Layer {
  if (binary === undefined) throw new BaseMissing('there is no python3')
  const asked = 'import sys, sysconfig; print("%d.%d" % sys.version_info[:2]); print(sysconfig.get_paths()["stdlib"])'
  const [version = '', library = ''] = execFileSync(binary, ['-I', '-S', '-c', asked], { encoding: 'utf8' }).split('\n')
  if (!/^3\.\d+$/.test(version) || !existsSync(join(library, 'os.py'))) {
    throw new BaseMissing(`${binary} has no standard library`)
  }
  const libraries = createLibraries()
  libraries.add(binary)
  const entries = [file('usr/local/bin/python3', binary, 0o755)]
  for (const path of readdirSync(library, { recursive: true, encoding: 'utf8' })) {
    const from = join(library, path)
    if (!LIBRARY_KEPT.test(path) || LIBRARY_SKIPPED.test(path) || !statSync(from).isFile()) continue
    if (path.endsWith('.so')) libraries.add(from)
    entries.push(file(`usr/local/lib/python${version}/${path}`, from, path.endsWith('.so') ? 0o755 : 0o444))
  }
  return layerOf(`hub: Python ${version} and its standard library`, [...entries, ...libraries.entries()])
}
