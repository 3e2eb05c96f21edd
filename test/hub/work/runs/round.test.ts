/** One round of a run: tables of what follows what, and laws that hold for any plan and any luck. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Need, PlanStep } from '../../../../hub/protocol/runs/plan.ts'
import type { Wait } from '../../../../hub/protocol/runs/waits.ts'
import type { Round, RunFacts, Start } from '../../../../hub/work/runs/facts.ts'
import { planRound, whyWaiting } from '../../../../hub/work/runs/round.ts'
import { createRunWorld, factsOf, needs, planOf, planStep } from '../../../support/run-world.ts'

const reasons = (waits: readonly Wait[]) => waits.map(({ step, why, word }) => `${step ?? '*'} ${why}: ${word}`)
const diamond = () =>
  planOf([
    planStep('a'),
    planStep('b', { after: needs('a') }),
    planStep('c', { after: needs('a') }),
    planStep('d', { after: needs('b', 'c') }),
    planStep('e', { after: needs('d') }),
  ])

describe('a round', () => {
  it('starts what is ready, one step at a time unless the run may have more (S3-14, S3-19, S2-35)', () => {
    const world = createRunWorld(diamond())
    expect(reasons(world.rest())).toEqual(expect.arrayContaining(['a works: hub task show t1', 'b after: null']))
    world.ends('a', { outcome: 'succeeded' })
    const round = world.look()
    expect(round.observed).toEqual([
      { act: 'settle', step: 'a', to: 'completed', why: 'succeeded' },
      { act: 'ready', step: 'b' },
      { act: 'ready', step: 'c' },
    ])
    expect(round.starts).toEqual([{ step: 'b', by: 'first', agent: 'own', approval: null }])
    expect(reasons(round.waits)).toContain('c slot_of_run: null')
    world.facts.slots.ofRun = 2
    world.rest()
    expect(world.started.map(({ step }) => step)).toEqual(['a', 'b', 'c'])
  })

  it('skips what can no longer be needed, while its siblings go on (S2-34, S4-33)', () => {
    const world = createRunWorld(diamond(), { onFailure: 'fail', slots: { run: true, ofRun: 2, ofHub: 9 } })
    world.rest()
    world.ends('a', { outcome: 'succeeded' })
    world.rest()
    world.ends('b', { outcome: 'failed' })
    world.rest()
    expect(world.states()).toMatchObject({ b: 'failed', c: 'running', d: 'skipped', e: 'skipped' })
    world.ends('c', { outcome: 'succeeded' })
    world.rest()
    expect(world.facts.face.state).toBe('failed')
  })

  it.each([
    ['completed', 'succeeded', 'a', 'running'],
    ['completed', 'failed', 'a', 'skipped'],
    ['failed', 'succeeded', 'a.failed', 'skipped'],
    ['failed', 'failed', 'a.failed', 'running'],
    ['ended', 'succeeded', 'a.ended', 'running'],
    ['ended', 'failed', 'a.ended', 'running'],
  ] as const)('a step that waits for %s of one that %s: %s is %s (S2-34)', (_, outcome, need, state) => {
    const world = createRunWorld(planOf([planStep('a'), planStep('b', { after: needs(need) })]), { onFailure: 'fail' })
    world.rest()
    world.ends('a', { outcome })
    world.rest()
    expect(world.stepOf('b').state).toBe(state)
  })

  it('takes the first of any, and skips only when none is left', () => {
    const any = planStep('c', { after: needs('a', 'b'), join: 'any' })
    const two = { run: true, ofRun: 2, ofHub: 9 }
    const first = createRunWorld(planOf([planStep('a'), planStep('b'), any]), { onFailure: 'fail', slots: two })
    first.rest()
    first.ends('a', { outcome: 'failed' })
    first.rest()
    expect(first.stepOf('c').state).toBe('pending')
    first.ends('b', { outcome: 'succeeded' })
    first.rest()
    expect(first.stepOf('c').state).toBe('running')
    const none = createRunWorld(planOf([planStep('a'), planStep('b'), any]), { onFailure: 'fail', slots: two })
    none.rest()
    for (const id of ['a', 'b']) none.ends(id, { outcome: 'failed' })
    none.rest()
    expect([none.stepOf('c').state, none.facts.face.state]).toEqual(['skipped', 'failed'])
  })

  it('goes on after an optional step that failed, and the run succeeds; after a skipped one nothing starts', () => {
    const plan = planOf([
      planStep('a', { optional: true }),
      planStep('b', { after: needs('a') }),
      planStep('c', { after: needs('a.failed') }),
      planStep('d', { after: needs('b.failed') }),
      planStep('e', { after: needs('d.ended') }),
    ])
    const world = createRunWorld(plan)
    world.rest()
    world.ends('a', { outcome: 'failed' })
    for (const id of ['b', 'c']) {
      world.rest()
      world.ends(id, { outcome: 'succeeded' })
    }
    world.rest()
    expect(world.states()).toEqual({ a: 'failed', b: 'completed', c: 'completed', d: 'skipped', e: 'skipped' })
    expect(world.facts.face.state).toBe('succeeded')
  })

  it('visits each edge of 200 steps once, in a chain and fully connected (S3-50)', () => {
    for (const isFull of [false, true]) {
      let visits = 0
      const steps = Array.from({ length: 200 }, (_, at): PlanStep => {
        const from = isFull ? 0 : Math.max(0, at - 1)
        const all: Need[] = Array.from({ length: at - from }, (__, n) => ({ step: `s${from + n}`, of: 'completed' }))
        const counted = {
          length: all.length,
          *[Symbol.iterator]() {
            for (const each of all) {
              visits += 1
              yield each
            }
          },
        }
        return planStep(`s${at}`, { after: counted as unknown as Need[] })
      })
      planRound(factsOf(planOf(steps)))
      const edges = isFull ? 19_900 : 199
      // Once to see whose failure is waited for, and once to judge.
      expect(visits).toBe(2 * edges)
    }
  })
})

describe('the ladder (S2-15, S2-40, S3-20)', () => {
  const one = (more: Partial<PlanStep>, facts: Partial<RunFacts> = {}, tasks = 20) => {
    const plan = planOf([planStep('a', more)], { limits: { timeMs: 1e9, tasks } })
    const world = createRunWorld(plan, facts)
    world.rest()
    return world
  }
  const failing = (more: Partial<PlanStep>, facts: Partial<RunFacts> = {}, tasks = 20) => {
    const world = one(more, facts, tasks)
    const waits: (number | undefined)[] = []
    for (let at = 0; at < 12 && world.stepOf('a').state === 'running'; at += 1) {
      world.ends('a', { outcome: 'failed' })
      world.rest((round) => {
        for (const act of round.observed) if (act.act === 'again') waits.push(act.rung.inMs)
      })
      world.later()
      world.rest()
    }
    return { tries: world.started.map(({ by, agent }) => `${by} ${agent}`), waits, world }
  }

  it('retries twice as late each time, then each fallback once, then asks', () => {
    const { tries, waits, world } = failing({ retry: { max: 2, delayMs: 2000 }, fallback: ['f1', 'f2'] })
    expect(tries).toEqual(['first own', 'retry own', 'retry own', 'fallback f1', 'fallback f2'])
    expect(waits).toEqual([2000, 4000, 0, 0])
    expect(world.stepOf('a')).toMatchObject({ state: 'awaiting_approval', question: 'ladder' })
    expect(world.facts.phase).toBe('checkpoint')
  })

  it('repairs before each retry, and the retry follows a repair that succeeded at once', () => {
    const world = one({ retry: { max: 2, delayMs: 100, repair: { agent: 'mend', params: {} } } })
    world.ends('a', { outcome: 'failed' })
    expect(reasons(world.rest())).toEqual(['a retry: null'])
    expect(world.stepOf('a').waitLeftMs).toBe(250)
    world.later()
    world.rest()
    world.ends('a', { outcome: 'succeeded' })
    world.rest()
    world.ends('a', { outcome: 'failed' })
    world.rest()
    world.later()
    world.rest()
    // The second repair fails: its retry is used up with it.
    world.ends('a', { outcome: 'failed' })
    world.rest()
    expect(world.started.map(({ by, agent }) => `${by} ${agent}`)).toEqual([
      'first own',
      'repair mend',
      'retry own',
      'repair mend',
    ])
    expect(world.stepOf('a').question).toBe('ladder')
  })

  it('has one ceiling for all rungs, and takes no first try of another step', () => {
    const rungs = { retry: { max: 10, delayMs: 1000 }, fallback: ['f1', 'f2'] }
    expect(failing(rungs, {}, 4).tries).toHaveLength(4)
    const plan = planOf([planStep('a', rungs), planStep('b', { after: needs('a.ended') })], {
      limits: { timeMs: 1e9, tasks: 3 },
    })
    const world = createRunWorld(plan, { onFailure: 'fail' })
    for (let at = 0; at < 3; at += 1) {
      world.rest()
      world.later()
      world.rest()
      if (world.stepOf('a').state === 'running') world.ends('a', { outcome: 'failed' })
    }
    world.rest()
    expect(world.started.map(({ step }) => step)).toEqual(['a', 'a', 'b'])
  })

  it('counts a retry that waits as taken: another step cannot have the same try', () => {
    const rungs = { retry: { max: 1, delayMs: 9000 } }
    const plan = planOf([planStep('a', rungs), planStep('b', rungs)], { limits: { timeMs: 1e9, tasks: 3 } })
    const world = createRunWorld(plan, { onFailure: 'fail', slots: { run: true, ofRun: 2, ofHub: 9 } })
    for (const id of ['a', 'b']) {
      world.rest()
      world.ends(id, { outcome: 'failed' })
    }
    world.rest()
    expect(world.states()).toEqual({ a: 'retry_wait', b: 'failed' })
  })

  it.each([
    ['schema_invalid', ['first own']],
    ['forbidden', ['first own']],
    ['image_missing', ['first own', 'fallback f1']],
    ['policy_denied', ['first own', 'fallback f1']],
    ['ended_early', ['first own', 'retry own']],
    ['timed_out', ['first own', 'retry own']],
    ['engine_refused', ['first own', 'retry own']],
  ])('after %s: %j', (code, tries) => {
    const world = one({ retry: { max: 1, delayMs: 250 }, fallback: ['f1'] })
    world.ends('a', { outcome: 'failed', code, joined: false })
    world.rest()
    world.later()
    world.rest()
    expect(world.started.map(({ by, agent }) => `${by} ${agent}`)).toEqual(tries)
  })

  it.each([
    ['rerun', 'read', true, 'retry_wait', null],
    ['ask', 'read', true, 'awaiting_approval', 'unknown'],
    ['fail', 'read', true, 'awaiting_approval', 'ladder'],
    ['ask', 'read', false, 'retry_wait', null],
    ['ask', 'external', true, 'awaiting_approval', 'unknown'],
    ['fail', 'external', true, 'awaiting_approval', 'ladder'],
  ] as const)('a lost try, %s, tier %s, with its task %s: %s (D-R7)', (onUnknown, tier, joined, state, question) => {
    const world = createRunWorld(planOf([planStep('a', { onUnknown, tier, retry: { max: 1, delayMs: 9999 } })]))
    world.rest()
    if (tier === 'external') {
      world.answer('a', 'approved')
      world.rest()
    }
    world.ends('a', { outcome: 'lost', joined })
    world.rest()
    expect(world.stepOf('a')).toMatchObject({ state, question })
  })

  it('reruns a lost try once where nothing is said of retries', () => {
    const world = one({ onUnknown: 'rerun' })
    for (const state of ['running', 'awaiting_approval']) {
      world.ends('a', { outcome: 'lost' })
      world.rest()
      world.later()
      world.rest()
      expect(world.stepOf('a').state).toBe(state)
    }
  })

  it('asks before it tries again what reaches outside, after a plain failure too; one yes is one try', () => {
    const world = createRunWorld(planOf([planStep('a', { tier: 'external', retry: { max: 5, delayMs: 250 } })]))
    for (const decision of [null, 'retry', 'retry'] as const) {
      world.rest()
      world.answer('a', 'approved', decision)
      world.rest()
      // The start itself is asked about as well.
      if (decision === 'retry') {
        world.answer('a', 'approved')
        world.rest()
      }
      world.ends('a', { outcome: 'failed' })
      world.rest()
      expect(world.stepOf('a')).toMatchObject({ state: 'awaiting_approval', question: 'failed' })
    }
    expect(world.started).toHaveLength(3)
  })

  it('that is used up gives the own agent one try for each yes, and no rung follows by itself', () => {
    const world = one({ retry: { max: 1, delayMs: 250 }, fallback: ['f1'] })
    for (const tries of [3, 4, 5]) {
      for (let at = 0; at < 3 && world.stepOf('a').state === 'running'; at += 1) {
        world.ends('a', { outcome: 'failed' })
        world.rest()
        world.later()
        world.rest()
      }
      expect([world.started.length, world.stepOf('a').question]).toEqual([tries, 'ladder'])
      world.answer('a', 'approved', 'retry')
      world.rest()
      expect(world.started.at(-1)).toMatchObject({ by: 'retry', agent: 'own' })
    }
  })

  it('tries nothing again that reaches outside and is to fail then', () => {
    const risky = { tier: 'external', onUnknown: 'fail', retry: { max: 3, delayMs: 250 }, fallback: ['f1'] } as const
    const world = createRunWorld(planOf([planStep('a', risky)]), { onFailure: 'fail' })
    world.rest()
    world.answer('a', 'approved')
    world.rest()
    world.ends('a', { outcome: 'failed' })
    world.rest()
    expect([world.stepOf('a').state, world.started.length]).toEqual(['failed', 1])
  })

  it('waits for a quota and spends no try on it (D-R12)', () => {
    const quota = new Map([['own', { halted: false, imageMissing: false, quotaLeftMs: 60_000 }]])
    const world = one({}, {}, 1)
    world.facts.agents = quota
    world.ends('a', { outcome: 'lost', code: 'upstream_exhausted' })
    world.rest()
    expect(world.stepOf('a')).toMatchObject({ state: 'retry_wait', waitLeftMs: 60_000 })
    world.later()
    expect(reasons(world.rest())).toEqual(['a quota: hub budget show'])
    world.facts.agents = new Map()
    world.rest()
    expect([world.stepOf('a').state, world.facts.tries, world.started.length]).toEqual(['running', 1, 2])
  })

  it.each([
    ['pause', 'awaiting_approval', 'running'],
    ['fail', 'cancelled', 'failed'],
  ] as const)('gives no rung to what a person ended: %s', (onFailure, state, run) => {
    const world = one({ retry: { max: 3, delayMs: 250 }, fallback: ['f1'] }, { onFailure })
    world.ends('a', { outcome: 'lost', by: 'person' })
    world.rest()
    expect([world.stepOf('a').state, world.facts.face.state]).toEqual([state, run])
  })

  it('asks nobody about a failure that another step waits for, or that fails nothing', () => {
    for (const steps of [
      [planStep('a'), planStep('b', { after: needs('a.failed') })],
      [planStep('a', { optional: true })],
    ]) {
      const world = createRunWorld(planOf(steps))
      world.rest()
      world.ends('a', { outcome: 'failed' })
      world.rest()
      expect(world.stepOf('a').state).toBe('failed')
    }
  })
})

describe('a question (S2-5, S2-36, S3-38, S3-43)', () => {
  it.each([
    ['checkpoint', 'approved', null, 'completed', 'succeeded'],
    ['checkpoint', 'approved', 'continue', 'completed', 'succeeded'],
    ['checkpoint', 'approved', 'retry', 'running', 'running'],
    ['checkpoint', 'approved', 'skip', 'completed', 'succeeded'],
    ['checkpoint', 'approved', 'abort', 'failed', 'failed'],
    ['checkpoint', 'refused', null, 'failed', 'failed'],
    ['checkpoint', 'expired', null, 'failed', 'failed'],
    ['ladder', 'approved', 'retry', 'running', 'running'],
    ['ladder', 'approved', 'skip', 'completed', 'succeeded'],
    ['ladder', 'approved', 'abort', 'failed', 'failed'],
    ['ladder', 'refused', null, 'failed', 'failed'],
    ['ladder', 'expired', null, 'failed', 'failed'],
  ] as const)('of a %s that is %s %s: the step is %s, the run %s (S2-28)', (question, state, decision, step, run) => {
    const checkpoint = question === 'checkpoint' ? { ask: 'Right?' } : undefined
    const world = createRunWorld(planOf([planStep('a', { checkpoint })]))
    world.rest()
    world.ends('a', { outcome: question === 'checkpoint' ? 'succeeded' : 'failed' })
    expect(reasons(world.rest())).toEqual(['a approval: hub approval show q1'])
    world.answer('a', state, decision)
    world.rest()
    expect([world.stepOf('a').state, world.facts.face.state]).toEqual([step, run])
  })

  it('that was denied or timed out fails its step, skips what waits for it and ends the run (S2-5)', () => {
    for (const state of ['refused', 'expired'] as const) {
      const world = createRunWorld(
        planOf([planStep('a', { tier: 'destructive' }), planStep('b', { after: needs('a') })]),
      )
      world.rest()
      world.answer('a', state)
      world.rest()
      expect(world.states()).toEqual({ a: 'failed', b: 'skipped' })
      expect([world.facts.face.state, world.started.length]).toEqual(['failed', 0])
    }
  })

  it('is asked anew when what it was about has changed (D-R9)', () => {
    const world = createRunWorld(planOf([planStep('a', { tier: 'external' })]))
    world.rest()
    world.answer('a', 'superseded')
    expect(reasons(world.rest())).toEqual(['a approval: hub approval show q2'])
    world.answer('a', 'approved')
    world.rest()
    expect(world.started).toEqual([{ step: 'a', by: 'first', agent: 'own', approval: 'q2' }])
  })

  it('waits until the one before it is answered (S2-36)', () => {
    const plan = planOf([
      planStep('a', { tier: 'external' }),
      planStep('b', { tier: 'destructive' }),
      planStep('c', { checkpoint: { ask: '?' } }),
    ])
    const world = createRunWorld(plan, { slots: { run: true, ofRun: 3, ofHub: 9 } })
    world.rest()
    world.ends('c', { outcome: 'succeeded' })
    expect(reasons(world.rest())).toEqual([
      'a approval: hub approval show q1',
      'c other_question: hub why r1',
      'b other_question: hub why r1',
    ])
    world.answer('a', 'refused')
    world.rest()
    expect(reasons(world.rest())).toContain('c approval: hub approval show q2')
  })

  it('is asked before each step of tier write or above after a restore, and before the run goes on when its credential was revoked', () => {
    const restored = createRunWorld(planOf([planStep('a'), planStep('b', { tier: 'write' })]), {
      isRestored: true,
      slots: { run: true, ofRun: 2, ofHub: 9 },
    })
    restored.rest()
    expect([restored.stepOf('a').state, restored.stepOf('b').question]).toEqual(['running', 'restored'])
    restored.answer('b', 'approved')
    restored.rest()
    expect(restored.stepOf('b').state).toBe('running')
    const revoked = createRunWorld(planOf([planStep('a')]), { starter: 'revoked' })
    expect(reasons(revoked.rest())).toEqual(['* starter: hub approval show q1'])
    expect(revoked.facts.phase).toBe('checkpoint')
    revoked.facts.starter = 'answered'
    revoked.rest()
    expect(revoked.stepOf('a').state).toBe('running')
  })
})

describe('a run that stands still says why and what moves it (D-R17)', () => {
  const agents = (own: object) => new Map([['own', { halted: false, imageMissing: false, quotaLeftMs: null, ...own }]])
  it.each<[string, Partial<RunFacts>, string]>([
    ['held', { face: { state: 'running', held: true } }, '* held: hub run release r1'],
    ['held before it began', { face: { state: 'queued', held: true } }, '* held: hub run release r1'],
    [
      'its plan is not ready',
      { face: { state: 'queued', held: false }, phase: 'planning' },
      '* planning: hub run show r1',
    ],
    ['it is planned while its face works', { phase: 'planning' }, '* planning: hub run show r1'],
    ['its plan waits for a yes', { phase: 'awaiting_approval' }, '* planning: hub run show r1'],
    [
      'another of its key goes first',
      { face: { state: 'queued', held: false }, overlaps: 'r0' },
      '* overlap: hub why r0',
    ],
    [
      'too many runs',
      { face: { state: 'queued', held: false }, slots: { run: false, ofRun: 1, ofHub: 9 } },
      '* slot_of_runs: hub run list',
    ],
    ['the mode', { mode: { why: 'the disk is full', word: 'hub doctor' } }, '* mode: hub doctor'],
    ['its budget', { isBudgetSpent: true }, '* budget: hub budget raise r1'],
    ['its agent is halted', { agents: agents({ halted: true }) }, 'a agent_halted: hub agent reset own'],
    ['no image', { agents: agents({ imageMissing: true }) }, 'a image: hub agent build own'],
    ['a quota', { agents: agents({ quotaLeftMs: 5000 }) }, 'a quota: hub budget show'],
    ['the slots of the hub', { slots: { run: true, ofRun: 1, ofHub: 0 } }, 'a slot_of_hub: hub run list'],
  ])('%s', (_, more, reason) => {
    const world = createRunWorld(planOf([planStep('a')]), more)
    expect(reasons(world.rest())).toEqual([reason])
    expect(reasons(whyWaiting(world.facts))).toEqual([reason])
    expect(world.started).toEqual([])
  })

  it('holds no slot while it waits for a sub-run or a person (S3-7, S3-26)', () => {
    const plan = planOf([planStep('a', { kind: 'subrun' }), planStep('b'), planStep('c')])
    const world = createRunWorld(plan)
    world.rest()
    expect(world.states()).toEqual({ a: 'running', b: 'running', c: 'ready' })
    const { last } = world.stepOf('b')
    if (last !== null) last.is = 'asking'
    world.rest()
    expect(world.stepOf('c').state).toBe('running')
  })

  it('takes the next agent instead of one that is halted, and a step that nobody can do goes on if it says so (S2-12)', () => {
    const world = createRunWorld(planOf([planStep('a', { fallback: ['f1'] })]), { agents: agents({ halted: true }) })
    world.rest()
    expect(world.started).toMatchObject([{ by: 'fallback', agent: 'f1' }])
    const noop = createRunWorld(planOf([planStep('a', { noopIfMissing: true, agent: undefined, needs: ['x'] })]))
    noop.rest(undefined, () => 'no_capable_agent')
    expect([noop.stepOf('a').state, noop.facts.face.state]).toEqual(['completed', 'succeeded'])
  })
})

describe('the end of a run', () => {
  it('by whatever way takes every open step with it, and nothing starts or is asked after it (S2-37, S3-26)', () => {
    const world = createRunWorld(diamond(), { slots: { run: true, ofRun: 2, ofHub: 9 } })
    world.rest()
    world.ends('a', { outcome: 'succeeded' })
    world.facts.face.state = 'cancelled'
    const round = world.look()
    expect(round.observed.map((act) => act.act)).toEqual(Array(5).fill('settle'))
    expect([round.starts, round.nextMs]).toEqual([[], null])
    world.rest()
    expect(new Set(Object.values(world.states()))).toEqual(new Set(['cancelled']))
  })

  it('comes when its time is over: what works is ended by force first', () => {
    const world = createRunWorld(diamond())
    world.rest()
    world.facts.timeLeftMs = 0
    expect(world.look()).toMatchObject({ reaps: [{ step: 'a' }], starts: [] })
    world.rest()
    expect(world.facts.face.state).toBe('timed_out')
    expect(world.started).toHaveLength(1)
  })

  it('is no time-out where every step had its result when the time was over', () => {
    const world = createRunWorld(planOf([planStep('a')]))
    world.rest()
    world.ends('a', { outcome: 'succeeded' })
    world.facts.timeLeftMs = 0
    world.rest()
    expect([world.stepOf('a').state, world.facts.face.state]).toEqual(['completed', 'succeeded'])
  })
})

/** Numbers from one seed, the same each time. */
const seeded = (seed: number) => {
  let state = seed >>> 0
  return (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

const anyPlan = fc.tuple(fc.integer({ min: 1, max: 8 }), fc.nat()).map(([size, seed]) => {
  const pick = seeded(seed)
  const oneOf = <Value>(...values: Value[]): Value => values[pick(values.length)] as Value
  return planOf(
    Array.from({ length: size }, (_, at) =>
      planStep(`s${at}`, {
        after: Array.from({ length: at }, (__, n) => n)
          .filter(() => pick(3) === 0)
          .map((n) => ({ step: `s${n}`, of: oneOf('completed', 'completed', 'failed', 'ended') })),
        join: oneOf('all', 'all', 'any'),
        optional: pick(5) === 0,
        kind: oneOf('agent', 'agent', 'agent', 'subrun', 'plan-text'),
        tier: oneOf('read', 'write', 'execute', 'destructive', 'external'),
        onUnknown: oneOf('rerun', 'ask', 'fail'),
        retry: { max: pick(3), delayMs: 1000, repair: pick(3) === 0 ? { agent: 'mend', params: {} } : undefined },
        fallback: pick(3) === 0 ? ['f1', 'f2'] : [],
        checkpoint: pick(4) === 0 ? { ask: '?' } : undefined,
      }),
    ).map((step) =>
      ['read', 'write', 'execute'].includes(step.tier) || step.onUnknown !== 'rerun'
        ? step
        : { ...step, onUnknown: 'ask' as const },
    ),
    { limits: { timeMs: 86_400_000, tasks: size + pick(4) } },
  )
})

/** One thing happens that the wait names; false for a wait that only others end. */
function doWord(
  world: ReturnType<typeof createRunWorld>,
  { step, why }: Wait,
  pick: (below: number) => number,
): boolean {
  const { facts } = world
  const outcome = (['succeeded', 'succeeded', 'failed', 'lost'] as const)[pick(4)] ?? 'failed'
  const code = [undefined, undefined, 'image_missing', 'upstream_exhausted', 'schema_invalid'][pick(5)]
  const by = pick(12) === 0 ? 'person' : 'itself'
  const failure =
    outcome === 'succeeded' ? {} : ({ ...(code === undefined ? {} : { code }), joined: pick(4) > 0, by } as const)
  if (step !== null && (why === 'works' || why === 'subrun' || why === 'queued'))
    world.ends(step, { outcome, ...failure })
  else if (step !== null && why === 'approval')
    world.answer(
      step,
      (['approved', 'approved', 'refused', 'expired', 'superseded'] as const)[pick(5)] ?? 'refused',
      ([null, 'continue', 'retry', 'skip', 'abort'] as const)[pick(5)] ?? null,
    )
  else if (why === 'retry') world.later()
  else if (why === 'held') facts.face.held = false
  else if (why === 'mode') facts.mode = null
  else if (why === 'budget') facts.isBudgetSpent = false
  else if (why === 'starter') facts.starter = 'answered'
  else if (why === 'overlap') facts.overlaps = null
  else if (why === 'slot_of_runs') facts.slots.run = true
  else if (why === 'slot_of_hub') facts.slots.ofHub = 3
  else if (why === 'agent_halted' || why === 'image' || why === 'quota') facts.agents = new Map()
  else return false
  return true
}

/** Something gets in the way. */
function hinder({ facts }: ReturnType<typeof createRunWorld>, pick: (below: number) => number): void {
  const acts = [
    () => (facts.face.held = true),
    () => (facts.mode = { why: 'the disk is full', word: 'hub doctor' }),
    () => (facts.isBudgetSpent = true),
    () => (facts.slots.ofHub = 0),
    () => (facts.starter = facts.starter === 'in_force' ? 'revoked' : facts.starter),
    () =>
      (facts.agents = new Map([
        ['own', { halted: pick(2) === 0, imageMissing: pick(2) === 0, quotaLeftMs: pick(2) === 0 ? 5000 : null }],
      ])),
  ]
  acts[pick(acts.length)]?.()
}

describe('for any plan and any luck', () => {
  it('nothing starts too early or twice, one question is open at a time, sums add up, and every word moves the run to its end (S2-34, S2-36, S3-7, S3-14, D-R17)', () => {
    fc.assert(
      fc.property(
        anyPlan,
        fc.nat(),
        fc.constantFrom('pause', 'fail'),
        fc.integer({ min: 1, max: 3 }),
        (plan, seed, onFailure, ofRun) => {
          const pick = seeded(seed)
          const world = createRunWorld(plan, {
            face: { state: 'queued', held: pick(2) === 0 },
            phase: 'queued',
            onFailure,
            slots: { run: pick(2) === 0, ofRun, ofHub: 3 },
            isRestored: pick(4) === 0,
          })
          const { facts } = world
          const byId = new Map(plan.steps.map((step) => [step.id, step]))
          /** Yeses of a person since the last start of a step. */
          const yeses = new Map<string, number>()
          const isMet = ({ step, of }: Need): boolean => {
            const { state } = world.stepOf(step)
            if (of === 'failed') return state === 'failed'
            if (of === 'ended') return state === 'failed' || state === 'completed'
            return state === 'completed' || (state === 'failed' && byId.get(step)?.optional === true)
          }
          const judgeStart = (start: Start): string | undefined => {
            const step = byId.get(start.step) as PlanStep
            const met = step.after.filter(isMet).length
            expect(step.join === 'any' && step.after.length > 0 ? met > 0 : met === step.after.length).toBe(true)
            const own = world.stepOf(start.step)
            expect(own.state).toBe('ready')
            expect(own.last?.ended === null).toBe(false)
            expect([facts.face, facts.mode, facts.isBudgetSpent, facts.starter === 'revoked']).toEqual([
              { state: 'running', held: false },
              null,
              false,
              false,
            ])
            const isRisky = step.tier === 'external' || step.tier === 'destructive'
            if (isRisky && start.approval !== null) {
              expect(yeses.get(step.id) ?? 0).toBeGreaterThan(0)
              yeses.set(step.id, 0)
            }
            if (pick(12) === 0) return ['image_missing', 'policy_denied', 'no_capable_agent', 'schema_invalid'][pick(4)]
            return undefined
          }
          /** Tries that a person ordered, beyond the ceiling of the rungs. */
          let ordered = 0
          const count = ({ observed }: Round) => {
            ordered += observed.filter((act) => act.act === 'again' && act.why === 'asked_for').length
          }
          const judgeRest = () => {
            expect(facts.tries).toBeLessThanOrEqual(plan.limits.tasks + ordered)
            const all = [...facts.steps.values()]
            expect(
              all.filter(({ approval }) => approval?.state === 'asked').length +
                (facts.starterApproval?.state === 'asked' && facts.starter === 'revoked' ? 1 : 0),
            ).toBeLessThanOrEqual(1)
            const holding = plan.steps.filter(
              ({ id, kind }) => kind !== 'subrun' && world.stepOf(id).last?.ended === null,
            )
            expect(holding.length).toBeLessThanOrEqual(ofRun)
          }
          for (let at = 0; ; at += 1) {
            expect(at).toBeLessThan(600)
            const waits = world.rest(count, judgeStart)
            judgeRest()
            if (facts.face.state !== 'running' && facts.face.state !== 'queued') break
            const open = [...facts.steps].filter(
              ([, { state }]) => !['completed', 'failed', 'skipped', 'cancelled'].includes(state),
            )
            const whole = waits.some(({ step }) => step === null)
            for (const [id] of open)
              expect(whole || waits.some(({ step }) => step === id), `${id} says nothing`).toBe(true)
            for (const { text, why, word } of waits)
              expect(text !== '' && (word !== null || ['after', 'retry', 'slot_of_run', 'queued'].includes(why))).toBe(
                true,
              )
            // After a while people stop asking for more, and nothing new gets in the way.
            if (at < 40 && pick(6) === 0) hinder(world, pick)
            if (pick(60) === 0) facts.face.state = 'cancelled'
            if (pick(60) === 0) facts.timeLeftMs = 0
            if (facts.face.state === 'cancelled' || facts.timeLeftMs === 0) continue
            const words = world.rest(count, judgeStart)
            const first = pick(Math.max(1, words.length))
            const done = [...words.slice(first), ...words.slice(0, first)].find((wait) => {
              const before = wait.step === null ? undefined : world.stepOf(wait.step)
              if (!doWord(world, wait, at < 200 ? pick : () => 0)) return false
              if (before?.approval?.state === 'approved')
                yeses.set(wait.step ?? '', (yeses.get(wait.step ?? '') ?? 0) + 1)
              return true
            })
            expect(done, `no word moves ${JSON.stringify(reasons(words))}`).toBeDefined()
            const { observed, starts, waits: after } = world.look()
            const isMoved =
              observed.length + starts.length > 0 || !reasons(after).includes(reasons(done ? [done] : [])[0] ?? '')
            expect(isMoved, `${reasons(done ? [done] : [])} moved nothing`).toBe(true)
          }
          const states = Object.values(world.states())
          const sum = (state: string) => states.filter((each) => each === state).length
          expect(sum('completed') + sum('failed') + sum('skipped') + sum('cancelled')).toBe(plan.steps.length)
          const isBad = plan.steps.some(
            ({ id, optional }) => !optional && ['failed', 'cancelled'].includes(world.stepOf(id).state),
          )
          const ends = facts.timeLeftMs === 0 ? ['timed_out', 'failed', 'succeeded'] : [isBad ? 'failed' : 'succeeded']
          expect([...ends, 'cancelled']).toContain(facts.face.state)
          if (facts.face.state === 'succeeded') expect(isBad).toBe(false)
        },
      ),
      { numRuns: 150 },
    )
  })
})
