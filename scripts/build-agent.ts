/**
 * Assembles the image of one agent from a folder anywhere on this machine and loads it; prints its name and id.
 *
 *   node scripts/build-agent.ts DIR --name NAME [--image hub/NAME] [--from IMAGE] [--json] [--socket PATH] [--home DIR]
 *
 * In the image the folder is `/app/agents/NAME` (a shipped one, below `images/`, is `/app/images/NAME`). It is copied into a separate tree
 * beside links to this checkout's folders, and scripts/images/assembly.ts reads that tree. Every import from this checkout becomes an
 * import of the one copy in the image.
 */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { basename, join, relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { assembleImages, type Built, loadImages } from './images/assembly.ts'
import { type FromOptions, withImageFrom } from './images/from-image.ts'
import { loadFrom } from './images/from-load.ts'
import { firstUserOf, noteBuilds } from './images/home-users.ts'
import { createEngineCalls, createImageEngine } from './images/loading.ts'
import { readRecipe } from './images/recipe.ts'
import { stageFolder } from './images/staging.ts'

const root = resolve(import.meta.dirname, '..')

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      name: { type: 'string' },
      image: { type: 'string' },
      from: { type: 'string' },
      home: { type: 'string' },
      json: { type: 'boolean', default: false },
      socket: { type: 'string', default: process.env.HUB_ENGINE_SOCKET ?? '/var/run/docker.sock' },
    },
  })
  const [dir] = positionals
  const { name, socket } = values
  if (dir === undefined || name === undefined || !/^[a-z0-9-]{1,63}$/.test(name)) {
    throw new Error(
      'usage: node scripts/build-agent.ts DIR --name NAME [--image hub/NAME] [--from IMAGE] [--json] [--socket PATH] [--home DIR]',
    )
  }
  const folder = resolve(dir)
  const say = (line: string) => process.stderr.write(`${line}\n`)
  const shipped = resolve(folder, '..') === join(root, 'images')
  if (shipped && basename(folder) !== name) throw new Error(`the folder of ${name} must be images/${name}`)
  mkdirSync(join(root, '.cache'), { recursive: true })
  const stage = mkdtempSync(join(root, '.cache', 'stage-'))
  try {
    for (const each of ['hub', 'images', 'node_modules', 'package-lock.json'])
      symlinkSync(join(root, each), join(stage, each))
    if (!shipped) stageFolder({ root, folder, stage, place: `agents/${name}` })
    const place = shipped ? relative(root, folder) : `agents/${name}`
    const options = { root: stage, cacheDir: join(root, '.cache/images'), firstUser: await firstUserOf(values.home) }
    const reference = `${values.image ?? `hub/${name}`}:latest`
    const recipe = readRecipe(stage, place, values.from)
    const built =
      'from' in recipe
        ? await buildFrom({ ...options, folder: place, reference, from: recipe.from }, socket, say)
        : await buildOwn(
            { ...options, folder: place, reference, name, lockFile: join(folder, 'image.lock') },
            socket,
            say,
          )
    await noteBuilds(values.home, [built], say)
    process.stdout.write(
      values.json ? `${JSON.stringify(built)}\n` : `${built.state.padEnd(8)}${built.name}  ${built.id}\n`,
    )
  } finally {
    rmSync(stage, { recursive: true, force: true })
  }
}

const enginesOf = (socketPath: string) => {
  const options = { socketPath, deadlineMs: 10_000, loadDeadlineMs: 900_000 }
  return { engine: createImageEngine(options), calls: createEngineCalls(options) }
}

/** The image assembled from parts of this machine. */
async function buildOwn(
  options: {
    root: string
    cacheDir: string
    firstUser: number
    folder: string
    reference: string
    name: string
    lockFile: string
  },
  socket: string,
  say: (line: string) => void,
): Promise<Built> {
  const { folder, reference, name } = options
  let leftOut = `the assembly made no image hub/${name}`
  const images = assembleImages({
    ...options,
    folders: [folder],
    prefix: 'hub/',
    say(line) {
      leftOut = line
      say(line)
    },
  })
  const own = images.find((each) => each.reference === `hub/${name}:latest`)
  if (own === undefined) throw new Error(leftOut)
  const [built] = await loadImages([{ ...own, reference }], enginesOf(socket).engine, say)
  if (built === undefined) throw new Error('nothing was loaded')
  return built
}

/** The image that stands on another one of the engine. */
async function buildFrom(options: FromOptions, socket: string, say: (line: string) => void): Promise<BuiltFrom> {
  const { engine, calls } = enginesOf(socket)
  return withImageFrom(options, engine, calls, async (made) => {
    const { id, state } = await loadFrom(made, engine, calls, { say })
    const { source, image } = made
    for (const note of source.notes) say(`${source.name}: ${note}`)
    return {
      ...{ name: image.reference.replace(/:latest$/, ''), id, state, note: image.note },
      from: { id: source.id, name: source.name, digests: source.digests },
      notes: source.notes,
    }
  })
}

type BuiltFrom = Built & { from: { id: string; name: string; digests: readonly string[] }; notes: readonly string[] }

main().catch((error: unknown) => {
  process.stderr.write(`build-agent: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
})
