/** What the entrances show of rows: the stable fields that `--json`, the console and scripts rely on. */

import type { Clock } from '../base/clock.ts'
import type { Artifacts } from '../work/artifacts.ts'
import { endsAtMs } from '../work/dispatch/expiry.ts'
import type { SessionRow, TaskRow } from '../work/dispatch/rows.ts'
import type { Tasks } from '../work/dispatch/tasks.ts'
import type { Vitals } from '../work/dispatch/vitals.ts'
import type { Journal } from '../work/journal.ts'
import type { Mailboxes } from '../work/messages/mailboxes.ts'
import type { Agent } from '../work/registry.ts'

export interface ViewParts {
  tasks: Tasks
  artifacts: Artifacts
  journal: Journal
  mailboxes: Mailboxes
  vitals: Pick<Vitals, 'stalledSinceMs'>
  clock: Pick<Clock, 'bootMs'>
}

export function taskView(task: TaskRow, { tasks, artifacts, journal }: ViewParts) {
  const { id, state, agent, needs, params, priority, held, depth, parent, attempts, crashes, outcome, error } = task
  return {
    id,
    state,
    agent,
    needs,
    params,
    priority,
    held,
    depth,
    parent,
    attempts,
    restarts: crashes,
    outcome,
    error,
    unreadable: task.unreadable,
    createdAtMs: task.createdAtMs,
    startedAtMs: task.startedAtMs,
    endedAtMs: task.endedAtMs,
    requestedBy: task.requestedBy,
    artifacts: artifacts.list(id),
    progress: journal.progressOf(id) ?? null,
    session: tasks.sessionOfTask(id)?.id ?? null,
    children: tasks.countChildren(id),
  }
}

export function sessionView(session: SessionRow, parts: Pick<ViewParts, 'mailboxes' | 'vitals' | 'clock'>) {
  const { mailboxes, vitals, clock } = parts
  const { id, agent, task, attempt, state, generation, containerName, containerId, imageId, createdAtMs, endedAtMs } =
    session
  return {
    id,
    agent,
    task,
    attempt,
    state,
    generation,
    containerName,
    containerId,
    imageId,
    createdAtMs,
    endedAtMs,
    // Of its working time; while it waits for a person that end moves on (expiry.ts).
    expiresAtMs: endsAtMs(session, clock),
    waitLeftMs: session.waitLeftMs ?? 0,
    authority: session.authority,
    exit: session.exitReason,
    detail: session.detail,
    unreadable: session.unreadable,
    mailbox: mailboxes.depth(id),
    stalledSinceMs: vitals.stalledSinceMs(id),
  }
}

export function agentView({ card, imageId, imageNote, limits, state, reason, crashes }: Agent, sessions: number) {
  const { name, description, image, driver, shell, mode, capabilities, restarts, may } = card
  return {
    name,
    description,
    image,
    imageId: imageId ?? null,
    imageNote: imageNote === '' ? null : imageNote,
    driver,
    shell,
    mode,
    capabilities,
    restarts,
    may,
    limits,
    /** Its card says nothing of it (S1-48). */
    ttlIsDefault: card.limits.ttl === undefined,
    state,
    reason,
    crashes,
    sessions,
  }
}
