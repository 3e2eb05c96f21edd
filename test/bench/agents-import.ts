/**
 * What it costs to give an agent an image. `importRatio`: an image of 1 GB becomes an agent's, from the word to the check that its sessions start,
 * against `docker load` of the same image; once as the engine takes it, and once with the whole image passed on, as engines that want every layer get it.
 */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { FIRST_USER } from '../../hub/work/sandbox/users.ts'
import { archiveOf, imageOf, layerOf } from '../../scripts/images/archive.ts'
import { withImageFrom } from '../../scripts/images/from-image.ts'
import { loadFrom } from '../../scripts/images/from-load.ts'
import { createEngineCalls, createImageEngine } from '../../scripts/images/loading.ts'
import { archOf } from '../../scripts/images/machine.ts'
import { fileData } from '../../scripts/images/tar.ts'
import { ENGINE_SOCKET } from '../support/engine-socket.ts'
import type { Figure } from './run.ts'

const MIB = 1024 ** 2
const FILES = 64
const FILE_BYTES = 16 * MIB
const root = resolve(import.meta.dirname, '../..')
const SOURCE = 'hub-test/bench-large:latest'
const MADE = 'hub-test/bench-from:latest'

const options = { socketPath: ENGINE_SOCKET, deadlineMs: 60_000, loadDeadlineMs: 900_000 }
const engine = createImageEngine(options)
const calls = createEngineCalls(options)

/** 1 GB of files that nothing compresses, in four layers. */
function largeImage(folder: string) {
  const block = randomBytes(MIB)
  const entries = Array.from({ length: FILES }, (_, nth) => {
    const path = join(folder, `f${nth}`)
    const file = openSync(path, 'w')
    for (let at = 0; at < FILE_BYTES; at += MIB) {
      block.writeUInt32LE(nth * 1000 + at / MIB, 0)
      writeSync(file, block)
    }
    closeSync(file)
    return { path: `data/f${nth}`, kind: 'file' as const, mode: 0o644, data: fileData(path) }
  })
  const layers = [0, 1, 2, 3].map((nth) => layerOf(`part ${nth}`, entries.slice(nth * 16, nth * 16 + 16)))
  return imageOf(SOURCE, layers, archOf())
}

const secondsOf = async (act: () => Promise<unknown>): Promise<number> => {
  const startedAt = performance.now()
  await act()
  return (performance.now() - startedAt) / 1000
}
const removed = (name: string) => calls.tell('DELETE', `/images/${name}?force=1`, { deadlineMs: 300_000 })

/** As `hub agent build --from` does it, without the hub. */
function importOf(tree: string, whole: boolean) {
  const folder = 'agents/bench'
  const asked = {
    root: tree,
    cacheDir: join(root, '.cache/images'),
    folder,
    reference: MADE,
    from: SOURCE,
    firstUser: FIRST_USER,
  }
  return withImageFrom(asked, engine, calls, (made) => loadFrom(made, engine, calls, { whole, say: () => undefined }))
}

export async function benchImport(say: (line: string) => void): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-agents-'))
  try {
    for (const each of ['hub', 'images', 'node_modules']) symlinkSync(join(root, each), join(folder, each))
    mkdirSync(join(folder, 'agents/bench'), { recursive: true })
    mkdirSync(join(folder, 'data'))
    const large = largeImage(join(folder, 'data'))
    const archive = join(folder, 'large.tar')
    writeFileSync(archive, '')
    const file = openSync(archive, 'w')
    for (const piece of archiveOf([large])) writeSync(file, piece)
    closeSync(file)
    await removed(SOURCE)
    const load = await secondsOf(async () =>
      execFileSync('docker', ['-H', `unix://${ENGINE_SOCKET}`, 'load', '-q', '-i', archive], { stdio: 'ignore' }),
    )
    say(`docker load of 1 GB: ${load.toFixed(1)} s`)
    const short = await secondsOf(() => importOf(folder, false))
    say(`made an agent's: ${short.toFixed(1)} s`)
    await removed(MADE)
    const before = process.memoryUsage().rss
    let most = before
    const watch = setInterval(() => {
      most = Math.max(most, process.memoryUsage().rss)
    }, 20)
    const whole = await secondsOf(() => importOf(folder, true))
    clearInterval(watch)
    say(`the same with the whole image passed on: ${whole.toFixed(1)} s`)
    return [
      {
        key: 'importRatio',
        value: round(short / load),
        unit: '',
        text: 'an image of 1 GB becomes an agent’s; baseline: docker load of it. The aim is at most 2',
      },
      {
        key: 'importWholeRatio',
        value: round(whole / load),
        unit: '',
        text: 'the same where the engine wants every layer: the whole image is passed on',
      },
      {
        key: 'importWholeMb',
        value: Math.round((most - before) / MIB),
        unit: 'MB',
        text: 'memory that this takes of the process that builds, above what it had',
      },
    ]
  } finally {
    await removed(MADE)
    await removed(SOURCE)
    rmSync(folder, { recursive: true, force: true })
  }
}

const round = (value: number): number => Math.round(value * 100) / 100
