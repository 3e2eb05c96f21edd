/** What the entrances show of rows: the stable fields that `--json`, the console and scripts rely on. */

import type { Clock } from '../base/clock.ts'
import { cardNote, restartsOf } from '../protocol/agent.ts'
import { relaxOf } from '../protocol/relax.ts'
import { DEFAULT_PERMISSIONS } from '../protocol/tools.ts'
import type { AgentView, SessionView, TaskView } from '../protocol/views.ts'
import type { Artifacts } from '../work/artifacts.ts'
import type { Dispatcher } from '../work/dispatch/dispatcher.ts'
import { endsAtMs } from '../work/dispatch/expiry.ts'
import type { SessionRow, TaskRow } from '../work/dispatch/rows.ts'
import type { Tasks } from '../work/dispatch/tasks.ts'
import type { Vitals } from '../work/dispatch/vitals.ts'
import type { Journal } from '../work/journal.ts'
import type { Mailboxes } from '../work/messages/mailboxes.ts'
import type { Agent } from '../work/registry.ts'
import type { Transcripts } from '../work/transcripts.ts'

export interface ViewParts {
  tasks: Tasks
  artifacts: Artifacts
  transcripts: Pick<Transcripts, 'of'>
  journal: Journal
  mailboxes: Mailboxes
  vitals: Pick<Vitals, 'stalledSinceMs'>
  dispatcher: Pick<Dispatcher, 'whyWaits'>
  clock: Pick<Clock, 'bootMs'>
}

/** What is kept for the next start of a task. */
function conversationOf(task: string, transcripts: ViewParts['transcripts']): Pick<TaskView, 'conversation'> {
  const kept = transcripts.of(task)
  if (kept === undefined) return {}
  const { keptAtMs, size, tries, as } = kept
  return { conversation: { keptAtMs, size, tries, next: as } }
}

export function taskView(task: TaskRow, parts: ViewParts): TaskView {
  const { tasks, artifacts, journal, dispatcher, transcripts } = parts
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
    /** Why it cannot start even if others end: no agent offers what it needs, or those that do may not start. */
    waitsFor: dispatcher.whyWaits(task) || null,
    createdAtMs: task.createdAtMs,
    startedAtMs: task.startedAtMs,
    endedAtMs: task.endedAtMs,
    sensitivity: task.sensitivity,
    spec: task.spec,
    requestedBy: task.requestedBy,
    ...(task.acceptedFrom === null ? {} : { acceptedFrom: task.acceptedFrom }),
    artifacts: artifacts.list(id),
    progress: journal.progressOf(id) ?? null,
    session: tasks.sessionOfTask(id)?.id ?? null,
    children: tasks.countChildren(id),
    ...conversationOf(id, transcripts),
  }
}

export function sessionView(
  session: SessionRow,
  parts: Pick<ViewParts, 'mailboxes' | 'vitals' | 'clock'>,
): SessionView {
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
    // The end of its working time. While it waits for a person, that end moves on (expiry.ts).
    expiresAtMs: endsAtMs(session, clock),
    waitLeftMs: session.waitLeftMs ?? 0,
    authority: session.authority,
    exit: session.exitReason,
    detail: session.detail,
    leftBehind: session.leftBehind,
    unreadable: session.unreadable,
    mailbox: mailboxes.depth(id),
    stalledSinceMs: vitals.stalledSinceMs(id),
  }
}

export function agentView(
  { card, imageId, imageNote, provenance, made, origin, limits, state, reason, crashes }: Agent,
  sessions: number,
): AgentView {
  const { name, description, image, driver, shell, sensitivity = null, mode, capabilities, repeatable, may } = card
  return {
    name,
    description,
    image,
    imageId: imageId ?? null,
    imageNote: imageNote === '' ? null : imageNote,
    provenance: provenance ?? null,
    from: made.from === undefined ? null : `${made.from.name} ${made.from.id}`,
    packages: [...(made.packages ?? [])],
    place: origin.place,
    card: origin.path,
    shadows: origin.shadows,
    driver,
    shell,
    relax: relaxOf(card),
    permissions: card.permissions ?? DEFAULT_PERMISSIONS,
    sensitivity,
    mode,
    capabilities,
    restarts: restartsOf(card),
    repeatable,
    /** What its card asks for and does not get. */
    cardNote: cardNote(card) || null,
    may,
    limits,
    /** What its card is silent about (S1-48). */
    ttlIsDefault: card.limits.ttl === undefined,
    state,
    reason,
    crashes,
    sessions,
  }
}
