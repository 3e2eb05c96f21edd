/** Where lines go when they cannot be written: the hub's sink and the watchdog's, which share no code, held to the same (fault B1). */
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import * as ofHub from '../../../hub/base/log-sink.ts'
import * as ofWatchdog from '../../../watchdog/base/log-sink.ts'

const { O_APPEND, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants
let folder: string
let opened: number[]
let timers: (() => void)[]
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ls-'))
  opened = []
  timers = []
})
afterEach(() => {
  for (const fd of opened) closeSync(fd)
  rmSync(folder, { recursive: true })
})
const open = (path: string, flags: string | number) => {
  const fd = openSync(path, flags, 0o600)
  opened.push(fd)
  return fd
}
const after = (_ms: number, fn: () => void) => {
  timers.push(fn)
  return Object.assign(() => undefined, { cancel: () => undefined })
}
const later = () => {
  for (const fn of timers.splice(0)) fn()
}
const line = (at: number, length = 100) => `${JSON.stringify({ at, text: 'x'.repeat(length) })}\n`
type Line = { at?: number; lost?: number; why?: string }
const linesOf = (text: string) =>
  text
    .split('\n')
    .filter((each) => each !== '')
    .map((each) => JSON.parse(each) as Line)
const tellLost = (lost: number, why: string) => `${JSON.stringify({ lost, why })}\n`
const failure = (code: string) => Object.assign(new Error(code), { code })

describe.each([
  ['hub', ofHub],
  ['watchdog', ofWatchdog],
] as const)('the log of the %s', (_name, { createLogSink, cutLine, FILES_KEPT, LINE_BYTES_MAX, WAITING_BYTES_MAX }) => {
  it('fault B1: a disk without room throws nothing; what waits is bounded, the rest is counted, and both are written once there is room [stop-52]', () => {
    const file = join(folder, 'a.log')
    let room = 250
    const write = (fd: number, bytes: Uint8Array) => {
      if (room === 0) throw failure('ENOSPC')
      const taken = writeSync(fd, bytes.subarray(0, room))
      room -= taken
      return taken
    }
    const sink = createLogSink({ fd: open(file, 'a'), tellLost }, { clock: { after }, write })
    for (let at = 0; at < 2000; at += 1) sink.write(line(at))
    expect(readFileSync(file).length, 'a part of a line was taken').toBe(250)
    expect(timers, 'one try waits').toHaveLength(1)
    const { lost, waiting } = sink.state()
    expect(lost).toBeGreaterThan(1000)
    expect(waiting * line(1).length).toBeLessThanOrEqual(WAITING_BYTES_MAX)
    later()
    expect(readFileSync(file).length, 'still no room').toBe(250)

    room = 1e6
    later()
    const lines = linesOf(readFileSync(file, 'utf8'))
    expect(lines.at(-1)).toEqual({ lost, why: 'ENOSPC' })
    expect(lines.slice(0, -1).map(({ at }) => at)).toEqual(Array.from({ length: 2000 - lost }, (_, at) => at))
    sink.write(line(2000))
    expect(linesOf(readFileSync(file, 'utf8')).at(-1)).toMatchObject({ at: 2000 })
    expect(timers).toEqual([])
  })

  it.each(['ENOSPC', 'EIO', 'EPIPE', 'EROFS', 'EDQUOT', 'EBADF'])(
    'fault B1: %s at every write throws nothing',
    (code) => {
      const write = () => {
        throw failure(code)
      }
      const sink = createLogSink({ fd: open(join(folder, 'a.log'), 'a'), tellLost }, { clock: { after }, write })
      for (let at = 0; at < 1000; at += 1) sink.write(line(at))
      later()
      sink.flush()
      sink.reopen()
      expect(sink.state().lost).toBeGreaterThan(0)
    },
  )

  it.skipIf(!existsSync('/dev/full'))('fault B1: a real device that is full throws nothing', () => {
    const sink = createLogSink({ fd: open('/dev/full', 'a'), tellLost }, { clock: { after } })
    for (let at = 0; at < 1000; at += 1) sink.write(line(at))
    expect(sink.state().lost).toBeGreaterThan(0)
  })

  it('fault B1: a pipe that nobody reads is not waited for, the descriptor that was handed over keeps its flag, and a reader who comes back is told what is lost', () => {
    const pipe = join(folder, 'pipe')
    execFileSync('mkfifo', [pipe])
    const reader = open(pipe, O_RDONLY | O_NONBLOCK)
    const fd = open(pipe, O_WRONLY)
    const flags = () => /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1]
    const before = flags()
    const sink = createLogSink({ fd, tellLost }, { clock: { after } })
    for (let at = 0; at < 5000; at += 1) sink.write(line(at))
    expect(flags()).toBe(before)
    const { lost } = sink.state()
    expect(lost).toBeGreaterThan(1000)
    let text = ''
    const read = () => {
      const part = Buffer.alloc(1e6)
      text += part.toString('utf8', 0, readSync(reader, part))
    }
    read()
    for (let turn = 0; turn < 2; turn += 1) {
      later()
      read()
    }
    const lines = linesOf(text)
    expect(lines.at(-1)).toEqual({ lost, why: 'EAGAIN' })
    expect(lines).toHaveLength(5000 - lost + 1)
  })

  it('fault B1: a reader that has gone, before or after the start, is no fault', () => {
    const pipe = join(folder, 'pipe')
    execFileSync('mkfifo', [pipe])
    const reader = openSync(pipe, O_RDONLY | O_NONBLOCK)
    const fd = open(pipe, O_WRONLY)
    const first = createLogSink({ fd, tellLost }, { clock: { after } })
    first.write(line(0))
    closeSync(reader)
    const second = createLogSink({ fd, tellLost }, { clock: { after } })
    for (const sink of [first, second]) for (let at = 0; at < 1000; at += 1) sink.write(line(at))
    expect(first.state().lost).toBeGreaterThan(0)
    expect(second.state().lost).toBeGreaterThan(0)
  })

  it('fault B1, T30: a line that is too long is cut with a mark and can still be parsed', () => {
    for (const text of ['x'.repeat(1e6), '\u2028"\\'.repeat(1e5), '€'.repeat(1e5), '😀'.repeat(1e5)]) {
      const long = `${JSON.stringify({ level: 40, time: 7, msg: 'it said', text })}\n`
      const cut = cutLine(long)
      expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(LINE_BYTES_MAX)
      expect(cut.indexOf('\n')).toBe(cut.length - 1)
      expect(JSON.parse(cut)).toMatchObject({ level: 40, time: 7, cutFromBytes: Buffer.byteLength(long) })
    }
    expect(cutLine(line(1))).toBe(line(1))
    expect(JSON.parse(cutLine('no JSON'.repeat(1e5)))).toMatchObject({ cutFromBytes: 7e5 })
  })

  it('bounds a file of its own: it is turned over by size, a few older ones stay, and every line of them is whole', () => {
    const own = join(folder, 'own.log')
    const sink = createLogSink({ fd: open(own, 'a'), own, tellLost }, { clock: { after }, fileBytesMax: 1000 })
    for (let at = 0; at < 200; at += 1) sink.write(line(at))
    const files = readdirSync(folder).sort()
    expect(files).toEqual(['own.log', ...Array.from({ length: FILES_KEPT }, (_, at) => `own.log.${at + 1}`)])
    for (const name of files) expect(statSync(join(folder, name)).size).toBeLessThanOrEqual(1000)
    expect(statSync(own).mode & 0o777).toBe(0o600)
    const kept = files
      .map((name) => linesOf(readFileSync(join(folder, name), 'utf8')))
      .reverse()
      .flat()
    expect(kept.map(({ at }) => at)).toEqual(Array.from({ length: kept.length }, (_, at) => 200 - kept.length + at))
    expect(sink.state().lost).toBe(0)
  })

  it('leaves a file alone that is not its own, and its own where the folder takes no new one', () => {
    const other = join(folder, 'other.log')
    const own = join(folder, 'own.log')
    writeFileSync(own, '')
    const foreign = createLogSink({ fd: open(other, 'a'), own, tellLost }, { clock: { after }, fileBytesMax: 1000 })
    for (let at = 0; at < 100; at += 1) foreign.write(line(at))
    expect(linesOf(readFileSync(other, 'utf8'))).toHaveLength(100)
    execFileSync('mkdir', [`${own}.new`])
    const stuck = createLogSink({ fd: open(own, 'a'), own, tellLost }, { clock: { after }, fileBytesMax: 1000 })
    for (let at = 0; at < 100; at += 1) stuck.write(line(at))
    expect(linesOf(readFileSync(own, 'utf8'))).toHaveLength(100)
  })

  it('fault B1: at a limit of size the log goes on in a new file', () => {
    const own = join(folder, 'own.log')
    const write = (fd: number, bytes: Uint8Array) => {
      const size = Number(/pos:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1])
      const room = 1050 - size
      if (room <= 0) throw failure('EFBIG')
      return writeSync(fd, bytes.subarray(0, room))
    }
    const sink = createLogSink({ fd: open(own, 'a'), own, tellLost }, { clock: { after }, write })
    for (let at = 0; at < 20; at += 1) {
      sink.write(line(at))
      later()
    }
    expect(existsSync(`${own}.1`)).toBe(true)
    expect(linesOf(readFileSync(own, 'utf8')).at(-1)).toMatchObject({ at: 19 })
    expect(sink.state()).toEqual({ lost: 2, waiting: 0 })
  })

  it('fault C31: a file that was moved away is opened anew by its name', () => {
    const file = join(folder, 'any.log')
    const sink = createLogSink(
      { fd: open(file, O_WRONLY | O_APPEND | constants.O_CREAT), tellLost },
      { clock: { after } },
    )
    sink.write(line(0))
    renameSync(file, `${file}.old`)
    sink.write(line(1))
    sink.reopen()
    sink.write(line(2))
    expect(linesOf(readFileSync(`${file}.old`, 'utf8'))).toHaveLength(2)
    expect(linesOf(readFileSync(file, 'utf8'))).toMatchObject([{ at: 2 }])
  })
})

describe('the log of the hub alone', () => {
  it('S0-25: goes on in the file that is named, with the bounds that are given, and back', () => {
    const own = join(folder, 'own.log')
    const named = join(folder, 'named.log')
    const sink = ofHub.createLogSink({ fd: open(own, 'a'), own, tellLost }, { clock: { after } })
    sink.write(line(0))
    sink.use({ file: named, maxSize: 1000, keep: 2 })
    for (let at = 1; at < 200; at += 1) sink.write(line(at))
    expect(readdirSync(folder).sort()).toEqual(['named.log', 'named.log.1', 'named.log.2', 'own.log'])
    for (const name of ['', '.1', '.2']) expect(statSync(`${named}${name}`).size).toBeLessThanOrEqual(1000)
    expect(linesOf(readFileSync(own, 'utf8'))).toMatchObject([{ at: 0 }])
    sink.use({ file: named, maxSize: 1000, keep: 1 })
    for (let at = 200; at < 230; at += 1) sink.write(line(at))
    expect(existsSync(`${named}.2`)).toBe(false)
    expect(() => sink.use({ file: join(folder, 'none', 'x.log'), maxSize: 1000, keep: 1 })).toThrow('ENOENT')
    sink.write(line(230))
    expect(linesOf(readFileSync(named, 'utf8')).at(-1)).toMatchObject({ at: 230 })
    expect(() => sink.use({ file: '/dev/null', maxSize: 1000, keep: 1 })).toThrow('/dev/null is no plain file')
    sink.use({ file: undefined, maxSize: 1000, keep: 1 })
    sink.write(line(231))
    expect(linesOf(readFileSync(own, 'utf8')).at(-1)).toMatchObject({ at: 231 })
    expect(sink.state().lost).toBe(0)
  })
})
