/**
 * Additions to the shim: code of ours that needs packages of npm, in a layer of its own that only an image gets whose card asks for it. Every other
 * image keeps its bytes.
 *
 * 1. The addition NAME is `images/agent/NAME.ts` and the folder `images/agent/NAME/`. Its code may import its packages and whatever the shim may.
 * 2. The shim imports it with `import()` where the card asks, never at its top: the other images do not hold it.
 * 3. Its packages are those of this repository, pinned by package-lock.json, with all that they need at run time.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { parse } from 'yaml'
import { ADDITION_NAMES, type AdditionName, additionsOf } from '../../hub/protocol/additions.ts'
import { linkOf } from './host-files.ts'
import { gatherPrograms, type Programs, programEntries, sourcesOf } from './programs.ts'
import type { TarEntry } from './tar.ts'

/** What the code of each imports; each stands in package.json. */
export const PACKAGES: Readonly<Record<AdditionName, readonly string[]>> = {
  acp: ['@agentclientprotocol/sdk'],
  mcp: ['@modelcontextprotocol/server', 'zod'],
}

const AGENT = 'images/agent'
/** Above an addition's code and above what it imports of `hub/`; in an image made from another one, nothing of ours lies beside its programs. */
const PLACE = 'app/hub/node_modules'
/** Of a package; its code is loaded as modules, so its second build for `require` stays out. */
const KEPT = /\.(?:js|mjs|json)$/

/** The addition that a source file belongs to; undefined for what every image holds. */
export function additionOf(path: string): AdditionName | undefined {
  return ADDITION_NAMES.find((name) => path === `${AGENT}/${name}.ts` || path.startsWith(`${AGENT}/${name}/`))
}

/** What the card in this folder asks for; nothing where there is no card. */
export function additionsAsked(root: string, folder: string): AdditionName[] {
  const card = join(root, folder, 'agent.yaml')
  if (!existsSync(card)) return []
  const said: unknown = parse(readFileSync(card, 'utf8'))
  if (typeof said !== 'object' || said === null) return []
  return additionsOf(said as Readonly<Record<string, unknown>>)
}

/** Code and packages of one addition. `common` is what the layer below holds. */
export function additionEntries(root: string, name: AdditionName, common: Programs): TarEntry[] {
  const packages = PACKAGES[name]
  const entries = sourcesOf(root, AGENT).filter((path) => additionOf(path) === name)
  if (entries.length === 0) throw new Error(`${AGENT}/${name} is missing, and a card asks for it`)
  const programs = gatherPrograms(root, entries, new Set(common.files.keys()), { carried: packages })
  return [
    ...programEntries(root, { ...programs, packages: new Set() }),
    ...packageEntries(root, packages),
    // Where Node looks first for what its code imports.
    linkOf(`app/${AGENT}/node_modules`, `/${PLACE}`),
  ]
}

interface Locked {
  version?: string
  dev?: boolean
  link?: boolean
  hasInstallScript?: boolean
  dependencies?: Record<string, string>
  peerDependencies?: Record<string, string>
  peerDependenciesMeta?: Record<string, { optional?: boolean }>
}

/** Where the package at `from` finds another one: in its own folder, or in one further up. */
function placeOf(locked: Readonly<Record<string, Locked>>, from: string, name: string): string | undefined {
  const steps = from === '' ? [] : from.split(/\/(?=node_modules\/)/)
  for (let depth = steps.length; depth >= 0; depth -= 1) {
    const path = posix.join(...steps.slice(0, depth), 'node_modules', name)
    if (locked[path] !== undefined) return path
  }
  return undefined
}

/** The packages and all that they need at run time, by their places in package-lock.json, sorted. */
export function closureOf(locked: Readonly<Record<string, Locked>>, names: readonly string[]): string[] {
  const found = new Set<string>()
  const open = names.map((name) => ({ from: '', name }))
  for (let next = open.shift(); next !== undefined; next = open.shift()) {
    const { from, name } = next
    const path = placeOf(locked, from, name)
    const entry = path === undefined ? undefined : locked[path]
    if (path === undefined || entry === undefined)
      throw new Error(`package-lock.json has no ${name}${from === '' ? '' : `, which ${from} needs`}`)
    if (found.has(path)) continue
    if (entry.dev === true) throw new Error(`${name} is a package for tests; images carry only dependencies`)
    if (entry.link === true || entry.hasInstallScript === true)
      throw new Error(`${name} cannot go into an image: it is ${entry.link ? 'a link' : 'built by a script'}`)
    found.add(path)
    const peers = Object.keys(entry.peerDependencies ?? {}).filter(
      (peer) => entry.peerDependenciesMeta?.[peer]?.optional !== true,
    )
    for (const each of [...Object.keys(entry.dependencies ?? {}), ...peers]) open.push({ from: path, name: each })
  }
  return [...found].sort()
}

function packageEntries(root: string, names: readonly string[]): TarEntry[] {
  const { packages: locked } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, Locked>
  }
  return closureOf(locked, names).flatMap((path) => {
    const entries = filesOf(root, path)
    const { version } = JSON.parse(readFileSync(join(root, path, 'package.json'), 'utf8')) as { version: string }
    if (version !== locked[path]?.version)
      throw new Error(
        `${path} is ${version}, and package-lock.json says ${locked[path]?.version}; run npm ci --ignore-scripts`,
      )
    return entries
  })
}

function filesOf(root: string, path: string): TarEntry[] {
  if (!existsSync(join(root, path, 'package.json')))
    throw new Error(`${path} is not installed; run npm ci --ignore-scripts`)
  const names = readdirSync(join(root, path), { recursive: true, encoding: 'utf8' }).sort()
  return names
    .filter((name) => KEPT.test(name) && !/(?:^|\/)node_modules\//.test(name))
    .map((name) => ({
      path: posix.join(PLACE, path.slice('node_modules/'.length), name),
      kind: 'file',
      mode: 0o444,
      data: readFileSync(join(root, path, name)),
    }))
}
