/**
 * Assembles the image of one agent from a folder anywhere on this machine and loads it; prints its name and id.
 *
 *   node scripts/build-agent.ts DIR --name NAME [--image hub/NAME] [--from IMAGE] [--json] [--socket PATH] [--home DIR]
 *
 * In the image the folder is `/app/agents/NAME` (a shipped one, below `images/`, is `/app/images/NAME`). It is copied into a separate tree
 * beside links to this checkout's folders, and scripts/images/assembly.ts reads that tree. Every import from this checkout becomes an
 * import of the one copy in the image.
 *
 * SIGINT, SIGTERM and SIGHUP stop it: it takes back what it has made on its way, says `build-agent: stopped`, and ends with 130.
 */
import { symlinkSync } from 'node:fs'
import { basename, join, relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { assembleImages, type Built, loadImages } from './images/assembly.ts'
import { type FromOptions, withImageFrom } from './images/from-image.ts'
import { loadFrom } from './images/from-load.ts'
import { firstUserOf, noteBuilds } from './images/home-users.ts'
import { removeOrphans, takeAllBack, workFolder } from './images/left-behind.ts'
import { createEngineCalls, createImageEngine, removeOrphanContainers } from './images/loading.ts'
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
  const cacheDir = join(root, '.cache/images')
  for (const place of [join(root, '.cache'), cacheDir]) removeOrphans(place)
  using work = workFolder(join(root, '.cache'), 'stage')
  const stage = work.path
  const place = shipped ? relative(root, folder) : `agents/${name}`
  try {
    for (const each of ['hub', 'images', 'node_modules', 'package-lock.json'])
      symlinkSync(join(root, each), join(stage, each))
    if (!shipped) stageFolder({ root, folder, stage, place })
    const options = { root: stage, cacheDir, firstUser: await firstUserOf(values.home) }
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
  } catch (thrown) {
    const { message } = thrown as Error
    // The person knows the folder, not the copy of it that is read.
    const own = message.replaceAll(`${stage}/`, '').replaceAll(new RegExp(`(?<![\\w./-])${place}(?=/)`, 'g'), folder)
    throw new Error(own, { cause: thrown })
  }
}

const CALL_MS = 10_000
const enginesOf = (socketPath: string) => {
  const options = { socketPath, deadlineMs: CALL_MS, loadDeadlineMs: 900_000 }
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
): Promise<BuiltOwn> {
  const { folder, reference, name } = options
  const notes: string[] = []
  const images = assembleImages({ ...options, folders: [folder], prefix: 'hub/', say: (line) => notes.push(line) })
  const own = images.find((each) => each.reference === `hub/${name}:latest`)
  const leftOut = `left out ${folder}: `
  if (own === undefined)
    throw new Error(notes.find((line) => line.startsWith(leftOut))?.slice(leftOut.length) ?? 'no image was made of it')
  for (const note of notes) say(note)
  const [built] = await loadImages([{ ...own, reference }], enginesOf(socket).engine, say)
  if (built === undefined) throw new Error('nothing was loaded')
  return { ...built, notes }
}

/** The image that stands on another one of the engine. */
async function buildFrom(options: FromOptions, socket: string, say: (line: string) => void): Promise<BuiltFrom> {
  const { engine, calls } = enginesOf(socket)
  await removeOrphanContainers(calls, CALL_MS)
  return withImageFrom(options, engine, calls, async (made) => {
    const { id, state } = await loadFrom(made, engine, calls, { say })
    const { source, image } = made
    for (const note of source.notes) say(`${source.name}: ${note}`)
    return {
      ...{ name: image.reference.replace(/:latest$/, ''), id, state, note: image.note },
      from: { id: source.id, name: source.name, digests: source.digests },
      ...(image.additions?.length ? { additions: image.additions } : {}),
      notes: source.notes,
    }
  })
}

/** `notes`: what the person who builds should know of it. */
type BuiltOwn = Built & { notes: readonly string[] }
type BuiltFrom = BuiltOwn & { from: { id: string; name: string; digests: readonly string[] } }

let isStopped = false
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => {
    if (isStopped) return
    isStopped = true
    void takeAllBack().then(() => {
      process.stderr.write('build-agent: stopped\n')
      process.exit(130)
    })
  })

main().catch(async (error: unknown) => {
  // An installer that the same signal has ended fails first; its words would say nothing.
  await new Promise((resolve) => setImmediate(resolve))
  if (isStopped) return
  const text = error instanceof Error ? error.message : String(error)
  process.stderr.write(`build-agent: ${text.replaceAll(/\s*\n\s*/g, ' ')}\n`)
  process.exitCode = 1
})
