/**
 * Whether the memory of hub and watchdog, with their keys, could reach a file (fault F15), and in which environment they were started
 * (fault F20).
 */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { droppedOf, isWeakening } from '../../base/passed-on.ts'
import type { Check } from './doctor.ts'

const ASK_MS = 5000
const INSTALL = 'sudo scripts/systemd/install'

/** Whether systemd will start this unit at boot. Rejects if systemd cannot be asked. */
export type IsEnabled = (unit: string) => Promise<boolean>

const askSystemd: IsEnabled = (unit) =>
  new Promise((resolve, reject) => {
    execFile('systemctl', ['is-enabled', unit], { timeout: ASK_MS }, (error, stdout) => {
      const said = stdout.trim()
      if (said === '' && error !== null) reject(error)
      else resolve(said === 'enabled')
    })
  })

export function createUnitsCheck(
  options: { home: string; running?: string },
  isEnabled: IsEnabled = askSystemd,
): () => Promise<Check[]> {
  const { home, running = '/run/systemd/system' } = options
  const check = (ok: boolean | null, detail: string, mend: string): Check[] => [
    {
      name: 'start at boot',
      ok,
      detail,
      mend,
    },
  ]
  return async () => {
    if (!existsSync(running))
      return check(
        null,
        'this machine does not use systemd: nothing starts hub and watchdog at boot',
        'hub up, after each boot',
      )
    let units: string[]
    try {
      units = Object.values(JSON.parse(readFileSync(join(home, 'units.json'), 'utf8')) as Record<string, string>)
    } catch {
      return check(null, 'no units are installed: nothing starts hub and watchdog after a reboot or a crash', INSTALL)
    }
    try {
      const missing: string[] = []
      for (const unit of units) if (!(await isEnabled(unit))) missing.push(unit)
      if (missing.length === 0) return check(true, `${units.join(', ')} are enabled`, INSTALL)
      return check(false, `not enabled: ${missing.join(', ')}`, `sudo systemctl enable --now ${missing.join(' ')}`)
    } catch (error) {
      return check(null, `systemd cannot be asked: ${(error as Error).message}`, 'systemctl is-enabled hub-watchdog')
    }
  }
}

const AGAIN = 'hub down, then hub up; for units: sudo scripts/systemd/install, then the same'

/** What could write this process's memory to a file; undefined if nothing can, or if it cannot be looked at. */
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
      detail: leaks.join('; ') || `${looked.map(([name]) => name).join(' and ')} cannot write one`,
      mend: AGAIN,
    }
  }

  function environment(): Check {
    const there = Object.keys(env).filter(isWeakening).sort()
    const leftOut = droppedOf(env)
    const words = [
      ...(there.length === 0 ? [] : [`these are in the hub's environment: ${there.join(', ')}`]),
      ...(leftOut.length === 0 ? [] : [`these were kept out of hub and watchdog: ${leftOut.join(', ')}`]),
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
