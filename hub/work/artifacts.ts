/**
 * Durable inputs and outputs: files named by their SHA-256, and rows that say whose they are (S1-68, S1-69).
 *
 * A1. A file is written beside its place, synced and renamed. A file with the wrong digest never gets a row.
 * A2. A task may read its own artifacts, its inputs, and those of its children.
 * A3. What is read is what was hashed (artifact-checks.ts).
 * A4. What a quarantined or revoked session stored is withheld from lists, from agents and from new tasks. People can still fetch it by
 *     asking for quarantined artifacts (S1-70).
 * A5. What a session keeps while its program works is marked, and is never in the way of what the program stores: that replaces it, counts
 *     without it, and a success takes the rest of it away. After any other end it stays, marked.
 */
import { mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { Clock } from '../base/clock.ts'
import { HubError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { hideUnknown, type Redaction } from '../base/redaction.ts'
import type { Alerts } from '../guard/alerts/alerts.ts'
import { assertGrant, assertStopGrant, type Grant, type StopGrant } from '../guard/grant.ts'
import { OPERATOR, ownerText, type Principal } from '../guard/principal.ts'
import { classFact, type DataClass, strictestClass } from '../protocol/data-class.ts'
import { judgeArtifactName } from '../protocol/paths.ts'
import type { Store } from '../store/database.ts'
import { beginsOrEnds, valuesOf } from '../store/id-part.ts'
import { type Arrived, type Arriving, createArriving } from './arriving.ts'
import { type ArtifactChecks, createArtifactChecks, createDamageAlerts } from './artifact-checks.ts'
import type { TaskRow } from './dispatch/rows.ts'

export interface ArtifactView {
  name: string
  sha256: string
  size: number
  dataClass?: DataClass
  unfinished?: true
}
export interface WithheldArtifact extends ArtifactView {
  task: string
}
/** The owner of the rows for what a person or token uploaded: proof that these very bytes came from them. */
export const uploadsOf = (principal: Principal): string => ownerText(principal)
/** All other rows belong to a task; a task id holds no colon. */
const NO_UPLOAD = `(task <> '${uploadsOf(OPERATOR)}' and instr(task, ':') = 0)`

export interface Artifacts extends Arriving {
  /**
   * Makes the file an artifact of this owner under this name. Its class is never looser than that of the same bytes of this owner, so storing
   * them again does not loosen it. Throws `too_large` above the owner's total.
   */
  put(
    grant: Grant,
    arrived: Arrived,
    about: {
      owner: string
      name: string
      session: string | null
      totalBytesMax: number
      dataClass: DataClass | undefined
      /** Kept while its program works, or when it fell (A5). */
      unfinished: boolean
    },
  ): ArtifactView
  /** The task has succeeded: what was kept meanwhile and is not among its outputs goes. */
  succeeded(grant: Grant, task: string): void
  /** What came late is the task's that was made of it from now on (dispatch/late.ts). What is withheld stays where it is. */
  adopt(grant: Grant, from: string, to: string): void
  /** Leaves out what is withheld. With `quarantined`: lists only that. */
  list(owner: string, quarantined?: boolean): ArtifactView[]
  /** Of every task, newest first, by the same rule. `part`: only digests that begin or end with it. */
  recent(query: { limit: number; offset: number; quarantined: boolean; part?: string }): WithheldArtifact[]
  /** Does not find what is withheld, unless `quarantined`. */
  find(sha256: string, quarantined?: boolean): ArtifactView | undefined
  /** The strictest class of all rows of these bytes: storing them again under another name does not loosen it. */
  classOf(sha256: string): DataClass | undefined
  /** Whether this owner has a row for it that is not withheld. */
  owns(owner: string, sha256: string): boolean
  /** Why a task may read this digest: it is its own, it is inherited (an input, or a child's), or it may not. */
  access(task: TaskRow, sha256: string): 'own' | 'inherited' | 'none'
  /** Call before `read`. Throws `artifact_corrupt` if the file is not what its name says. Does nothing for an unknown digest. */
  verify(sha256: string): Promise<void>
  /** Opens the bytes from `start` to `end` inclusive. Throws `unknown_artifact`, and `artifact_corrupt` if `verify` was not called before. */
  read(
    sha256: string,
    range?: { start: number; end: number },
    quarantined?: boolean,
  ): { stream: Readable; size: number }
  /** Withholds all that the session stored and answers what that was. Nothing is withheld while the store cannot be written. */
  withhold(grant: StopGrant, session: string): WithheldArtifact[]
  /** One round of the scan of stored files. */
  scan(): Promise<string[]>
}

const unfinishedFact = (isUnfinished: boolean): { unfinished?: true } => (isUnfinished ? { unfinished: true } : {})

const viewsOf = <View extends ArtifactView>(rows: unknown[]): View[] =>
  (rows as (Omit<View, 'dataClass' | 'unfinished'> & { dataClass: DataClass | null; unfinished: 1 | null })[]).map(
    ({ dataClass, unfinished, ...row }) =>
      ({ ...row, ...classFact(dataClass), ...unfinishedFact(unfinished === 1) }) as unknown as View,
  )

/** Bytes read in one round of the scan. */
const SCAN_BYTES = 64 * 1024 ** 2

export function createArtifacts(
  options: { folder: string },
  parts: {
    store: Store
    /** The steady clock: retention judges ages by these times. */
    clock: Pick<Clock, 'wallMs'>
    random: Random
    alerts: Pick<Alerts, 'raise' | 'resolve' | 'isOpen'>
    redaction?: Redaction
  },
): Artifacts {
  const { store, clock, random, alerts, redaction = hideUnknown() } = parts
  const arriving = createArriving(join(options.folder, 'arriving'), 'artifact', random)

  const some = 'quarantined_at_ms is null'
  const digests = store.prepare('select distinct sha256 from artifact where sha256 > ? order by sha256 limit ?').pluck()
  const checks: ArtifactChecks = createArtifactChecks(
    { folder: options.folder, bytesPerRound: SCAN_BYTES },
    {
      digestsAfter: (sha256, limit) => digests.all(sha256, limit) as string[],
      ...createDamageAlerts(options.folder, alerts),
    },
  )
  const findAny = store.prepare('select name, sha256, size from artifact where sha256 = ? limit 1')
  const find = store.prepare(`select name, sha256, size from artifact where sha256 = ? and ${some} limit 1`)
  const listed = store.prepare(
    `select name, sha256, size, data_class as dataClass, unfinished from artifact where task = ? and ${some} order by name`,
  )
  const withheld = store.prepare(
    'select name, sha256, size, data_class as dataClass, unfinished from artifact where task = ? and quarantined_at_ms is not null order by name',
  )
  const sizes = store.prepare('select coalesce(sum(size), 0) from artifact where task = ? and name <> ?').pluck()
  const sizesStored = store
    .prepare('select coalesce(sum(size), 0) from artifact where task = ? and name <> ? and unfinished is null')
    .pluck()
  const dropUnfinished = store.prepare(`delete from artifact where task = ? and unfinished = 1 and ${some}`)
  const classes = store.prepare('select distinct data_class from artifact where sha256 = ?').pluck()
  const ownClasses = store.prepare('select distinct data_class from artifact where task = ? and sha256 = ?').pluck()
  const owns = store.prepare(`select 1 from artifact where task = ? and sha256 = ? and ${some}`)
  const childOwns = store.prepare(
    `select 1 from artifact join task on artifact.task = task.id where task.parent = ? and sha256 = ? and ${some}`,
  )

  return {
    ...arriving,

    put(grant, arrived, { owner, name, session, totalBytesMax, dataClass: given, unfinished }) {
      assertGrant(grant, 'artifact.put')
      requireName(name)
      if (redaction.secretIn(name) !== undefined)
        throw new HubError('schema_invalid', 'name: it holds the value of a secret; choose another name')
      const { sha256, size } = arrived
      const dataClass = strictestClass([given, ...(ownClasses.all(owner, sha256) as (DataClass | null)[])])
      // What is withheld still counts.
      const total = (unfinished ? sizes : sizesStored).get(owner, name) as number
      if (total + size > totalBytesMax)
        throw new HubError(
          'too_large',
          `with this one, the artifacts of the task would take more than ${totalBytesMax} bytes`,
        )
      // If the stored file is not known to be right, the one that was just hashed replaces it.
      if (checks.isRight(sha256)) rmSync(arrived.path, { force: true })
      else {
        mkdirSync(join(options.folder, sha256.slice(0, 2)), { recursive: true, mode: 0o700 })
        renameSync(arrived.path, checks.pathOf(sha256))
        checks.written(sha256)
      }
      store
        .prepare(
          `insert into artifact (task, name, sha256, size, session, created_at_ms, data_class, unfinished) values (?, ?, ?, ?, ?, ?, ?, ?)
             on conflict (task, name) do update set sha256 = excluded.sha256, size = excluded.size,
             session = excluded.session, created_at_ms = excluded.created_at_ms, data_class = excluded.data_class,
             unfinished = excluded.unfinished, quarantined_at_ms = null`,
        )
        .run(owner, name, sha256, size, session, clock.wallMs(), dataClass ?? null, unfinished ? 1 : null)
      return { name, sha256, size, ...classFact(dataClass), ...unfinishedFact(unfinished) }
    },
    succeeded(grant, task) {
      assertGrant(grant, 'task.result')
      dropUnfinished.run(task)
    },
    adopt(grant, from, to) {
      assertGrant(grant, 'task.accept')
      store.prepare(`update artifact set task = ? where task = ? and ${some}`).run(to, from)
    },
    list: (owner, quarantined = false) => viewsOf<ArtifactView>((quarantined ? withheld : listed).all(owner)),
    recent: ({ limit, offset, quarantined, part }) =>
      viewsOf(
        store
          .prepare(
            `select name, sha256, size, task, data_class as dataClass, unfinished from artifact where ${NO_UPLOAD} and quarantined_at_ms is ${quarantined ? 'not null' : 'null'}
           ${part === undefined ? '' : `and sha256 in (select sha256 from artifact where ${beginsOrEnds('sha256')})`}
           order by created_at_ms desc, task, name limit ? offset ?`,
          )
          .all(...(part === undefined ? [] : valuesOf(part)), limit, offset),
      ),
    find: (sha256, quarantined = false) => (quarantined ? findAny : find).get(sha256) as ArtifactView | undefined,

    classOf: (sha256) => strictestClass(classes.all(sha256) as (DataClass | null)[]),
    owns: (owner, sha256) => owns.get(owner, sha256) !== undefined,
    access(task, sha256) {
      if (owns.get(task.id, sha256) !== undefined) return 'own'
      const isInput = task.inputs !== null && (task.inputs.manifest === sha256 || task.inputs.pack === sha256)
      if (isInput) return find.get(sha256) === undefined ? 'none' : 'inherited'
      return childOwns.get(task.id, sha256) === undefined ? 'none' : 'inherited'
    },

    async verify(sha256) {
      if (findAny.get(sha256) !== undefined) await checks.verify(sha256)
    },
    read(sha256, range, quarantined = false) {
      const row = (quarantined ? findAny : find).get(sha256) as ArtifactView | undefined
      if (row !== undefined) return checks.open(sha256, range)
      const why =
        findAny.get(sha256) === undefined ? `no artifact is named ${sha256}` : `artifact ${sha256} is quarantined`
      throw new HubError('unknown_artifact', why)
    },
    withhold(grant, session) {
      assertStopGrant(grant, 'session.quarantine', 'session.revoke', 'session.reap')
      // Outside a transaction the store is failing. A session must be stoppable even if its artifacts cannot be withheld (I6).
      if (!store.inTransaction) return []
      const left = `session = ? and ${some}`
      const rows = store
        .prepare(`select task, name, sha256, size, data_class as dataClass, unfinished from artifact where ${left}`)
        .all(session)
      store.prepare(`update artifact set quarantined_at_ms = ? where ${left}`).run(clock.wallMs(), session)
      return viewsOf<WithheldArtifact>(rows)
    },
    scan: checks.scan,
  }
}

/** The name must be a relative path of ordinary segments (T69); whoever unpacks it checks again. Throws `schema_invalid`. */
export function requireName(name: string): void {
  const fault = judgeArtifactName(name)
  if (fault !== undefined) throw new HubError('schema_invalid', `name: it ${fault}`)
}
