/**
 * What of a container really runs on this machine, beside what the engine says of it (fault A6): an engine may show one as running whose
 * processes are long gone, or fail to end one that lives on.
 *
 * P1. A process belongs to a container if its control group names the container's id, so a number that was used again is never taken for it. It has ended once every
 *     thread of it has.
 * P2. That nothing runs is believed only where every process of the engine's machine can be seen from here; else it is not known.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { release, totalmem } from 'node:os'
import { join } from 'node:path'

/** `processes`: those that run, never none. `unknown`: it cannot be seen from here. */
export type Remains = { kind: 'nothing' } | { kind: 'processes'; pids: number[] } | { kind: 'unknown' }

/** Of the kernel: the number of the first process namespace, which sees all others. */
const FIRST_PID_NAMESPACE = 'pid:[4026531836]'
/** States in which the engine itself says that nothing runs; any other, one of a later engine too, says nothing. */
const ENDED = new Set(['created', 'exited', 'dead'])

/** `state`: as the engine shows it; `found`: processes in its control group, undefined where not all can be seen. Pure. */
export function judgeRemains(state: string, found: readonly number[] | undefined): Remains {
  if (found !== undefined && found.length > 0) return { kind: 'processes', pids: [...found] }
  if (found !== undefined || ENDED.has(state)) return { kind: 'nothing' }
  return { kind: 'unknown' }
}

const read = (...words: string[]): string => readFileSync(join(...words), 'latin1')
const isGone = (error: unknown): boolean => ['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')

/** Whether it has ended, a process by its first thread, or a thread. The state follows the name, which may hold brackets itself. */
function hasEnded(folder: string): boolean {
  const stat = read(folder, 'stat')
  return /^ ?[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 1))
}

/**
 * Whether a thread of this process is the container's and lives. The first thread may end alone, on purpose too: then the process shows as a
 * zombie, on some kernels in the root group, while its others run on.
 */
function livesIn(containerId: string, folder: string): boolean {
  const group = read(folder, 'cgroup')
  const isIts = group.includes(containerId)
  const isOfRoot = group.split('\n').every((line) => line === '' || line.endsWith(':/'))
  if (!isIts && !isOfRoot) return false
  if (isIts && !hasEnded(folder)) return true
  return readdirSync(join(folder, 'task')).some((name) => {
    const thread = join(folder, 'task', name)
    try {
      return (isIts || read(thread, 'cgroup').includes(containerId)) && !hasEnded(thread)
    } catch (error) {
      if (isGone(error)) return false
      throw error
    }
  })
}

/** The living processes whose control group names this container; undefined where some cannot be read. */
export function processesOf(containerId: string, proc = '/proc'): number[] | undefined {
  if (!/^[0-9a-f]{64}$/.test(containerId)) return undefined
  const found: number[] = []
  try {
    for (const name of readdirSync(proc)) {
      if (!/^\d+$/.test(name)) continue
      try {
        if (livesIn(containerId, join(proc, name))) found.push(Number(name))
      } catch (error) {
        // Ended while it was looked at.
        if (!isGone(error)) return undefined
      }
    }
  } catch {
    return undefined
  }
  return found.sort((a, b) => a - b)
}

/** What an engine says of its machine. */
export interface EngineMachine {
  kernel: string
  memoryBytes: number
}

/** Whether every process of the engine's machine can be seen from here: the same kernel, its first process namespace, nothing hidden. */
export function seesAll(engine: EngineMachine, proc = '/proc'): boolean {
  try {
    // Hidden from others, as `hidepid` does, would be the first process too.
    readFileSync(join(proc, '1', 'cgroup'))
    return (
      readlinkSync(join(proc, 'self', 'ns', 'pid')) === FIRST_PID_NAMESPACE &&
      engine.kernel === release() &&
      engine.memoryBytes === totalmem()
    )
  } catch {
    return false
  }
}

/** What people need to know of a container that does not go, and the way out that works. Pure. */
export function wayOut(container: string, reason: string, remains: Remains): string {
  const restart = 'restart the engine (sudo systemctl restart docker; of snap: sudo snap restart docker)'
  if (remains.kind === 'nothing')
    return `Nothing of it runs any more. It goes with: docker rm -f ${container}; or ${restart}`
  const pids = remains.kind === 'processes' ? remains.pids : []
  const runs =
    pids.length === 0 ? '' : `Still running: process ${pids.join(', ')}; end it with: sudo kill -9 ${pids.join(' ')}. `
  if (/permission denied|operation not permitted|apparmor/i.test(reason))
    return `${runs}The machine does not let the engine stop it (often AppArmor, with Docker of snap beside another): sudo aa-remove-unknown, then ${restart}`
  if (/exit event|could not kill|cannot kill|cannot stop/i.test(reason))
    return `${runs}The engine has lost it: ${restart}`
  return `${runs}On the host run: docker rm -f ${container}; if the engine does not answer, restart it`
}
