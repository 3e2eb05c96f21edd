/** Files that arrive: streamed beside their place, hashed and synced, and nobody's until a transaction moves them. */
import { createHash } from 'node:crypto'
import { mkdirSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { HubError } from '../base/errors.ts'
import { base32, type Random } from '../base/random.ts'

/** A file that has arrived whole and belongs to nobody yet. */
export interface Arrived {
  path: string
  sha256: string
  size: number
}

export interface Arriving {
  /** Streams into a temporary file. Throws `too_large` at the cap, and `schema_invalid` if the digest differs. */
  receive(source: Readable, sha256: string, bytesMax: number): Promise<Arrived>
  discard(arrived: Arrived): void
}

/** `what`: what such a file is, for people. What an earlier process left in the folder is removed. */
export function createArriving(folder: string, what: string, random: Random): Arriving {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  return {
    async receive(source, sha256, bytesMax) {
      const path = join(folder, base32(random, 16))
      const file = await open(path, 'wx', 0o600)
      const hash = createHash('sha256')
      let size = 0
      try {
        for await (const chunk of source as AsyncIterable<Buffer>) {
          size += chunk.length
          if (size > bytesMax)
            throw new HubError('too_large', `the ${what} is larger than ${bytesMax} bytes, the most this hub takes`)
          hash.update(chunk)
          await file.write(chunk)
        }
        if (hash.digest('hex') !== sha256)
          throw new HubError('schema_invalid', 'the content does not match the digest in the path')
        await file.sync()
        await file.close()
        return { path, sha256, size }
      } catch (thrown) {
        await file.close().catch(() => undefined)
        rmSync(path, { force: true })
        throw thrown
      }
    },
    discard: (arrived) => rmSync(arrived.path, { force: true }),
  }
}
