/** Task, attempt and session rows as the program sees them, and the queries that only read. Only tasks.ts moves rows. */

import { DATA_CLASSES, type DataClass } from '../../protocol/data-class.ts'
import type { FolderRef } from '../../protocol/envelope.ts'
import { isRelaxations } from '../../protocol/relax.ts'
import {
  type AttemptState,
  type Authority,
  attemptMachine,
  EXIT_REASONS,
  type ExitReason,
  type SessionState,
  sessionMachine,
  type TaskOutcome,
  type TaskState,
  taskMachine,
} from '../../protocol/task.ts'
import { type TaskSpec, taskSpecShape } from '../../protocol/task-spec.ts'
import type { Store } from '../../store/database.ts'
import { beginsOrEnds, valuesOf } from '../../store/id-part.ts'
import { type Column, isObject, isTexts, json, oneOf, readRow } from '../../store/reading.ts'
import { createQueueRows, HELD, type QueueRows, SERVICES } from './queue-rows.ts'
import { createTreeRows, type TreeRows } from './tree-rows.ts'

/** Why a row cannot be read. The values it then shows allow nothing (store/reading.ts). */
interface Readable {
  unreadable: string | null
}

export interface TaskRow extends Readable {
  id: string
  state: TaskState
  agent: string | null
  needs: string[]
  params: Record<string, unknown>
  inputs: FolderRef | null
  priority: number
  held: boolean
  /** Levels of delegation above it; 0 for the operator's own. */
  depth: number
  parent: string | null
  parentSession: string | null
  delegateId: string | null
  /** Agents above it, root first. */
  chain: string[]
  /** What the chain above holds; null for the operator's own task. */
  ceiling: Authority | null
  ttlMs: number | null
  attempts: number
  crashes: number
  notBeforeMs: number
  outcome: TaskOutcome | null
  error: { code: string; detail: string } | null
  /** The class of data it works on; null for none. */
  sensitivity: DataClass | null
  /** What it is about beside its parameters; null for nothing. */
  spec: TaskSpec | null
  requestedBy: string
  /** The task whose late result this is the record of; null for a task like any other. */
  acceptedFrom: string | null
  /** The face of a run (faces.ts), which never has a session; null for a task for an agent. */
  kind: 'run' | null
  /** The digest of the request that its key belongs to; null without a key. */
  requestDigest: string | null
  createdAtMs: number
  startedAtMs: number | null
  endedAtMs: number | null
}

export interface AttemptRow extends Readable {
  id: string
  task: string
  ordinal: number
  state: AttemptState
  session: string | null
  exitCode: number | null
  oomKilled: number | null
  startedAtMs: number
  endedAtMs: number | null
}

export interface SessionRow extends Readable {
  id: string
  agent: string
  task: string
  attempt: string
  state: SessionState
  generation: number
  containerName: string
  containerId: string | null
  imageId: string
  /** User of its container; null for a session from before sessions had one each. */
  uid: number | null
  authority: Authority
  publicKey: string | null
  expiresAtMs: number
  /** `<boot id>:<boot ms>` */
  expiresBoot: string
  /** How long its questions may still stop its clock. Null in rows of an earlier hub, which means none. */
  waitLeftMs: number | null
  /** Since when it has waited for a person, `<boot id>:<boot ms>`. */
  waitingSince: string | null
  exitReason: ExitReason | null
  /** Why it ended, for people. */
  detail: string
  /** Of a start that failed: the error's code. */
  errorCode: string | null
  /** What the engine still shows of it although nothing of it runs. */
  leftBehind: string | null
  createdAtMs: number
  endedAtMs: number | null
}

/** Everything that may still have a container, also if its state is damaged (fault G3). The index `session_not_ended` covers exactly this. */
const NOT_ENDED = `state <> 'recycled'`
/** Sorts after every id. */
const ID_MAX = '~'
const LIVE_STATES = `('provisioning', 'starting', 'ready', 'working', 'input_required')`

const fields = new Map<string, string>()
/** snake_case to camelCase, worked out once per column: the expression alone took a tenth of a message's time. */
function fieldOf(column: string): string {
  const known = fields.get(column)
  if (known !== undefined) return known
  const made = column.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
  fields.set(column, made)
  return made
}

/** Column to field; each is read by its rule. */
function toRow<Row>(raw: unknown, columns: Readonly<Record<string, Column>>): Row {
  const { unreadable, values } = readRow(raw as Record<string, unknown>, columns)
  const row: Record<string, unknown> = { unreadable }
  for (const [column, value] of Object.entries(values)) row[fieldOf(column)] = value
  return row as Row
}
const NOTHING: Authority = {
  capabilities: [],
  message: [],
  delegate: [],
  topics: [],
  secrets: [],
  egress: [],
  ttlMs: 1000,
  depthLeft: 0,
  tasksLeft: 0,
}
const isAuthority = (value: unknown): boolean =>
  isObject(value) &&
  Object.entries(NOTHING).every(([key, like]) =>
    Array.isArray(like) ? isTexts(value[key]) : Number.isFinite(value[key] as number),
  ) &&
  (value.relax === undefined || isRelaxations(value.relax))
// An unknown state counts as still running, so whoever ends what runs ends this too.
const TASK: Readonly<Record<string, Column>> = {
  state: oneOf(taskMachine.states, 'running'),
  needs: json(isTexts, []),
  params: json(isObject, {}),
  inputs: json(isObject, null),
  chain: json(isTexts, []),
  ceiling: json(isAuthority, NOTHING),
  outcome: json(isObject, null),
  error: json(isObject, null),
  // One that cannot be read counts as the highest.
  sensitivity: {
    read: (value) => (value === null || DATA_CLASSES.some((each) => each === value) ? { value } : undefined),
    instead: 'restricted',
  },
  // A face starts nothing by itself.
  kind: oneOf(['run'], 'run'),
  spec: json((value) => taskSpecShape.safeParse(value).success, null),
  priority: { read: (value) => (Number.isInteger(value) ? { value } : undefined), instead: 0 },
}
/** `<boot id>:<boot ms>` */
const isInstant = (value: unknown): boolean => /^.+:\d+(\.\d+)?$/.test(String(value))
const ATTEMPT: Readonly<Record<string, Column>> = { state: oneOf(attemptMachine.states, 'lost') }
const SESSION: Readonly<Record<string, Column>> = {
  state: oneOf(sessionMachine.states, 'working'),
  authority: json(isAuthority, NOTHING),
  exit_reason: oneOf(EXIT_REASONS, null),
  expires_boot: { read: (value) => (isInstant(value) ? { value } : undefined), instead: ':0' },
  waiting_since: { read: (value) => (value === null || isInstant(value) ? { value } : undefined), instead: null },
}
/** The error with which a task that cannot be read ends. */
export const unreadableError = (why: string): { code: string; detail: string } => ({
  code: 'unreadable',
  detail: `its row in the database cannot be read: ${why}; submit it again`,
})

const taskRow = (raw: unknown): TaskRow => {
  const row = toRow<Omit<TaskRow, 'held'> & { held: unknown }>(raw, TASK)
  const error = row.unreadable === null ? row.error : (row.error ?? unreadableError(row.unreadable))
  return { ...row, error, held: row.held === 1 }
}
const sessionRow = (raw: unknown): SessionRow => toRow<SessionRow>(raw, SESSION)

/** What routing needs of a live session: three columns, since it is read for every message. */
export type Peer = Pick<SessionRow, 'id' | 'agent' | 'task'>

export interface TaskRows extends QueueRows<TaskRow>, TreeRows<TaskRow> {
  task(id: string): TaskRow | undefined
  /** By key and principal together, as `asking.ts` joins them. */
  taskByKey(idempotencyKey: string): TaskRow | undefined
  taskByDelegate(parentSession: string, delegateId: string): TaskRow | undefined
  /** Newest first. `before` is the id of the last one seen. */
  tasks(query: {
    limit: number
    before?: string
    state?: string
    parent?: string
    part?: string
    held?: boolean
  }): TaskRow[]
  /** The unfinished task of a service, and its latest ones, newest first. */
  openServiceTask(agent: string): TaskRow | undefined
  serviceTasks(agent: string, limit: number): TaskRow[]
  attempts(task: string): AttemptRow[]
  session(id: string): SessionRow | undefined
  /** The two columns that every message needs, without the rest of the row. */
  standing(id: string): Pick<SessionRow, 'state' | 'generation'> | undefined
  /** Live sessions: one, those of an agent, or all. */
  peers(of: { id: string } | { agent: string } | 'all'): Peer[]
  /** The session that delegated this task. */
  parentSessionOf(task: string): string | null
  sessionOfTask(task: string): SessionRow | undefined
  /** How often the engine refused to start this task (losses.ts wrote the code). */
  startsRefused(task: string): number
  /** Live and recycling sessions: everything that may still have a container. */
  sessionsOpen(): SessionRow[]
  /** The same, no more than who and in which state: 250 whole rows take milliseconds. A damaged row shows what it holds. */
  sessionsBrief(): Pick<SessionRow, 'id' | 'agent' | 'state' | 'task' | 'attempt'>[]
  /** Users that may still have a process: those of every session whose container is not confirmed gone. */
  usersHeld(): number[]
  /** The user of the newest session. */
  userLast(): number | null
  sessions(query: { limit: number; before?: string; all: boolean; part?: string }): SessionRow[]
}

export function createTaskRows(store: Store): TaskRows {
  const peers = `select id, agent, task from session where state in ${LIVE_STATES}`
  const [peersAll, peerById] = [store.prepare(peers), store.prepare(`${peers} and id = ?`)]
  const peersOf = store.prepare(`${peers} and agent = ?`)
  const parentOf = store.prepare('select parent_session from task where id = ?').pluck()
  const standing = store.prepare('select state, generation from session where id = ?')
  const usersHeld = store.prepare(`select uid from session where ${NOT_ENDED} and uid is not null`).pluck()
  const userLast = store.prepare('select uid from session order by created_at_ms desc limit 1').pluck()
  const all = (sql: string, ...values: unknown[]) => store.prepare(sql).all(...values)
  const one = <Row>(map: (raw: unknown) => Row, sql: string, ...values: unknown[]) => {
    const raw = store.prepare(sql).get(...values)
    return raw === undefined ? undefined : map(raw)
  }
  return {
    ...createQueueRows(store, taskRow),
    ...createTreeRows(store, taskRow),
    task: (id) => one(taskRow, 'select * from task where id = ?', id),
    taskByKey: (key) => one(taskRow, 'select * from task where idempotency_key = ?', key),
    taskByDelegate: (session, id) =>
      one(taskRow, 'select * from task where parent_session = ? and delegate_id = ?', session, id),
    tasks: ({ limit, before, state, parent, part, held }) =>
      all(
        // The text holds only the conditions asked for, so that the right index is used: a page costs a page, however many tasks there are.
        `select * from task where ${[
          'id < ?',
          ...(state === undefined ? [] : ['state = ?']),
          ...(parent === undefined ? [] : ['parent = ?']),
          ...(held === undefined ? [] : [held ? HELD : `not (${HELD})`]),
          ...(part === undefined ? [] : [`id in (select id from task where ${beginsOrEnds('id')})`]),
        ].join(' and ')} order by id desc limit ?`,
        ...[before ?? ID_MAX, ...[state, parent].filter((value) => value !== undefined)],
        ...(part === undefined ? [] : valuesOf(part)),
        limit,
      ).map(taskRow),
    openServiceTask: (agent) =>
      one(
        taskRow,
        `select * from task where agent = ? and requested_by = ? and state in ('queued', 'running')`,
        agent,
        SERVICES,
      ),
    serviceTasks: (agent, limit) =>
      all(
        `select * from task where agent = ? and requested_by = '${SERVICES}' order by id desc limit ?`,
        agent,
        limit,
      ).map(taskRow),
    attempts: (task) =>
      all('select * from attempt where task = ? order by ordinal', task).map((raw) => toRow<AttemptRow>(raw, ATTEMPT)),
    session: (id) => one(sessionRow, 'select * from session where id = ?', id),
    standing: (id) => standing.get(id) as Pick<SessionRow, 'state' | 'generation'> | undefined,
    peers: (of) => (of === 'all' ? peersAll.all() : 'id' in of ? peerById.all(of.id) : peersOf.all(of.agent)) as Peer[],
    parentSessionOf: (task) => (parentOf.get(task) as string | null | undefined) ?? null,
    sessionOfTask: (task) =>
      one(sessionRow, `select * from session where task = ? and state not in ('recycling', 'recycled')`, task),
    startsRefused: (task) =>
      Number(
        store
          .prepare(`select count(*) from session where task = ? and error_code = 'engine_refused'`)
          .pluck()
          .get(task),
      ),
    sessionsBrief: () =>
      all(`select id, agent, state, task, attempt from session where ${NOT_ENDED}`) as Pick<
        SessionRow,
        'id' | 'agent' | 'state' | 'task' | 'attempt'
      >[],
    sessionsOpen: () => all(`select * from session where ${NOT_ENDED} order by created_at_ms`).map(sessionRow),
    usersHeld: () => usersHeld.all() as number[],
    userLast: () => (userLast.get() as number | null | undefined) ?? null,
    sessions: ({ limit, before, all: every, part }) =>
      all(
        `select * from session where created_at_ms < ? ${every ? '' : `and ${NOT_ENDED}`}
         ${part === undefined ? '' : `and id in (select id from session where ${beginsOrEnds('id')})`} order by created_at_ms desc limit ?`,
        before ?? Number.MAX_SAFE_INTEGER,
        ...(part === undefined ? [] : valuesOf(part)),
        limit,
      ).map(sessionRow),
  }
}
