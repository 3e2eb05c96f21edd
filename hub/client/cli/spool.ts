/**
 * Where what comes on stdin is kept until it has been sent: in the home, never in the system's folder for temporary files, which may be memory
 * (fault B6). Nothing is left of it, whatever ends the command; what a killed one left goes with the next.
 */
import { createWriteStream, mkdirSync, readdirSync, rmSync, statfsSync } from 'node:fs'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { diskProblem } from '../../base/disk-words.ts'
import { usage } from '../problem.ts'
import { sizeText } from './text.ts'

export interface Spool {
  /** Keeps what comes and answers the file. @throws Problem usage past the limit; HubError where the home has no room. */
  take(source: Readable, bytesMax: number): Promise<string>
  remove(): void
}

const NAME = /^input-(\d{1,10})$/
/** What the home keeps for itself: its marks stand at 5 % and 200 MB. */
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

/** Bytes that may be written before the home has less than it needs. */
function roomIn(folder: string): number {
  const { bavail, blocks, bsize } = statfsSync(folder)
  return bavail * bsize - Math.min(KEPT_BYTES, blocks * bsize * KEPT_SHARE)
}

export function createSpool(home: string): Spool {
  const run = path.join(home, 'run')
  const folder = path.join(run, `input-${process.pid}`)
  const remove = () => rmSync(folder, { recursive: true, force: true })
  const leave = () => {
    remove()
    process.exit(130)
  }

  async function* within(source: Readable, bytesMax: number): AsyncGenerator<Buffer> {
    let size = 0
    for await (const chunk of source as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > bytesMax) throw usage(`--input: stdin gave more than ${sizeText(bytesMax)}`, 'send less')
      if (roomIn(run) < chunk.length) throw diskProblem(Object.assign(new Error('no room'), { code: 'ENOSPC' }), run)
      yield chunk
    }
  }

  return {
    async take(source, bytesMax) {
      for (const name of readdirSync(run)) {
        const pid = Number(NAME.exec(name)?.[1])
        if (Number.isInteger(pid) && !isAlive(pid)) rmSync(path.join(run, name), { recursive: true, force: true })
      }
      mkdirSync(folder, { mode: 0o700 })
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, leave)
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
