/**
 * One round of a run: facts in, decisions out. Pure: no clock, no rows, no wait. Linear in steps and edges.
 *
 * R1. The steps are walked once, in the order of the plan: what one step became counts for all after it in the same round.
 * R2. What is written down (`observed`) is what has happened; none of it can be refused. A start is asked for on its own.
 * R3. A step starts only while the run works, nothing is in its way, and all that it needs has ended as it asks (S3-14). Skipped never unblocks.
 * R4. A round that is carried out and looked at again answers nothing, until something changes.
 * R5. What is not over has a reason why it stands still (D-R17).
 */

import {
  afterFailure,
  afterRepair,
  afterYes,
  agentAt,
  type Next,
  type Question,
  type Rung,
} from '../../protocol/runs/ladder.ts'
import { judgeNeeds } from '../../protocol/runs/needs.ts'
import { type PlanStep, type RunPhase, type StepState, stepMachine } from '../../protocol/runs/plan.ts'
import { isBelow, neverReruns } from '../../protocol/runs/tiers.ts'
import { WAITS, type Wait } from '../../protocol/runs/waits.ts'
import type { ApprovalFacts, Observed, Reap, Round, RunFacts, Start, StepFacts } from './facts.ts'

/** A step as it is at this point of the walk. */
interface Walked extends StepFacts {
  readonly plan: PlanStep
  /** Its question was opened, or is opened, in this round. */
  isAsked: boolean
}

const isOver = (state: StepState): boolean => stepMachine.isTerminal(state)
const isOpenTry = ({ state, last }: Walked): boolean => state === 'running' && last !== null && last.ended === null
/** What a session or a task of this step holds; a sub-run and one that waits for a person hold nothing. */
const holdsSlot = (step: Walked): boolean => isOpenTry(step) && step.last?.is !== 'asking' && step.last?.is !== 'subrun'

const ENDED: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled', 'timed_out'])

/** What the walk knows and gathers. */
interface Walk {
  facts: RunFacts
  steps: ReadonlyMap<string, Walked>
  observed: Observed[]
  starts: Start[]
  waits: Wait[]
  /** Steps of which another waits for the failure. */
  handled: ReadonlySet<string>
  /** Tries that rungs may still start. */
  room: number
  /** A question of this run is open, or is opened in this round. */
  isAsking: boolean
}

/** What is to be done about a run now. Until the runner stands, only tests call it. */
export function planRound(facts: RunFacts): Round {
  const walk = beginWalk(facts)
  if (ENDED.has(facts.face.state)) return windDown(walk)
  if (facts.timeLeftMs <= 0) return runOut(walk)
  const stands = beforeSteps(walk)
  if (stands !== undefined) return roundOf(walk, [], [stands])
  const { steps } = walk
  for (const step of steps.values()) if (!isOver(step.state)) advance(walk, step)
  if ([...steps.values()].every(({ state }) => isOver(state))) return finish(walk)
  judgeStarter(walk)
  for (const step of steps.values()) if (step.state === 'awaiting_approval') raise(walk, step)
  startAll(walk)
  phaseOf(walk)
  return roundOf(walk, [], [])
}

/** Tries that nobody else may take: the first one of a step, and what was decided and has not started. A repair brings its retry along. */
function spokenFor({ state, by, last }: StepFacts): number {
  if (isOver(state)) return 0
  if (last === null) return 1
  const isDue = state === 'retry_wait' || state === 'ready'
  return (isDue ? 1 : 0) + (by === 'repair' && (isDue || state === 'running') ? 1 : 0)
}

function beginWalk(facts: RunFacts): Walk {
  const steps = new Map<string, Walked>()
  const handled = new Set<string>()
  let spoken = 0
  let isAsking = facts.starterApproval?.state === 'asked'
  for (const plan of facts.plan.steps) {
    const own = facts.steps.get(plan.id)
    // A step without a row is a fault of ours: nothing of it may start, and nothing after it.
    if (own === undefined) throw new Error(`the facts of run ${facts.run} have no step ${plan.id}`)
    steps.set(plan.id, { ...own, plan, isAsked: own.approval?.state === 'asked' })
    for (const { step, of } of plan.after) if (of === 'failed') handled.add(step)
    spoken += spokenFor(own)
    if (own.approval?.state === 'asked') isAsking = true
  }
  const room = facts.plan.limits.tasks - facts.tries - spoken
  return { facts, steps, observed: [], starts: [], waits: [], handled, room, isAsking }
}

function roundOf({ facts, observed, starts, waits, steps }: Walk, reaps: Reap[], more: Wait[]): Round {
  const all = [...more, ...waits]
  const works = [...steps.values()].some(isOpenTry)
  const times = all.flatMap(({ leftMs }) => (leftMs === null ? [] : [leftMs]))
  if (works) times.push(facts.timeLeftMs)
  return { observed, starts, reaps, waits: all, nextMs: times.length === 0 ? null : Math.min(...times) }
}

/** The one place where a state of a step changes within a round. */
function become(step: Walked, state: StepState): void {
  stepMachine.require(step.state, state)
  step.state = state
}

function settle(walk: Walk, step: Walked, to: 'completed' | 'failed' | 'skipped' | 'cancelled', why: string): void {
  voidQuestion(walk, step)
  become(step, to)
  walk.observed.push({ act: 'settle', step: step.plan.id, to, why })
}

/** An open question has nothing left to decide. */
function voidQuestion(walk: Walk, step: Walked): void {
  if (step.approval?.state === 'asked')
    walk.observed.push({ act: 'void', step: step.plan.id, approval: step.approval.id })
}

function makeReady(walk: Walk, step: Walked): void {
  become(step, 'ready')
  walk.observed.push({ act: 'ready', step: step.plan.id })
}

function again(walk: Walk, step: Walked, rung: Rung, why: string): void {
  become(step, 'retry_wait')
  const { by, retries, fallback, inMs } = rung
  Object.assign(step, {
    by,
    retries,
    fallback,
    waitLeftMs: inMs,
    last: null,
    question: null,
    approval: null,
    refused: null,
  })
  walk.room -= by === 'repair' ? 2 : 1
  walk.observed.push({ act: 'again', step: step.plan.id, rung, why })
}

function ask(walk: Walk, step: Walked, question: Question): void {
  become(step, 'awaiting_approval')
  Object.assign(step, { question, approval: null, isAsked: false })
  walk.observed.push({ act: 'await', step: step.plan.id, question })
}

/** The run has ended, by whatever way: what is open ends with it, and its tasks have ended already. */
function windDown(walk: Walk): Round {
  for (const step of walk.steps.values())
    if (!isOver(step.state)) settle(walk, step, 'cancelled', walk.facts.face.state)
  voidStarter(walk)
  return { ...roundOf(walk, [], []), nextMs: null }
}

function voidStarter({ facts, observed }: Walk): void {
  const { starterApproval } = facts
  if (starterApproval?.state === 'asked') observed.push({ act: 'void', step: null, approval: starterApproval.id })
}

/** Its time is over: what works is ended by force, the rest ends at once, and the run when nothing is left. */
function runOut(walk: Walk): Round {
  const reaps: Reap[] = []
  for (const step of walk.steps.values()) {
    if (isOver(step.state)) continue
    const isDone = step.state === 'running' && step.last?.ended?.outcome === 'succeeded' && step.by !== 'repair'
    if (isOpenTry(step)) {
      reaps.push({ step: step.plan.id, why: 'ttl_expired' })
      walk.waits.push(WAITS.works(step.plan.id, step.last?.task ?? ''))
    } else if (isDone) settle(walk, step, 'completed', 'succeeded')
    else settle(walk, step, 'cancelled', 'ttl_expired')
  }
  if (reaps.length > 0) return roundOf(walk, reaps, [])
  if ([...walk.steps.values()].every(({ state }) => state !== 'cancelled')) return finish(walk)
  voidStarter(walk)
  walk.observed.push({ act: 'end', as: 'timed_out', why: 'limits.time' })
  return roundOf(walk, [], [])
}

/** Why no step is looked at yet; undefined if the run works, or begins now. */
function beforeSteps({ facts, observed }: Walk): Wait | undefined {
  const { face, phase, run, overlaps, mode, slots } = facts
  // Whatever its face does meanwhile: nothing starts of a plan that is not there, or that nobody has agreed to.
  if (phase === 'planning' || phase === 'awaiting_approval') return WAITS.planning(run)
  if (face.state !== 'queued') return undefined
  if (face.held) return WAITS.held(run)
  if (mode !== null) return WAITS.mode(mode.why, mode.word)
  if (overlaps !== null) return WAITS.overlap(overlaps)
  if (!slots.run) return WAITS.ofRuns(run)
  observed.push({ act: 'begin' })
  return undefined
}

/** As far as a step can go without being started. */
function advance(walk: Walk, step: Walked): void {
  if (step.state === 'running' && step.last?.ended) settleTry(walk, step)
  if (step.state === 'awaiting_approval' && step.approval !== null) takeAnswer(walk, step, step.approval)
  if (step.state === 'pending') unblock(walk, step)
  if (step.state === 'retry_wait') {
    if (step.waitLeftMs > 0) walk.waits.push(WAITS.retry(step.plan.id, step.waitLeftMs))
    else makeReady(walk, step)
  }
  if (step.state === 'ready') judgeReady(walk, step)
  if (isOpenTry(step)) walk.waits.push(waitOfTry(step))
}

function waitOfTry({ plan, last }: Walked): Wait {
  const task = last?.task ?? ''
  if (last?.is === 'subrun') return WAITS.subrun(plan.id, task)
  if (last?.is === 'asking') return WAITS.asking(plan.id, task)
  return last?.is === 'queued' ? WAITS.queued(plan.id, task, last.waitsFor) : WAITS.works(plan.id, task)
}

/** Its try has ended: it has its result, or the ladder says what follows. */
function settleTry(walk: Walk, step: Walked): void {
  const end = step.last?.ended
  if (!end) return
  if (end.outcome !== 'succeeded') follow(walk, step, nextOf(walk, step, end))
  else if (step.by === 'repair') again(walk, step, afterRepair(step), 'repaired')
  else if (step.plan.checkpoint !== undefined) ask(walk, step, 'checkpoint')
  else settle(walk, step, 'completed', 'succeeded')
}

function nextOf({ facts, handled, room }: Walk, step: Walked, end: Parameters<typeof afterFailure>[2]): Next {
  const agent = agentAt(step.plan, step)
  const quotaLeftMs = (agent !== undefined && facts.agents.get(agent)?.quotaLeftMs) || null
  const isHandled = handled.has(step.plan.id)
  return afterFailure(step.plan, step, end, { onFailure: facts.onFailure, isHandled, room, quotaLeftMs })
}

function follow(walk: Walk, step: Walked, next: Next): void {
  if (next.next === 'try') again(walk, step, next.rung, next.why)
  else if (next.next === 'ask') ask(walk, step, next.question)
  else settle(walk, step, next.next, next.why)
}

/** What a person said, or that nobody said anything in time. */
function takeAnswer(walk: Walk, step: Walked, approval: ApprovalFacts): void {
  const { question, plan } = step
  if (approval.state === 'asked' || question === null) return
  const isBeforeStart = question === 'start' || question === 'restored'
  // What it was about changed: it is asked anew, before a start by the gate itself.
  if (approval.state === 'superseded') {
    Object.assign(step, { approval: null, isAsked: false })
    if (isBeforeStart) makeReady(walk, step)
    return
  }
  const decision = approval.state === 'approved' ? (approval.decision ?? 'continue') : 'abort'
  const why = approval.state === 'expired' ? 'timed_out' : 'approval_refused'
  if (decision === 'abort') settle(walk, step, question === 'stopped' ? 'cancelled' : 'failed', why)
  else if (decision === 'skip') settle(walk, step, 'completed', 'skipped_by_person')
  else if (isBeforeStart) makeReady(walk, step)
  else if (question === 'checkpoint' && decision === 'continue') settle(walk, step, 'completed', 'succeeded')
  else {
    const rung = afterYes(plan, step, question)
    become(step, 'ready')
    Object.assign(step, { ...rung, last: null, question: null, approval: null })
    walk.observed.push({ act: 'again', step: plan.id, rung, why: 'asked_for' })
  }
}

/** Ready when what it needs has ended as it asks, skipped when that can no longer be. */
function unblock(walk: Walk, step: Walked): void {
  const { id, join } = step.plan
  const judged = judgeNeeds(step.plan, (other) => {
    const of = walk.steps.get(other)
    return of && { state: of.state, isOver: isOver(of.state), optional: of.plan.optional }
  })
  if (judged.is === 'ready') makeReady(walk, step)
  else if (judged.is === 'lost') settle(walk, step, 'skipped', judged.because)
  else walk.waits.push(WAITS.after(id, judged.open, join === 'any'))
}

/** What a ready step becomes without a start: its own result, a question, the next agent, or the end. */
function judgeReady(walk: Walk, step: Walked): void {
  const { plan, approval, refused } = step
  const { facts } = walk
  if (plan.kind === 'plan-text') settle(walk, step, 'completed', 'succeeded')
  else if (approval?.state === 'asked') {
    become(step, 'awaiting_approval')
    step.question ??= 'start'
    walk.observed.push({ act: 'await', step: plan.id, question: step.question })
  } else if (facts.isRestored && approval?.state !== 'approved' && isBelow('read', plan.tier))
    ask(walk, step, 'restored')
  else {
    const code = refused ?? hinderedBy(walk, step)
    if (code === undefined) return
    if (code === 'no_capable_agent' && plan.noopIfMissing) settle(walk, step, 'completed', 'noop')
    else if (code === 'approval_refused') settle(walk, step, 'failed', code)
    else follow(walk, step, nextOf(walk, step, { outcome: 'failed', code, joined: false, by: 'itself' }))
  }
}

/** What is in the way of its agent, where another one may do it instead; else it waits for that agent. */
function hinderedBy({ facts, room }: Walk, step: Walked): string | undefined {
  const agent = agentAt(step.plan, step)
  const own = agent === undefined ? undefined : facts.agents.get(agent)
  if (step.by === 'repair' || step.fallback >= step.plan.fallback.length || room < 1) return undefined
  return own?.imageMissing ? 'image_missing' : own?.halted ? 'agent_unhealthy' : undefined
}

/** The credential of whoever started it was revoked: a person says whether it goes on (D-R5). */
function judgeStarter(walk: Walk): void {
  const { starter, starterApproval } = walk.facts
  if (starter !== 'revoked') voidStarter(walk)
  else if (starterApproval?.state === 'asked') walk.waits.push(WAITS.asked(null, 'starter', starterApproval.id))
  else if (walk.isAsking) walk.waits.push(WAITS.otherQuestion(null, walk.facts.run))
  else {
    walk.isAsking = true
    walk.observed.push({ act: 'ask', step: null, question: 'starter' })
  }
}

/** The question of a step is asked once no other of this run is open (S2-36). */
function raise(walk: Walk, step: Walked): void {
  const { id } = step.plan
  if (step.question === null) throw new Error(`step ${id} waits for a person, and nothing is asked`)
  if (step.approval?.state === 'asked') walk.waits.push(WAITS.asked(id, step.question, step.approval.id))
  else if (walk.isAsking) walk.waits.push(WAITS.otherQuestion(id, walk.facts.run))
  else {
    walk.isAsking = true
    walk.observed.push({ act: 'ask', step: id, question: step.question })
  }
}

/** Why nothing of the whole run may start; undefined if it may. */
function hindranceOf({ facts }: Walk): Wait | undefined {
  const { face, mode, run } = facts
  if (face.held) return WAITS.held(run)
  if (mode !== null) return WAITS.mode(mode.why, mode.word)
  return facts.isBudgetSpent ? WAITS.budget(run) : undefined
}

const slotWait = ({ plan: { id } }: Walked, most: number, own: number, all: number): Wait | undefined =>
  own <= 0 ? WAITS.ofRun(id, most) : all <= 0 ? WAITS.ofHub(id) : undefined

/** The gate will ask a person before it lets this start. */
const mayAsk = ({ plan, approval }: Walked): boolean => neverReruns(plan.tier) && approval?.state !== 'approved'

function startAll(walk: Walk): void {
  const ready = [...walk.steps.values()].filter(({ state }) => state === 'ready')
  if (ready.length === 0) return
  const whole = hindranceOf(walk)
  if (whole !== undefined) walk.waits.push(whole)
  if (whole !== undefined || walk.facts.starter === 'revoked') return
  const { ofRun, ofHub } = walk.facts.slots
  let own = ofRun - [...walk.steps.values()].filter(holdsSlot).length
  let all = ofHub
  for (const step of ready) {
    const isSubrun = step.plan.kind === 'subrun'
    const wait = hindranceOfStep(walk, step) ?? (isSubrun ? undefined : slotWait(step, ofRun, own, all))
    if (wait !== undefined) {
      walk.waits.push(wait)
      continue
    }
    if (!isSubrun) {
      own -= 1
      all -= 1
    }
    if (mayAsk(step)) walk.isAsking = true
    const agent = agentAt(step.plan, step)
    const approval = step.approval?.state === 'approved' ? step.approval.id : null
    walk.starts.push({ step: step.plan.id, by: step.by, agent, approval })
  }
}

function hindranceOfStep(walk: Walk, step: Walked): Wait | undefined {
  const { id } = step.plan
  const agent = agentAt(step.plan, step)
  const own = agent === undefined ? undefined : walk.facts.agents.get(agent)
  if (agent !== undefined && own?.halted) return WAITS.halted(id, agent)
  if (agent !== undefined && own?.imageMissing) return WAITS.image(id, agent)
  if (agent !== undefined && own?.quotaLeftMs) return WAITS.quota(id, agent, own.quotaLeftMs)
  return mayAsk(step) && walk.isAsking ? WAITS.otherQuestion(id, walk.facts.run) : undefined
}

/** A run waits at a checkpoint while a person is asked and nothing of it works or starts. */
function phaseOf({ facts, steps, starts, observed }: Walk): void {
  const all = [...steps.values()]
  const isAsked = facts.starter === 'revoked' || all.some(({ state }) => state === 'awaiting_approval')
  const phase: RunPhase = isAsked && starts.length === 0 && !all.some(isOpenTry) ? 'checkpoint' : 'running'
  if (phase !== facts.phase) observed.push({ act: 'phase', phase })
}

/** Every step is over: so is the run. A failure of an optional step is none of the run's. */
function finish(walk: Walk): Round {
  voidStarter(walk)
  const bad = [...walk.steps.values()].find(
    ({ state, plan }) => (state === 'failed' || state === 'cancelled') && !plan.optional,
  )
  walk.observed.push({ act: 'end', as: bad === undefined ? 'succeeded' : 'failed', why: bad?.plan.id ?? '' })
  return { ...roundOf(walk, [], []), nextMs: null }
}

/** Why a run stands still: of each step that is not over, and of the run as a whole. Until `hub why` stands, only tests call it. */
export const whyWaiting = (facts: RunFacts): readonly Wait[] => planRound(facts).waits
