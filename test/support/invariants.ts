/**
 * I1 to I4 over the database a hub has left: every row has its record, nothing acknowledged is missing, nothing was done twice.
 * The hub must not hold the home: SQLite's lock is its.
 */
import { join } from 'node:path'
import Database from 'better-sqlite3'
import type { AuditRecord } from '../../hub/protocol/audit-chain.ts'
import { GENESIS, judgeRecords } from '../../hub/protocol/audit-chain.ts'
import { OPERATIONS, type Operation } from '../../hub/protocol/operations.ts'

export interface InvariantOptions {
  /** Tasks whose submission was acknowledged (I2). */
  acknowledged?: readonly string[]
  /** Nothing runs any more: no open session, no running task. */
  calm?: boolean
}

const CHAIN = `select seq, previous, hash, at_ms as atMs, boot_id as bootId, principal, action, resource, decision_id as decisionId,
  policy_revision as policyRevision, payload_hash as payloadHash, outcome, reason, effect from audit_record order by seq`
const LIVE = `('provisioning', 'starting', 'ready', 'working', 'input_required')`

/** Each row that such a query answers breaks the invariant it stands under; the first column names what. */
const BROKEN: Readonly<Record<string, string>> = {
  'I1: a task without the record of its submission': `select id from task where parent is null and kind is null and not exists
    (select 1 from audit_record where action in ('task.submitted', 'task.retried') and outcome = 'ok' and effect = 'task:' || task.id)`,
  'I1: more delegated tasks than records of a delegation': `select 'tasks' where
    (select count(*) from task where parent_session is not null) > (select count(*) from audit_record where action = 'task.delegated' and outcome = 'ok')`,
  'I1: a run without the record that made it': `select id from task where kind = 'run' and parent is null and not exists
    (select 1 from audit_record where action = 'run.created' and outcome = 'ok' and effect = 'task:' || task.id)`,
  'I1: a step without the record of its start': `select id from task where parent is not null and parent_session is null and not exists
    (select 1 from audit_record where action = 'run.step_started' and outcome = 'ok' and effect = 'task:' || task.id)`,
  'I1: attempts of a task and records of its dispatch differ': `select id from task where
    (select count(*) from attempt where attempt.task = task.id) <>
    (select count(*) from audit_record where action = 'task.dispatched' and outcome = 'ok' and resource = 'task:' || task.id)`,
  'I1: a container without the record of its provision': `select id from session where container_id is not null and not exists
    (select 1 from audit_record where action = 'session.provisioned' and outcome = 'ok' and resource = 'session:' || session.id)`,
  // A join whose answer was lost is asked again with the same key, and recorded again.
  'I1: a key that joined without a record of it, or a record without the key': `select id from session where (public_key is not null) <>
    ((select count(*) from audit_record where action = 'session.joined' and outcome = 'ok' and resource = 'session:' || session.id) > 0)`,
  'I1: a settled attempt without the record of its result': `select attempt.id from attempt where state = 'settled' and not exists
    (select 1 from audit_record where action = 'task.result_given' and outcome = 'ok' and principal like '%' || attempt.session || '%')`,
  'I1: a lost attempt without the record of what was seen': `select id from attempt where state = 'lost' and not exists
    (select 1 from audit_record where action = 'session.observed' and outcome = 'ok' and resource = 'session:' || attempt.session)`,
  'I1: a removed session without the record of its removal': `select id from session where state = 'recycled' and not exists
    (select 1 from audit_record where action = 'session.reaped' and outcome = 'ok' and resource = 'session:' || session.id)`,
  'I1: a record that names a decision nobody knows': `select seq from audit_record where outcome = 'ok' and decision_id is not null
    and decision_id <> 'built-in' and not exists (select 1 from decision where decision.decision_id = audit_record.decision_id)`,
  'I2: an ended task with an open attempt': `select task.id from task join attempt on attempt.task = task.id
    where task.state not in ('queued', 'running') and attempt.state not in ('settled', 'lost', 'stopped')`,
  'I2: a task that succeeded without a value or a settled attempt': `select id from task where state = 'succeeded' and accepted_from is null and kind is null and
    (outcome is null or not exists (select 1 from attempt where attempt.task = task.id and state = 'settled'))`,
  'I2: a result that was taken and whose task goes on': `select attempt.id from attempt join task on task.id = attempt.task
    where attempt.state = 'settled' and task.state in ('queued', 'running')`,
  'I2: an unfinished task below a run that is over': `select task.id from task join task as face on face.id = task.parent
    where face.kind = 'run' and face.state not in ('queued', 'running') and task.state in ('queued', 'running')`,
  'I2: a running task without a live session': `select id from task where state = 'running' and kind is null and not exists
    (select 1 from session where session.task = task.id and session.state in ${LIVE})`,
  'I3: a live session whose task does not run': `select session.id from session join task on task.id = session.task
    where session.state in ${LIVE} and task.state <> 'running'`,
  'I3: a run with an attempt or a session': `select id from task where kind = 'run' and (attempts > 0
    or exists (select 1 from attempt where attempt.task = task.id) or exists (select 1 from session where session.task = task.id))`,
  'I3: a step that was tried again although its agent had it': `select task.id from task join session on session.task = task.id
    where task.parent is not null and task.parent_session is null and session.public_key is not null group by task.id
    having count(*) > 1 or max(task.attempts) > (select max(ordinal) from attempt join session as had on had.attempt = attempt.id
      where attempt.task = task.id and had.public_key is not null)`,
  'I3: a step with two tries at once': `select step_try.run || ' ' || step_try.step from step_try join task on task.id = step_try.task
    where task.state in ('queued', 'running') group by step_try.run, step_try.step having count(*) > 1`,
  'I1: a step that is not where its history ends': `select step.run || ' ' || step.id from step where state <> coalesce((select became
    from state_history where state_history.run = step.run and state_history.step = step.id order by seq desc limit 1), 'pending')`,
  'I3: two results of one task': `select task from attempt where state = 'settled' group by task having count(*) > 1`,
  'I3: two live sessions of one task': `select task from session where state in ${LIVE} group by task having count(*) > 1`,
  'I3: two sessions of one attempt': 'select attempt from session group by attempt having count(*) > 1',
  'I3: attempts that are not numbered one by one': `select id from task where attempts <>
    (select count(*) from attempt where attempt.task = task.id) or attempts <>
    (select coalesce(max(ordinal), 0) from attempt where attempt.task = task.id)`,
  'I3: an attempt that began before the one before it had ended': `select later.id from attempt as later join attempt as earlier
    on earlier.task = later.task and earlier.ordinal = later.ordinal - 1 where coalesce(earlier.ended_at_ms, 9e15) > later.started_at_ms`,
  'I3: an attempt that began before the container of the one before it was gone': `select later.id from attempt as later
    join attempt as earlier on earlier.task = later.task and earlier.ordinal = later.ordinal - 1
    join session on session.attempt = earlier.id where coalesce(session.ended_at_ms, 9e15) > later.started_at_ms`,
  'I3: one submission of a key that made two tasks': `select idempotency_key from task where idempotency_key is not null
    group by idempotency_key having count(*) > 1`,
  'I4: a session that was removed long after its time': `select id from session where ended_at_ms > expires_at_ms + 75000`,
}

/** Nothing runs, and nothing waits but what is held or stands in line behind a back-off. */
const CALM: Readonly<Record<string, string>> = {
  'calm: a task that still runs': `select id from task where state = 'running' and (kind is null or held = 0)`,
  'calm: a task that waits and is not held': `select id from task where state = 'queued' and held = 0 and not exists
    (select 1 from task as face where face.id = task.parent and face.kind = 'run' and face.held = 1)`,
  'calm: an open step of a run that is over': `select step.run || ' ' || step.id from step join task on task.id = step.run
    where task.state not in ('queued', 'running') and step.state not in ('completed', 'failed', 'skipped', 'cancelled')`,
  'calm: a session that is not gone': `select id from session where state <> 'recycled'`,
}

/** What is broken, a line each; empty when all holds. */
export function judgeInvariants(home: string, { acknowledged = [], calm = false }: InvariantOptions = {}): string[] {
  const store = new Database(join(home, 'hub.db'))
  try {
    const found = Object.entries({ ...BROKEN, ...(calm ? CALM : {}) }).flatMap(([text, sql]) => {
      const rows = store.prepare(sql).pluck().all() as string[]
      return rows.length === 0 ? [] : [`${text}: ${rows.slice(0, 5).join(', ')}${rows.length > 5 ? ', ...' : ''}`]
    })
    const records = store.prepare(CHAIN).all() as AuditRecord[]
    const fault = judgeRecords(records, { size: 0, head: GENESIS })
    if (fault !== undefined) found.push(`I1: the chain breaks at ${fault.seq}: ${fault.reason}`)
    const undecided = records.filter(
      ({ action, outcome, decisionId }) => outcome === 'ok' && decisionId === null && needsDecision(action),
    )
    for (const { seq, action } of undecided.slice(0, 5)) found.push(`I1: record ${seq} (${action}) names no decision`)
    const known = new Set(store.prepare('select id from task').pluck().all() as string[])
    const lost = acknowledged.filter((id) => !known.has(id))
    if (lost.length > 0) found.push(`I2: acknowledged and not there: ${lost.join(', ')}`)
    return found
  } finally {
    store.close()
  }
}

const rows: Operation[] = Object.values(OPERATIONS)
/** Stopping is never asked of the rules (I6). */
const needsDecision = (action: string): boolean => rows.find(({ audit }) => audit === action)?.standing !== 'stop'
