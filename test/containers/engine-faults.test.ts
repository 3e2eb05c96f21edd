/** The engine fails in every way a proxy in front of its socket can make it fail, below a real hub and a real watchdog (T12, T93). */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EngineFault, EngineProxy, EngineVerb } from '../support/engine-proxy.ts'
import { judgeInvariants } from '../support/invariants.ts'
import { loadTrialImage, openTrialHome, type TrialHome } from '../support/trial-home.ts'

const SIDE_BY_SIDE = 8
/** What a call to the engine may take: far more than a busy machine needs for one. */
const CALL_MS = 10_000
const LONG = process.env.HUB_TEST_LONG === '1'
beforeAll(() => loadTrialImage())

/** What must hold once all is over, whatever went wrong: every row has its record, nothing twice, nothing lost, nothing left. */
async function expectCalm(trial: TrialHome): Promise<void> {
  await trial.empty()
  await trial.until('no session is open', trial.sessions, (open) => open.length === 0)
  await trial.stopHub()
  expect(judgeInvariants(trial.home, { acknowledged: trial.acknowledged, calm: true })).toEqual([])
  expect(trial.witness.overlaps()).toEqual([])
}

const isAway = async (trial: TrialHome) =>
  (await trial.mode()).conditions.some(({ name }) => name === 'engine_unavailable')

describe('T93: one route of a start fails', () => {
  const FAULTS: Record<string, EngineFault> = {
    'stalls before': { kind: 'stall', when: 'before' },
    'stalls after': { kind: 'stall', when: 'after' },
    'answers 500': { kind: 'answer', status: 500 },
    'answers nonsense': { kind: 'answer', status: 200, body: '<html>' },
    'is cut before': { kind: 'cut', when: 'before' },
    'is cut after': { kind: 'cut', when: 'after' },
    'takes too long': { kind: 'slow', ms: CALL_MS + 5_000 },
  }
  const VERBS = ['inspect', 'wait', 'start', 'create'] as const
  /** The others in the long run. */
  const ALWAYS = ['stalls after', 'answers 500', 'is cut after']
  const cases = VERBS.flatMap((verb) =>
    Object.entries(FAULTS)
      .filter(([how]) => LONG || ALWAYS.includes(how) || (verb === 'create' && how === 'takes too long'))
      .map(([how, fault]) => ({ verb, how, fault })),
  )

  test('whichever, before or after the engine did it: the task is done once, by a later attempt, and nothing is left', {
    timeout: 900_000,
  }, async () => {
    await using trial = await openTrialHome({
      callTimeout: `${CALL_MS / 1000}s`,
      watchdog: { orphanAgeMs: 3_000, engineTimeoutMs: 5_000 },
    })
    const waiting = [...cases]
    const spoiled = new Set<string>()
    let creates = 0
    trial.proxy.judge = ({ verb, container = '' }) => {
      // Slowly at first, so that most tasks are there before the first fault keeps new ones out for a while.
      if (verb === 'create') creates += 1
      if (verb === 'create' && creates <= SIDE_BY_SIDE) return { kind: 'slow', ms: 1_000 }
      // Once for each: the rollback that follows asks the engine by the same routes.
      const at = spoiled.has(container) ? -1 : waiting.findIndex((each) => each.verb === verb)
      if (at === -1) return undefined
      spoiled.add(container)
      return waiting.splice(at, 1)[0]?.fault
    }
    const tasks = await Promise.all(cases.map(() => trial.submit('trial-once', { what: 'work', ms: 100 })))
    const ended = await trial.until(
      'all done, those that had begun by a word of the operator',
      async () => {
        const seen = await Promise.all(tasks.map(trial.task))
        for (const { id, held } of seen) if (held) await trial.hub.call('task.release', { id }).catch(() => undefined)
        return seen
      },
      (seen) => seen.every(({ state }) => state === 'succeeded' || state === 'failed'),
      600_000,
    )
    expect(ended.filter(({ state }) => state !== 'succeeded').map(({ error }) => error)).toEqual([])
    expect(waiting).toEqual([])
    await expectCalm(trial)
  })
})

describe('T93: the whole engine is in trouble while agents work', () => {
  const ways: [string, (proxy: EngineProxy) => Promise<void> | void, boolean][] = [
    ['is not there', (proxy) => proxy.down(), LONG],
    ['stalls', (proxy) => proxy.spoil('all', { kind: 'stall', when: 'before' }), true],
    ['answers 500 to everything', (proxy) => proxy.spoil('all', { kind: 'answer', status: 500 }), LONG],
    ['takes too long for everything', (proxy) => proxy.spoil('all', { kind: 'slow', ms: CALL_MS + 2_000 }), LONG],
  ]
  test.each(ways.filter(([, , always]) => always))(
    'it %s: degraded, nothing new starts, what runs is served, a stop is tried until it is done, and all goes on by itself',
    async (_, spoil) => {
      await using trial = await openTrialHome({
        callTimeout: `${CALL_MS / 1000}s`,
        watchdog: { engineTimeoutMs: 5_000 },
      })
      const sleepers = [await trial.submit('trial', { what: 'sleep' }), await trial.submit('trial', { what: 'hang' })]
      await trial.working(sleepers.length)
      // Last, so that it is still at work when the trouble begins.
      const worker = await trial.submit('trial', { what: 'talk', ms: 20_000 })
      const open = await trial.working(3)
      await spoil(trial.proxy)
      for (const verb of ['wait', 'events'] as const) trial.proxy.closeStreams(verb)
      await trial.until('degraded', () => isAway(trial), Boolean)
      await expect(trial.hub.call('task.submit', { agent: 'trial', params: { what: 'work' } })).rejects.toMatchObject({
        code: expect.stringMatching(/^mode_(degraded|safe)$/),
      })
      const before = trial.witness.runs.length
      for (const { id, task } of open)
        if (sleepers.includes(String(task))) await trial.hub.call('session.stop', { id }, { deadlineMs: 60_000 })
      // Its result is taken although nobody can ask the engine anything.
      const [done] = await trial.ended(worker)
      expect(done?.state).toBe('succeeded')
      expect(await isAway(trial)).toBe(true)
      const calls = trial.proxy.calls.length
      await sleep(2_000)
      // With back-off: a stubborn engine is not beaten with calls.
      expect(trial.proxy.calls.length - calls).toBeLessThan(40)
      expect(trial.witness.runs).toHaveLength(before)
      trial.proxy.heal()
      await trial.proxy.up().catch(() => undefined)
      await trial.untilNormal()
      await trial.ended(await trial.submit('trial', { what: 'work' }))
      expect((await trial.task(sleepers[0] ?? '')).state).not.toBe('running')
      await expectCalm(trial)
    },
  )
})

describe('T12: the death of a container is noticed', () => {
  let trial: TrialHome
  beforeAll(async () => {
    // What stalls in these tests does so for longer than they last.
    trial = await openTrialHome({ callTimeout: '5m' })
  })
  afterAll(() => trial?.[Symbol.asyncDispose]())

  // What noticed it is told by what is kept from the hub. How soon is held by `test/scenarios/identity.test.ts`, where no machine is measured.
  test.each([
    ['as nothing is lost but the reconcile', 'trial', ['list']],
    ['by the wait, where the events and the reconcile are lost', 'trial-child', ['events', 'list']],
    ['by the event, where the waits and the reconcile hang', 'trial', ['wait', 'list']],
    ['by the reconcile, where both are lost', 'trial-once', ['events', 'wait']],
  ] as const)('%s', async (_, agent, lost: readonly EngineVerb[]) => {
    await trial.untilNormal()
    await trial.submit(agent, { what: 'sleep' })
    const [session] = await trial.working(1)
    try {
      for (const verb of lost)
        trial.proxy.spoil(verb, verb === 'events' ? { kind: 'silent' } : { kind: 'stall', when: 'before' })
      for (const verb of lost) trial.proxy.closeStreams(verb)
      // The hub has to have asked anew, and to know nothing of what comes.
      await sleep(1_500)
      const before = trial.proxy.calls.length
      await trial.engine.kill(String(session?.containerId))
      await trial.until(
        'the end of the session',
        async () => (await trial.sessions()).find(({ id }) => id === session?.id)?.state,
        (state) => state !== 'working',
      )
      // A silent stream of events has a head, whenever it is asked for, and then tells nothing.
      const told = trial.proxy.calls
        .slice(before)
        .filter(({ verb, status }) => verb !== 'events' && status !== undefined)
      expect(told.filter(({ verb }) => lost.includes(verb))).toEqual([])
    } finally {
      trial.proxy.heal()
    }
    // Its task comes back; whoever takes it now is not awaited.
    for (const id of trial.acknowledged) await trial.hub.call('task.cancel', { id }).catch(() => undefined)
    await trial.empty()
  })
})
