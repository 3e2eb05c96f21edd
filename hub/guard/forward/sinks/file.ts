/**
 * Lines of JSON at the end of a file, on the disk before they count as taken. Every call is asynchronous: a disk that hangs holds up this
 * target alone. Half a line that a crash left is ended first, so that it spoils no other.
 */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { resolve } from 'node:path'
import { diskProblem } from '../../../base/disk-words.ts'
import { HubError } from '../../../base/errors.ts'
import type { Sink } from '../batch.ts'
import type { Target } from '../settings.ts'

// With O_NONBLOCK a named pipe without a reader is refused at once.
const FLAGS = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK
const LINE_FEED = 10

export function createFileSink({ path }: Target<'file'>, home: string): Sink {
  const whole = resolve(home, path)
  return async ({ entries }) => {
    const text = entries.map(({ lines }) => `${lines.join('\n')}\n`).join('')
    try {
      await using file = await open(whole, FLAGS, 0o600)
      const found = await file.stat()
      if (!found.isFile()) throw new HubError('config_invalid', `${whole} is not a plain file`)
      const last = Buffer.alloc(1)
      if (found.size > 0) await file.read(last, 0, 1, found.size - 1)
      const begin = found.size > 0 && last[0] !== LINE_FEED ? '\n' : ''
      try {
        await file.writeFile(begin + text)
        await file.sync()
      } catch (thrown) {
        // A full disk: what did not get there whole comes again.
        await file.truncate(found.size).catch(() => undefined)
        throw thrown
      }
    } catch (thrown) {
      throw diskProblem(thrown, whole)
    }
  }
}
