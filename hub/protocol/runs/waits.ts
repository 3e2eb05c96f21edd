/** Why a step or a run stands still, and the word that moves it (D-R17). Pure. */
import { spanText } from '../spans.ts'
import type { Question } from './ladder.ts'

export type WaitReason =
  | 'works'
  | 'subrun'
  | 'queued'
  | 'after'
  | 'retry'
  | 'quota'
  | 'slot_of_run'
  | 'slot_of_hub'
  | 'slot_of_runs'
  | 'overlap'
  | 'held'
  | 'mode'
  | 'budget'
  | 'agent_halted'
  | 'image'
  | 'approval'
  | 'other_question'
  | 'starter'
  | 'planning'

export interface Wait {
  /** Null: the whole run. */
  step: string | null
  why: WaitReason
  /** For a person. */
  text: string
  /** The command that ends it, or that shows what it waits for; null where it ends by itself. */
  word: string | null
  /** Until it ends by itself, where that is known. */
  leftMs: number | null
}

/** What a person is asked, in words. */
const ASKED: Readonly<Record<Question | 'starter', string>> = {
  start: 'whether it may start',
  checkpoint: 'whether its result is right',
  unknown: 'whether to try again: its last try ended without a result, and nobody knows what it did',
  failed: 'whether to try again: it failed, and what it did may not be done twice',
  ladder: 'whether to try again, skip it or give it up: nothing is left to try',
  stopped: 'whether to try again, skip it or give it up: a person ended its last try',
  restored: 'whether it may start: the hub was restored from a backup, and it may have run after that',
  starter: 'whether the run goes on: the credential that started it was revoked',
}

type Of = string | null
const wait = (step: Of, why: WaitReason, text: string, word: string | null, leftMs: number | null = null): Wait => ({
  ...{ step, why, text, word, leftMs },
})

/** One function for each reason. `step`: null for the whole run. */
export const WAITS = {
  works: (step: Of, task: string) => wait(step, 'works', 'it works', `hub task show ${task}`),
  subrun: (step: Of, task: string) => wait(step, 'subrun', 'it waits for a run of its own', `hub why ${task}`),
  queued: (step: Of, task: string, reason: string | null) =>
    wait(step, 'queued', reason ?? 'its task waits for a session', `hub task show ${task}`),
  asking: (step: Of, task: string) =>
    wait(step, 'approval', `its agent asks something`, `hub approval list --task ${task}`),
  after: (step: Of, others: readonly string[], isAny: boolean) =>
    wait(step, 'after', `it waits for ${isAny ? 'the first of ' : ''}${others.join(', ')}`, null),
  retry: (step: Of, leftMs: number) => wait(step, 'retry', `it is tried again in ${spanText(leftMs)}`, null, leftMs),
  quota: (step: Of, agent: string, leftMs: number) =>
    wait(step, 'quota', `a quota that ${agent} needs is used up, for ${spanText(leftMs)}`, 'hub budget show', leftMs),
  ofRun: (step: Of, most: number) =>
    wait(step, 'slot_of_run', `${most} ${most === 1 ? 'step' : 'steps'} of this run may work at once`, null),
  ofHub: (step: Of) => wait(step, 'slot_of_hub', 'as many steps work as the hub lets work at once', 'hub run list'),
  ofRuns: (run: string) =>
    wait(
      null,
      'slot_of_runs',
      `as many runs are under way as may be; ${run} is next when it is the oldest`,
      'hub run list',
    ),
  overlap: (other: string) => wait(null, 'overlap', `the run ${other} of the same key goes first`, `hub why ${other}`),
  held: (run: string) => wait(null, 'held', 'it is held', `hub run release ${run}`),
  mode: (why: string, word: string) => wait(null, 'mode', `nothing new starts: ${why}`, word),
  budget: (run: string) => wait(null, 'budget', 'its money is used up', `hub budget raise ${run}`),
  halted: (step: Of, agent: string) =>
    wait(step, 'agent_halted', `agent ${agent} is halted`, `hub agent reset ${agent}`),
  image: (step: Of, agent: string) => wait(step, 'image', `agent ${agent} has no image`, `hub agent build ${agent}`),
  asked: (step: Of, question: Question | 'starter', approval: string) =>
    wait(
      step,
      step === null ? 'starter' : 'approval',
      `a person is asked ${ASKED[question]}`,
      `hub approval show ${approval}`,
    ),
  otherQuestion: (step: Of, run: string) =>
    wait(step, 'other_question', 'another question of this run is open; one is asked at a time', `hub why ${run}`),
  planning: (run: string) => wait(null, 'planning', 'its plan is not ready', `hub run show ${run}`),
} as const
