/** Reads a small file that a person writes. */
import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync } from 'node:fs'
import { HubError } from './errors.ts'

/** Beyond it is no file that a person writes, and parsing it would hold the process up. */
const BYTES_MAX = 64 * 1024

/**
 * The text of a file. Links are followed, anything but a plain file is refused, and nobody waits for a pipe. Undefined if nothing is there; a
 * link that leads nowhere does not count as nothing, since somebody made it on purpose. Throws `config_invalid`, or what the system says.
 */
export function textOfPlainFile(path: string): string | undefined {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (thrown) {
    const isNothing =
      (thrown as NodeJS.ErrnoException).code === 'ENOENT' && lstatSync(path, { throwIfNoEntry: false }) === undefined
    if (isNothing) return undefined
    throw thrown
  }
  try {
    const found = fstatSync(fd)
    if (found.isDirectory())
      throw new HubError('config_invalid', `${path}: there is a folder where a file should be; move the folder away`)
    if (!found.isFile()) throw new HubError('config_invalid', `${path} is no plain file`)
    if (found.size > BYTES_MAX) throw new HubError('config_invalid', `${path} is larger than 64 KiB`)
    return readFileSync(fd, 'utf8')
  } finally {
    closeSync(fd)
  }
}
