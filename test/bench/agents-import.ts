/**
 * What it costs to give an agent an image. `importRatio`: an image of 1 GB becomes an agent's, from the word to the check that its sessions start,
 * against `docker load` of the same image; once as the engine takes it, and once with the whole image passed on, as engines that want every layer get it.
 * Whoever passes it on has the engine hand it out and take it again, so the second stands beside `docker save` into `docker load` too.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { FIRST_USER } from '../../hub/work/sandbox/users.ts'
import { archiveOf, imageOf, layerOf } from '../../scripts/images/archive.ts'
import { withImageFrom } from '../../scripts/images/from-image.ts'
import { loadFrom } from '../../scripts/images/from-load.ts'
import { createEngineCalls, createImageEngine } from '../../scripts/images/loading.ts'
import { archOf } from '../../scripts/images/machine.ts'
import { fileData } from '../../scripts/images/tar.ts'
import { ENGINE_SOCKET } from '../support/engine-socket.ts'
import type { Figure } from './run.ts'
import { type Spread, spreadOf } from './spread.ts'

type Say = (line: string) => void
const execute = promisify(execFile)

const MIB = 1024 ** 2
const ROUNDS = 3
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

/** `docker save` of it into `docker load`: what an engine takes to hand out every layer and to take it again, with nothing of ours between. */
async function passedBare(): Promise<void> {
  const [from, to] = [
    ['save', SOURCE],
    ['load', '-q'],
  ].map((words) =>
    spawn('docker', ['-H', `unix://${ENGINE_SOCKET}`, ...words], { stdio: ['pipe', 'pipe', 'inherit'] }),
  ) as [ChildProcess, ChildProcess]
  const codes = [from, to].map((child) => new Promise((resolve) => child.once('close', resolve)))
  to.stdout?.resume()
  await pipeline(from.stdout as Readable, to.stdin as Writable)
  const ended = await Promise.all(codes)
  if (ended.some((code) => code !== 0)) throw new Error(`docker save into docker load ended with ${ended.join(', ')}`)
}

export async function benchImport(say: Say, { rounds = ROUNDS }: { rounds?: number }): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-agents-'))
  try {
    for (const each of ['hub', 'images', 'node_modules']) symlinkSync(join(root, each), join(folder, each))
    mkdirSync(join(folder, 'agents/bench'), { recursive: true })
    mkdirSync(join(folder, 'data'))
    const large = largeImage(join(folder, 'data'))
    const archive = join(folder, 'large.tar')
    const file = openSync(archive, 'w')
    for (const piece of archiveOf([large])) writeSync(file, piece)
    closeSync(file)
    rmSync(join(folder, 'data'), { recursive: true })
    const loaded = () => execute('docker', ['-H', `unix://${ENGINE_SOCKET}`, 'load', '-q', '-i', archive])
    const taken = { load: [] as number[], short: [] as number[], bare: [] as number[], whole: [] as number[] }
    let mostMb = 0
    // Each round removes what it made, so that the next one finds nothing of it. The first warms what all of them read.
    for (let at = -1; at < rounds; at += 1) {
      await removed(SOURCE)
      const load = await secondsOf(loaded)
      const short = await secondsOf(() => importOf(folder, false))
      await removed(MADE)
      const bare = await secondsOf(passedBare)
      const { seconds: whole, mb } = await watched(() => importOf(folder, true))
      await removed(MADE)
      mostMb = Math.max(mostMb, mb)
      const row = { load, short, bare, whole }
      if (at >= 0) for (const key of ['load', 'short', 'bare', 'whole'] as const) taken[key].push(row[key])
    }
    const [load, short, bare, whole] = [taken.load, taken.short, taken.bare, taken.whole].map((each) =>
      spreadOf(each, 1),
    ) as [Spread, Spread, Spread, Spread]
    say(`docker load of 1 GB: ${load.text} s; made an agent's: ${short.text} s`)
    say(`docker save into docker load: ${bare.text} s; the whole image passed on: ${whole.text} s`)
    const ratio = (key: string, one: Spread, other: Spread, text: string): Figure => ({
      ...{ key, value: Math.round((one.median / other.median) * 100) / 100, unit: '', text },
    })
    return [
      ratio(
        'importRatio',
        short,
        load,
        'an image of 1 GB becomes an agent’s / docker load of it. The aim is at most 2',
      ),
      ratio('importWholeRatio', whole, load, 'where the engine wants every layer, the whole image is passed on'),
      ratio('importWholeBareRatio', bare, load, 'the same by docker save into docker load alone'),
      {
        key: 'importWholeMb',
        value: Math.round(mostMb),
        unit: 'MB',
        text: 'memory that this takes, above what it had',
      },
    ]
  } finally {
    await removed(MADE)
    await removed(SOURCE)
    rmSync(folder, { recursive: true, force: true })
  }
}

/** How long it takes, and how much more memory this process has meanwhile. */
async function watched(act: () => Promise<unknown>): Promise<{ seconds: number; mb: number }> {
  const before = process.memoryUsage().rss
  let most = before
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage().rss)
  }, 20)
  try {
    return { seconds: await secondsOf(act), mb: (most - before) / MIB }
  } finally {
    clearInterval(watch)
  }
}
