/** Attempts to use up what others need: processes, memory, room, log, connections, time (T53-T58, T60). */
import { spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { HELPER } from './calls.ts'

const MIB = 1024 ** 2
const codeOf = (thrown: unknown): string => (thrown as NodeJS.ErrnoException).code ?? String(thrown)

/** 200 processes that wait for input which does not come: how many stand, and what the others were told. */
export async function forks() {
  const refusals = new Set<string>()
  let started = 0
  const children = Array.from({ length: 200 }, () => {
    const child = spawn(HELPER, { stdio: ['pipe', 'ignore', 'ignore'] })
    child.on('error', (thrown) => refusals.add(codeOf(thrown)))
    child.stdin?.on('error', () => undefined)
    if (child.pid !== undefined) started += 1
    return child
  })
  await sleep(200)
  for (const child of children) child.kill('SIGKILL')
  return { started, refusals: [...refusals].sort() }
}

export function memory(): never {
  const held: Buffer[] = []
  for (;;) held.push(Buffer.alloc(16 * MIB, held.length + 1))
}

/** Writes one file until it is refused; the file stays. */
function fill(folder: string): { mib: number; refusal: string } {
  const piece = Buffer.alloc(MIB, 7)
  let mib = 0
  try {
    const file = openSync(`${folder}/fill`, 'w')
    try {
      for (; mib < 1024; mib += 1) {
        let at = 0
        while (at < piece.length) at += writeSync(file, piece, at)
      }
      return { mib, refusal: 'none' }
    } finally {
      closeSync(file)
    }
  } catch (thrown) {
    return { mib, refusal: codeOf(thrown) }
  }
}
function fillFiles(folder: string): { files: number; refusal: string } {
  let files = 0
  let refusal = 'none'
  for (; refusal === 'none' && files < 100_000; files += 1) {
    try {
      writeFileSync(`${folder}/f${files}`, '')
    } catch (thrown) {
      refusal = codeOf(thrown)
      break
    }
  }
  for (let each = 0; each < files; each += 1) rmSync(`${folder}/f${each}`)
  return { files, refusal }
}

/** Every mount of this container that may be written to, with the kind of its file system. */
function writableMounts(): Record<string, string> {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').trim().split('\n')
  return Object.fromEntries(
    lines.flatMap((line) => {
      const [, , , , at = '', options = ''] = line.split(' ')
      const [kind = ''] = (line.split(' - ')[1] ?? '').split(' ')
      return options.split(',').includes('rw') ? [[at, kind]] : []
    }),
  )
}

/** Files first: a full mount has no room for their names. Both mounts stay full for a moment, for whoever looks at the container. */
export async function disk() {
  const files = { tmp: fillFiles('/tmp'), workspace: fillFiles('/workspace'), mqueue: fillFiles('/dev/mqueue') }
  const folders = ['/tmp', '/workspace', '/app', '/dev', '/dev/shm', '/dev/mqueue', '/run/hub']
  const room = Object.fromEntries(folders.map((folder) => [folder, fill(folder)]))
  const mounts = writableMounts()
  await sleep(4_000)
  for (const folder of folders.slice(0, 2)) rmSync(`${folder}/fill`)
  return { files, room, mounts }
}

/** So much output, however long this machine takes for it; then it waits, so that what is left of it can be weighed. */
export async function log() {
  const piece = Buffer.from(`${'x'.repeat(1023)}\n`.repeat(64))
  let bytes = 0
  while (bytes < 24 * MIB) {
    try {
      bytes += writeSync(1, piece, bytes % piece.length)
    } catch (thrown) {
      if (codeOf(thrown) !== 'EAGAIN') throw thrown
      await sleep(1)
    }
  }
  await sleep(4_000)
  return { mib: Math.floor(bytes / MIB) }
}

/** How long a hub that is busy may take to hang up on those beyond its limit. After ten seconds it hangs up on all that say nothing. */
const HANG_UP_MS = 6_000

/** 1,000 connections, 150 at a time, none of which says anything: how many stay open once the hub had its time to hang up on the others. */
export async function connects() {
  let most = 0
  let opened = 0
  for (let round = 0; round < 7; round += 1) {
    const sockets = Array.from({ length: 150 }, () => {
      const socket = connect('/run/hub/hub.sock', () => {
        opened += 1
      })
      socket.on('error', () => undefined).resume()
      return socket
    })
    const open = () => sockets.filter(({ readyState }) => readyState === 'open').length
    const made = () => sockets.every(({ readyState }) => readyState !== 'opening')
    for (const endAt = Date.now() + HANG_UP_MS; Date.now() < endAt && !(made() && open() <= 4); ) await sleep(50)
    // Nor does it take one more later.
    await sleep(250)
    most = Math.max(most, open())
    for (const socket of sockets) socket.destroy()
  }
  return { most, tried: opened > 0 }
}

/** Hears no SIGTERM, leaves a child of a child in a session of its own that hears none either, and blocks its one thread. */
export async function stay(): Promise<never> {
  process.on('SIGTERM', () => undefined)
  const deaf = "process.on('SIGTERM',()=>{});process.on('SIGHUP',()=>{});setInterval(()=>{},1e3)"
  // Its session's name in its words, by which the host can see whether it is gone.
  const words = ['-e', deaf, process.env.HUB_SESSION]
  const parent = `require('node:child_process').spawn(process.execPath,${JSON.stringify(words)},{detached:true,stdio:'ignore'}).unref()`
  const child = spawn(process.execPath, ['-e', parent], { detached: true, stdio: 'ignore' })
  await new Promise((resolve) => child.on('exit', resolve))
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  throw new Error('it was woken')
}

/** Its one thread never comes back: no poll, no renewal, no pong, and SIGTERM is not heard. */
export function wedge(): never {
  for (;;);
}

/** Does nothing, alive: it polls, renews and hears SIGTERM. */
export const idle = (): Promise<never> => new Promise(() => setInterval(() => undefined, 1000))
