/** Assembles the images of a repository: base layers, a layer with shim and SDK, a layer for each agent. Loads those that are missing. */
import { existsSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { holdsShell } from '../../hub/protocol/image-recipe.ts'
import { SHELL_NOTE } from '../../hub/work/sandbox/image-gate.ts'
import { additionEntries, additionOf, additionsAsked } from './additions.ts'
import { archiveOf, type Image, imageOf, type Layer, layerOf } from './archive.ts'
import { baseLayer } from './base.ts'
import { BaseMissing, linkOf } from './host-files.ts'
import { differenceOf } from './identity.ts'
import { removeUnused } from './layer-cache.ts'
import type { ImageEngine } from './loading.ts'
import { ownParts, type Parts } from './machine.ts'
import { installPackages, NPM_PLACE } from './packages.ts'
import { gatherPrograms, type Programs, programEntries, sourcesOf } from './programs.ts'
import { pythonLayer } from './python.ts'
import { type Recipe, readRecipe } from './recipe.ts'
import type { TarEntry } from './tar.ts'
import { codingLayer, shellLayer, toolsBeside, toolsLayer } from './tools.ts'

export interface AssemblyOptions {
  /** The repository, or a tree laid out like it. */
  root: string
  cacheDir: string
  /** Folders of agents, relative to the root; each becomes `<prefix><name of the folder>`. */
  folders: readonly string[]
  /** What the images' names begin with: `hub/`. */
  prefix: string
  /** Node and its libraries, and for which machine; default: this machine's. */
  parts?: Parts
  /** The first of the users of sessions, which the images name; default: as shipped. */
  firstUser?: number
  /** What its packages are kept in; default: `image.lock` in the folder. Only for one folder. */
  lockFile?: string
  /** Called for each folder that is left out because this machine lacks its base, with the reason. */
  say?: (line: string) => void
}

export interface Built {
  name: string
  /** The engine's own id. */
  id: string
  state: 'built' | 'present'
  note: string
  /** What was installed into it, with the digests. */
  packages?: readonly string[]
  /** What it holds because its card asks. */
  additions?: readonly string[]
}

const AGENT = 'images/agent'

/** Every shipped image: a folder of `images/` that holds a card or a recipe. */
export function shippedFolders(root: string): string[] {
  const names = readdirSync(join(root, 'images'), { withFileTypes: true })
  const folders = names.filter((entry) => entry.isDirectory()).map((entry) => `images/${entry.name}`)
  return folders.filter((folder) => folder !== AGENT && isImage(join(root, folder))).sort()
}

function isImage(path: string) {
  return ['agent.yaml', 'image.yaml'].some((name) => existsSync(join(path, name)))
}

/** Shim and SDK, which every image holds. */
export function commonPrograms(root: string): Programs {
  if (!existsSync(join(root, AGENT, 'shim.ts')))
    throw new Error(`${AGENT}/shim.ts is missing; an image cannot start without it`)
  const isApart = (path: string) => additionOf(path) !== undefined
  const entries = sourcesOf(root, AGENT).filter((path) => !isApart(path))
  if (existsSync(join(root, 'hub/client/agent.ts'))) entries.push('hub/client/agent.ts')
  return gatherPrograms(root, entries, new Set(), { isApart })
}

/** What the card of the folder asks for beyond what every image holds, each in a layer of its own (additions.ts). */
export function additionLayers(root: string, folder: string, common: Programs): Layer[] {
  return additionsAsked(root, folder).map((name) =>
    layerOf(`hub: ${name} for agents`, additionEntries(root, name, common)),
  )
}

/** What an agent's own program adds to them; nothing where its folder holds no program. */
export function agentEntries(
  root: string,
  folder: string,
  common: Programs,
  carried: readonly string[] = [],
): TarEntry[] {
  const programs = gatherPrograms(root, sourcesOf(root, folder), new Set(common.files.keys()), { carried })
  for (const name of common.packages) programs.packages.delete(name)
  const entries = programEntries(root, programs)
  if (entries.length === 0 || carried.length === 0) return entries
  // Where Node looks for what its programs import.
  return [...entries, linkOf(`app/${folder}/node_modules`, `/${NPM_PLACE}`)]
}

/** Says that the programs below this folder are modules, as Node reads it. */
export const moduleMark = (folder: string): TarEntry => ({
  path: `${folder}/package.json`,
  kind: 'file',
  mode: 0o444,
  data: Buffer.from('{"type":"module"}\n'),
})

/** Makes the images without an engine. They depend on the sources and on the parts, never on time. */
export function assembleImages(options: AssemblyOptions): Image[] {
  const { root, prefix, parts = ownParts(), say = () => undefined } = options
  const base = baseLayer(options.cacheDir, parts, options.firstUser)
  const common = commonPrograms(root)
  const shim = layerOf('hub: shim and agent SDK', [moduleMark('app'), ...programEntries(root, common)])
  const agentLayers = (folder: string, carried: readonly string[]): Layer[] => {
    const entries = agentEntries(root, folder, common, carried)
    return entries.length === 0 ? [] : [layerOf(`hub: agent ${basename(folder)}`, entries)]
  }
  const onBase = createBases(parts, say)
  const images = [imageOf(`${prefix}agent:latest`, [base, shim], parts.arch)]
  for (const folder of options.folders) {
    const recipe = readRecipe(root, folder)
    if ('from' in recipe) {
      say(
        `left out ${folder}: an image made from another, ${recipe.from}, needs the engine; \`hub agent build\` makes it`,
      )
      continue
    }
    try {
      const below = onBase(recipe)
      const lockFile = options.lockFile ?? join(root, folder, 'image.lock')
      const hasEnv = recipe.base === 'shell' || recipe.base === 'coding'
      const { npm, pip } = recipe.packages ?? {}
      if ((npm ?? pip) !== undefined && !parts.own)
        throw new BaseMissing(
          `packages are installed by the machine that assembles, and this machine is not ${parts.arch}`,
        )
      const installed = installPackages({ npm, pip, lockFile, hasEnv, cacheDir: options.cacheDir, say })
      const added = additionLayers(root, folder, common)
      const layers = [base, ...below, ...installed.layers, shim, ...added, ...agentLayers(folder, installed.names)]
      const note = holdsShell(recipe) ? SHELL_NOTE : ''
      const image = imageOf(`${prefix}${basename(folder)}:latest`, layers, parts.arch, note)
      images.push({ ...image, packages: installed.digests, additions: additionsAsked(root, folder) })
    } catch (thrown) {
      if (!(thrown instanceof BaseMissing)) throw thrown
      say(`left out ${folder}: ${thrown.message}`)
    }
  }
  const { names, bytes } = removeUnused(options.cacheDir, Date.now())
  if (names.length > 0)
    say(
      `removed ${names.length} layers that no build has needed lately (${Math.ceil(bytes / 1024 ** 2)} MiB): ${names.join(', ')}`,
    )
  return images
}

/** The layers between Node and the shim; each is made once, and only if an image needs it. */
function createBases({ own, arch }: Parts, say: (line: string) => void): (recipe: Recipe) => Layer[] {
  const made = new Map<string, Layer>()
  const once = (name: string, make: () => Layer): Layer => {
    const layer = made.get(name) ?? make()
    made.set(name, layer)
    return layer
  }
  const python = () => once('python', () => ofBase('python', pythonLayer))
  const shell = () => once('shell', () => ofBase('shell', shellLayer))
  const makers: Readonly<Record<Recipe['base'], () => Layer[]>> = {
    node: () => [],
    python: () => [python()],
    shell: () => [shell()],
    coding: () => [shell(), once('coding', () => ofBase('coding', () => codingLayer(say)))],
  }
  return ({ base, tools = [] }) => {
    if (base === 'node' && tools.length === 0) return []
    if (!own)
      throw new BaseMissing(
        `this machine has no base ${base}: it is copied from the machine that assembles, and this machine is not ${arch}`,
      )
    const beside = toolsBeside(base, tools)
    return [
      ...makers[base](),
      ...(beside.length === 0 ? [] : [once(`tools ${beside.join(' ')}`, () => toolsLayer(beside))]),
      ...(tools.includes('python3') && base !== 'python' ? [python()] : []),
    ]
  }
}

/** What the base lacks is said of the base. */
function ofBase(base: string, make: () => Layer): Layer {
  try {
    return make()
  } catch (thrown) {
    if (!(thrown instanceof BaseMissing)) throw thrown
    throw new BaseMissing(`this machine has no base ${base}: ${thrown.message}`)
  }
}

/** Loads the images that the engine does not have yet, all in one archive, and inspects each afterwards. */
export async function loadImages(
  images: readonly Image[],
  engine: ImageEngine,
  say: (line: string) => void,
): Promise<Built[]> {
  const ids = new Map<Image, string>()
  const absent: Image[] = []
  for (const image of images) {
    const shown = await engine.inspect(image.reference)
    if (differenceOf(image, shown) === undefined) ids.set(image, idOf(shown))
    else absent.push(image)
  }
  if (absent.length > 0) {
    say(`loading ${absent.map((image) => image.reference).join(', ')}`)
    await engine.load(archiveOf(absent))
  }
  for (const image of absent) {
    const shown = await engine.inspect(image.reference)
    if (shown === undefined)
      throw new Error(`the engine accepted the archive but has no ${image.reference}; see its log`)
    const difference = differenceOf(image, shown)
    if (difference !== undefined)
      throw new Error(`the engine shows ${image.reference}, but not as it was assembled: ${difference}; see its log`)
    ids.set(image, idOf(shown))
  }
  return images.map((image) => ({
    name: image.reference.replace(/:latest$/, ''),
    id: ids.get(image) ?? '',
    note: image.note,
    ...(image.packages === undefined || image.packages.length === 0 ? {} : { packages: image.packages }),
    ...(image.additions?.length ? { additions: image.additions } : {}),
    state: absent.includes(image) ? 'built' : 'present',
  }))
}

/** The engine's own id of what it shows. */
export function idOf(shown: unknown): string {
  const { Id } = shown as { Id?: unknown }
  if (typeof Id !== 'string' || !/^sha256:[0-9a-f]{64}$/.test(Id))
    throw new Error('the engine shows an image without an id')
  return Id
}
