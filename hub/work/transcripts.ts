/**
 * The conversation of a task's CLI, kept for the next start of the same task (docs/agents.md). The bytes are the shim's, and are never looked into.
 *
 * C1. One copy for each task: the newest takes the place of the one before. It goes in the transaction in which the task ends, whatever the end.
 * C2. Only a session of that task gets it, by a door that names no digest and no task. It is no artifact: nothing lists it, and no digest leads
 *     to it.
 * C3. Of two sessions that live, one may go on with a conversation. The other is refused, and so is what it would keep.
 * C4. Two starts that went on with it and fell (a crash, no sign of life) are enough: the next begins anew and is told the end of its text.
 *     Whatever ends a session from outside counts nothing. What a session keeps that began anew is another conversation, and counts from 0.
 * C5. It is unmasked, so it stands in `transcripts/` alone: no backup and no export holds it.
 */
import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { Clock } from '../base/clock.ts'
import { HubError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { assertGrant, type Grant } from '../guard/grant.ts'
import type { ExitReason } from '../protocol/task.ts'
import { type KeptTranscript, TRANSCRIPT_TRIES } from '../protocol/transcripts.ts'
import type { Store } from '../store/database.ts'
import { type Arrived, type Arriving, createArriving } from './arriving.ts'
import { createArtifactChecks } from './artifact-checks.ts'
import type { TaskListener } from './dispatch/moves.ts'
import type { SessionRow } from './dispatch/rows.ts'

/** One that is kept, as people may see it. */
export interface TranscriptView extends KeptTranscript {
  keptAtMs: number
}
export interface OldTranscript {
  task: string
  sha256: string
  size: number
}

interface Opened {
  stream: Readable
  size: number
}

export interface Transcripts extends Arriving {
  /** What is kept of this task; undefined for nothing. */
  of(task: string): TranscriptView | undefined
  /** Makes the file the conversation of the session's task. Throws `conflict` where another session that lives has it. */
  put(grant: Grant, arrived: Arrived, session: Pick<SessionRow, 'id' | 'task'>): Pick<Arrived, 'sha256' | 'size'>
  /** Call before `take`. Throws `artifact_corrupt` if the file is not what was kept. Does nothing where nothing is kept. */
  verify(task: string): Promise<void>
  /** Hands it to this session, which from now on has it. Throws `unknown_artifact` where nothing is kept, and `conflict`. */
  take(grant: Grant, session: Pick<SessionRow, 'id' | 'task'>): Opened
  /** Those of tasks that have not ended and that nobody kept anew since this instant. */
  old(beforeMs: number, rowsMax: number): OldTranscript[]
  /** Deletes them, the files once that is committed. Answers the bytes of the files that go. */
  remove(grant: Grant, transcripts: readonly OldTranscript[]): number
  /** What follows from the ends of sessions and tasks. */
  listener: TaskListener
}

/** The ends that are the fault of what ran. */
const FALLS: ReadonlySet<ExitReason> = new Set(['crashed', 'unhealthy'])

interface Row {
  task: string
  session: string
  sha256: string
  size: number
  tries: number
  resumedBy: string | null
  keptAtMs: number
}

export function createTranscripts(
  options: { folder: string },
  parts: {
    store: Store
    /** The steady clock: retention judges ages by these times. */
    clock: Pick<Clock, 'wallMs'>
    random: Random
    /** Whether this session may still act. */
    isLive: (session: string) => boolean
    onFault: (path: string, reason: string) => void
  },
): Transcripts {
  const { folder } = options
  const { store, clock, isLive, onFault } = parts
  const arriving = createArriving(join(folder, 'arriving'), 'conversation', parts.random)
  const checks = createArtifactChecks({ folder, bytesPerRound: 0 }, { digestsAfter: () => [], judged: () => undefined })

  const columns = 'task, session, sha256, size, tries, resumed_by as resumedBy, kept_at_ms as keptAtMs'
  const find = store.prepare(`select ${columns} from transcript where task = ?`)
  const names = store.prepare('select 1 from transcript where sha256 = ? limit 1')
  const aged = store.prepare(
    'select task, sha256, size from transcript where kept_at_ms < ? order by kept_at_ms limit ?',
  )
  const write = store.prepare(
    `insert into transcript (task, session, sha256, size, tries, resumed_by, kept_at_ms) values (?, ?, ?, ?, ?, ?, ?)
       on conflict (task) do update set session = excluded.session, sha256 = excluded.sha256, size = excluded.size,
       tries = excluded.tries, resumed_by = excluded.resumed_by, kept_at_ms = excluded.kept_at_ms`,
  )
  const resume = store.prepare('update transcript set resumed_by = ? where task = ?')
  const fell = store.prepare('update transcript set tries = tries + 1 where task = ? and resumed_by = ?')
  const drop = store.prepare('delete from transcript where task = ?')
  const rowOf = (task: string) => find.get(task) as Row | undefined

  const asOf = ({ tries }: Pick<Row, 'tries'>) => (tries < TRANSCRIPT_TRIES ? 'resume' : 'text')

  function removeFile(sha256: string, path = checks.pathOf(sha256)): void {
    if (names.get(sha256) !== undefined) return
    try {
      rmSync(path, { force: true })
    } catch (thrown) {
      onFault(path, (thrown as Error).message)
    }
  }
  /** A transaction that was undone, or a process that ended, leaves a file without a row. */
  function sweep(): void {
    for (const within of readdirSync(folder, { withFileTypes: true }))
      if (within.isDirectory() && within.name !== 'arriving')
        for (const name of readdirSync(join(folder, within.name))) removeFile(name, join(folder, within.name, name))
  }
  sweep()

  function requireAlone(row: Row | undefined, session: string): void {
    const other = [row?.resumedBy, row?.session].find((id) => id && id !== session && isLive(id))
    if (other !== undefined)
      throw new HubError('conflict', `the conversation of this task belongs to session ${other}, which still lives`)
  }

  return {
    receive: arriving.receive,
    discard(arrived) {
      arriving.discard(arrived)
      // Its transaction was undone after the file had moved, as on a full disk.
      removeFile(arrived.sha256)
    },
    of(task) {
      const row = rowOf(task)
      if (row === undefined) return undefined
      const { sha256, size, tries, keptAtMs } = row
      return { sha256, size, tries, as: asOf(row), keptAtMs }
    },
    put(grant, { path, sha256, size }, { id, task }) {
      assertGrant(grant, 'transcript.put')
      const before = rowOf(task)
      requireAlone(before, id)
      if (checks.isRight(sha256)) rmSync(path, { force: true })
      else {
        mkdirSync(join(folder, sha256.slice(0, 2)), { recursive: true, mode: 0o700 })
        renameSync(path, checks.pathOf(sha256))
        checks.written(sha256)
      }
      const goesOn = before?.resumedBy === id
      write.run(task, id, sha256, size, goesOn ? before.tries : 0, goesOn ? id : null, clock.wallMs())
      if (before !== undefined) store.afterCommit(() => removeFile(before.sha256))
      return { sha256, size }
    },
    async verify(task) {
      const row = rowOf(task)
      if (row !== undefined) await checks.verify(row.sha256)
    },
    take(grant, { id, task }) {
      assertGrant(grant, 'transcript.get')
      const row = rowOf(task)
      if (row === undefined) throw new HubError('unknown_artifact', 'no conversation of this task is kept')
      requireAlone(row, id)
      const opened = checks.open(row.sha256)
      if (asOf(row) === 'resume') resume.run(id, task)
      return opened
    },
    old: (beforeMs, rowsMax) => aged.all(beforeMs, rowsMax) as OldTranscript[],
    remove(grant, transcripts) {
      assertGrant(grant, 'retention.prune', 'retention.turn')
      for (const { task } of transcripts) drop.run(task)
      store.afterCommit(() => {
        for (const { sha256 } of transcripts) removeFile(sha256)
      })
      return transcripts.reduce((sum, { size }) => sum + size, 0)
    },
    listener: {
      recycling({ id, task }, reason) {
        if (FALLS.has(reason)) fell.run(task, id)
      },
      ending({ id }) {
        const row = rowOf(id)
        if (row === undefined) return
        drop.run(id)
        store.afterCommit(() => removeFile(row.sha256))
      },
    },
  }
}
