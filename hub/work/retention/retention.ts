/**
 * Removes what is done and old, so that a home stays small: by itself and by `hub prune`.
 *
 * R1. It works in turns. Each is one transaction with one audit record of how much of what went; nothing goes without a record. A turn is
 *     bounded in rows and files, so agents' lines wait no longer for it than for a commit.
 * R2. A look deletes nothing and needs no grant. A turn does what its own look found, in the same transaction.
 * R3. Files go after the commit. The next look finds again what could not be removed.
 * R4. All ages are measured by the steady clock. While that is in doubt, nothing goes (pauses.ts).
 */
import type { Clock } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { AlertRows } from '../../guard/alerts/rows.ts'
import type { Gate } from '../../guard/gate.ts'
import { assertGrant, type Grant } from '../../guard/grant.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import type { Store } from '../../store/database.ts'
import type { OldTranscript, Transcripts } from '../transcripts.ts'
import { createOldArtifacts, type OldArtifact, type OldArtifacts } from './old-artifacts.ts'
import { type OldFile, oldCopies, oldEvidence, oldLogs, removeOld } from './old-files.ts'
import { createOldTasks, type OldTasks } from './old-tasks.ts'
import type { Pauses } from './pauses.ts'
import type { RetentionSettings } from './settings.ts'

/** How much of what. Bytes are those of files. */
export interface Pruned {
  tasks: number
  sessions: number
  alerts: number
  artifacts: number
  artifactBytes: number
  evidence: number
  evidenceBytes: number
  logs: number
  logBytes: number
  copies: number
  copyBytes: number
}

/** `auditEffect`: how much of what, as its record says it. */
interface Took extends Pruned {
  auditEffect: string
}
export interface Turn extends Took {
  /** There is more to remove. */
  more: boolean
}

export interface Retention {
  /** One round of the loop: a turn, if one is due and nothing stands against it. */
  round(): void
  /**
   * A turn that the operator asked for. `olderThanMs` replaces the spans of tasks, artifacts and alerts. What is kept of an incident keeps
   * its own span.
   */
  turn(grant: Grant, how: { olderThanMs: number | undefined; isFirst: boolean }): Turn
  /** What would go. `atLeast`: there is more than was counted. */
  foresee(olderThanMs?: number): Promise<Pruned & { atLeast: boolean }>
}

/** The most in one turn. Fifty tasks, each with an attempt and a session, take some 5 ms of the processor (measured). */
const TASKS_PER_TURN = 50
const ARTIFACTS_PER_TURN = 50
const ALERTS_PER_TURN = 100
const FILES_PER_TURN = 8
const STRAY_FOLDERS_PER_LOOK = 16
const LOOK_EVERY_MS = 600_000
/** A preview counts no further: the names of what would go are held in memory. */
const COUNTED_MAX = 200_000

const nothing = (): Pruned => ({
  tasks: 0,
  sessions: 0,
  alerts: 0,
  artifacts: 0,
  artifactBytes: 0,
  evidence: 0,
  evidenceBytes: 0,
  logs: 0,
  logBytes: 0,
  copies: 0,
  copyBytes: 0,
})

const bytesOf = (files: readonly { bytes: number }[]) => files.reduce((sum, { bytes }) => sum + bytes, 0)

interface Batch {
  tasks: string[]
  artifacts: OldArtifact[]
  transcripts: OldTranscript[]
  alertsBeforeMs: number
  alerts: number
  files: Record<'evidence' | 'logs' | 'copies' | 'strays', OldFile[]>
  more: boolean
}
const isEmpty = ({ tasks, artifacts, transcripts, alerts, files }: Batch) =>
  tasks.length + artifacts.length + transcripts.length + alerts + Object.values(files).flat().length === 0

interface Looks {
  tasks: OldTasks
  artifacts: OldArtifacts
}

export function createRetention(
  options: { home: string; artifacts: string; settings: RetentionSettings },
  parts: {
    store: Store
    gate: Gate
    alertRows: Pick<AlertRows, 'prune' | 'countOld'>
    /** Conversations of tasks that wait: with the artifacts, and by their span. */
    transcripts: Pick<Transcripts, 'old' | 'remove'>
    pauses: Pauses
    clock: Clock
    /** Epoch ms by the steady clock. */
    nowMs: () => number
    log: Log
  },
): Retention {
  const { home, settings } = options
  const { store, gate, alertRows, transcripts, pauses, clock, nowMs, log } = parts
  const onFault = (path: string, reason: string) => log.error({ path, reason }, 'a file could not be pruned')
  const looks = (): Looks => ({
    tasks: createOldTasks(store),
    artifacts: createOldArtifacts({ folder: options.artifacts }, { store, onFault }),
  })
  /** Each remembers how far it has looked. */
  const [own, operators] = [looks(), looks()]
  let lookAtMs = clock.monotonicMs() + LOOK_EVERY_MS

  /** What ended before this instant is of no more use. */
  function cutoffs(olderThanMs?: number) {
    const now = nowMs()
    const before = (spanMs: number) => now - spanMs
    return {
      tasks: before(olderThanMs ?? settings.tasks),
      artifacts: before(olderThanMs ?? settings.artifacts),
      alerts: before(olderThanMs ?? settings.alerts),
      evidence: before(settings.evidence),
    }
  }
  const filesNow = (before: ReturnType<typeof cutoffs>) => ({
    evidence: oldEvidence(home, before.evidence),
    logs: oldLogs(home, settings.logs),
    copies: oldCopies(home, before.tasks, before.evidence),
  })

  /** What the next turn would take, and no more than a turn may: tasks first, and what they left once there are no more of them. */
  function look({ tasks: oldTasks, artifacts: oldArtifacts }: Looks, olderThanMs?: number): Batch {
    const before = cutoffs(olderThanMs)
    const tasks = oldTasks.next(before.tasks, TASKS_PER_TURN)
    const areTasksOver = tasks.isOver && tasks.tasks.length === 0
    if (!areTasksOver) oldArtifacts.again()
    const cut = { beforeMs: before.artifacts, evidenceBeforeMs: before.evidence }
    const artifacts = areTasksOver ? oldArtifacts.next(cut, ARTIFACTS_PER_TURN) : { artifacts: [], isOver: false }
    const oldTranscripts = transcripts.old(before.artifacts, FILES_PER_TURN)
    const alerts = alertRows.countOld(before.alerts, ALERTS_PER_TURN)
    const found = filesNow(before)
    const some = (files: OldFile[]) => files.slice(0, FILES_PER_TURN)
    const strays = Array.from({ length: STRAY_FOLDERS_PER_LOOK }, () => oldArtifacts.strays(nowMs())).flat()
    const files = {
      evidence: some(found.evidence),
      logs: some(found.logs),
      copies: some(found.copies),
      strays: some(strays),
    }
    return {
      tasks: tasks.tasks,
      artifacts: artifacts.artifacts,
      transcripts: oldTranscripts,
      alertsBeforeMs: before.alerts,
      alerts,
      files,
      more:
        !areTasksOver ||
        !artifacts.isOver ||
        alerts === ALERTS_PER_TURN ||
        oldTranscripts.length === FILES_PER_TURN ||
        Object.values(found).some(({ length }) => length > FILES_PER_TURN),
    }
  }

  function take(grant: Grant, batch: Batch): Took {
    assertGrant(grant, 'retention.prune', 'retention.turn')
    const { files } = batch
    const artifactBytes = own.artifacts.remove(grant, batch.artifacts) + transcripts.remove(grant, batch.transcripts)
    const done: Pruned = {
      ...nothing(),
      ...own.tasks.remove(grant, batch.tasks),
      alerts: batch.alerts === 0 ? 0 : alertRows.prune(batch.alertsBeforeMs, ALERTS_PER_TURN),
      artifacts: batch.artifacts.length + batch.transcripts.length + files.strays.length,
      artifactBytes: artifactBytes + bytesOf(files.strays),
      evidence: files.evidence.length,
      evidenceBytes: bytesOf(files.evidence),
      logs: files.logs.length,
      logBytes: bytesOf(files.logs),
      copies: files.copies.length,
      copyBytes: bytesOf(files.copies),
    }
    store.afterCommit(() => {
      for (const { path } of Object.values(files).flat()) {
        const why = removeOld(path)
        if (why !== undefined) onFault(path, why)
      }
    })
    const counts = Object.entries(done).filter(([, count]) => count > 0)
    const nameOf = ({ path }: OldFile) => path.slice(path.lastIndexOf('/') + 1)
    const named = (what: 'evidence' | 'copies') =>
      files[what].length === 0 ? '' : `; ${what} ${files[what].map(nameOf).join(', ')}`
    const names = `${named('evidence')}${named('copies')}`
    return {
      ...done,
      auditEffect: `${counts.map(([what, count]) => `${what} ${count}`).join(', ') || 'nothing'}${names}`,
    }
  }

  return {
    turn(grant, { olderThanMs, isFirst }) {
      pauses.require(false)
      if (isFirst) for (const each of Object.values(operators)) each.again()
      const batch = look(operators, olderThanMs)
      return { ...take(grant, batch), more: batch.more }
    },
    round() {
      if (clock.monotonicMs() < lookAtMs || store.failure() !== undefined) return
      try {
        pauses.require(true)
      } catch (thrown) {
        log.debug({ reason: toHubError(thrown).message }, 'nothing is pruned now')
        return
      }
      const batch = look(own)
      if (!batch.more) lookAtMs = clock.monotonicMs() + LOOK_EVERY_MS
      if (isEmpty(batch)) return
      const call = { principal: hubPrincipal('retention'), operation: 'retention.turn', resource: 'hub' } as const
      gate.admit(call, (grant) => take(grant, batch))
    },
    async foresee(olderThanMs) {
      const before = cutoffs(olderThanMs)
      const mine = looks()
      const going = new Set<string>()
      const digests = new Map<string, number>()
      let [sessions, artifacts] = [0, 0]
      const sessionsOf = store.prepare('select count(*) from session where task = ?').pluck()
      for (let isOver = false; !isOver && going.size < COUNTED_MAX; await clock.sleep(0)) {
        const found = mine.tasks.next(before.tasks, COUNTED_MAX)
        for (const task of found.tasks) {
          going.add(task)
          sessions += sessionsOf.get(task) as number
        }
        isOver = found.isOver
      }
      const cut = { beforeMs: before.artifacts, evidenceBeforeMs: before.evidence }
      for (let isOver = false; !isOver && artifacts < COUNTED_MAX; await clock.sleep(0)) {
        const found = mine.artifacts.next(cut, ARTIFACTS_PER_TURN, (task) => going.has(task))
        for (const { sha256, size } of found.artifacts) digests.set(sha256, size)
        artifacts += found.artifacts.length
        isOver = found.isOver
      }
      const { evidence, logs, copies } = filesNow(before)
      const waiting = transcripts.old(before.artifacts, COUNTED_MAX)
      for (const { task, size } of waiting) digests.set(task, size)
      return {
        ...{ tasks: going.size, sessions, artifacts: artifacts + waiting.length },
        artifactBytes: [...digests.values()].reduce((sum, size) => sum + size, 0),
        alerts: alertRows.countOld(before.alerts, COUNTED_MAX),
        ...{ evidence: evidence.length, evidenceBytes: bytesOf(evidence) },
        ...{ logs: logs.length, logBytes: bytesOf(logs) },
        ...{ copies: copies.length, copyBytes: bytesOf(copies) },
        atLeast: going.size >= COUNTED_MAX || artifacts >= COUNTED_MAX,
      }
    },
  }
}
