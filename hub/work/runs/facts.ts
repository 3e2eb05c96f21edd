/**
 * What one round of a run is told, and what it answers (round.ts). Types only: who reads rows makes the facts, and who carries out the acts
 * moves the rows. No clock: a time is always what is left of it, in ms.
 */
import type { Question, Rung, Standing, TryCause, TryEnd } from '../../protocol/runs/ladder.ts'
import type { OnFailure, Plan, RunPhase, StepState } from '../../protocol/runs/plan.ts'
import type { Wait } from '../../protocol/runs/waits.ts'
import type { TaskState } from '../../protocol/task.ts'

export interface TryFacts {
  /** Its task; of a sub-run the face of that. */
  task: string
  /** Null: its task is open. */
  ended: TryEnd | null
  /** Of an open task: what it does. `queued`: with the reason that the dispatcher gives; `asking`: its session waits for a person; `subrun`: a run of its own. */
  is: 'queued' | 'working' | 'asking' | 'subrun'
  /** Why it cannot start although it could have a slot; null if nothing is in its way. */
  waitsFor: string | null
}

/** An approval that was opened for a step or for the run. */
export interface ApprovalFacts {
  id: string
  state: 'asked' | 'approved' | 'refused' | 'expired' | 'superseded'
  /** What the person decided, where the question has more than yes and no. */
  decision: 'continue' | 'retry' | 'skip' | 'abort' | null
}

export interface StepFacts extends Standing {
  state: StepState
  /** In retry_wait: until it is due. */
  waitLeftMs: number
  /** Its latest try; null before the first. */
  last: TryFacts | null
  /** What it waits for a person for, or has a yes for. */
  question: Question | null
  /** Of that question; null until it is asked. */
  approval: ApprovalFacts | null
  /** The code with which the gate refused its start in this round; null if it did not. */
  refused: string | null
}

export interface AgentFacts {
  /** Crashed too often or suspended: nothing of it starts. */
  halted: boolean
  /** It has no image. */
  imageMissing: boolean
  /** An upstream without which it cannot work is used up for so long (D-R12); null: none is. */
  quotaLeftMs: number | null
}

export interface RunFacts {
  run: string
  plan: Plan
  face: { state: TaskState; held: boolean }
  phase: RunPhase
  /** In force for this run: what its definition says, or else what its starter implies (D-R1). */
  onFailure: OnFailure
  /** Tries that were started, over all steps and rungs (one ceiling for all: `plan.limits.tasks`), but for those that a quota ended. */
  tries: number
  /** What is left of `plan.limits.timeMs`. */
  timeLeftMs: number
  /** Of each step of the plan. */
  steps: ReadonlyMap<string, StepFacts>
  /** Of each agent that a step or a fallback names; one that is absent has nothing in its way. */
  agents: ReadonlyMap<string, AgentFacts>
  /** Why nothing new starts in this mode: the condition and the word that ends it; null in normal mode. */
  mode: { why: string; word: string } | null
  /** Its money is used up (D-R12). */
  isBudgetSpent: boolean
  /** The credential of whoever started it was revoked (D-R5). `answered`: a person said that it goes on. */
  starter: 'in_force' | 'revoked' | 'answered'
  /** The question about the revoked credential, where it was asked. */
  starterApproval: ApprovalFacts | null
  /** An earlier run of the same key that this one waits for; null if there is none. */
  overlaps: string | null
  slots: {
    /** Whether one more run may be under way. */
    run: boolean
    /** Steps of this run at once. */
    ofRun: number
    /** Steps that may still start in the whole hub. */
    ofHub: number
  }
  /** It was restored from a backup: each step of tier write or above is asked about before it starts (D-R16). */
  isRestored: boolean
}

/** Acts that only write down what is so. All of one round are one record, and none of them can be refused. */
export type Observed =
  /** The face begins. */
  | { act: 'begin' }
  | { act: 'phase'; phase: RunPhase }
  | { act: 'ready'; step: string }
  /** `why`: a code or the step it follows from. */
  | { act: 'settle'; step: string; to: 'completed' | 'failed' | 'skipped' | 'cancelled'; why: string }
  /** It waits and is then tried again. */
  | { act: 'again'; step: string; rung: Rung; why: string }
  /** It waits for a person from now on; the question itself is asked when no other of this run is open (S2-36). */
  | { act: 'await'; step: string; question: Question }
  /** A question is opened. Null: about the credential of whoever started the run. */
  | { act: 'ask'; step: string | null; question: Question | 'starter' }
  /** An open question that has nothing left to decide. */
  | { act: 'void'; step: string | null; approval: string }
  /** Every step is terminal. */
  | { act: 'end'; as: 'succeeded' | 'failed' | 'timed_out'; why: string }

/** A try that is started; the gate asks the rules about each. */
export interface Start {
  step: string
  by: TryCause
  /** Undefined: by `needs`, or a kind without an agent. */
  agent: string | undefined
  /** The yes that it uses up; null where none was needed so far. */
  approval: string | null
}

/** A try that is ended by force. */
export interface Reap {
  step: string
  why: string
}

export interface Round {
  observed: readonly Observed[]
  reaps: readonly Reap[]
  starts: readonly Start[]
  /** Of each step that is not over, and of the run: why it stands still once all of the above is done. */
  waits: readonly Wait[]
  /** When to look again if nothing of it changes; null: only when something does. */
  nextMs: number | null
}
