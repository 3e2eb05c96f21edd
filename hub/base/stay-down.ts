/**
 * `<home>/stay-down/{hub,watchdog}`: after `hub shutdown` and `hub down` a service manager must not start what was stopped, over reboots too
 * (docs/safety.md 5). The units check for these files; `hub up` removes them. A start without a service manager ignores them.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export type Part = 'hub' | 'watchdog'

const pathOf = (home: string, part: Part): string => join(home, 'stay-down', part)

/** False if this could not be recorded; the stop goes on anyway. */
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
