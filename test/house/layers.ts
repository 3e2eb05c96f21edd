/**
 * Checks which file imports which: a pure function of a tree of source texts, so that it can be shown to fail.
 *
 * 1. Every import counts: static, dynamic, export-from, side effect, and types too.
 * 2. An import that cannot be read (dynamic with a computed name, `createRequire`, a computed `getBuiltinModule`) is a finding, not a gap.
 * 3. No cycles: not between files, not between neighbour folders inside a ring. Between rings the table rules them out.
 */
import { posix } from 'node:path'
import { additionOf, PACKAGES } from '../../scripts/images/additions.ts'
import { lineOf, scan, type Tree } from './source.ts'

const rings = ['base', 'protocol', 'store', 'guard', 'work', 'home', 'edge', 'observe']

/** The watchdog's rooms, from the inside out. Files directly in its folder are outside of all of them (watchdog/README.md). */
const watchdogRooms = ['base', 'config', 'judge', 'observe', 'act', 'tell', 'watch', 'door']
/** All that the judge may import beside our own files: it opens, sends and starts nothing. */
const judgeModules = ['node:crypto']

/** Packages the watchdog does without, so that one fault cannot blind both and its resident set stays small. */
const watchdogPackagesBanned = ['dockerode', 'zod', 'fastify', 'better-sqlite3']
/** Of each library that tells what goes on, the one place of the hub that knows it; the watchdog's is its own program: the rings count into `hub/base/meters.ts` and write to the logger they are handed (S1-33). */
const watchingPackages: readonly (readonly [RegExp, string])[] = [
  [/^prom-client\b/, 'hub/observe/'],
  [/^@opentelemetry\//, 'hub/observe/'],
  [/^pino\b/, 'hub/base/telemetry.ts'],
]
/** All that an agent's image carries beside our own files. */
const imagePackages = ['ws']
/** What an addition to the shim, in a layer of its own, carries beside that (scripts/images/additions.ts). */
const additionPackages: Readonly<Record<string, readonly string[]>> = PACKAGES

/** Files whose work it is to load what only their configuration names. */
const loaders = ['images/agent/shim.ts'] // starts the agent's own program

/** Packages that the page is served as files of its own (hub/edge/people/console-page.ts). */
const pageFiles = ['hub/client/console/preact.js', 'hub/client/console/htm.js']

type Import = { from: string; line: number; specifier: string; typeOnly: boolean }

/** Every import of one file; a specifier of '?' stands for one that cannot be read. */
export function readImports(path: string, text: string): Import[] {
  const { code } = scan(text)
  const imports: Import[] = []
  const add = (offset: number, specifier: string, typeOnly: boolean) =>
    imports.push({ from: path, line: lineOf(text, offset), specifier, typeOnly })
  const literal = (match: RegExpExecArray) => {
    const end = match.index + match[0].length
    return text.slice(end - (match.groups?.name?.length ?? 0) - 1, end - 1)
  }
  for (const match of code.matchAll(/\bfrom\s*['"](?<name>[^'"]*)['"]/g)) {
    const start = Math.max(...['import', 'export'].map((word) => code.lastIndexOf(word, match.index)))
    add(match.index, literal(match), /^(?:import|export)\s+type\b(?!\s*(?:from\b|,))/.test(code.slice(start)))
  }
  for (const match of code.matchAll(/\bimport\s*['"](?<name>[^'"]*)['"]/g)) add(match.index, literal(match), false)
  for (const match of code.matchAll(/\bimport\s*\(\s*['"](?<name>[^'"]*)['"]/g)) {
    add(match.index, literal(match), false)
  }
  for (const match of code.matchAll(
    /(?<![.\w])import\s*\(\s*(?=[^'"\s])|\bcreateRequire\b|\bgetBuiltinModule\b(?!\s*\(\s*['"])/g,
  ))
    add(match.index, '?', false)
  return imports
}

/** The path inside the repository that a relative import means, or undefined for a package or a Node module. */
function target(found: Import): string | undefined {
  return found.specifier.startsWith('.') ? posix.join(posix.dirname(found.from), found.specifier) : undefined
}

/** Where a file belongs: a ring, assembly (directly in hub/), or one of client, agent, page, watchdog, images, scripts, test, outside. */
function placeOf(path: string): string {
  const [top = '', second = ''] = path.split('/')
  if (top !== 'hub') return ['watchdog', 'images', 'scripts', 'test'].includes(top) ? top : 'outside'
  if (path.split('/').length === 2) return 'assembly'
  if (/^hub\/client\/agent[-./]/.test(path)) return 'agent'
  if (path.startsWith('hub/client/console/')) return 'page'
  return second
}

function mayImport(from: string, to: string): boolean {
  if (from === 'scripts' || from === 'test') return true
  if (to === 'scripts' || to === 'test' || to === 'outside') return false
  if (from === 'watchdog' || to === 'watchdog') return from === to
  if (from === 'images') return ['images', 'agent', 'base', 'protocol'].includes(to)
  if (to === 'images') return false
  // It runs in a browser, which is served its own folder and nothing more.
  if (from === 'page' || to === 'page') return from === to
  if (from === 'assembly') return true
  if (from === 'client') return ['client', 'agent', 'base', 'protocol'].includes(to)
  // The SDK is copied into images: the rest of the client stays out of it.
  if (from === 'agent') return ['agent', 'base', 'protocol'].includes(to)
  return rings.includes(from) && rings.includes(to) && rings.indexOf(to) <= rings.indexOf(from)
}

/** The findings of a tree, one line each; none means that every import points inward. */
export function judgeLayers(tree: Tree): string[] {
  const imports = [...tree].flatMap(([path, text]) => readImports(path, text))
  const findings = imports.flatMap((found) => judgeImport(found, tree))
  const edges = imports.flatMap((found) => {
    const to = target(found)
    return to === undefined || !tree.has(to) ? [] : [{ from: found.from, to }]
  })
  for (const cycle of findCycles(edges)) findings.push(`files import each other in a circle: ${cycle.join(' -> ')}`)
  const apart = edges.flatMap((edge) => {
    const [from, to] = [folderOf(edge.from), folderOf(edge.to)]
    return from === to || from === '' || to === '' ? [] : [{ from, to, by: `${edge.from} -> ${edge.to}` }]
  })
  for (const cycle of findCycles(apart)) {
    const by = apart.find(({ from, to }) => from === cycle.at(-2) && to === cycle.at(-1))?.by
    findings.push(`folders import each other in a circle: ${cycle.join(' -> ')}, closed by ${by}`)
  }
  return [...findings, ...judgeImagePackages(imports, tree)]
}

function judgeImport(found: Import, tree: Tree): string[] {
  const at = `${found.from}:${found.line}`
  const from = placeOf(found.from)
  if (from === 'scripts' || from === 'test') return []
  if (found.specifier === '?' && loaders.includes(found.from)) return []
  if (found.specifier === '?') return [`${at} imports something only known at run time; name it literally`]
  const to = target(found)
  if (to === undefined) {
    if (from === 'page') return [`${at} imports ${found.specifier}; a browser has no packages`]
    if (/^(?:#|\/|file:|hub\b)/.test(found.specifier)) return [`${at} imports ${found.specifier}; use a relative path`]
    if (from === 'watchdog' && watchdogPackagesBanned.includes(found.specifier)) {
      return [`${at} imports ${found.specifier}, which the watchdog does without (watchdog/README.md)`]
    }
    if (roomOf(found.from) === 'judge' && !judgeModules.includes(found.specifier)) {
      return [`${at} imports ${found.specifier}: the judge only judges; let observe or act do it`]
    }
    const [, only = found.from] = watchingPackages.find(([name]) => name.test(found.specifier)) ?? []
    if (!found.from.startsWith(only) && found.from !== 'watchdog/main.ts')
      return [`${at} imports ${found.specifier}, which only ${only} knows; take what you are handed, types too`]
    if (found.specifier === 'node:http' && !found.typeOnly && from !== 'images') {
      return [
        `${at} imports node:http, and with it all of undici (8 MiB); take it from node-http.ts, and only types from here`,
      ]
    }
    return []
  }
  const goes = placeOf(to)
  if (!mayImport(from, goes)) return [`${at} imports ${to}: ${from} may not import ${goes}`]
  if (from === 'watchdog' && rankOf(to) > rankOf(found.from))
    return [`${at} imports ${to}: ${roomOf(found.from)} may not import ${roomOf(to) || 'what starts the watchdog'}`]
  return tree.has(to) || pageFiles.includes(to) ? [] : [`${at} imports ${to}, which does not exist`]
}

/** The room of a file of the watchdog; '' for what lies directly in its folder. */
function roomOf(path: string): string {
  const [top, room = '', ...rest] = path.split('/')
  return top === 'watchdog' && rest.length > 0 ? room : ''
}

/** How far out a file of the watchdog stands; a room that is not on the list is as far out as can be. */
function rankOf(path: string): number {
  const at = watchdogRooms.indexOf(roomOf(path))
  return at === -1 ? watchdogRooms.length : at
}

/** Two levels inside hub/, `hub/work/dispatch`; '' for files that lie directly in their ring or elsewhere. */
function folderOf(path: string): string {
  const parts = path.split('/')
  return parts[0] === 'hub' && parts.length > 3 ? parts.slice(0, 3).join('/') : ''
}

/** What images load at run time (type imports vanish) may need no package but the few that images carry, or that an addition brings along. */
function judgeImagePackages(imports: Import[], tree: Tree): string[] {
  const ours = [...tree.keys()].filter((path) => ['images', 'agent'].includes(placeOf(path)))
  return [undefined, ...Object.keys(additionPackages)].flatMap((addition) => {
    const carried = [...imagePackages, ...(additionPackages[addition ?? ''] ?? [])]
    return judgePackages(
      imports,
      ours.filter((path) => additionOf(path) === addition),
      carried,
    )
  })
}

function judgePackages(imports: Import[], entries: readonly string[], carried: readonly string[]): string[] {
  const findings: string[] = []
  const seen = new Set(entries)
  for (const path of seen) {
    for (const found of imports.filter((each) => each.from === path && !each.typeOnly && each.specifier !== '?')) {
      const to = target(found)
      // What is apart is judged with the addition it belongs to.
      if (to !== undefined && (additionOf(to) === undefined || additionOf(to) === additionOf(path))) seen.add(to)
      if (to !== undefined || found.specifier.startsWith('node:')) continue
      if (carried.some((name) => found.specifier === name || found.specifier.startsWith(`${name}/`))) continue
      findings.push(`${path}:${found.line} loads ${found.specifier}, and agents' images carry only ${carried}`)
    }
  }
  return findings
}

/** Every circle of a graph once, by depth-first search over the nodes in order. */
function findCycles(edges: readonly { from: string; to: string }[]): string[][] {
  const next = new Map<string, Set<string>>()
  for (const { from, to } of edges) next.set(from, (next.get(from) ?? new Set()).add(to))
  const cycles: string[][] = []
  const done = new Set<string>()
  const visit = (node: string, trail: string[]) => {
    const seenAt = trail.indexOf(node)
    if (seenAt >= 0) cycles.push([...trail.slice(seenAt), node])
    if (seenAt >= 0 || done.has(node)) return
    for (const to of next.get(node) ?? []) visit(to, [...trail, node])
    done.add(node)
  }
  for (const node of [...next.keys()].sort()) visit(node, [])
  return cycles
}
