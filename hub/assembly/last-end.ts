/**
 * How the hub ended last and who asked for it, left in `run/ended.json` for `hub status` while nobody answers (fault C16). Gone with the next
 * start, so that after a crash it is not there; a note for a person, on which nothing is decided.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { replaceFile } from '../base/whole-file.ts'
import type { AuditLog } from '../guard/audit/log.ts'

export interface LastEnd {
  /** What was asked for, or the signal. */
  how: string
  /** As the record names who asked; null where nobody did. */
  by: string | null
  atMs: number
}

const pathOf = (home: string): string => join(home, 'run', 'ended.json')
/** Of these somebody asked, and the newest record of it says who. */
const ASKED: ReadonlySet<string> = new Set(['shutdown', 'down', 'restart', 'emergency_stop'])

export function lastEnd(how: string, audit: Pick<AuditLog, 'search'>, nowMs: number): LastEnd {
  const [record] = ASKED.has(how) ? audit.search({ limit: 1, action: 'hub.shutdown_asked', outcome: 'ok' }).records : []
  return { how, by: record?.principal ?? null, atMs: nowMs }
}

/** A disk that does not take it loses a note and nothing else. */
export function keepLastEnd(home: string, end: LastEnd): void {
  try {
    replaceFile(pathOf(home), `${JSON.stringify(end)}\n`)
  } catch {}
}

export const forgetLastEnd = (home: string): void => rmSync(pathOf(home), { force: true })
