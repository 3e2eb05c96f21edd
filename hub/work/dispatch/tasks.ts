/**
 * The only mover of task, attempt and session rows.
 *
 * T1. Every step is in its transition table. It is one update that names the old state, and it changes exactly one row or does not happen.
 * T2. Every step takes a grant, so it runs in one transaction with its audit record.
 * T3. Terminal states are final. A task that ends takes its unfinished children with it, in the same transaction (T44).
 * T4. Others are told after the commit (`Store.afterCommit`), never before.
 * T5. What a task leaves behind holds no secret: its result, its error and the reason of an end are masked before they are stored (S1-62).
 * T6. A row that cannot be read is moved only to its end. Each step of a whole row renews its check (row-checks.ts).
 */

import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { newUuid, type Random } from '../../base/random.ts'
import { hideUnknown, type Redaction } from '../../base/redaction.ts'
import { assertGrant, assertStopGrant, type Grant, type StopGrant } from '../../guard/grant.ts'
import type { DataClass } from '../../protocol/data-class.ts'
import type { FolderRef } from '../../protocol/envelope.ts'
import { type Authority, type ExitReason, type TaskOutcome, taskMachine } from '../../protocol/task.ts'
import type { TaskSpec } from '../../protocol/task-spec.ts'
import type { Store } from '../../store/database.ts'
import { afterWait, expiryAfter } from './expiry.ts'
import { createFaces, type Faces, lostStep, requireNoPartOfRun, requireUnderWay } from './faces.ts'
import { createMoves, jsonOrNull, type LossFacts, STOPS, type TaskEnd, type TaskListener } from './moves.ts'
import { setHeld } from './row-checks.ts'
import { createTaskRows, type SessionRow, type TaskRow, type TaskRows, unreadableError } from './rows.ts'
import { isStep } from './tree-rows.ts'

/** What a new task is made of. */
export interface NewTask {
  agent: string | undefined
  needs: readonly string[]
  params: Record<string, unknown>
  inputs: FolderRef | null
  priority: number
  hold: boolean
  ttlMs: number | undefined
  /** The class of data it works on. */
  sensitivity?: DataClass | null | undefined
  /** What it is about beside its parameters. */
  spec?: TaskSpec | null | undefined
  requestedBy: string
  /** The key it was asked for with, which belongs to one principal, and the digest of that request. */
  once?: { key: string; digest: string }
  /** Without `delegateId` nobody waits for its outcome. */
  parent?: { task: TaskRow; session: SessionRow; delegateId: string | null; ceiling: Authority } | undefined
  /** The face of a run, which never has a session. */
  kind?: 'run' | undefined
  /** A step of this run: it has what the run has, and no session waits for it. */
  step?: { face: TaskRow } | undefined
}

/** What a new session of a task is made of. */
export interface Assignment {
  session: string
  agent: string
  containerName: string
  imageId: string
  /** User and group of its container. */
  uid: number
  authority: Authority
  expiresAtMs: number
  expiresBoot: string
  /** How long its questions may wait. */
  waitLeftMs: number
}

export interface Tasks extends TaskRows, Faces {
  insert(grant: Grant, task: NewTask): TaskRow
  /** queued -> running, with a new attempt and its session. */
  assign(grant: Grant, task: string, assignment: Assignment): SessionRow
  /** The container exists: provisioning -> starting. */
  provisioned(grant: Grant, session: string, containerId: string): void
  /** The agent joined with this key: starting -> working; one that is given prompts rests in ready until the first. */
  joined(grant: Grant, session: string, publicKey: string, rests?: boolean): void
  /** A chat works on a turn, or rests: ready -> working, and back. */
  turning(grant: Grant, session: string, isAtWork: boolean): void
  /** The agent's own result: the attempt settles, the task ends, the session is to be recycled. */
  settled(grant: Grant, session: string, outcome: TaskOutcome): void
  /**
   * It waits for a person: working -> input_required, and back. Meanwhile its clock stands still (expiry.ts). Does nothing if it is there
   * already.
   */
  waiting(grant: Grant, session: string): void
  resumed(grant: Grant, session: string): void
  /** The attempt is lost. `next` says what becomes of the task. */
  lost(grant: Grant, session: string, facts: LossFacts, next: AfterLoss): void
  /** A queued task that can never start. */
  failed(grant: Grant, task: string, error: { code: string; detail: string }): void
  released(grant: Grant, task: string): TaskRow
  /** A task that has ended already: the record of what came after the end of another (late.ts). Nothing of it ever runs. */
  accepted(grant: Grant, record: { of: TaskRow; outcome: TaskOutcome; requestedBy: string }): TaskRow
  /**
   * Every unfinished task now waits for the operator's word; a running one does so once it comes back. After a rest: only queued ones.
   * Answers how many.
   */
  holdAll(grant: Grant | StopGrant, only?: string): number
  /** Ends the task and stops what runs of it, its children included. */
  stop(grant: StopGrant, task: string, end: TaskEnd, reason: ExitReason): void
  /** Stops only the attempt. The task goes back to the queue, held. */
  interrupt(grant: StopGrant, session: string, reason: ExitReason): void
  /** Its removal is confirmed: recycling -> recycled. */
  recycled(grant: StopGrant, session: string, leftBehind?: string): void
  /** The listener hears every step from now on, after the earlier listeners. */
  listen(listener: TaskListener): void
  /** How running sessions of a task are stopped although nothing can be written. It has one listener. */
  onStopUnwritten(stop: StopUnwritten): void
}
type StopUnwritten = (grant: StopGrant, task: string, reason: ExitReason) => void

/** Back to the queue (a crash counts, an interruption does not), or the end. */
export type AfterLoss = { again: { crashed: boolean; held: boolean; notBeforeMs: number } } | { end: TaskEnd }

export function createTasks(parts: {
  store: Store
  clock: Clock
  /** Stamps ends, by which retention judges ages: never by a wall clock that was set back. */
  steady: Pick<Clock, 'wallMs'>
  random: Random
  /** Throws `mode_degraded` if a new task would not fit on the disk. */
  requireRoom: () => void
  redaction?: Redaction
}): Tasks {
  const { store, clock, steady, random, requireRoom, redaction = hideUnknown() } = parts
  const rows = createTaskRows(store)

  const listeners: TaskListener[] = []
  let stopUnwritten: StopUnwritten = () => undefined
  const moves = createMoves({ store, steady, rows, listeners, redaction })
  const { theTask, theSession, move, moveSession, stepAttempt, closeAttempt, seal } = moves
  const { beginRecycling, endTask, stopTask, requeue, tellMade, tellTask } = moves

  return {
    ...rows,
    ...createFaces({ store, steady, rows, moves }),

    insert(grant, wish) {
      if (wish.step !== undefined) assertGrant(grant, 'run.step')
      else if (wish.kind === 'run') assertGrant(grant, 'run.create', 'task.delegate')
      else assertGrant(grant, 'task.submit', 'task.delegate', 'task.retry', 'service.start')
      const { parent, step } = wish
      if (step !== undefined) requireUnderWay(step.face)
      // A child is one of the few that its tree may have, and ends with its parent. So it waits in the queue for room (fault D5). One that
      // a person retries is asked for like any other.
      if (typeof parent?.delegateId !== 'string') requireRoom()
      const id = newUuid(random, clock.wallMs())
      // Depth counts the sessions that wait above. A run is none.
      const depth = parent === undefined ? (step?.face.depth ?? 0) : parent.task.depth + 1
      const chain = parent === undefined ? (step?.face.chain ?? []) : [...parent.task.chain, parent.session.agent]
      store
        .prepare(
          `insert into task (id, state, agent, needs, params, inputs, priority, held, depth, parent, parent_session, delegate_id, chain,
             ceiling, ttl_ms, sensitivity, spec, requested_by, idempotency_key, request_digest, created_at_ms, kind)
           values (?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        )
        .run(
          id,
          wish.agent ?? null,
          // Sorted and without repeats: tasks that ask for the same things share one part of the queue.
          JSON.stringify([...new Set(wish.needs)].sort()),
          JSON.stringify(wish.params),
          jsonOrNull(wish.inputs),
          wish.priority,
          Number(wish.hold),
          depth,
          parent?.task.id ?? step?.face.id ?? null,
          parent?.session.id ?? null,
          parent?.delegateId ?? null,
          JSON.stringify(chain),
          jsonOrNull(parent?.ceiling ?? step?.face.ceiling),
          wish.ttlMs ?? null,
          wish.sensitivity ?? null,
          jsonOrNull(wish.spec),
          wish.requestedBy,
          wish.once?.key ?? null,
          wish.once?.digest ?? null,
          clock.wallMs(),
          wish.kind ?? null,
        )
      seal('task', id)
      tellMade(id)
      tellTask(id)
      return theTask(id)
    },

    assign(grant, taskId, assignment) {
      assertGrant(grant, 'task.dispatch')
      const task = theTask(taskId)
      if (task.unreadable !== null) throw new HubError('unreadable', unreadableError(task.unreadable).detail)
      if (task.kind === 'run') throw new HubError('internal', '', { reason: `run ${taskId} was dispatched as a task` })
      const now = clock.wallMs()
      const attempt = newUuid(random, now)
      const ordinal = task.attempts + 1
      move('task', taskMachine, task, 'running', {
        attempts: ordinal,
        started_at_ms: task.startedAtMs ?? now,
        agent: assignment.agent,
      })
      store
        .prepare(
          `insert into attempt (id, task, ordinal, state, session, started_at_ms) values (?, ?, ?, 'assigned', ?, ?)`,
        )
        .run(attempt, task.id, ordinal, assignment.session, now)
      const { session, agent, containerName, imageId, uid, authority, expiresAtMs, expiresBoot, waitLeftMs } =
        assignment
      store
        .prepare(
          `insert into session (id, agent, task, attempt, state, container_name, image_id, uid, authority, expires_at_ms, expires_boot,
             wait_left_ms, created_at_ms)
           values (?, ?, ?, ?, 'provisioning', ?, ?, ?, ?, ?, ?, ?, ?)`,
        )
        .run(
          session,
          agent,
          task.id,
          attempt,
          containerName,
          imageId,
          uid,
          JSON.stringify(authority),
          expiresAtMs,
          expiresBoot,
          waitLeftMs,
          now,
        )
      seal('attempt', attempt)
      seal('session', session)
      tellTask(task.id)
      return theSession(session)
    },

    provisioned(grant, id, containerId) {
      assertGrant(grant, 'session.observe')
      const session = theSession(id)
      moveSession(session, 'starting', { container_id: containerId })
      stepAttempt(session, 'assigned', 'starting')
    },

    joined(grant, id, publicKey, rests = false) {
      assertGrant(grant, 'session.join')
      const session = theSession(id)
      moveSession(session, 'ready', { public_key: publicKey })
      if (!rests) moveSession({ ...session, state: 'ready' }, 'working')
      stepAttempt(session, 'starting', 'running')
    },
    turning(grant, id, isAtWork) {
      assertGrant(grant, 'session.turn')
      const session = theSession(id)
      // While it waits for a person it stays in that state.
      if (session.state === (isAtWork ? 'ready' : 'working')) moveSession(session, isAtWork ? 'working' : 'ready')
    },

    settled(grant, id, outcome) {
      assertGrant(grant, 'task.result')
      const session = theSession(id)
      closeAttempt(session, 'settled')
      beginRecycling(session, outcome.outcome === 'succeeded' ? 'done' : 'failed')
      const { code, ...said } = outcome
      const fault =
        code === undefined || said.outcome === 'succeeded' ? {} : { error: { code, detail: said.error ?? '' } }
      endTask(theTask(session.task), { state: said.outcome, outcome: said, ...fault })
    },

    waiting(grant, id) {
      assertGrant(grant, 'task.ask', 'tool.permit')
      const session = theSession(id)
      if (session.state === 'input_required') return
      moveSession(session, 'input_required', { waiting_since: expiryAfter(clock, 0) })
    },
    resumed(grant, id) {
      assertGrant(grant, 'approval.answer', 'approval.expire', 'tool.permit', 'task.ask')
      const session = theSession(id)
      if (session.state === 'input_required') moveSession(session, 'working', afterWait(session, clock))
    },

    lost(grant, id, facts, next) {
      assertGrant(grant, 'session.observe', 'task.result')
      const session = theSession(id)
      const task = theTask(session.task)
      closeAttempt(session, 'lost', facts)
      beginRecycling(session, facts.reason, facts.detail, facts.code)
      if (taskMachine.isTerminal(task.state)) return
      if ('end' in next) return endTask(task, next.end)
      const { crashed, held, notBeforeMs } = next.again
      requeue(task, {
        crashes: task.crashes + Number(crashed),
        held: Number(held),
        not_before_ms: notBeforeMs,
        waits_from_ms: clock.wallMs(),
      })
    },

    failed(grant, id, error) {
      assertGrant(grant, 'task.settle', 'approval.answer', 'approval.expire')
      endTask(theTask(id), { state: 'failed', error })
    },

    released(grant, id) {
      assertGrant(grant, 'task.release')
      const task = theTask(id)
      requireNoPartOfRun(task, 'release')
      if (task.state !== 'queued') throw new HubError('already_resolved', `the task is ${task.state}`)
      if (task.unreadable !== null) throw new HubError('unreadable', unreadableError(task.unreadable).detail)
      setHeld(store, id, false)
      tellTask(id)
      return theTask(id)
    },

    accepted(grant, { of, outcome, requestedBy }) {
      assertGrant(grant, 'task.accept')
      requireRoom()
      const now = clock.wallMs()
      const id = newUuid(random, now)
      const { code, ...said } = outcome
      const error = code === undefined ? null : { code, detail: said.error ?? '' }
      store
        .prepare(
          `insert into task (id, state, agent, needs, params, inputs, priority, held, depth, chain, sensitivity, spec, requested_by,
             accepted_from, outcome, error, created_at_ms, started_at_ms, ended_at_ms)
           values (?, ?, ?, ?, ?, ?, ?, 0, 0, '[]', ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        )
        .run(
          ...[id, said.outcome, of.agent, JSON.stringify(of.needs), JSON.stringify(of.params), jsonOrNull(of.inputs)],
          ...[of.priority, of.sensitivity, jsonOrNull(of.spec), requestedBy, of.id],
          ...[
            jsonOrNull(redaction.value(said)),
            jsonOrNull(redaction.value(error)),
            now,
            of.startedAtMs,
            steady.wallMs(),
          ],
        )
      seal('task', id)
      tellMade(id)
      tellTask(id)
      return theTask(id)
    },

    holdAll(grant, only) {
      if (grant.kind === 'stop') assertStopGrant(grant, 'hub.shutdown', 'session.reap')
      else assertGrant(grant, 'lease.renew', 'backlog.hold')
      return moves.holdUnfinished(grant.operation === 'backlog.hold' ? "'queued'" : "'queued', 'running'", only)
    },

    stop(grant, id, end, reason) {
      assertStopGrant(grant, ...STOPS)
      if (grant.unwritten === undefined) return stopTask(theTask(id), end, reason)
      const { state } = theTask(id)
      if (taskMachine.isTerminal(state)) throw new HubError('already_resolved', `the task is already ${state}`)
      stopUnwritten(grant, id, reason)
    },

    interrupt(grant, id, reason) {
      assertStopGrant(grant, 'hub.shutdown', 'session.reap', 'session.stop')
      const session = theSession(id)
      const task = theTask(session.task)
      closeAttempt(session, 'stopped')
      beginRecycling(session, reason)
      if (task.state !== 'running') return
      if (isStep(task) && session.publicKey !== null)
        return endTask(task, lostStep(`its session was stopped (${reason})`))
      requeue(task, { held: 1 })
    },

    recycled(grant, id, leftBehind) {
      assertStopGrant(grant, 'session.reap', 'hub.shutdown')
      const session = theSession(id)
      moveSession(session, 'recycled', { ended_at_ms: steady.wallMs(), left_behind: leftBehind ?? null })
    },
    listen: (listener) => void listeners.push(listener),
    onStopUnwritten(stop) {
      stopUnwritten = stop
    },
  }
}
