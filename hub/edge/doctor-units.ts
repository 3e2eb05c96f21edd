/** Whether something starts hub and watchdog after a reboot (X13): the units of `scripts/systemd/install`, each enabled on its own. */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Check } from './doctor.ts'

const ASK_MS = 5000
const INSTALL = 'sudo scripts/systemd/install'

/** Whether systemd will start this unit at boot; rejects where it cannot be asked. */
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
        'systemd does not run this machine: nothing starts hub and watchdog',
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
