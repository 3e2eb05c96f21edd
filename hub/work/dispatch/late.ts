/**
 * What comes after the end: a task was cancelled, stopped or ran out of time, or its session showed no life and was ended, and its shim still
 * hands in what there is.
 *
 * L1. The end of the task stays. What comes is kept beside it, once for each session, until the operator accepts it as a task of its own, or the
 *     task goes with its age. Artifacts that come with it belong to the session and to no task until then, and end with the age of artifacts.
 * L2. Only while its container is being removed, which gives it five seconds, and only over its own socket, signed by the key that joined: its
 *     tokens have ended. It may store artifacts and hand in one result, and nothing else.
 * L3. Never from a session that was stopped for security, and never from one that a monitor reported. One that is stopped so while it ends is
 *     shut out, and what it handed in is withheld.
 * L4. One that showed no life is told so in the answer to its next request, and has `HAND_IN_MS` before those five seconds begin (reaper.ts): a
 *     shim that was held up comes back, and a program that computed for too long returns. Its task may begin again meanwhile; what comes is
 *     kept beside it all the same. Once everything is being stopped, nobody gets that time; one that is stopped or shut out meanwhile has had it.
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { hideUnknown, type Redaction } from '../../base/redaction.ts'
import { assertGrant, assertStopGrant, type Grant, type StopGrant } from '../../guard/grant.ts'
import { principalText } from '../../guard/principal.ts'
import { resultBodyShape } from '../../protocol/envelope.ts'
import type { ExitReason, TaskOutcome } from '../../protocol/task.ts'
import type { Store } from '../../store/database.ts'
import type { Artifacts, ArtifactView } from '../artifacts.ts'
import type { SessionRow, TaskRow } from './rows.ts'
import type { Tasks } from './tasks.ts'

/** A person, the clock, or its silence ended it; none of them says that it did wrong. */
const ENDED_SO: ReadonlySet<ExitReason> = new Set(['ttl', 'cancelled', 'operator', 'unhealthy'])

/** How long a session that showed no life may hand in what it has, before it is told to end by SIGTERM. */
const HAND_IN_MS = 10_000

/** Owner of the artifacts of a late result: no task has a colon in its id. */
export const lateOwner = (session: string): string => `late:${session}`

export interface LateView {
  session: string
  cameAtMs: number
  outcome: TaskOutcome
  /** The task that was made of it; null while nobody has accepted it. */
  accepted: string | null
  artifacts: ArtifactView[]
}

/** Words for the record. */
interface Kept {
  auditEffect: string
}

export interface Late {
  /** Whether something may still come from this session. */
  isOpen(session: SessionRow): boolean
  /** How long it may take for that before SIGTERM, in ms; undefined for one that gets no such time. */
  handInMs(session: SessionRow): number | undefined
  /** Aborts when the time that it has is over before that: it was shut out, or stopped. */
  handingIn(session: string): Disposable & { signal: AbortSignal }
  /** It was stopped: it gets no more of that time. */
  hurry(session: string): void
  /** Keeps its result. Throws `already_resolved` for a second one. */
  keep(grant: Grant, session: SessionRow, outcome: TaskOutcome): Kept
  /** Takes nothing more from it, and shows nothing of what it gave. */
  shut(grant: StopGrant, session: SessionRow): void
  /** What came after the end of this task, newest first. */
  of(task: string): LateView[]
  /** Makes a task of the newest that nobody has accepted yet. Throws `conflict` if there is none. */
  accept(grant: Grant, task: TaskRow): TaskRow
}

interface Row {
  session: string
  cameAtMs: number
  outcome: string | null
  accepted: string | null
}

/** Undefined for a damaged row: nothing is made of it. */
function outcomeIn(text: string | null): TaskOutcome | undefined {
  try {
    const parsed = resultBodyShape.safeParse(JSON.parse(text ?? 'null'))
    return parsed.success ? (parsed.data as TaskOutcome) : undefined
  } catch {
    return undefined
  }
}

export function createLate(parts: {
  store: Store
  clock: Pick<Clock, 'wallMs'>
  tasks: Pick<Tasks, 'accepted'>
  artifacts: Pick<Artifacts, 'list' | 'adopt'>
  redaction?: Redaction
}): Late {
  const { store, clock, tasks, artifacts, redaction = hideUnknown() } = parts
  const find = store.prepare('select 1 from late where session = ?')
  const ofTask = store.prepare(
    'select session, came_at_ms as cameAtMs, outcome, accepted from late where task = ? and outcome is not null order by came_at_ms desc, session',
  )
  const put = store.prepare(
    `insert into late (session, task, came_at_ms, outcome) values (?, ?, ?, ?)
       on conflict (session) do update set outcome = null where excluded.outcome is null`,
  )

  /** Of those that may hand in before their SIGTERM. */
  const handing = new Map<string, AbortController>()
  const hurry = (session: string) => handing.get(session)?.abort()

  const viewsOf = (task: string): LateView[] =>
    (ofTask.all(task) as Row[]).flatMap(({ session, cameAtMs, outcome, accepted }) => {
      const read = outcomeIn(outcome)
      const own = artifacts.list(lateOwner(session))
      return read === undefined ? [] : [{ session, cameAtMs, outcome: read, accepted, artifacts: own }]
    })

  const isOpen = ({ id, state, exitReason, publicKey, unreadable }: SessionRow): boolean =>
    state === 'recycling' &&
    unreadable === null &&
    publicKey !== null &&
    exitReason !== null &&
    ENDED_SO.has(exitReason) &&
    find.get(id) === undefined

  return {
    isOpen,
    handInMs: (session) => (session.exitReason === 'unhealthy' && isOpen(session) ? HAND_IN_MS : undefined),
    handingIn(session) {
      const over = new AbortController()
      handing.set(session, over)
      return { signal: over.signal, [Symbol.dispose]: () => void handing.delete(session) }
    },
    hurry,
    keep(grant, { id, task }, outcome) {
      assertGrant(grant, 'task.result')
      if (find.get(id) !== undefined)
        throw new HubError('already_resolved', 'this session handed in its result already')
      put.run(id, task, clock.wallMs(), JSON.stringify(redaction.value(outcome)))
      return { auditEffect: `kept as late: task ${task} had ended` }
    },
    shut(grant, { id, task }) {
      assertStopGrant(grant, 'session.quarantine', 'session.revoke', 'session.reap')
      if (store.inTransaction) put.run(id, task, clock.wallMs(), null)
      hurry(id)
    },
    of: viewsOf,
    accept(grant, task) {
      assertGrant(grant, 'task.accept')
      const all = viewsOf(task.id)
      const next = all.find(({ accepted }) => accepted === null)
      if (next === undefined) {
        const known = all[0]?.accepted
        throw known === undefined || known === null
          ? new HubError('conflict', 'nothing came after the end of this task; `hub task retry` runs it again')
          : new HubError('already_resolved', `it was accepted already, as task ${known}`)
      }
      const made = tasks.accepted(grant, {
        of: task,
        outcome: next.outcome,
        requestedBy: principalText(grant.principal),
      })
      artifacts.adopt(grant, lateOwner(next.session), made.id)
      store.prepare('update late set accepted = ? where session = ?').run(made.id, next.session)
      return made
    },
  }
}
