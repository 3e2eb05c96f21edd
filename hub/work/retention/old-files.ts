/**
 * Files of the home that are old enough to go: evidence by its age, logs by their total size, and what was set aside when something else
 * took its place.
 */
import { lstatSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

export interface OldFile {
  path: string
  bytes: number
}

/** `evidence/<session>-<instant>`, as work/evidence.ts names it. What else is in there belongs to somebody, and stays. */
const EVIDENCE = /-(\d{4}-\d\d-\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z$/
/** `hub.log.3`: put aside by its writer. One without a number is being written. */
const PUT_ASIDE = /\.(?:log|jsonl)\.\d{1,6}$/
/** Copies of the database from before an update. They are the way back, so the newest stays (`hub undo-update`). */
const BEFORE_UPDATE = /^hub\.db\.before-(\d{13})$/
/** What else was in force before and was kept for a later look: the database that an undone update left, months and ledgers of another line. */
const KEPT_ASIDE: readonly (readonly [folder: string, name: RegExp])[] = [
  ['.', /^hub\.db\.after-(\d{13})$/],
  ['.', /^ledger\.json\.before-(\d{13})$/],
  ['audit', /^\d{4}-\d{2}(?:-\d{1,6})?\.jsonl\.gz\.before-(\d{13})$/],
]

const namesIn = (folder: string): string[] => {
  try {
    return readdirSync(folder).sort()
  } catch {
    return []
  }
}

/** A link counts as a link, never as what it points to. */
function bytesBelow(path: string): number {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return 0
  if (!found.isDirectory()) return found.size
  return namesIn(path).reduce((sum, name) => sum + bytesBelow(join(path, name)), 0)
}

export function oldEvidence(home: string, beforeMs: number): OldFile[] {
  const folder = join(home, 'evidence')
  return namesIn(folder).flatMap((name) => {
    const [, day, hour, minute, second, ms] = EVIDENCE.exec(name) ?? []
    const atMs = Date.parse(`${day}T${hour}:${minute}:${second}.${ms}Z`)
    return atMs < beforeMs ? [{ path: join(folder, name), bytes: bytesBelow(join(folder, name)) }] : []
  })
}

/** The oldest files that were put aside, until all together hold at most this much. */
export function oldLogs(home: string, bytesMax: number): OldFile[] {
  const folder = join(home, 'logs')
  const all = namesIn(folder).flatMap((name) => {
    const found = lstatSync(join(folder, name), { throwIfNoEntry: false })
    return found?.isFile() ? [{ path: join(folder, name), bytes: found.size, mtimeMs: found.mtimeMs }] : []
  })
  let over = all.reduce((sum, { bytes }) => sum + bytes, 0) - bytesMax
  const going: OldFile[] = []
  for (const { path, bytes } of all.filter(({ path }) => PUT_ASIDE.test(path)).sort((a, b) => a.mtimeMs - b.mtimeMs)) {
    if (over <= 0) break
    going.push({ path, bytes })
    over -= bytes
  }
  return going
}

/** Names that hold their own instant, oldest first. */
const dated = (folder: string, pattern: RegExp) =>
  namesIn(folder)
    .map((name) => ({ path: join(folder, name), atMs: Number(pattern.exec(name)?.[1]) }))
    .filter(({ atMs }) => Number.isFinite(atMs))
    .sort((a, b) => a.atMs - b.atMs)

/** Copies from before an update that are older than `beforeMs`, except the newest; and what was set aside before `asideBeforeMs`. */
export function oldCopies(home: string, beforeMs: number, asideBeforeMs: number): OldFile[] {
  const updates = dated(home, BEFORE_UPDATE)
    .slice(0, -1)
    .filter(({ atMs }) => atMs < beforeMs)
  const aside = KEPT_ASIDE.flatMap(([folder, name]) => dated(join(home, folder), name)).filter(
    ({ atMs }) => atMs < asideBeforeMs,
  )
  return [...updates, ...aside].map(({ path }) => ({ path, bytes: bytesBelow(path) }))
}

/** Answers why it could not. */
export function removeOld(path: string): string | undefined {
  try {
    rmSync(path, { recursive: true, force: true })
    return undefined
  } catch (thrown) {
    return (thrown as Error).message
  }
}
