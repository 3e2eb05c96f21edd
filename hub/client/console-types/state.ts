/**
 * What the console's page knows, by the shapes of the answers it reads. For its type check alone (`hub/client/console/tsconfig.json`): no
 * browser and no process loads this file.
 */
import type { z } from 'zod'
import type { Answer } from '../../protocol/answers.ts'
import type { problemShape } from '../../protocol/views.ts'

export type { Answer }
export type Approval = Answer<'approval.list'>['approvals'][number]
export type Beat = Answer<'operator.heartbeat'>
export type Condition = Answer<'mode.show'>['conditions'][number]
export type Deadlines = NonNullable<Answer<'operator.show'>['presence']>
export type LogLine = Answer<'task.logs'>['lines'][number]
type Mode = Answer<'mode.show'>
/** Of a hub of another version parts may be missing. */
export type Problem = Partial<z.output<typeof problemShape>>
export type Session = Answer<'console.join'>
type Stopped = Answer<'hub.shutdown'>
export type Stopping = NonNullable<Mode['stopping']>
export type Task = Answer<'task.show'>['task']
export type Budget = Answer<'budget.show'>
/** What a task and its tree cost. */
export type Money = NonNullable<Answer<'task.show'>['money']>

/** The newest answer to each of the page's reads; absent before the first. */
export interface Seen {
  health?: Answer<'health.show'>
  presence?: Answer<'operator.show'>
  running?: Pick<Answer<'task.list'>, 'tasks'>
  tasks?: Pick<Answer<'task.list'>, 'tasks'>
  sessions?: Pick<Answer<'session.list'>, 'sessions'>
  approvals?: Answer<'approval.list'>
  alerts?: Answer<'alert.list'>
  budget?: Budget
}
/** What a button asked for. */
export interface Act {
  isBusy: boolean
  problem: string
}
/** The task that is looked at. */
export interface Opened extends Act {
  id: string
  task: Task | undefined
  /** Null where nothing is declared outside. */
  money: Money | null
  lines: LogLine[]
}
/** A stop by this page. */
export interface Stop extends Partial<Stopping> {
  stage: 'ask' | 'stopping' | 'ended'
  report?: Stopped
  problem?: string
  isRefused?: boolean
}
export interface State {
  session: Session | null
  /** Why there is no session: '', or a sentence. */
  signedOut: string
  isJoining: boolean
  /** The hub's clock, as far as this one is off. */
  offsetMs: number
  /** When everything was last seen; undefined before the first look. */
  seenAtMs: number | undefined
  isGone: boolean
  isLive: boolean
  /** What the last look could not read, in words. */
  problem: string
  seen: Seen
  beat: Act & { answer: Beat | undefined }
  /** Approvals that are being answered, by id. */
  answers: Record<string, Act>
  /** By the button's name. */
  acts: Record<string, Act>
  open: Opened | undefined
  stop: Stop | undefined
}
