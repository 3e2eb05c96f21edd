/** Whether hub and watchdog keep their keys in memory (fault F15), and of what environment they were started (fault F20). */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { droppedOf, isWeakening } from '../base/passed-on.ts'
import type { Check } from './doctor.ts'

const AGAIN = 'hub down, then hub up; for units: sudo scripts/systemd/install, then the same'

/** What could write this process's memory to a file; undefined where nothing can, or where it cannot be looked at. */
function leakOf(pid: string): string | undefined {
  try {
    const limit = /^Max core file size\s+(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[1]
    if (limit !== '0') return `core dumps up to ${limit}`
    const parts = readFileSync(`/proc/${pid}/coredump_filter`, 'utf8').trim()
    return Number(`0x${parts}`) === 0 ? undefined : `a core dump would hold its memory (coredump_filter ${parts})`
  } catch {
    return undefined
  }
}

export function createProcessCheck(options: { home: string; env: NodeJS.ProcessEnv }): () => Promise<Check[]> {
  const { home, env } = options

  function watchdogPid(): string {
    try {
      return readFileSync(join(home, 'watchdog', 'watchdog.pid'), 'utf8').trim()
    } catch {
      return ''
    }
  }

  function cores(): Check {
    const pid = watchdogPid()
    const looked = [['hub', leakOf('self')], ...(/^\d+$/.test(pid) ? [['watchdog', leakOf(pid)]] : [])]
    const leaks = looked.flatMap(([name, leak]) => (leak === undefined ? [] : [`${name}: ${leak}`]))
    return {
      name: 'core dumps',
      ok: leaks.length === 0,
      detail: leaks.join('; ') || `none of ${looked.map(([name]) => name).join(' and ')} can be written`,
      mend: AGAIN,
    }
  }

  function environment(): Check {
    const there = Object.keys(env).filter(isWeakening).sort()
    const leftOut = droppedOf(env)
    const words = [
      ...(there.length === 0 ? [] : [`in force in the hub: ${there.join(', ')}`]),
      ...(leftOut.length === 0 ? [] : [`left out of hub and watchdog: ${leftOut.join(', ')}`]),
    ]
    return {
      name: 'environment',
      ok: words.length === 0 ? true : null,
      detail: words.join('; ') || 'nothing in it changes how Node or its libraries work',
      mend: 'take these variables out of what starts the hub (your shell, or the unit), then hub restart',
    }
  }

  return async () => [cores(), environment()]
}
