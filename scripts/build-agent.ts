/**
 * Assembles the image of one agent from a folder anywhere on this machine and loads it; prints its name and id.
 *
 *   node scripts/build-agent.ts DIR --name NAME [--image hub/NAME] [--json] [--socket PATH] [--home DIR]
 *
 * In the image the folder is `/app/agents/NAME` (a shipped one, below `images/`, is `/app/images/NAME`). It is copied into a separate tree
 * beside links to this checkout's folders, and scripts/images/assembly.ts reads that tree. Every import from this checkout becomes an
 * import of the one copy in the image.
 */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { basename, join, relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { assembleImages, loadImages } from './images/assembly.ts'
import { firstUserOf, noteBuilds } from './images/home-users.ts'
import { createImageEngine } from './images/loading.ts'
import { stageFolder } from './images/staging.ts'

const root = resolve(import.meta.dirname, '..')

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      name: { type: 'string' },
      image: { type: 'string' },
      home: { type: 'string' },
      json: { type: 'boolean', default: false },
      socket: { type: 'string', default: process.env.HUB_ENGINE_SOCKET ?? '/var/run/docker.sock' },
    },
  })
  const [dir] = positionals
  const { name, socket } = values
  if (dir === undefined || name === undefined || !/^[a-z0-9-]{1,63}$/.test(name)) {
    throw new Error(
      'usage: node scripts/build-agent.ts DIR --name NAME [--image hub/NAME] [--json] [--socket PATH] [--home DIR]',
    )
  }
  const folder = resolve(dir)
  const say = (line: string) => process.stderr.write(`${line}\n`)
  const shipped = resolve(folder, '..') === join(root, 'images')
  if (shipped && basename(folder) !== name) throw new Error(`the folder of ${name} must be images/${name}`)
  mkdirSync(join(root, '.cache'), { recursive: true })
  const stage = mkdtempSync(join(root, '.cache', 'stage-'))
  try {
    for (const each of ['hub', 'images', 'node_modules']) symlinkSync(join(root, each), join(stage, each))
    if (!shipped) stageFolder({ root, folder, stage, place: `agents/${name}` })
    let leftOut = `the assembly made no image hub/${name}`
    const images = assembleImages({
      root: stage,
      cacheDir: join(root, '.cache/images'),
      folders: [shipped ? relative(root, folder) : `agents/${name}`],
      prefix: 'hub/',
      firstUser: await firstUserOf(values.home),
      say(line) {
        leftOut = line
      },
    })
    const own = images.find(({ reference }) => reference === `hub/${name}:latest`)
    if (own === undefined) throw new Error(leftOut)
    const engine = createImageEngine({ socketPath: socket, deadlineMs: 10_000, loadDeadlineMs: 300_000 })
    const [built] = await loadImages([{ ...own, reference: `${values.image ?? `hub/${name}`}:latest` }], engine, say)
    if (built === undefined) throw new Error('nothing was loaded')
    await noteBuilds(values.home, [built], say)
    process.stdout.write(
      values.json ? `${JSON.stringify(built)}\n` : `${built.state.padEnd(8)}${built.name}  ${built.id}\n`,
    )
  } finally {
    rmSync(stage, { recursive: true, force: true })
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`build-agent: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
})
