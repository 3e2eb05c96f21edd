/**
 * What a rerun takes over of the run that it repeats, and why the rest runs again (D-R1). Pure.
 *
 * K1. Only a completed step is taken over, and only if its kind, its agent, what it is given and every output it stands on are equal by digest.
 * K2. Its value and files must be there, and no artifact of it quarantined.
 * K3. A step that runs again and could change something asks first, naming when it ran before.
 */
import { digestOf } from '../../base/canonical.ts'
import type { Tier } from '../../protocol/approval.ts'
import { type Node, upstreamOf } from '../../protocol/runs/graph.ts'
import type { Plan, PlanStep, StepKind, StepState } from '../../protocol/runs/plan.ts'
import { render, renderWords, type Scope } from '../../protocol/runs/template.ts'
import { isBelow } from '../../protocol/runs/tiers.ts'

/** A step of the earlier run. */
export interface EarlierStep {
  state: StepState
  kind: StepKind
  /** The agent that did it at last: of a fallback that one. */
  agent: string | undefined
  tier: Tier
  /** `inputsDigest` of what it was given at last; null if it never started. */
  inputs: string | null
  /** The digest of the output of each step that it stood on. */
  stoodOn: ReadonlyMap<string, string>
  /** The digest of its own value and files; null if it has none. */
  output: string | null
  value: unknown
  kept: 'there' | 'gone' | 'quarantined'
  /** When its last try ended or was seen last, in epoch ms; null if it never started. */
  ranAtMs: number | null
}

/** What a person asked for: everything again, from one step on, or what did not complete. */
export type Choice = { all: true } | { from: string } | { failedOnly: true }

export type Taken =
  | { takes: true; output: string }
  /** `asks`: when it ran before, where a person has to agree first. */
  | { takes: false; why: Again; asks: number | null }
/** Why a step runs again: asked for, not there before, not completed, or what is different. */
export type Again =
  | { reason: 'asked_for' | 'new' | 'kind' | 'agent' | 'inputs' | 'gone' | 'quarantined' }
  | { reason: 'state'; state: StepState }
  | { reason: 'stands_on'; step: string }

/** What a step is given, with its templates put in, and what its agent must be able to do, as one digest. Throws as `render` does. */
export function inputsDigest({ needs, params, run, text, definition }: PlanStep, scope: Scope): string {
  const words = run && renderWords(run, scope)
  return digestOf('hub-step-inputs-v1', {
    needs: [...needs].sort(),
    params: render(params, scope),
    run: words ?? null,
    text: text === undefined ? null : render(text, scope),
    definition: definition ?? null,
  })
}

/** Of each step of the new plan. `params`: of the new run. Until reruns are made, only tests call it. */
export function takingOver(
  plan: Plan,
  earlier: ReadonlyMap<string, EarlierStep>,
  choice: Choice,
  params: Readonly<Record<string, unknown>>,
): ReadonlyMap<string, Taken> {
  const nodes: Node[] = plan.steps.map(({ id, after }) => ({ id, before: after.map(({ step }) => step) }))
  const upstream = upstreamOf(
    nodes,
    nodes.map(({ id }) => id),
  )
  const isWanted = (id: string): boolean =>
    'all' in choice || ('from' in choice && (id === choice.from || upstream.get(id)?.has(choice.from) === true))
  const taken = new Map<string, Taken>()
  const steps = new Map<string, { state: string; value: unknown; error: null }>()
  for (const step of plan.steps) {
    const before = earlier.get(step.id)
    const why: Again | undefined = isWanted(step.id)
      ? { reason: 'asked_for' }
      : whyAgain(step, before, taken, { params, steps })
    if (why === undefined && before?.output != null) {
      taken.set(step.id, { takes: true, output: before.output })
      steps.set(step.id, { state: 'completed', value: before.value, error: null })
      continue
    }
    const ranAtMs = before?.ranAtMs ?? null
    const mayChange = [step.tier, before?.tier ?? 'read'].some((tier) => isBelow('read', tier))
    taken.set(step.id, { takes: false, why: why ?? { reason: 'gone' }, asks: mayChange ? ranAtMs : null })
  }
  return taken
}

/** The first thing that is different, or undefined if nothing is. */
function whyAgain(
  step: PlanStep,
  before: EarlierStep | undefined,
  taken: ReadonlyMap<string, Taken>,
  scope: Scope,
): Again | undefined {
  if (before === undefined) return { reason: 'new' }
  if (before.state !== 'completed') return { reason: 'state', state: before.state }
  if (before.kind !== step.kind) return { reason: 'kind' }
  const agents = [step.agent, ...step.fallback]
  if (step.agent !== undefined && !agents.includes(before.agent)) return { reason: 'agent' }
  for (const { step: other } of step.after) {
    const of = taken.get(other)
    if (of?.takes !== true || before.stoodOn.get(other) !== of.output) return { reason: 'stands_on', step: other }
  }
  // One that it stood on and that the plan no longer names is a difference too.
  const lost = [...before.stoodOn.keys()].find((other) => !step.after.some((need) => need.step === other))
  if (lost !== undefined) return { reason: 'stands_on', step: lost }
  if (before.inputs === null || !isEqualInput(step, before.inputs, scope)) return { reason: 'inputs' }
  return before.kept === 'there' ? undefined : { reason: before.kept }
}

function isEqualInput(step: PlanStep, inputs: string, scope: Scope): boolean {
  try {
    return inputsDigest(step, scope) === inputs
  } catch {
    // What cannot be put in now is not what it was.
    return false
  }
}
