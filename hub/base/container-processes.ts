/**
 * Which processes of a container really run on this machine, whatever the engine says (fault A6). An engine may show a container as running
 * when its processes are long gone, or fail to stop one that still runs.
 *
 * P1. A process belongs to a container if its control group names the container's id, so a reused process number is never taken for it.
 *     A process has ended once all its threads have.
 * P2. The answer `nothing` needs a view of every process on the engine's machine. Without that view the answer is `unknown`.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { release, totalmem } from 'node:os'
import { join } from 'node:path'

/** `processes`: those that run, at least one. `unknown`: they cannot be seen from here. */
export type Remains = { kind: 'nothing' } | { kind: 'processes'; pids: number[] } | { kind: 'unknown' }

/** The kernel's fixed number of the first process namespace, which sees all others. */
const FIRST_PID_NAMESPACE = 'pid:[4026531836]'
/** States in which nothing runs, by the engine's own word. Any other state, such as one of a later engine, proves nothing. */
const ENDED = new Set(['created', 'exited', 'dead'])

/** `state`: as the engine shows it; `found`: processes in its control group, undefined if not all can be seen. Pure. */
export function judgeRemains(state: string, found: readonly number[] | undefined): Remains {
  if (found !== undefined && found.length > 0) return { kind: 'processes', pids: [...found] }
  if (found !== undefined || ENDED.has(state)) return { kind: 'nothing' }
  return { kind: 'unknown' }
}

const read = (...words: string[]): string => readFileSync(join(...words), 'latin1')
const isGone = (error: unknown): boolean => ['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')

/** Whether a thread has ended (of a process: its first thread). The state follows the name, and a name may contain brackets. */
function hasEnded(folder: string): boolean {
  const stat = read(folder, 'stat')
  return /^ ?[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 1))
}

/**
 * Whether this process has a living thread that belongs to the container. The first thread may end alone, even on purpose. The process then
 * shows as a zombie, on some kernels in the root group, while its other threads run on.
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

/** The living processes whose control group names this container; undefined if some cannot be read. */
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
    // With `hidepid` the first process is hidden too, and this read throws.
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

/** What people need to know about a container that cannot be removed, and what removes it. Pure. */
export function wayOut(container: string, reason: string, remains: Remains): string {
  const restart = 'restart the engine (sudo systemctl restart docker; if it came from snap: sudo snap restart docker)'
  if (remains.kind === 'nothing')
    return `None of its processes runs any more. To remove it: docker rm -f ${container}; or ${restart}`
  const pids = remains.kind === 'processes' ? remains.pids : []
  const runs =
    pids.length === 0 ? '' : `Still running: process ${pids.join(', ')}; end it with: sudo kill -9 ${pids.join(' ')}. `
  if (/permission denied|operation not permitted|apparmor/i.test(reason))
    return `${runs}The machine does not let the engine stop it (often AppArmor, if a Docker from snap was installed beside another): sudo aa-remove-unknown, then ${restart}`
  if (/exit event|could not kill|cannot kill|cannot stop/i.test(reason))
    return `${runs}The engine has lost track of it: ${restart}`
  return `${runs}On the host run: docker rm -f ${container}; if the engine does not answer, restart it`
}
