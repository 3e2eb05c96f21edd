/** The systemd units of this home, if `scripts/systemd/install` made any: `hub up` then starts them and nothing else. */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { Problem } from '../../problem.ts'

export interface Units {
  hub: string
  watchdog: string
}
/** Runs `systemctl`; rejects with what it said. */
export type RunSystemctl = (words: readonly string[]) => Promise<void>

const START_MS = 240_000
const UNIT = /^[a-z-]{1,40}\.service$/

const runSystemctl: RunSystemctl = (words) =>
  new Promise((resolve, reject) => {
    execFile('systemctl', [...words], { timeout: START_MS }, (error, _stdout, stderr) =>
      error === null ? resolve() : reject(new Error(stderr.trim().split('\n')[0] || error.message)),
    )
  })

/** The units of this home; undefined if none were installed or systemd does not run this machine. */
export function unitsOf(home: string, running = '/run/systemd/system'): Units | undefined {
  if (!existsSync(running)) return undefined
  try {
    const { hub, watchdog } = JSON.parse(readFileSync(path.join(home, 'units.json'), 'utf8')) as Partial<Units>
    if (hub === undefined || watchdog === undefined || !UNIT.test(hub) || !UNIT.test(watchdog)) return undefined
    return { hub, watchdog }
  } catch {
    return undefined
  }
}

/** Starts one unit and returns once it is ready. @throws Problem with what to look at */
export async function startUnit(unit: string, run: RunSystemctl = runSystemctl): Promise<void> {
  try {
    await run(['start', unit])
  } catch (error) {
    const text = `systemd did not start ${unit}: ${(error as Error).message}`
    throw new Problem(
      'unreachable',
      'unavailable',
      text,
      `see \`journalctl -u ${unit} -n 50\`; run this as root, or with \`sudo\``,
    )
  }
}
