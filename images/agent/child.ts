/**
 * The agent's own program as a child process.
 *
 * 1. It gets an argv and a new environment; no shell, and nothing of the shim's own environment.
 * 2. It leads its own process group. When it has ended, or the shim ends, the group is killed: no child outlives the shim.
 *    A process that leaves the group dies with the container.
 * 3. For lack of memory it goes first, and the shim stays to say so and to keep what is there.
 * 4. Its output is read as fast as it is used, so a program that writes faster waits. After its end only what is still in the pipes is read.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import type { Readable } from 'node:stream'
import type { HubAgent } from '../../hub/client/agent.ts'
import { withEgress } from './egress-environment.ts'
import { imageEnvironment } from './image-environment.ts'

export type Exit =
  | { kind: 'exited'; code: number }
  | { kind: 'killed'; signal: string }
  | { kind: 'not_started'; why: string }

export interface Child {
  readonly exit: Promise<Exit>
  /** Undefined if it could not be started. */
  readonly pid: number | undefined
  /** Passes every chunk to `take`, the next one only after it has returned. Resolves when there is no more. */
  read(from: 'stdout' | 'stderr', take: (chunk: Buffer) => unknown): Promise<void>
  /** False if it is refused: the program has not read the last MiB, or reads no more. */
  write(text: string | Buffer): boolean
  /** Resolves when the program has read what was written, or never will. */
  drained(): Promise<void>
  endInput(): void
  /** SIGTERM to the whole group after `termAfterMs`, SIGKILL after `killAfterMs`. The first plan that ends it counts. */
  stop(plan: { termAfterMs: number; killAfterMs: number }): void
}

const INPUT_BYTES_MAX = 1024 ** 2
/** How much is still read from the pipes after the program has ended: their content, but no stream that another process keeps open. */
const AFTER_EXIT = { bytesMax: 1024 ** 2, waitMs: 1_000, everyMs: 100 }

/** Of 1000: the kernel takes it, and all it starts, before the shim. Anybody may raise this, and nobody in a session may lower it. */
const OOM_SCORE = '500'

function goesFirst(pid: number | undefined): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, OOM_SCORE)
  } catch {
    // It has ended already, or this is no Linux.
  }
}

/** The whole environment of the program; the card's values override the defaults and the image's, the deadline overrides all. */
export function environmentOf({ joined }: Pick<HubAgent, 'joined'>, home: string): Record<string, string> {
  const path = process.env.PATH ?? '/usr/local/bin:/usr/bin:/bin'
  const own = withEgress(joined.program.env, joined.egress)
  const given = { PATH: path, LANG: 'C.UTF-8', ...imageEnvironment(), HOME: home, TMPDIR: '/tmp', ...own }
  return { ...given, HUB_DEADLINE: String(joined.deadlineMs) }
}

export function startChild(argv: readonly string[], options: { env: Record<string, string>; cwd: string }): Child {
  const [command = '', ...rest] = argv
  let child: ChildProcess | undefined
  let thrownWhy = ''
  try {
    child = spawn(command, rest, { ...options, shell: false, detached: true, stdio: ['pipe', 'pipe', 'pipe'] })
    goesFirst(child.pid)
  } catch (thrown) {
    thrownWhy = (thrown as Error).message
  }
  const { stdin = null } = child ?? {}
  // A program that closes its input breaks the pipe; that is its right.
  stdin?.on('error', () => {})

  const signalGroup = (signal: 'SIGTERM' | 'SIGKILL') => {
    if (child?.pid === undefined) return
    try {
      process.kill(-child.pid, signal)
    } catch {
      // The group is empty already.
    }
  }
  const atShimExit = () => signalGroup('SIGKILL')
  process.once('exit', atShimExit)

  let ended = false
  const timers: NodeJS.Timeout[] = []
  const exit = new Promise<Exit>((resolve) => {
    child?.once('error', (thrown) => resolve({ kind: 'not_started', why: thrown.message }))
    child?.once('exit', (code, signal) => {
      resolve(code === null ? { kind: 'killed', signal: signal ?? 'SIGKILL' } : { kind: 'exited', code })
    })
    if (child === undefined) resolve({ kind: 'not_started', why: thrownWhy })
  }).then((how) => {
    ended = true
    for (const timer of timers) clearTimeout(timer)
    signalGroup('SIGKILL')
    // Nobody waits for a program that is gone, even where something it left behind holds the pipe.
    stdin?.destroy()
    process.off('exit', atShimExit)
    return how
  })

  async function read(stream: Readable, take: (chunk: Buffer) => unknown): Promise<void> {
    let waiting = true
    let bytesLeft = AFTER_EXIT.bytesMax
    let waitLeftMs = AFTER_EXIT.waitMs
    const watch = setInterval(() => {
      if (ended && waiting) waitLeftMs -= AFTER_EXIT.everyMs
      if (waitLeftMs <= 0) stream.destroy()
    }, AFTER_EXIT.everyMs)
    try {
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        waiting = false
        if (ended) bytesLeft -= chunk.length
        if (bytesLeft < 0) return
        await take(chunk)
        waiting = true
      }
    } catch (thrown) {
      // We closed it under the loop; anything else is a fault.
      if ((thrown as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw thrown
    } finally {
      clearInterval(watch)
      stream.destroy()
    }
  }
  const isOpen = () => stdin !== null && !stdin.destroyed && !stdin.writableEnded

  return {
    exit,
    pid: child?.pid,
    async read(from, take) {
      const stream = child?.[from]
      if (stream) await read(stream, take)
    },
    write(text) {
      if (!isOpen() || stdin === null || stdin.writableLength > INPUT_BYTES_MAX) return false
      stdin.write(text)
      return true
    },
    async drained() {
      if (stdin === null || !isOpen() || !stdin.writableNeedDrain) return
      const over = new AbortController()
      await Promise.race(['drain', 'close'].map((name) => once(stdin, name, { signal: over.signal }).catch(() => {})))
      over.abort()
    },
    endInput: () => void stdin?.end(),
    stop({ termAfterMs, killAfterMs }) {
      if (ended) return
      timers.push(setTimeout(() => signalGroup('SIGTERM'), termAfterMs))
      timers.push(setTimeout(() => signalGroup('SIGKILL'), killAfterMs))
    },
  }
}
