/**
 * Makes the image of an agent from another image of the engine (docs/images.md 4): that one's layers, untouched, and ours on top. Nothing of it is
 * run to make it, but our Node at the end, sealed, to see that sessions will start.
 */
import { join } from 'node:path'
import { SHELL_NOTE } from '../../hub/work/sandbox/image-gate.ts'
import { additionsAsked } from './additions.ts'
import { type Image, imageOf, type Layer, layerOf } from './archive.ts'
import { additionLayers, agentEntries, commonPrograms, moduleMark } from './assembly.ts'
import { accountsOf } from './base.ts'
import { detachedNode } from './detached-node.ts'
import { judgeSource, type Source, withAccounts } from './from.ts'
import { workFolder } from './left-behind.ts'
import type { EngineCalls, ImageEngine } from './loading.ts'
import { ownParts, type Parts } from './machine.ts'
import { programEntries } from './programs.ts'
import { disagreement, shellOfCard } from './recipe.ts'
import { openSource, type SourceFiles } from './source-files.ts'
import { fileData, type TarEntry } from './tar.ts'

export interface FromOptions {
  root: string
  cacheDir: string
  folder: string
  reference: string
  /** The name or id of the other image. */
  from: string
  firstUser: number
  parts?: Parts
}

export interface FromImage {
  image: Image
  source: Source
}

/** Where ours goes. Each must be a folder there, or nothing. */
const FOLDERS = [
  'app',
  'app/images',
  'app/agents',
  'tmp',
  'workspace',
  'run',
  'run/hub',
  'etc',
  'usr',
  'usr/local',
  'usr/local/bin',
]
/** Nothing may be there: it would be mixed with ours. */
const OURS = ['app/hub', 'app/images/agent']
const SHELLS = ['sh', 'bash', 'dash', 'ash', 'busybox'].flatMap((name) => [`/bin/${name}`, `/usr/bin/${name}`])
const NODE = 'usr/local/bin/node'
const ACCOUNTS_BYTES_MAX = 1024 ** 2
/** The image's own Node under its name, first on PATH, where ours takes its place. */
const OWN_NODE = 'app/hub/own'

const mountPoints = (): TarEntry[] =>
  ['tmp', 'workspace', 'run/hub'].map((path) => ({ path, kind: 'folder', mode: 0o755 }))

const jsonFile = (path: string, value: unknown): TarEntry => ({
  path,
  kind: 'file',
  mode: 0o444,
  data: Buffer.from(`${JSON.stringify(value, null, 1)}\n`),
})

/** Hands the image to `use`; files that were copied out of the other one are there until that ends. Throws naming what is refused. */
export async function withImageFrom<Result>(
  options: FromOptions,
  engine: ImageEngine,
  calls: EngineCalls,
  use: (made: FromImage) => Promise<Result>,
): Promise<Result> {
  const { root, folder, reference, from, parts = ownParts() } = options
  const additions = additionsAsked(root, folder)
  const source = judgeSource(from, await engine.inspect(from), parts.arch, additions.length)
  using kept = workFolder(options.cacheDir, 'from')
  await using files = await openSource(calls, source.id)
  await checkPlaces(files, from)
  const shell = await findShell(files)
  const said = shellOfCard(root, folder)
  if (said !== undefined && said !== (shell !== undefined))
    throw disagreement(
      folder,
      said,
      shell === undefined ? `${from}, which has no shell` : `${from}, which has ${shell}`,
    )
  if ((await files.stat(parts.arch === 'x64' ? '/lib/ld-musl-x86_64.so.1' : '/lib/ld-musl-aarch64.so.1')) !== undefined)
    source.notes.push('its C library is musl: its own programs run; a native addon of Node must be made for glibc')
  const own = [...(await accountEntries(files, options.firstUser)), ...(await ownNode(files, kept.path))]
  const env = own.some(({ path }) => path.startsWith(OWN_NODE))
    ? { ...source.env, PATH: `/${OWN_NODE}:${source.env.PATH}` }
    : source.env
  const common = commonPrograms(root)
  const layers: Layer[] = [
    layerOf('hub: node and its libraries, apart from those of the image', [...mountPoints(), ...detachedNode(parts)]),
    layerOf('hub: shim and agent SDK', [
      ...['app/hub', 'app/images/agent'].map(moduleMark),
      // The image's own programs may be in /app: none of ours is beside them.
      ...programEntries(root, common).map((entry) => ({
        ...entry,
        path: entry.path.replace(/^app\/node_modules\//, 'app/hub/node_modules/'),
      })),
    ]),
    layerOf('hub: users and environment', [...own, jsonFile('app/hub/environment.json', env)]),
    ...additionLayers(root, folder, common),
    ...agentLayers(options, common),
  ]
  const note = shell === undefined ? '' : SHELL_NOTE
  const image = { ...imageOf(reference, layers, parts.arch, note, source), additions }
  return await use({ image, source: { ...source, env } })
}

function agentLayers({ root, folder }: FromOptions, common: ReturnType<typeof commonPrograms>): Layer[] {
  const entries = agentEntries(root, folder, common)
  if (entries.length === 0) return []
  const mark = moduleMark(`app/${folder}`)
  const marked = entries.some(({ path }) => path === mark.path) ? [] : [mark]
  return [layerOf(`hub: agent ${folder}`, [...marked, ...entries])]
}

/** A layer of ours over a link of the image would hide all that is behind the link. */
async function checkPlaces(files: SourceFiles, name: string): Promise<void> {
  for (const path of OURS)
    if ((await files.stat(`/${path}`)) !== undefined)
      throw new Error(
        `${name} has a /${path} already, where the hub puts its shim; is it an agent's image itself? Move that folder`,
      )
  for (const path of FOLDERS) {
    const found = await files.stat(`/${path}`)
    if (found === undefined || found.kind === 'folder') continue
    const what = found.kind === 'link' ? `a link to ${found.target}` : 'a file'
    throw new Error(`/${path} of ${name} is ${what}, and the hub needs a folder there; make it one`)
  }
}

async function findShell(files: SourceFiles): Promise<string | undefined> {
  for (const path of SHELLS) if ((await files.stat(path)) !== undefined) return path
  return undefined
}

async function accountEntries(files: SourceFiles, firstUser: number): Promise<TarEntry[]> {
  const { passwd, group } = accountsOf(firstUser)
  const entry = async (path: string, ours: string): Promise<TarEntry> => {
    const own = await files.read(`/${path}`, ACCOUNTS_BYTES_MAX)
    return { path, kind: 'file', mode: 0o644, data: Buffer.from(withAccounts(own, ours)) }
  }
  return [await entry('etc/passwd', passwd), await entry('etc/group', group)]
}

/** Our Node takes the place of the image's own, which moves aside and stays first on PATH. */
async function ownNode(files: SourceFiles, kept: string): Promise<TarEntry[]> {
  const found = await files.stat(`/${NODE}`)
  if (found === undefined || found.kind === 'folder') return []
  const path = `${OWN_NODE}/node`
  if (found.kind === 'link') return [{ path, kind: 'link', mode: 0o777, target: found.target }]
  await files.copy(`/${NODE}`, join(kept, 'node'))
  return [{ path, kind: 'file', mode: 0o755, data: fileData(join(kept, 'node')) }]
}
