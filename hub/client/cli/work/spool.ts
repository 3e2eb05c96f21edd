import { createWriteStream, mkdirSync, readdirSync, rmSync, statfsSync } from 'node:fs'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { diskProblem } from '../../../base/disk-words.ts'
import { usage } from '../../problem.ts'
import { sizeText } from '../text.ts'

/**
 * A folder for what is sent or was fetched, while the command runs: in the home, never in the system's temporary folder, which may be in memory (fault B6). It is removed
 * however the command ends; what a killed command left is removed by the next one.
 */
export interface Spool {
  /** Makes the folder, and answers its path. */
  open(): string
  /** Stores the source and returns the file. @throws Problem usage past the limit; HubError if the disk of the home is full. */
  take(source: Readable, bytesMax: number): Promise<string>
  /** @throws HubError if the disk of the home has no room for so many bytes */
  requireRoom(bytes: number): void
  remove(): void
}

const NAME = /^input-(\d{1,10})$/
/** Free space that the home needs for itself: 5 % of the disk, at most 200 MB. */
const KEPT_SHARE = 0.05
const KEPT_BYTES = 200e6

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

/** How many bytes may be written before the home has less free space than it needs. */
function roomIn(folder: string): number {
  const { bavail, blocks, bsize } = statfsSync(folder)
  return bavail * bsize - Math.min(KEPT_BYTES, blocks * bsize * KEPT_SHARE)
}

export function createSpool(home: string): Spool {
  const run = path.join(home, 'run')
  const folder = path.join(run, `input-${process.pid}`)
  // A git that is just being ended may still make a file meanwhile.
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  const leave = () => {
    remove()
    process.exit(130)
  }

  function requireRoom(bytes: number): void {
    if (roomIn(run) < bytes) throw diskProblem(Object.assign(new Error('no room'), { code: 'ENOSPC' }), run)
  }

  async function* within(source: Readable, bytesMax: number): AsyncGenerator<Buffer> {
    let size = 0
    for await (const chunk of source as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > bytesMax) throw usage(`--input: stdin gave more than ${sizeText(bytesMax)}`, 'send less')
      requireRoom(chunk.length)
      yield chunk
    }
  }

  function begin(): string {
    for (const name of readdirSync(run)) {
      const pid = Number(NAME.exec(name)?.[1])
      if (Number.isInteger(pid) && !isAlive(pid)) rmSync(path.join(run, name), { recursive: true, force: true })
    }
    mkdirSync(folder, { mode: 0o700 })
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, leave)
    return folder
  }

  return {
    open: begin,
    requireRoom,
    async take(source, bytesMax) {
      begin()
      const file = path.join(folder, 'stdin')
      try {
        await pipeline(within(source, bytesMax), createWriteStream(file, { mode: 0o600 }))
      } catch (error) {
        throw diskProblem(error, run)
      }
      return file
    },
    remove() {
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.removeListener(signal, leave)
      remove()
    },
  }
}
