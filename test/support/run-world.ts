/** A run without a hub: what rows, gate, agents and people would make of the rounds of `planRound`, from one seed. */

import type { Need, Plan, PlanStep } from '../../hub/protocol/runs/plan.ts'
import type { Wait } from '../../hub/protocol/runs/waits.ts'
import type { ApprovalFacts, Round, RunFacts, Start, StepFacts } from '../../hub/work/runs/facts.ts'
import { planRound } from '../../hub/work/runs/round.ts'

export const planStep = (id: string, more: Partial<PlanStep> = {}): PlanStep => ({
  ...{ id, kind: 'agent', agent: 'own', needs: [], params: {}, after: [], join: 'all', optional: false },
  ...{ noopIfMissing: false, tier: 'read', onUnknown: 'ask', retry: { max: 0, delayMs: 2000 }, fallback: [] },
  ...more,
})

export const planOf = (steps: PlanStep[], more: Partial<Plan> = {}): Plan => ({
  limits: { timeMs: 86_400_000, tasks: 3 * steps.length },
  steps,
  ...more,
})

/** `a` (completed), `a.failed`, `a.ended`. */
export const needs = (...words: string[]): Need[] =>
  words.map((word) => {
    const [step = '', of = 'completed'] = word.split('.')
    return { step, of: of as Need['of'] }
  })

const freshStep = (): StepFacts => ({
  ...{ state: 'pending', by: 'first', retries: 0, fallback: 0, waitLeftMs: 0 },
  ...{ last: null, question: null, approval: null, refused: null },
})

export const factsOf = (plan: Plan, more: Partial<RunFacts> = {}): RunFacts => ({
  ...{ run: 'r1', plan, face: { state: 'running', held: false }, phase: 'running', onFailure: 'pause' },
  ...{ tries: 0, timeLeftMs: plan.limits.timeMs, agents: new Map(), mode: null, isBudgetSpent: false },
  ...{ starter: 'in_force', starterApproval: null, overlaps: null, isRestored: false },
  slots: { run: true, ofRun: 1, ofHub: 64 },
  steps: new Map(plan.steps.map(({ id }) => [id, freshStep()])),
  ...more,
})

export type Ending = {
  outcome: 'succeeded' | 'failed' | 'lost'
  code?: string
  joined?: boolean
  by?: 'itself' | 'person' | 'runner'
}

/** What becomes of the facts of one run; each function is one thing that happens. */
export function createRunWorld(plan: Plan, more: Partial<RunFacts> = {}) {
  const facts = factsOf(plan, more)
  const started: Start[] = []
  let approvals = 0
  let tasks = 0
  const stepOf = (id: string): StepFacts => {
    const step = facts.steps.get(id)
    if (step === undefined) throw new Error(`no step ${id}`)
    return step
  }
  const open = (): ApprovalFacts => {
    approvals += 1
    return { id: `q${approvals}`, state: 'asked', decision: null }
  }

  /** The gate asks a person about a start that reaches outside, and lets it pass with that yes. */
  function start(wish: Start, refuse: (wish: Start) => string | undefined): void {
    const step = stepOf(wish.step)
    const own = plan.steps.find(({ id }) => id === wish.step)
    const code = refuse(wish)
    if (code !== undefined) {
      step.refused = code
      return
    }
    if ((own?.tier === 'external' || own?.tier === 'destructive') && wish.approval === null) {
      step.approval = open()
      return
    }
    tasks += 1
    facts.tries += 1
    started.push(wish)
    const is = own?.kind === 'subrun' ? 'subrun' : 'working'
    Object.assign(step, { state: 'running', refused: null, question: null, approval: null, by: wish.by })
    step.last = { task: `t${tasks}`, ended: null, is, waitsFor: null }
  }

  function carryOut({ observed, reaps, starts }: Round, refuse: (wish: Start) => string | undefined): void {
    for (const act of observed) {
      if (act.act === 'begin') facts.face.state = 'running'
      else if (act.act === 'phase') facts.phase = act.phase
      else if (act.act === 'ready') stepOf(act.step).state = 'ready'
      else if (act.act === 'settle') Object.assign(stepOf(act.step), { state: act.to, approval: null, question: null })
      else if (act.act === 'again') {
        const { inMs, ...standing } = act.rung
        const step = stepOf(act.step)
        const state = act.why === 'asked_for' ? 'ready' : 'retry_wait'
        // What money ended is not counted.
        if (step.last?.ended?.code === 'upstream_exhausted') facts.tries -= 1
        Object.assign(step, { ...standing, state, waitLeftMs: inMs, question: null, approval: null, refused: null })
      } else if (act.act === 'await') {
        const step = stepOf(act.step)
        // The gate has opened the one about a start.
        Object.assign(step, { state: 'awaiting_approval', question: act.question })
        if (step.approval?.state !== 'asked') step.approval = null
      } else if (act.act === 'ask') {
        if (act.step === null) facts.starterApproval = open()
        else stepOf(act.step).approval = open()
      } else if (act.act === 'void') {
        if (act.step === null) facts.starterApproval = null
        else stepOf(act.step).approval = null
      } else facts.face.state = act.as
    }
    for (const { step } of reaps) world.ends(step, { outcome: 'lost', code: 'ttl_expired', by: 'runner' })
    for (const wish of starts) start(wish, refuse)
  }

  const world = {
    facts,
    started,
    stepOf,
    states: () => Object.fromEntries([...facts.steps].map(([id, { state }]) => [id, state])),
    look: () => planRound(facts),
    /** Rounds until nothing happens; each round that was carried out. */
    rest(
      each: (round: Round) => void = () => undefined,
      refuse: (wish: Start) => string | undefined = () => undefined,
    ): Wait[] {
      for (let at = 0; at < 50; at += 1) {
        const round = planRound(facts)
        if (round.observed.length + round.starts.length + round.reaps.length === 0) return [...round.waits]
        each(round)
        carryOut(round, refuse)
      }
      throw new Error(`it never rests: ${JSON.stringify(planRound(facts))}`)
    },
    ends(id: string, { outcome, code, joined = true, by = 'itself' }: Ending): void {
      const { last } = stepOf(id)
      if (last === null || last.ended !== null) throw new Error(`${id} has no open try`)
      last.ended = { outcome, code: code ?? null, joined, by }
    },
    answer(id: string, state: ApprovalFacts['state'], decision: ApprovalFacts['decision'] = null): void {
      const { approval } = stepOf(id)
      if (approval?.state !== 'asked') throw new Error(`nothing is asked about ${id}`)
      Object.assign(approval, { state, decision })
    },
    /** Every wait of a retry is over. */
    later(): void {
      for (const step of facts.steps.values()) step.waitLeftMs = 0
    },
  }
  return world
}
