/**
 * `<home>/stay-down/{hub,watchdog}`: after `hub shutdown` and `hub down` a service manager must not start what was stopped, over reboots too
 * (safety.md section 5). The units ask for these files; `hub up` takes them away. Who starts without a service manager never looks.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export type Part = 'hub' | 'watchdog'

const pathOf = (home: string, part: Part): string => join(home, 'stay-down', part)

/** False where the disk did not take it; the stop goes on all the same. */
export function keepDown(home: string, part: Part): boolean {
  try {
    mkdirSync(join(home, 'stay-down'), { recursive: true, mode: 0o700 })
    writeFileSync(pathOf(home, part), '', { mode: 0o600 })
    return true
  } catch {
    return false
  }
}

export const mayStart = (home: string, part: Part): void => rmSync(pathOf(home, part), { force: true })
