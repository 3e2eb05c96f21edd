/**
 * A home whose disk can really fail, and a real hub process on it: a small file system of its own, or calls that are made to fail.
 * No engine: what is tried here is the store, and a hub without an engine still writes a record of all it is asked.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ask, type OperatorAnswer } from './hub-harness.ts'

const root = resolve(import.meta.dirname, '../..')
/** Of a busy machine: nothing waits so long that goes well. */
const START_MS_MAX = 120_000
const UNTIL_MS_MAX = 120_000

export interface Fault {
  call: 'sync' | 'write'
  nth: number
  errno: number
  /** Counted from `arm()` on; else from the start of the process. */
  armed?: boolean
}

/** Compiles the shim; undefined where no compiler is at hand. */
export function compileShim(folder: string): string | undefined {
  const library = join(folder, 'fault-shim.so')
  const made = spawnSync('cc', ['-shared', '-fPIC', '-o', library, join(root, 'test/support/fault-shim.c'), '-ldl'])
  return made.status === 0 ? library : undefined
}

/** Mounts a small file system; undefined where that is not permitted. */
export function mountSmall(options: string): ((() => void) & { folder: string }) | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'fh-'))
  if (process.getuid?.() !== 0 || spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder]).status !== 0) {
    rmSync(folder, { recursive: true })
    return undefined
  }
  const unmount = () => {
    // Lazily: a test that failed half-way may still hold files.
    spawnSync('umount', ['-l', folder])
    rmSync(folder, { recursive: true, force: true })
  }
  return Object.assign(unmount, { folder })
}

/** A file system in a file, which can be made read-only under whoever writes, as the kernel does after a fault; undefined where not permitted. */
export function mountImage(bytes: number): ((() => void) & { folder: string; seal: () => void }) | undefined {
  const base = mkdtempSync(join(tmpdir(), 'fi-'))
  const [image, folder] = [join(base, 'image'), join(base, 'home')]
  mkdirSync(folder)
  writeFileSync(image, '')
  truncateSync(image, bytes)
  const done = (command: string, ...words: string[]) => spawnSync(command, words).status === 0
  const isMade = process.getuid?.() === 0 && done('mkfs.ext4', '-q', '-F', '-m', '0', image)
  if (!isMade || !done('mount', '-o', 'loop', image, folder)) {
    rmSync(base, { recursive: true })
    return undefined
  }
  rmSync(join(folder, 'lost+found'), { recursive: true })
  chmodSync(folder, 0o700)
  const unmount = () => {
    spawnSync('umount', ['-l', folder])
    rmSync(base, { recursive: true, force: true })
  }
  return Object.assign(unmount, { folder, seal: () => void execFileSync('mount', ['-o', 'remount,abort', folder]) })
}

export interface FaultHome {
  readonly home: string
  /** Starts the hub; answers once it is up, or with how it ended instead. */
  start(fault?: Fault & { preload: string }): Promise<'up' | { code: number | null; said: string }>
  arm(): void
  /** Whether the fault has happened in the hub that runs. */
  fired(): boolean
  operator(method: 'GET' | 'POST', path: string, body?: unknown): Promise<OperatorAnswer>
  conditions(): Promise<string[]>
  /** Writes one record; answers whether the hub said that it stands. */
  write(): Promise<boolean>
  until(check: () => Promise<boolean> | boolean, what: string): Promise<void>
  /** Of the hub that runs. */
  pid(): number | undefined
  /** Exit code of the hub that runs. */
  ended(): Promise<number | null>
  close(): void
}

/** A home as `hub init` makes it, to be copied: to make one costs a second. */
export function initTemplate(home: string): string {
  execFileSync(process.execPath, [join(root, 'hub/main.ts'), 'init', '--home', home])
  // Where it was made is for a copy to find out anew (fault B4).
  rmSync(join(home, 'place'), { force: true })
  return home
}

export function openFaultHome(home: string, template: string): FaultHome {
  // With the modes: keys open to others are refused.
  execFileSync('cp', ['-a', `${template}/.`, home])
  const config = {
    http: { port: 0 },
    metrics: { port: 0 },
    engine: { socket: join(home, 'no-engine.sock'), callTimeout: '1s' },
  }
  writeFileSync(join(home, 'hub.yaml'), JSON.stringify(config))
  const mark = join(tmpdir(), `fault-${process.pid}-${Math.random().toString(36).slice(2)}`)
  let child: ChildProcess | undefined
  let exit: Promise<number | null> = Promise.resolve(null)

  const self: FaultHome = {
    home,
    async start(fault) {
      for (const file of [mark, `${mark}.arm`]) rmSync(file, { force: true })
      const env: NodeJS.ProcessEnv = { ...process.env }
      if (fault !== undefined)
        Object.assign(env, {
          LD_PRELOAD: fault.preload,
          FAULT_FILE: join(home, 'hub.db'),
          FAULT_CALL: fault.call,
          FAULT_NTH: String(fault.nth),
          FAULT_ERRNO: String(fault.errno),
          FAULT_MARK: mark,
          ...(fault.armed ? { FAULT_ARM: `${mark}.arm` } : {}),
        })
      const started = spawn(process.execPath, [join(root, 'hub/main.ts'), 'serve', '--home', home], { env })
      child = started
      let said = ''
      exit = new Promise((done) => started.once('exit', (code) => done(code)))
      const ready = new Promise<'up'>((done) => {
        const take = (text: Buffer) => {
          said += text
          if (said.includes('"ready":true')) done('up')
        }
        started.stdout.on('data', take)
        started.stderr.on('data', take)
      })
      const late = sleep(START_MS_MAX, undefined, { ref: false }).then(() => {
        throw new Error(`the hub does not start: ${said}`)
      })
      return Promise.race([ready, exit.then((code) => ({ code, said })), late])
    },
    arm: () => writeFileSync(`${mark}.arm`, ''),
    fired: () => existsSync(mark),
    operator: (method, path, body) => ask(join(home, 'run', 'operator.sock'), method, path, body, {}),
    async conditions() {
      const { body } = await self.operator('GET', '/healthz')
      return (body.conditions as { name: string }[]).map(({ name }) => name)
    },
    write: async () => (await self.operator('POST', '/v1/agents/reload', {})).status === 200,
    async until(check, what) {
      const giveUpAt = performance.now() + UNTIL_MS_MAX
      while (!(await check())) {
        if (performance.now() > giveUpAt) throw new Error(`it never came to this: ${what}`)
        await sleep(50)
      }
    },
    pid: () => child?.pid,
    ended: () => exit,
    close() {
      child?.kill('SIGKILL')
      for (const file of [mark, `${mark}.arm`]) rmSync(file, { force: true })
    },
  }
  return self
}
