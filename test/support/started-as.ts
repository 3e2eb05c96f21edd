/**
 * The two processes of a home started as people have them: by `hub up`, which gives them log files of the home, or as their units start
 * them, without a service manager: ExecStart with the unit's environment and limits and a pipe that is full and that nobody reads.
 */
import { execFileSync, spawn } from 'node:child_process'
import {
  appendFileSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { runHub } from './fake-hub.ts'
import { mountSmall } from './fault-home.ts'
import { ask } from './hub-harness.ts'

const root = resolve(import.meta.dirname, '../..')
const { O_NONBLOCK, O_RDWR, O_WRONLY } = constants
const START_MS_MAX = 120_000
const SOCKETS = {
  hub: ['run/operator.sock', '/healthz'],
  watchdog: ['watchdog/run/watchdog.sock', '/v1/status'],
} as const

export type Part = keyof typeof SOCKETS
export interface StartedAs {
  /** Starts this one of the two, unless it runs, and answers its process id. */
  begin(part: Part, home: string): Promise<number>
  /** All that came out of its log so far; from now on there is room in it. */
  said(part: Part): string
  /** How much it took of the memory and threads it may have, 1 being all of them; 0 where nobody limits it or it has ended. */
  peak(part: Part): number
  /** Not one line more goes into its log; a home that is filled does this to the log files of `hub up`. */
  brim(part: Part): void
  close(): void
}

export const logOf = (home: string, part: Part): string => join(home, 'logs', `${part}.log`)

/** `hub up` starts both at once, as often as it is asked. */
export function byHubUp(): StartedAs {
  let at = ''
  return {
    async begin(part, home) {
      at = home
      const { code, stderr } = await runHub(home, ['up'])
      if (code !== 0) throw new Error(`hub up ended with ${code}: ${stderr}`)
      const pidFile = part === 'hub' ? 'run/hub.pid' : 'watchdog/watchdog.pid'
      return Number(readFileSync(join(home, pidFile), 'utf8'))
    },
    said: (part) => readFileSync(logOf(at, part), 'utf8'),
    peak: () => 0,
    brim: () => undefined,
    close: () => undefined,
  }
}

/** What the unit says more than once counts as often. */
const linesOf = (unit: string, key: string): string[] =>
  [...unit.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value]) => value ?? '')
const bytesOf = (text: string): number => Number.parseInt(text, 10) * (text.endsWith('G') ? 1024 ** 3 : 1024 ** 2)

export function asUnits(): StartedAs {
  const folder = mkdtempSync(join(tmpdir(), 'su-'))
  const running = new Map<Part, { pid: number; memoryMax: number; tasksMax: number; hasEnded: () => boolean }>()
  const pipes = new Map<Part, { output: number; brim: number; input: number; said: string }>()

  function pipeOf(part: Part) {
    const known = pipes.get(part)
    if (known !== undefined) return known
    const path = join(folder, part)
    execFileSync('mkfifo', [path])
    // Open for both, it has a reader as long as the test lives, and opening waits for nobody.
    const made = {
      output: openSync(path, O_RDWR),
      brim: openSync(path, O_WRONLY | O_NONBLOCK),
      input: openSync(path, O_RDWR | O_NONBLOCK),
      said: '',
    }
    pipes.set(part, made)
    return made
  }
  function brim(part: Part): void {
    for (const size of [4096, 1]) {
      try {
        for (;;) writeSync(pipeOf(part).brim, Buffer.alloc(size, 10))
      } catch {
        // Full at this size.
      }
    }
  }
  function said(part: Part): string {
    const pipe = pipeOf(part)
    const taken = Buffer.alloc(65_536)
    try {
      for (;;) pipe.said += taken.toString('utf8', 0, readSync(pipe.input, taken))
    } catch {
      // Nothing more is in it.
    }
    return pipe.said
  }
  function unitOf(part: Part, home: string): string {
    execFileSync(join(root, 'scripts/systemd/install'), ['--home', home, '--to', folder])
    return readFileSync(join(folder, part === 'hub' ? 'hub.service' : 'hub-watchdog.service'), 'utf8')
  }
  return {
    async begin(part, home) {
      const known = running.get(part)
      if (known !== undefined && !known.hasEnded()) return known.pid
      const unit = unitOf(part, home)
      // As `hub up` does, which then has the manager start the unit.
      for (const path of linesOf(unit, 'ConditionPathExists')) rmSync(path.replace(/^!/, ''), { force: true })
      const [memory = '', tasks = '', mask = ''] = ['MemoryMax', 'TasksMax', 'UMask'].map(
        (key) => linesOf(unit, key)[0],
      )
      // The defaults of a service manager for what the unit leaves open. What is in memory, and the threads of one unit alone, no limit of a
      // process counts: `peak` is held against MemoryMax and TasksMax instead.
      const limits = ['--nofile=1024:', '--core=0']
      const rights = ['--no-new-privs', '--bounding-set=-all', '--inh-caps=-all']
      const words = linesOf(unit, 'ExecStart').flatMap((line) => line.split(' '))
      brim(part)
      const { output } = pipeOf(part)
      const env = Object.fromEntries(linesOf(unit, 'Environment').map((line) => line.split('=', 2)))
      const child = spawn(
        'sh',
        ['-c', `umask ${mask}; exec "$@"`, 'sh', 'prlimit', ...limits, 'setpriv', ...rights, ...words],
        { cwd: home, env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', output, output], detached: true },
      )
      const hasEnded = () => child.exitCode !== null || child.signalCode !== null
      running.set(part, { pid: child.pid ?? 0, memoryMax: bytesOf(memory), tasksMax: Number(tasks), hasEnded })
      const [socket, path] = SOCKETS[part]
      for (const giveUpAt = performance.now() + START_MS_MAX; ; await sleep(50)) {
        const { status } = await ask(join(home, socket), 'GET', path, undefined, {}).catch(() => ({ status: 0 }))
        if (status !== 0) return child.pid ?? 0
        if (hasEnded() || performance.now() > giveUpAt)
          throw new Error(`the ${part} does not start as its unit starts it (${child.exitCode}): ${said(part)}`)
      }
    },
    said,
    peak(part) {
      const known = running.get(part)
      if (known === undefined || known.hasEnded()) return 0
      const status = readFileSync(`/proc/${known.pid}/status`, 'utf8')
      const memory = Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
      return Math.max(memory / known.memoryMax, Number(/^Threads:\s+(\d+)$/m.exec(status)?.[1]) / known.tasksMax)
    },
    brim,
    close() {
      for (const { pid, hasEnded } of running.values()) if (!hasEnded()) process.kill(pid, 'SIGKILL')
      for (const { output, brim: full, input } of pipes.values()) for (const fd of [output, full, input]) closeSync(fd)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/**
 * A small file system for a home. `fill`: not one byte more, the last page of each of these files included; line breaks, so that what is
 * written into them later still stands in lines. Undefined where none can be mounted.
 */
export function openDisk(bytes: number) {
  const disk = mountSmall(`size=${bytes},mode=700`)
  if (disk === undefined) return undefined
  const { folder } = disk
  const resize = (size: number) => execFileSync('mount', ['-o', `remount,size=${size}`, folder])
  return {
    folder,
    close: disk,
    fill(files: readonly string[]) {
      // What writes meanwhile may need a page more than was just counted.
      for (let tries = 5; ; tries -= 1) {
        const { blocks, bfree, bsize } = statfsSync(folder)
        try {
          resize((blocks - bfree) * bsize)
          break
        } catch (thrown) {
          if (tries === 0) throw thrown
        }
      }
      for (const file of [join(folder, 'filler'), ...files]) {
        if (file !== join(folder, 'filler') && !existsSync(file)) mkdirSync(join(file, '..'), { recursive: true })
        for (const size of [4096, 1]) {
          try {
            for (;;) appendFileSync(file, Buffer.alloc(size, 10))
          } catch {
            // Full at this size.
          }
        }
      }
    },
    room() {
      rmSync(join(folder, 'filler'), { force: true })
      resize(bytes)
    },
  }
}
