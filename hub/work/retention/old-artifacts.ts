/**
 * Artifacts that nobody needs any more: first their rows, then the files that no row names.
 *
 * P1. A row stays while its task is unfinished or ended lately, and while any kept task names its digest as input. A withheld one stays as
 *     long as evidence is kept. Tasks and artifacts have separate spans; either may end first.
 * P2. A file goes with the last row that names it, after the commit. If the process ends in between, or if the transaction that stored an
 *     artifact was undone, a file is left without a row. `strays` finds those, one folder at a time.
 */
import { readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { assertGrant, type Grant } from '../../guard/grant.ts'
import type { Store } from '../../store/database.ts'

export interface OldArtifact {
  task: string
  name: string
  sha256: string
  size: number
  createdAtMs: number
}
export interface Cutoffs {
  beforeMs: number
  evidenceBeforeMs: number
}

export interface OldArtifacts {
  /** The next of them. `isGone`: treats this task as already gone, for a look that removes nothing. */
  next(
    cutoffs: Cutoffs,
    rowsMax: number,
    isGone?: (task: string) => boolean,
  ): { artifacts: OldArtifact[]; isOver: boolean }
  again(): void
  /** Deletes the rows, and the files once that is committed. Answers the bytes of the files that go. */
  remove(grant: Grant, artifacts: readonly OldArtifact[]): number
  /** Files of the next folder that no row names and that are older than an hour. */
  strays(nowMs: number): { path: string; bytes: number }[]
}

const ROWS_AT_ONCE = 500
const FOLDERS = 256
const STRAY_AFTER_MS = 3_600_000
const DIGEST = /^[0-9a-f]{64}$/

export function createOldArtifacts(
  options: { folder: string },
  parts: {
    store: Pick<Store, 'prepare' | 'afterCommit'>
    onFault: (path: string, reason: string) => void
  },
): OldArtifacts {
  const { folder } = options
  const { store, onFault } = parts
  const aged = store.prepare(
    `select task, name, sha256, size, created_at_ms as createdAtMs, quarantined_at_ms as quarantinedAtMs from artifact
     indexed by artifact_by_age where created_at_ms < ? and (created_at_ms, task, name) > (?, ?, ?)
     order by created_at_ms, task, name limit ${ROWS_AT_ONCE}`,
  )
  /** Whether the task or any above it still works, or ended lately. */
  const needed = store.prepare(
    `with recursive up(id, parent, state, ended) as (
       select id, parent, state, ended_at_ms from task where id = ?
       union all select task.id, task.parent, task.state, task.ended_at_ms from up cross join task on task.id = up.parent)
     select 1 from up where state in ('queued', 'running') or ended is null or ended >= ? limit 1`,
  )
  const namers = ['manifest', 'pack'].map((part) =>
    store.prepare(`select id from task where json_valid(inputs) and json_extract(inputs, '$.${part}') = ?`).pluck(),
  )
  const removeRow = store.prepare('delete from artifact where task = ? and name = ? and sha256 = ?')
  const others = store.prepare('select 1 from artifact where sha256 = ? limit 1')
  const begin = { createdAtMs: Number.MIN_SAFE_INTEGER, task: '', name: '' }
  let after = begin
  let folderAt = 0

  const pathOf = (sha256: string) => join(folder, sha256.slice(0, 2), sha256)

  function isNamed(sha256: string, isGone: (task: string) => boolean): boolean {
    for (const namer of namers)
      for (const task of namer.iterate(sha256) as IterableIterator<string>) if (!isGone(task)) return true
    return false
  }

  return {
    next({ beforeMs, evidenceBeforeMs }, rowsMax, isGone = () => false) {
      const artifacts: OldArtifact[] = []
      const rows = aged.all(beforeMs, after.createdAtMs, after.task, after.name) as (OldArtifact & {
        quarantinedAtMs: number | null
      })[]
      for (const { quarantinedAtMs, ...row } of rows) {
        if (artifacts.length >= rowsMax) return { artifacts, isOver: false }
        after = row
        if (quarantinedAtMs !== null && quarantinedAtMs >= evidenceBeforeMs) continue
        if (!isGone(row.task) && needed.get(row.task, beforeMs) !== undefined) continue
        if (!isNamed(row.sha256, isGone)) artifacts.push(row)
      }
      const isOver = rows.length < ROWS_AT_ONCE
      if (isOver) after = begin
      return { artifacts, isOver }
    },
    again() {
      after = begin
    },
    remove(grant, artifacts) {
      assertGrant(grant, 'retention.prune', 'retention.turn')
      const sizes = new Map<string, number>()
      for (const { task, name, sha256, size } of artifacts)
        if (removeRow.run(task, name, sha256).changes === 1) sizes.set(sha256, size)
      const gone = [...sizes].filter(([sha256]) => others.get(sha256) === undefined)
      store.afterCommit(() => {
        for (const [sha256] of gone) {
          try {
            rmSync(pathOf(sha256), { force: true })
          } catch (thrown) {
            onFault(pathOf(sha256), (thrown as Error).message)
          }
        }
      })
      return gone.reduce((sum, [, size]) => sum + size, 0)
    },
    strays(nowMs) {
      const within = join(folder, folderAt.toString(16).padStart(2, '0'))
      folderAt = (folderAt + 1) % FOLDERS
      let names: string[] = []
      try {
        names = readdirSync(within)
      } catch {
        return []
      }
      return names.flatMap((name) => {
        if (!DIGEST.test(name) || others.get(name) !== undefined) return []
        const found = statSync(join(within, name), { throwIfNoEntry: false })
        if (found?.isFile() !== true || found.mtimeMs > nowMs - STRAY_AFTER_MS) return []
        return [{ path: join(within, name), bytes: found.size }]
      })
    },
  }
}
