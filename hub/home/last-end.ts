/**
 * How the hub ended last and who asked for it. It is in `run/ended.json`, for `hub status` while no hub answers (fault C16). The next start
 * removes it, so after a crash there is none. A note for people: nothing is decided by it.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { replaceFile } from '../base/whole-file.ts'
import type { AuditLog } from '../guard/audit/log.ts'

export interface LastEnd {
  /** What was asked for, or the signal. */
  how: string
  /** As the record names who asked; null if nobody did. */
  by: string | null
  atMs: number
}

const pathOf = (home: string): string => join(home, 'run', 'ended.json')
/** Ends that somebody asked for; the newest record says who. */
const ASKED: ReadonlySet<string> = new Set(['shutdown', 'down', 'restart', 'emergency_stop'])

export function lastEnd(how: string, audit: Pick<AuditLog, 'search'>, nowMs: number): LastEnd {
  const [record] = ASKED.has(how) ? audit.search({ limit: 1, action: 'hub.shutdown_asked', outcome: 'ok' }).records : []
  return { how, by: record?.principal ?? null, atMs: nowMs }
}

/** If the disk cannot take it, only this note is lost. */
export function keepLastEnd(home: string, end: LastEnd): void {
  try {
    replaceFile(pathOf(home), `${JSON.stringify(end)}\n`)
  } catch {}
}

export const forgetLastEnd = (home: string): void => rmSync(pathOf(home), { force: true })
