/**
 * Processes that are not stopped and get next to nothing: a share of the processor that one control group of their own allows (where the
 * machine has none to write, SIGSTOP and SIGCONT in turn), or no descriptor beyond those they hold. Each answers what lifts it.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Of each 100 ms, what may be used: the kernel's least is 1 ms. */
const PERIOD_US = 100_000
const OWN_QUOTA_US = 1_000
const CONTAINER_QUOTA_US = 1_000
/** The same where no control group can be written. */
const AWAKE_MS = 15
const ASLEEP_MS = 1_000

export type Lift = () => void

const ROOTS = ['/sys/fs/cgroup/cpu', '/sys/fs/cgroup/cpu,cpuacct'] as const
const root = () => ROOTS.find((path) => existsSync(join(path, 'cpu.cfs_quota_us')) || existsSync(join(path, 'docker')))

const isThere = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

function inTurns(pids: readonly number[]): Lift {
  const signal = (name: 'SIGSTOP' | 'SIGCONT') => {
    for (const pid of pids) if (isThere(pid)) process.kill(pid, name)
  }
  let timer: NodeJS.Timeout
  const sleep = () => {
    signal('SIGSTOP')
    timer = setTimeout(() => {
      signal('SIGCONT')
      timer = setTimeout(sleep, AWAKE_MS)
    }, ASLEEP_MS)
  }
  sleep()
  return () => {
    clearTimeout(timer)
    signal('SIGCONT')
  }
}

let groups = 0
/** One percent of a core for one process and what it starts. */
export function starveOfTime(pid: number): Lift {
  const above = root()
  groups += 1
  const group = join(above ?? '', `hub-test-${process.pid}-${groups}`)
  try {
    if (above === undefined) throw new Error('no control group')
    mkdirSync(group)
    writeFileSync(join(group, 'cpu.cfs_period_us'), String(PERIOD_US))
    writeFileSync(join(group, 'cpu.cfs_quota_us'), String(OWN_QUOTA_US))
    writeFileSync(join(group, 'cgroup.procs'), String(pid))
  } catch {
    return inTurns([pid])
  }
  return () => {
    try {
      if (isThere(pid)) writeFileSync(join(above, 'cgroup.procs'), String(pid))
      rmdirSync(group)
    } catch {
      // Dead and not buried yet: an empty group costs nobody anything.
    }
  }
}

/** One percent of a core for all of a container, past the engine, which does not hear of it. `pid`: its first process, as the host counts. */
export function starveContainer(pid: number, pids: readonly number[]): Lift {
  const path = /^\d+:[^:]*\bcpu\b[^:]*:(\S+)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1]
  const file = join(root() ?? '', path ?? '', 'cpu.cfs_quota_us')
  if (root() === undefined || path === undefined || path === '/' || !existsSync(file)) return inTurns(pids)
  const before = readFileSync(file, 'utf8')
  writeFileSync(file, String(CONTAINER_QUOTA_US))
  return () => {
    if (existsSync(file)) writeFileSync(file, before)
  }
}

const OF_NODE_ITSELF = 8

/** It keeps the descriptors it has and gets no other: no connection, no file, no line of a child. */
export function starveOfDescriptors(pid: number): Lift {
  const limit = () => /^Max open files\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[1] ?? '1024'
  const set = (soft: string) => execFileSync('prlimit', ['--pid', String(pid), `--nofile=${soft}:`])
  const before = limit()
  // The numbers in use may have gaps: below the lowest of them there is none to be had. A connection that ends in a moment would make
  // one: those that Node opens for itself at its start are kept for good.
  const used = readdirSync(`/proc/${pid}/fd`).map(Number)
  let lowest = 0
  while (used.includes(lowest) && lowest < OF_NODE_ITSELF) lowest += 1
  set(String(lowest))
  return () => {
    if (isThere(pid)) set(before)
  }
}
