/**
 * What programs go into an image: the files of a folder and what they import by relative path, types stripped.
 * They keep the places they have in the repository, below `/app`, so that only `.ts` becomes `.js` and nothing else is rewritten.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join, posix } from 'node:path'
import type { TarEntry } from './tar.ts'

/** Packages that images may carry. */
const PACKAGES = ['ws']
const SKIPPED = /(?:^|\/)(?:node_modules|Dockerfile|agent\.yaml|README\.md|.*\.test\.ts)$|\.d\.ts$/
const KEPT = /\.(?:ts|js|mjs|json|sh|py)$/

export interface Programs {
  /** Path in the repository (POSIX, relative) to the text that goes into the image. */
  files: Map<string, Buffer>
  packages: Set<string>
}

/** Source files of one folder, relative to the root, sorted. */
export function sourcesOf(root: string, folder: string): string[] {
  const names = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
  const paths = names.map((name) => posix.join(folder, name.replaceAll('\\', '/')))
  return paths
    .filter((path) => KEPT.test(path) && !SKIPPED.test(path) && !/\/seccomp(?:-egress)?\.json$/.test(path))
    .sort()
}

const SPECIFIER = /(\bfrom\s*|\bimport\s*\(\s*|\bimport\s*)(['"])([^'"\n]+)\2/g

/** Strips types and turns relative `.ts` specifiers into `.js`; also says what is imported at run time, and what of that only by `import()`. */
export function stripSource(text: string): { code: string; imports: string[]; late: ReadonlySet<string> } {
  const stripped = stripTypeScriptTypes(text, { mode: 'strip' })
  const imports: string[] = []
  const late = new Set<string>()
  const early = new Set<string>()
  const code = stripped.replaceAll(SPECIFIER, (whole, lead: string, quote: string, specifier: string) => {
    imports.push(specifier)
    ;(lead.includes('(') ? late : early).add(specifier)
    if (!specifier.startsWith('.') || !specifier.endsWith('.ts')) return whole
    return `${lead}${quote}${specifier.slice(0, -3)}.js${quote}`
  })
  return { code, imports, late: new Set([...late].filter((each) => !early.has(each))) }
}

interface Around {
  /** Packages that a layer below holds, or that come along otherwise. */
  carried?: readonly string[]
  /** Whether a file is in a layer that not every image has: it is left out, and only `import()` may name it. */
  isApart?: (path: string) => boolean
}

/** Follows run-time imports from the entries. `present` names files that a layer below already holds. */
export function gatherPrograms(
  root: string,
  entries: readonly string[],
  present: ReadonlySet<string>,
  { carried = [], isApart = () => false }: Around = {},
): Programs {
  const programs: Programs = { files: new Map(), packages: new Set() }
  const open = [...entries]
  for (let path = open.shift(); path !== undefined; path = open.shift()) {
    const target = path.replace(/\.ts$/, '.js')
    if (programs.files.has(target) || present.has(target)) continue
    const data = readFileSync(join(root, path))
    if (!path.endsWith('.ts')) {
      programs.files.set(target, data)
      continue
    }
    const { code, imports, late } = stripSource(data.toString('utf8'))
    programs.files.set(target, Buffer.from(code))
    for (const specifier of imports) {
      const found = judgeImport(root, path, specifier, carried)
      if (found.kind === 'file' && isApart(found.path)) {
        if (late.has(specifier)) continue
        throw new Error(`${path} imports ${specifier}, which not every image holds; use import() where the card asks`)
      }
      if (found.kind === 'file') open.push(found.path)
      if (found.kind === 'package') programs.packages.add(found.name)
    }
  }
  return programs
}

type Found = { kind: 'file'; path: string } | { kind: 'package'; name: string } | { kind: 'builtin' }

function judgeImport(root: string, from: string, specifier: string, carried: readonly string[]): Found {
  if (specifier.startsWith('node:')) return { kind: 'builtin' }
  if (!specifier.startsWith('.')) {
    if (PACKAGES.includes(specifier)) return { kind: 'package', name: specifier }
    // A layer below has it.
    if (carried.some((name) => specifier === name || specifier.startsWith(`${name}/`))) return { kind: 'builtin' }
    throw new Error(
      `${from} imports ${specifier}, and images carry no package except ${PACKAGES.join(', ')} and those that image.yaml names under packages.npm`,
    )
  }
  const path = posix.join(posix.dirname(from), specifier)
  if (path.startsWith('..')) throw new Error(`${from} imports ${specifier}, which is outside the repository`)
  if (!existsSync(join(root, path))) throw new Error(`${from} imports ${specifier}, which does not exist`)
  return { kind: 'file', path }
}

/** The archive entries of gathered programs: everything below `app/`, owned by root, never writable. */
export function programEntries(root: string, programs: Programs): TarEntry[] {
  const file = (path: string, data: Buffer): TarEntry => ({ path: `app/${path}`, kind: 'file', mode: 0o444, data })
  const entries = [...programs.files].map(([path, data]) => file(path, data))
  for (const name of [...programs.packages].sort()) {
    const folder = join('node_modules', name)
    for (const path of readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })) {
      if (!/\.(?:js|mjs|json)$/.test(path)) continue
      entries.push(file(posix.join('node_modules', name, path), readFileSync(join(root, folder, path))))
    }
  }
  return entries
}
