/** What the base `python` takes from this machine: Python 3, its standard library with TLS, and certificates. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type Layer, layerOf } from './archive.ts'
import { BaseMissing, certificateEntries, createLibraries, fileOf, toolPath } from './host-files.ts'

/** Left out of the standard library: what needs a screen, a network or a compiler, installers, and its own tests. */
const LIBRARY_SKIPPED =
  /(?:^|\/)(?:__pycache__|tests?|idlelib|tkinter|turtledemo|turtle\.py|ensurepip|lib2to3|distutils|pydoc_data|venv|config-[^/]+|(?:site|dist)-packages|sitecustomize\.py|(?:_tkinter|_curses(?:_panel)?|readline|_test\w*|_ctypes_test|_xx\w*|xx\w*|nis|_dbm|_gdbm|ossaudiodev)\.[^/]*)(?:\/|$)/
const LIBRARY_KEPT = /\.(?:py|so)$/

/** Its version, the folder of its standard library, and where it looks for certificates (empty without TLS). */
function askPython(binary: string): string[] {
  const asked = `import sys, sysconfig
print("%d.%d" % sys.version_info[:2])
print(sysconfig.get_paths()["stdlib"])
try:
  import ssl
  print(ssl.get_default_verify_paths().openssl_cafile)
except ImportError:
  print()`
  return execFileSync(binary, ['-I', '-S', '-c', asked], { encoding: 'utf8' }).split('\n')
}

/** Python and its standard library as source, below usr/local. Throws BaseMissing where the host has no Python 3. */
export function pythonLayer(binary: string | undefined = toolPath('python3')): Layer {
  if (binary === undefined) throw new BaseMissing('there is no python3')
  const [version = '', library = '', certificates = ''] = askPython(binary)
  if (!/^3\.\d+$/.test(version) || !existsSync(join(library, 'os.py'))) {
    throw new BaseMissing(`${binary} has no standard library`)
  }
  const libraries = createLibraries()
  libraries.add(binary)
  const entries = [fileOf('usr/local/bin/python3', binary, 0o755), ...certificateEntries([certificates])]
  for (const path of readdirSync(library, { recursive: true, encoding: 'utf8' })) {
    const from = join(library, path)
    if (!LIBRARY_KEPT.test(path) || LIBRARY_SKIPPED.test(path) || !statSync(from).isFile()) continue
    if (path.endsWith('.so')) libraries.add(from)
    entries.push(fileOf(`usr/local/lib/python${version}/${path}`, from, path.endsWith('.so') ? 0o755 : 0o444))
  }
  return layerOf(`hub: Python ${version} and its standard library`, [...entries, ...libraries.entries()])
}
