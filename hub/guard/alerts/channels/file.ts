/** Lines of JSON in a file, each on the disk before it counts as told; at its size limit the file is put aside; three old ones are kept. */
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { dirname, resolve } from 'node:path'
import { escapeOdd } from '../../../base/redaction.ts'
import type { Send } from '../message.ts'
import type { Settings } from '../settings.ts'

const ASIDE_MAX = 3
const FLAGS = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** `file` to `file.1`, that to `file.2`, and so on; the oldest goes. */
function putAside(path: string): void {
  rmSync(`${path}.${ASIDE_MAX}`, { force: true })
  for (let at = ASIDE_MAX - 1; at >= 0; at -= 1) {
    try {
      renameSync(at === 0 ? path : `${path}.${at}`, `${path}.${at + 1}`)
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown
    }
  }
}

function syncFolder(path: string): void {
  const fd = openSync(dirname(path), 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** The present file, or a new one if this line would pass the limit. */
function openFor(path: string, bytes: number, sizeMax: number): number {
  const fd = openSync(path, FLAGS, 0o600)
  const found = fstatSync(fd)
  if (!found.isFile()) {
    closeSync(fd)
    throw new Error(`${path} is not a plain file`)
  }
  if (found.size === 0 || found.size + bytes <= sizeMax) return fd
  closeSync(fd)
  putAside(path)
  return openSync(path, FLAGS, 0o600)
}

export function createFile(channel: Settings<'file'>, home: string): Send {
  const path = resolve(home, channel.path)
  return async ({ body: _body, ...message }) => {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    const at = new Date(message.atMs).toISOString()
    const line = `${escapeOdd(JSON.stringify({ at, ...message }))}\n`
    const fd = openFor(path, Buffer.byteLength(line), channel.sizeMax)
    try {
      const { size } = fstatSync(fd)
      // Half a line would spoil the next one too.
      if (writeSync(fd, line) !== Buffer.byteLength(line)) {
        ftruncateSync(fd, size)
        throw new Error('the disk is full')
      }
      fsyncSync(fd)
      if (size === 0) syncFolder(path)
    } finally {
      closeSync(fd)
    }
    return 'written'
  }
}
