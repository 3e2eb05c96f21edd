/** What a rerun takes over, and why the rest runs again (S3-45, S3-46, D-R1). */
import { describe, expect, it } from 'vitest'
import type { PlanStep } from '../../../../hub/protocol/runs/plan.ts'
import { type Choice, type EarlierStep, inputsDigest, takingOver } from '../../../../hub/work/runs/taking-over.ts'
import { needs, planOf, planStep } from '../../../support/run-world.ts'

const params = { goal: 'win' }
const edit = planStep('edit', { params: { ask: '{{ params.goal }}' }, fallback: ['small'] })
const test = planStep('test', { kind: 'test', run: ['npm', 'test'], after: needs('edit'), tier: 'execute' })
const publish = planStep('publish', {
  after: needs('edit', 'test'),
  params: { branch: '{{ steps.edit.value.branch }}' },
  tier: 'external',
})
const plan = planOf([edit, test, publish])
const scope = {
  params,
  steps: new Map([['edit', { state: 'completed', value: { branch: 'b' }, error: null }]]),
}

const before = (step: PlanStep, more: Partial<EarlierStep> = {}): [string, EarlierStep] => [
  step.id,
  {
    ...{ state: 'completed', kind: step.kind, agent: 'own', tier: step.tier, inputs: inputsDigest(step, scope) },
    stoodOn: new Map(step.after.map((need) => [need.step, `out-${need.step}`])),
    ...{ output: `out-${step.id}`, value: { branch: 'b' }, kept: 'there', ranAtMs: 1000 },
    ...more,
  },
]
const all = (more: Partial<Record<string, Partial<EarlierStep>>> = {}) =>
  new Map([edit, test, publish].map((step) => before(step, more[step.id])))

/** In words: taken, or why not, and when a person is told that it ran. */
const told = (choice: Choice, earlier = all(), of = plan, given: Record<string, unknown> = params) =>
  Object.fromEntries(
    [...takingOver(of, earlier, choice, given)].map(([id, taken]) => {
      if (taken.takes) return [id, 'taken']
      const { why, asks } = taken
      const what =
        why.reason === 'state' ? why.state : why.reason === 'stands_on' ? `stands on ${why.step}` : why.reason
      return [id, asks === null ? what : `${what}, asks: ran at ${asks}`]
    }),
  )

const FAILED = { failedOnly: true } as const

describe('a rerun', () => {
  it('of everything takes over nothing, and asks before what could change something (S3-46)', () => {
    expect(told({ all: true })).toEqual({
      edit: 'asked_for',
      test: 'asked_for, asks: ran at 1000',
      publish: 'asked_for, asks: ran at 1000',
    })
  })

  it('from a step takes over what is before it alone', () => {
    expect(told({ from: 'test' })).toEqual({
      edit: 'taken',
      test: 'asked_for, asks: ran at 1000',
      publish: 'asked_for, asks: ran at 1000',
    })
  })

  it('of what failed takes over the rest, and a step that never ran asks nobody (S3-45)', () => {
    const earlier = all({
      publish: { state: 'skipped', ranAtMs: null, inputs: null, output: null },
      test: { state: 'failed' },
    })
    expect(told(FAILED, earlier)).toEqual({
      edit: 'taken',
      test: 'failed, asks: ran at 1000',
      publish: 'skipped',
    })
    expect(told(FAILED)).toEqual({ edit: 'taken', test: 'taken', publish: 'taken' })
  })

  it.each<[string, Partial<EarlierStep>, string]>([
    ['another kind', { kind: 'review' }, 'kind'],
    ['another agent', { agent: 'other' }, 'agent'],
    ['other inputs', { inputs: 'f00' }, 'inputs'],
    ['no inputs', { inputs: null }, 'inputs'],
    ['a value that is gone', { kept: 'gone' }, 'gone'],
    ['no output at all', { output: null }, 'gone'],
    ['an artifact in quarantine', { kept: 'quarantined' }, 'quarantined'],
    ['a step that the plan no longer names', { stoodOn: new Map([['x', 'y']]) }, 'stands on x'],
    ['an end that is no completion', { state: 'cancelled' }, 'cancelled'],
  ])('runs a step again after %s, and with it all that stands on it', (_, more, why) => {
    expect(told(FAILED, all({ edit: more }))).toEqual({
      edit: why,
      test: 'stands on edit, asks: ran at 1000',
      publish: 'stands on edit, asks: ran at 1000',
    })
  })

  it('takes over what a fallback did, and not what stands on another output', () => {
    expect(told(FAILED, all({ edit: { agent: 'small' } })).edit).toBe('taken')
    const moved = all({ test: { stoodOn: new Map([['edit', 'other']]) } })
    expect(told(FAILED, moved)).toMatchObject({ edit: 'taken', test: 'stands on edit, asks: ran at 1000' })
  })

  it('with other parameters runs what reads them; a definition with a new step runs that', () => {
    expect(told(FAILED, all(), plan, { goal: 'lose' }).edit).toBe('inputs')
    expect(told(FAILED, all(), planOf([planStep('edit', { ...edit, needs: ['x'] })])).edit).toBe('inputs')
    const longer = planOf([edit, test, publish, planStep('tell', { after: needs('publish') })])
    expect(told(FAILED, all(), longer)).toEqual({ edit: 'taken', test: 'taken', publish: 'taken', tell: 'new' })
    // A template that can no longer be put in is another input.
    expect(told(FAILED, all({ edit: { value: {} } })).publish).toBe('inputs, asks: ran at 1000')
  })

  it('asks where only one of both plans says that a step could change something', () => {
    const raised = planOf([planStep('edit', { ...edit, tier: 'write' })])
    expect(told({ all: true }, all(), raised)).toEqual({ edit: 'asked_for, asks: ran at 1000' })
    const lowered = planOf([planStep('test', { ...test, after: [], tier: 'read' })])
    expect(told({ all: true }, all(), lowered)).toEqual({ test: 'asked_for, asks: ran at 1000' })
  })
})
