/** A run of agents' steps from its first to its last, through the real gate, loop and database, and what of it survives what (hub/work/runs/runner.ts). */
import { describe, expect, test } from 'vitest'
import type { Gate } from '../../hub/guard/gate.ts'
import { OPERATOR } from '../../hub/guard/principal.ts'
import type { Plan, PlanStep } from '../../hub/protocol/runs/plan.ts'
import { facesOf } from '../support/faces.ts'
import { type AgentSpec, createHarness, forever, type Harness, worker } from '../support/hub-harness.ts'
import { judgeInvariants } from '../support/invariants.ts'

const HOUR_MS = 3_600_000
/** What agents did, outside the hub: which step, and in which order. */
function ledger() {
  const did: string[] = []
  const agents: Record<string, AgentSpec> = {
    echo: {
      script: worker(({ joined }) => {
        did.push(String(joined?.task.params.say))
        return joined?.task.params
      }),
    },
    slow: { script: worker(forever) },
    bad: {
      script: async (agent) => {
        await agent.join()
        did.push('bad')
        throw new Error('it fell')
      },
    },
    shut: { script: worker(() => 0), policy: { submit: false } },
  }
  return { did, agents }
}
const step = (id: string, after: string[] = [], more: Partial<PlanStep> = {}): PlanStep => ({
  ...{ id, kind: 'agent', agent: 'echo', needs: [], params: { say: id }, join: 'all', optional: false },
  ...{ noopIfMissing: false, tier: 'read', onUnknown: 'rerun', retry: { max: 0, delayMs: 2000 }, fallback: [] },
  after: after.map((name) => ({ step: name, of: 'completed' })),
  ...more,
})
const planOf = (steps: PlanStep[], more: Partial<Plan> = {}): Plan => ({
  limits: { timeMs: HOUR_MS, tasks: 20 },
  steps,
  ...more,
})
const THREE = planOf(
  [
    step('one'),
    step('two', ['one'], { params: { say: 'two', heard: '{{ steps.one.value.say }}' } }),
    step('three', ['two']),
  ],
  { output: { last: '{{ steps.three.value.say }}', heard: '{{ steps.two.value.heard }}' } },
)

const made = (h: Harness, plan: Plan): string =>
  h.hub.guard.gate.admit({ principal: OPERATOR, operation: 'run.create', resource: 'runs' }, (grant) => {
    const wish = { plan, params: {}, onFailure: 'fail', inputs: null, priority: 5, hold: false } as const
    const { id } = h.hub.work.runs.create(grant, { ...wish, requestedBy: 'operator' })
    return { id, auditEffect: `task:${id}` }
  }).id
const statesOf = (h: Harness, run: string) =>
  Object.fromEntries(h.hub.work.runs.steps(run).map(({ id, state }) => [id, state]))
const startsOf = (h: Harness, run: string) => h.hub.work.runs.tries(run).map((each) => each.step)

test('three steps go through, one after the other; each sees what the one before it left, and the run has its value (S3-14, S3-25, S2-19)', async () => {
  const { did, agents } = ledger()
  await using h = await createHarness({ agents })
  const run = made(h, THREE)
  await h.ended(run)
  expect(did).toEqual(['one', 'two', 'three'])
  expect(h.task(run)).toMatchObject({ state: 'succeeded', outcome: { value: { last: 'three', heard: 'one' } } })
  expect(statesOf(h, run)).toEqual({ one: 'completed', two: 'completed', three: 'completed' })
  await h.quiet()
  await h.stop()
  expect(judgeInvariants(h.home, { acknowledged: [run], calm: true })).toEqual([])
})

describe('what fails', () => {
  test('is tried again after its wait, then elsewhere; what can no longer be needed is skipped, siblings go on, and the run fails (S2-34)', async () => {
    const { did, agents } = ledger()
    await using h = await createHarness({ agents })
    const run = made(
      h,
      planOf([
        step('a', [], { agent: 'bad', retry: { max: 1, delayMs: 2000 }, fallback: ['shut'] }),
        step('after-a', ['a']),
        step('far', ['after-a']),
        step('b'),
      ]),
    )
    await h.ended(run)
    expect(did).toEqual(['bad', 'b', 'bad'])
    // The fallback was refused by the rules, which are asked about each start.
    expect(startsOf(h, run).filter((id) => id === 'a')).toHaveLength(2)
    expect(statesOf(h, run)).toEqual({ a: 'failed', 'after-a': 'skipped', far: 'skipped', b: 'completed' })
    expect(h.task(run)).toMatchObject({ state: 'failed', error: { detail: 'step a did not succeed' } })
  })

  test('a plan in which a person would be asked is refused by name, before there is a row', async () => {
    const { agents } = ledger()
    await using h = await createHarness({ agents })
    for (const [more, said] of [
      [{ kind: 'shell' }, 'step x: kind shell'],
      [{ tier: 'external' }, 'step x: tier external'],
      [{ onUnknown: 'ask' }, 'step x: onUnknown: ask'],
      [{ checkpoint: { ask: 'go on?' } }, 'step x: a checkpoint'],
    ] as const)
      expect(() => made(h, planOf([step('x', [], more)]))).toThrow(`${said} cannot be run yet`)
    expect(h.hub.work.tasks.tasks({ limit: 10 })).toEqual([])
  })
})

test('held between two steps it starts nothing; released it goes on; cancelled it takes its steps along', async () => {
  const { did, agents } = ledger()
  await using h = await createHarness({ agents })
  const runs = facesOf(h)
  const run = made(
    h,
    planOf([step('one'), step('two', ['one']), step('slow', ['two'], { agent: 'slow' }), step('last', ['slow'])]),
  )
  await h.until(() => did.length === 1)
  runs.hold(run)
  await h.clock.advance(5000)
  expect([did, statesOf(h, run).two]).toEqual([['one'], 'ready'])
  runs.release(run)
  await h.until(() => statesOf(h, run).slow === 'running')
  await h.working(1)
  await h.operator('POST', `/v1/tasks/${run}/cancel`)
  await h.until(() => statesOf(h, run).last === 'cancelled')
  expect(statesOf(h, run)).toEqual({ one: 'completed', two: 'completed', slow: 'cancelled', last: 'cancelled' })
  await h.quiet()
  await h.stop()
  expect(judgeInvariants(h.home, { calm: true })).toEqual([])
})

/** Ends the hub as kill -9 does, before or after the n-th commit through the gate for runs or their tasks from now on. Answers how many there were. */
function killAtGate(h: Harness, at: number): { count: () => number } {
  const { gate } = h.hub.guard as { gate: Gate }
  let calls = 0
  const counted =
    <Call extends unknown[], Result>(act: (...call: Call) => Result) =>
    (...call: Call): Result => {
      calls += 1
      // From there on nothing more is written.
      if (at > 0 && calls >= at) throw new Error('killed before')
      const result = act(...call)
      calls += 1
      if (at > 0 && calls >= at) throw new Error('killed after')
      return result
    }
  gate.admit = counted(gate.admit) as Gate['admit']
  gate.admitStop = counted(gate.admitStop) as Gate['admitStop']
  return { count: () => calls }
}

test('killed at any call of the gate, no step starts twice and the run ends as it would have', async () => {
  const { agents } = ledger()
  await using whole = await createHarness({ agents })
  const counted = killAtGate(whole, 0)
  await whole.ended(made(whole, THREE))
  const points = counted.count()
  expect(points).toBeGreaterThan(20)
  const step = process.env.HUB_TEST_LONG === '1' ? 1 : 7
  for (let at = 3; at <= points; at += step) {
    const { did, agents: mine } = ledger()
    await using h = await createHarness({ agents: mine })
    const run = made(h, THREE)
    killAtGate(h, at)
    await h.until(
      () => h.complaints.some(({ reason }) => String(reason).includes('killed')) || h.task(run).state === 'succeeded',
    )
    await h.kill()
    await h.start()
    await h.ended(run)
    expect(h.task(run), `at ${at}`).toMatchObject({
      state: 'succeeded',
      outcome: { value: { last: 'three', heard: 'one' } },
    })
    const tries = h.hub.work.runs.tries(run)
    expect(new Set(tries.map(({ task }) => task)).size).toBe(tries.length)
    // A step whose agent was cut off may run again, since it says so; none runs beside itself, and none before what it needs.
    expect([...new Set(did)], `at ${at}`).toEqual(['one', 'two', 'three'])
    await h.quiet()
    await h.stop()
    expect(judgeInvariants(h.home, { calm: true }), `at ${at}`).toEqual([])
  }
})
