/** An engine that a test alone uses, and may kill, restart and upgrade: by `scripts/engine`, in a folder of its own (below HUB_ENGINES). It ends with the test's process. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const root = resolve(import.meta.dirname, '../..')
const SCRIPT = join(root, 'scripts/engine')
const BUILD_MS_MAX = 30 * 60_000
const END_MS_MAX = 60_000

/** Docker 29 with its images in containerd, as a fresh one has it, or in the store it had before; Docker 26. */
export type EngineName = '29' | '29-classic' | '26'

/** Why this engine cannot be had here, or undefined. The first call on a machine makes it, which takes minutes for 29. */
export function whyNoEngine(version: '29' | '26'): string | undefined {
  const { status, stderr } = spawnSync(join(root, 'scripts/engine-build'), [version], {
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    timeout: BUILD_MS_MAX,
  })
  return status === 0 ? undefined : (stderr.trim().split('\n').at(-1) ?? 'scripts/engine-build gave no reason')
}

export interface OwnEngine {
  readonly socket: string
  /** `machine`: the dockerd of this machine on the same data, whatever its version. Arguments are added to dockerd's. */
  up(how?: { args?: string; env?: Record<string, string>; program?: EngineName | 'machine' }): void
  pid(): number
  /** As a service manager stops it (SIGTERM), or as a crash does; answers once the process has gone. */
  end(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>
  /** Stopped, and everything of it removed. */
  close(): void
}

/** `holder`: the process that it ends with, else this one. */
export function createOwnEngine(name: EngineName, holder = process.pid): OwnEngine {
  const at = mkdtempSync(join(process.env.HUB_ENGINES ?? '/tmp', 'hub-e-'))
  const [run, data] = [join(at, name, 'run'), join(at, name, 'data')]
  const socket = join(run, 'engine.sock')
  const pidFile = join(run, 'dockerd.pid')
  const base = { ...process.env, HUB_ENGINE_AT: at }
  const script = (argv: string[], env: Record<string, string | undefined>) =>
    execFileSync(SCRIPT, argv, { env, stdio: ['ignore', 'ignore', 'pipe'] })
  const pid = () => Number(readFileSync(pidFile, 'utf8'))
  return {
    socket,
    pid,
    up({ args = '', env = {}, program = name } = {}) {
      const own = { ...base, ...env, HUB_ENGINE_ARGS: args }
      if (program !== 'machine') {
        script(['up', program, '--until', String(holder)], own)
        return
      }
      const paths = { HUB_ENGINE_SOCKET: socket, HUB_ENGINE_ROOT: data, HUB_ENGINE_RUN: run }
      script(['up'], { ...own, ...paths, HUB_ENGINE_ARGS: `--bridge=none --iptables=false ${args}` })
    },
    async end(signal = 'SIGTERM') {
      const was = pid()
      process.kill(was, signal)
      const giveUpAt = performance.now() + END_MS_MAX
      while (existsSync(`/proc/${was}`)) {
        if (performance.now() > giveUpAt) throw new Error(`dockerd ${was} does not end; see ${data}/dockerd.log`)
        await sleep(50)
      }
      rmSync(pidFile, { force: true })
    },
    close() {
      script(['down', name], base)
      rmSync(at, { recursive: true, force: true })
    },
  }
}
