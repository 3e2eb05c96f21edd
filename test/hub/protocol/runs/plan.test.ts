/** The states of a step and of a run. */
import { describe, expect, it } from 'vitest'
import { type RunPhase, runStateOf, stepMachine } from '../../../../hub/protocol/runs/plan.ts'

describe('the state of a run', () => {
  const PHASES: RunPhase[] = ['planning', 'awaiting_approval', 'queued', 'running', 'checkpoint', 'reconciling']

  it('once its face has ended is the end of the face, whatever its phase says (S3-29, S2-37)', () => {
    for (const [state, shown] of [
      ['succeeded', 'completed'],
      ['failed', 'failed'],
      ['cancelled', 'cancelled'],
      ['timed_out', 'timed_out'],
    ] as const)
      for (const phase of PHASES) expect(runStateOf({ state }, { phase }), phase).toBe(shown)
  })

  it('before that is its phase, and never one that works before its face has begun (S3-29)', () => {
    const shown = (state: 'queued' | 'running') => PHASES.map((phase) => runStateOf({ state }, { phase }))
    expect(shown('queued')).toEqual(['planning', 'awaiting_approval', 'queued', 'queued', 'queued', 'queued'])
    expect(shown('running')).toEqual([
      'planning',
      'awaiting_approval',
      'running',
      'running',
      'checkpoint',
      'reconciling',
    ])
  })
})

describe('the states of a step', () => {
  it('are final where they end, and nothing starts without having been ready (S2-37, S3-14)', () => {
    const { states, may, isTerminal } = stepMachine
    expect(states.filter(isTerminal)).toEqual(['completed', 'failed', 'skipped', 'cancelled'])
    expect(states.filter((from) => may(from, 'running'))).toEqual(['ready', 'awaiting_approval'])
    expect(states.filter((from) => may('pending', from))).toEqual(['ready', 'skipped', 'cancelled'])
    for (const from of states.filter((each) => !isTerminal(each))) expect(may(from, 'cancelled'), from).toBe(true)
  })
})
