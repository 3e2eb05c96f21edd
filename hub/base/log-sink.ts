/**
 * Where a process writes its lines: a file, a pipe, a terminal or a socket that it was given. Never throws and never blocks (fault B1).
 *
 * L1. A line that cannot be written now waits, 64 KiB of them at most; beyond that lines are dropped and counted, and the count is a line of
 *     its own as soon as one can be written again. This covers a full disk, a pipe that nobody reads, a reader that is gone, a size limit.
 * L2. A line has at most 16 KiB; a longer one is cut, and says so. A line is written whole, or continues later where
 *     it was cut, so that every line of the file can be parsed (T30).
 * L3. The target is opened again here, so that this process alone decides not to wait: the flag of the descriptor that was handed over is
 *     shared with every other process that holds it.
 * L4. A file that is this process's own is bounded: at 16 MiB it becomes FILE.1, and the one before FILE.2, up to FILE.5, unless `use` says
 *     otherwise. `use` also names another file, which is then this process's own.
 *     On `reopen` (SIGHUP) a file is opened by its name again, for programs such as logrotate.
 */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { Socket } from 'node:net'
import type { Clock } from './clock.ts'

export interface LogSink {
  /** One or more lines, each with its line break. */
  write(text: string): void
  /**
   * Goes on in this file, or without one in what was handed over, and with these bounds. Throws what the system says if the file cannot be
   * opened; then nothing has changed.
   */
  use(settings: LogFile): void
  /** Throws what `use` would throw of this file; changes nothing. A file that is not there is made. */
  tryOpen(file: string | undefined): void
  /** Opens a file by its name again. */
  reopen(): void
  /** Tries the waiting lines once more; for the end of the process. */
  flush(): void
  /** Lines lost so far, and lines that wait. */
  state(): { lost: number; waiting: number }
}

/** The file of a log: its path, the bytes beyond which a new one is begun, and how many earlier ones stay. */
export interface LogFile {
  file: string | undefined
  maxSize: number
  keep: number
}

export const LINE_BYTES_MAX = 16 * 1024
export const WAITING_BYTES_MAX = 64 * 1024
export const FILE_BYTES_MAX = 16 * 1024 ** 2
export const FILES_KEPT = 5
export const FILES_KEPT_MAX = 50
/** Kept of a line that is too long; each character takes three bytes at most. */
const CUT_CHARS = 4096
const RETRY_MS_MIN = 20
const RETRY_MS_MAX = 1000

/** The beginning of a line that is too long, as a line that can be parsed and says how long it was. Pure. */
export function cutLine(line: string): string {
  const bytes = Buffer.byteLength(line)
  if (bytes <= LINE_BYTES_MAX) return line
  const kept: Record<string, unknown> = {}
  try {
    const { level, time, msg, part } = JSON.parse(line) as Record<string, unknown>
    const shortMsg = typeof msg === 'string' ? { msg: msg.slice(0, 200) } : {}
    Object.assign(kept, { level, time }, part === undefined ? {} : { part }, shortMsg)
  } catch {
    // Not one of our lines: only its beginning is kept.
  }
  return `${JSON.stringify({ ...kept, cutFromBytes: bytes, begins: line.slice(0, CUT_CHARS).toWellFormed() })}\n`
}

interface Outlet {
  /** How many bytes were written. Throws if none was. */
  put(bytes: Uint8Array): number
  close(): void
}

/** A socket cannot be opened again: the event loop writes to it, up to what may wait. */
function socketOutlet(fd: number): Outlet {
  const socket = new Socket({ fd, readable: false, writable: true })
  socket.on('error', () => undefined)
  return {
    put(bytes) {
      if (socket.destroyed || socket.writableLength > WAITING_BYTES_MAX) throw new Error('nobody reads')
      socket.write(bytes)
      return bytes.length
    },
    close: () => undefined,
  }
}

const APPEND = constants.O_WRONLY | constants.O_APPEND | constants.O_NONBLOCK | constants.O_NOCTTY

export interface LogSinkOptions {
  /** What was handed to the process: 1 or 2. */
  fd: number
  /** The file that this process owns and bounds, if it writes there. */
  own?: string
  /** The line that tells of lost ones. */
  tellLost: (lines: number, why: string) => string
}

/** `write` and `fileBytesMax` are for tests. */
export function createLogSink(
  { fd, own, tellLost }: LogSinkOptions,
  outer: {
    clock: Pick<Clock, 'after'>
    write?: (fd: number, bytes: Uint8Array) => number
    fileBytesMax?: number
  },
): LogSink {
  const { clock, write = writeSync } = outer
  let used: LogFile = { file: undefined, maxSize: outer.fileBytesMax ?? FILE_BYTES_MAX, keep: FILES_KEPT }
  const kind = fstatSync(fd)
  const name = kind.isFile() ? nameOf(fd) : undefined
  const handed = own !== undefined && kind.isFile() && isFile(own, kind) ? own : undefined
  /** The file that this process bounds. */
  let bounded = handed
  let size = kind.isFile() ? kind.size : 0
  /** The size at which the file is rotated next; larger if rotating just failed. */
  let turnAt = used.maxSize
  let outlet: Outlet | undefined
  /** Whole lines, in order; `lines` is what is lost with the entry. */
  const waiting: { bytes: Buffer; lines: number }[] = []
  let waitingBytes = 0
  /** How much of the first one is written already. */
  let begun = 0
  let untold = 0
  let lost = 0
  let why = ''
  let retryMs = RETRY_MS_MIN
  let isRetrying = false

  const fileOutlet = (opened: number, isMine: boolean): Outlet => ({
    put: (bytes) => write(opened, bytes),
    close() {
      if (isMine) closeSync(opened)
    },
  })

  /** Throws if a pipe has no reader. */
  function open(): Outlet {
    if (kind.isSocket()) return socketOutlet(fd)
    try {
      return fileOutlet(openSync(`/proc/self/fd/${fd}`, APPEND), true)
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === 'ENXIO') throw thrown
      // Another account's pipe, or no /proc: the event loop writes to a pipe without waiting; a file never makes anybody wait.
      return kind.isFIFO() ? socketOutlet(fd) : fileOutlet(fd, false)
    }
  }

  const openFile = (path: string, more = 0): number =>
    openSync(path, APPEND | constants.O_CREAT | constants.O_NOFOLLOW | more, 0o600)

  /** Throws for a device or a pipe: rotating would rename it. */
  function openPlainFile(path: string): number {
    const made = openFile(path)
    if (fstatSync(made).isFile()) return made
    closeSync(made)
    throw new Error(`${path} is no plain file`)
  }

  function goOnIn(opened: number): void {
    outlet?.close()
    outlet = fileOutlet(opened, true)
    size = fstatSync(opened).size
    turnAt = used.maxSize
    // What was begun in the file before has no end there.
    const first = begun > 0 ? waiting.shift() : undefined
    begun = 0
    if (first === undefined) return
    waitingBytes -= first.bytes.length
    count(first.lines)
  }

  function goBack(): void {
    if (kind.isFile()) {
      goOnIn(handed === undefined ? openSync(`/proc/self/fd/${fd}`, APPEND) : openFile(handed))
      return
    }
    outlet?.close()
    outlet = undefined
    begun = size = 0
  }

  function turnOver(path: string): void {
    let opened: number | undefined
    try {
      // The new one first: if the disk takes no file, everything stays as it is.
      opened = openFile(`${path}.new`, constants.O_TRUNC)
      for (let at = used.keep - 1; at >= 0; at -= 1)
        renameIfThere(at === 0 ? path : `${path}.${at}`, `${path}.${at + 1}`)
      renameSync(`${path}.new`, path)
      goOnIn(opened)
      for (let at = used.keep + 1; at <= FILES_KEPT_MAX; at += 1) rmSync(`${path}.${at}`, { force: true })
    } catch {
      if (opened !== undefined) closeSync(opened)
      turnAt = size + used.maxSize / 16
    }
  }

  function count(lines: number): void {
    untold += lines
    lost += lines
  }

  function retryLater(): void {
    if (isRetrying) return
    isRetrying = true
    clock.after(retryMs, () => {
      isRetrying = false
      retryMs = Math.min(RETRY_MS_MAX, retryMs * 2)
      put()
    })
  }

  /** Writes what waits, in order, as far as it goes. */
  function put(): void {
    try {
      outlet ??= open()
      for (;;) {
        if (waiting.length === 0 && untold > 0) {
          const bytes = Buffer.from(tellLost(untold, why))
          waiting.push({ bytes, lines: untold })
          waitingBytes += bytes.length
          untold = 0
        }
        const [first] = waiting
        if (first === undefined) break
        const isFull = size + first.bytes.length > turnAt
        if (bounded !== undefined && size > 0 && (begun === 0 || turnAt === 0) && isFull) {
          turnOver(bounded)
          if (begun === 0 && waiting[0] !== first) continue
        }
        const taken = outlet.put(begun === 0 ? first.bytes : first.bytes.subarray(begun))
        size += taken
        begun += taken
        if (begun < first.bytes.length) continue
        waiting.shift()
        waitingBytes -= first.bytes.length
        begun = 0
      }
      retryMs = RETRY_MS_MIN
    } catch (thrown) {
      const { code, message } = thrown as NodeJS.ErrnoException
      why = code ?? message
      // A size limit applies to one file: a new file has room.
      if (code === 'EFBIG') turnAt = 0
      retryLater()
    }
  }

  return {
    write(text) {
      const bytes = Buffer.from(cutLine(text))
      if (waiting.length > 0 && waitingBytes + bytes.length > WAITING_BYTES_MAX) {
        count(1)
        return
      }
      waiting.push({ bytes, lines: 1 })
      waitingBytes += bytes.length
      put()
    },
    use(next) {
      const before = used
      used = next
      if (turnAt !== 0) turnAt = next.maxSize
      if (next.file === before.file) return
      try {
        if (next.file === undefined) goBack()
        else goOnIn(openPlainFile(next.file))
        bounded = next.file ?? handed
      } catch (thrown) {
        used = before
        turnAt = before.maxSize
        throw thrown
      }
      put()
    },
    tryOpen(file) {
      if (file !== undefined) closeSync(openPlainFile(file))
    },
    reopen() {
      const path = bounded ?? name
      if (path === undefined) return
      try {
        goOnIn(openFile(path))
      } catch {
        // It stays where it is.
      }
      put()
    },
    flush: put,
    state: () => ({ lost, waiting: waiting.length }),
  }
}

function nameOf(fd: number): string | undefined {
  try {
    const path = readlinkSync(`/proc/self/fd/${fd}`)
    return path.startsWith('/') && !path.endsWith(' (deleted)') ? path : undefined
  } catch {
    return undefined
  }
}

/** Whether two descriptors lead to one place, such as both outputs to one file. */
export function isSamePlace(one: number, other: number): boolean {
  const [a, b] = [fstatSync(one), fstatSync(other)]
  return a.dev === b.dev && a.ino === b.ino
}

function isFile(path: string, { dev, ino }: { dev: number; ino: number }): boolean {
  const found = statSync(path, { throwIfNoEntry: false })
  return found?.dev === dev && found.ino === ino
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to)
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown
  }
}
