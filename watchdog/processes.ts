/**
 * What of a container really runs on this machine, beside what the engine says (fault A6). A process belongs to a container if its control
 * group names the container's id, so a number that was used again is never taken for it. That nothing runs is believed only where every
 * process of the engine's machine can be seen from here.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'

/** The living processes, none, or not known. */
export type Remains = readonly number[] | 'unknown'
/** What an engine says of its machine. */
export interface Machine {
  readonly kernel: string
  readonly memoryBytes: number
}
export interface Processes {
  of(containerId: string): readonly number[] | null
  seesAll(machine: Machine): boolean
}

const LIVE: readonly string[] = ['running', 'paused', 'restarting']
/** Of the kernel: the number of the first process namespace, which sees all others. */
const FIRST_NAMESPACE = 'pid:[4026531836]'

/** `state`: as the engine shows it; `found`: null where not all can be seen. Pure. */
export function judgeRemains(state: string, found: readonly number[] | null): Remains {
  if (found !== null && found.length > 0) return found
  return found !== null || !LIVE.includes(state) ? [] : 'unknown'
}

/** The process table under `proc`. */
export function openProcesses(proc = '/proc'): Processes {
  const read = (...words: string[]) => readFileSync(path.join(proc, ...words), 'latin1')
  /** A zombie runs no more; the state follows the name, which may hold brackets itself. */
  const lives = (pid: string) => {
    const stat = read(pid, 'stat')
    return !/^ ?[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 1))
  }
  return {
    of(containerId) {
      if (!/^[0-9a-f]{64}$/.test(containerId)) return null
      const found: number[] = []
      try {
        for (const pid of readdirSync(proc).filter((name) => /^\d+$/.test(name))) {
          try {
            if (read(pid, 'cgroup').includes(containerId) && lives(pid)) found.push(Number(pid))
          } catch (error) {
            // Ended while it was looked at.
            if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return null
          }
        }
      } catch {
        return null
      }
      return found.sort((a, b) => a - b)
    },
    seesAll(machine) {
      try {
        // Where others' processes are hidden, the first one is too.
        read('1', 'cgroup')
        const isFirst = readlinkSync(path.join(proc, 'self', 'ns', 'pid')) === FIRST_NAMESPACE
        return isFirst && machine.kernel === os.release() && machine.memoryBytes === os.totalmem()
      } catch {
        return false
      }
    },
  }
}
