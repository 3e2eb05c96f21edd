/**
 * Which processes of a container really run on this machine, whatever the engine says (fault A6). A process belongs to a container if its
 * control group names the container's id, so a reused process number is never mistaken for it. The answer "nothing runs" counts only
 * if every process of the engine's machine can be seen from here.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { Remains } from '../judge/facts.ts'

/** What an engine says of its machine. */
export interface Machine {
  readonly kernel: string
  readonly memoryBytes: number
}
export interface Processes {
  of(containerId: string): readonly number[] | null
  seesAll(machine: Machine): boolean
}

/** States in which nothing runs, by the engine's own word. Any other state, such as one of a later engine, proves nothing. */
const ENDED: readonly string[] = ['created', 'exited', 'dead']
/** The kernel's fixed number of the first process namespace, which sees all others. */
const FIRST_NAMESPACE = 'pid:[4026531836]'

/** `state`: as the engine shows it; `found`: null if not all can be seen. Pure. */
export function judgeRemains(state: string, found: readonly number[] | null): Remains {
  if (found !== null && found.length > 0) return found
  return found !== null || ENDED.includes(state) ? [] : 'unknown'
}

const isGone = (error: unknown) => ['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')

/** The process table under `proc`. */
export function openProcesses(proc = '/proc'): Processes {
  const read = (...words: string[]) => readFileSync(path.join(proc, ...words), 'latin1')
  /** Of a process: its first thread. The state follows the name, and a name may contain brackets. */
  const hasEnded = (...words: string[]) => {
    const stat = read(...words, 'stat')
    return /^ ?[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 1))
  }
  /** The first thread may end alone, even on purpose: it is a zombie then, on some kernels in the root group, while others run on. */
  const livesIn = (containerId: string, pid: string) => {
    const group = read(pid, 'cgroup')
    const isIts = group.includes(containerId)
    const isOfRoot = group.split('\n').every((line) => line === '' || line.endsWith(':/'))
    if (!isIts && !isOfRoot) return false
    if (isIts && !hasEnded(pid)) return true
    return readdirSync(path.join(proc, pid, 'task')).some((thread) => {
      try {
        return (isIts || read(pid, 'task', thread, 'cgroup').includes(containerId)) && !hasEnded(pid, 'task', thread)
      } catch (error) {
        if (isGone(error)) return false
        throw error
      }
    })
  }
  return {
    of(containerId) {
      if (!/^[0-9a-f]{64}$/.test(containerId)) return null
      const found: number[] = []
      try {
        for (const pid of readdirSync(proc).filter((name) => /^\d+$/.test(name))) {
          try {
            if (livesIn(containerId, pid)) found.push(Number(pid))
          } catch (error) {
            // It ended while we looked.
            if (!isGone(error)) return null
          }
        }
      } catch {
        return null
      }
      return found.sort((a, b) => a - b)
    },
    seesAll(machine) {
      try {
        // If other accounts' processes are hidden, the first process is hidden too.
        read('1', 'cgroup')
        const isFirst = readlinkSync(path.join(proc, 'self', 'ns', 'pid')) === FIRST_NAMESPACE
        return isFirst && machine.kernel === os.release() && machine.memoryBytes === os.totalmem()
      } catch {
        return false
      }
    },
  }
}
