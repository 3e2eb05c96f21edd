/**
 * Assembles the agents' images from scratch, without registry or network, and loads them into the engine (docs/sandbox.md 8).
 *
 *   node scripts/build-images.ts [--json] [--folder DIR]... [--socket PATH]   (HUB_ENGINE_SOCKET names the engine as well)
 *   node scripts/build-images.ts --home DIR   names the users of that home's sessions in the images (engine.firstUser of its hub.yaml), and
 *                                             writes down there that these images were built here
 *   node scripts/build-images.ts --archive [--folder DIR]... | docker load
 *   node scripts/build-images.ts --archive --arch arm64 --node FILE --sysroot DIR   for another machine: its Node binary, and a tree
 *                                                                                  with the libraries of that Node
 */
import { join, relative, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { parseArgs } from 'node:util'
import { archiveOf } from './images/archive.ts'
import { assembleImages, loadImages, shippedFolders } from './images/assembly.ts'
import { firstUserOf, noteBuilds } from './images/home-users.ts'
import { createImageEngine } from './images/loading.ts'
import { archOf, foreignParts, ownParts, type Parts } from './images/machine.ts'

/** Another machine's images are only written out: no engine of this one could run them. */
function partsOf(values: { arch?: string; node?: string; sysroot?: string; archive: boolean }): Parts {
  const { arch, node, sysroot, archive } = values
  if (arch === undefined && node === undefined && sysroot === undefined) return ownParts()
  if (arch === undefined || node === undefined || sysroot === undefined || !archive)
    throw new Error('images for another machine: --archive --arch x64|arm64 --node FILE --sysroot DIR')
  return foreignParts({ arch: archOf(arch), node: resolve(node), sysroot: resolve(sysroot) })
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      folder: { type: 'string', multiple: true, default: [] },
      archive: { type: 'boolean', default: false },
      home: { type: 'string' },
      arch: { type: 'string' },
      node: { type: 'string' },
      sysroot: { type: 'string' },
      socket: { type: 'string', default: process.env.HUB_ENGINE_SOCKET ?? '/var/run/docker.sock' },
    },
  })
  const root = resolve(import.meta.dirname, '..')
  const say = (line: string) => process.stderr.write(`${line}\n`)
  const extra = values.folder.map((folder) => relative(root, resolve(folder)).replaceAll('\\', '/'))
  const startedAt = performance.now()
  say('assembling images')
  const folders = [...shippedFolders(root), ...extra]
  const parts = partsOf(values)
  const firstUser = await firstUserOf(values.home)
  const cacheDir = join(root, '.cache/images')
  const images = assembleImages({ root, cacheDir, folders, prefix: 'hub/', parts, firstUser, say })
  if (values.archive) {
    await pipeline(Readable.from(archiveOf(images)), process.stdout)
    return
  }
  const engine = createImageEngine({ socketPath: values.socket, deadlineMs: 10_000, loadDeadlineMs: 300_000 })
  const built = await loadImages(images, engine, say)
  await noteBuilds(values.home, built, say)
  for (const { name, id, state, note } of built) {
    process.stdout.write(
      values.json
        ? `${JSON.stringify({ name, id, state, note })}\n`
        : `${`${state.padEnd(8)}${name}  ${id}  ${note}`.trimEnd()}\n`,
    )
  }
  say(`done in ${Math.round(performance.now() - startedAt)} ms`)
}

main().catch((error: unknown) => {
  process.stderr.write(`build-images: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
})
