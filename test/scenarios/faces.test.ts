/** A run shows itself as a task (hub/work/dispatch/faces.ts): what is done to tasks is done to it and its steps, through the real gate. No runner yet. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { settleDatabase } from '../../hub/home/restore.ts'
import { facesOf } from '../support/faces.ts'
import { type AgentSpec, createHarness, forever, type Harness, puppet, worker } from '../support/hub-harness.ts'
import { judgeInvariants } from '../support/invariants.ts'

const HOUR_MS = 3_600_000
const agents: Record<string, AgentSpec> = {
  echo: { script: worker(({ joined }) => joined?.task.params.at ?? 0), card: { capabilities: ['read'] } },
  slow: { script: worker(forever), card: { repeatable: true, restarts: 3 } },
  crash: { script: async (agent) => void (await agent.join()), card: { repeatable: true, restarts: 3 } },
  late: { script: () => undefined, card: { repeatable: true, restarts: 1 } },
}
const DONE = { state: 'succeeded', outcome: { outcome: 'succeeded', value: 1 } } as const
const nothingStarts = async (h: Harness) => {
  const before = h.started.length
  await h.clock.advance(3000)
  expect(h.started).toHaveLength(before)
}

test('a run never is a session; its steps are tasks at its own depth, as old as the run (S0-16)', async () => {
  await using h = await createHarness({ agents })
  const runs = facesOf(h)
  const face = runs.made()
  const steps = [1, 2, 3].map((at) => runs.step(face, 'echo', { params: { at } }))
  await h.ended(...steps)
  expect(steps.map((id) => h.task(id).outcome?.value)).toEqual([1, 2, 3])
  expect(h.task(steps[0] ?? '')).toMatchObject({
    parent: face,
    parentSession: null,
    depth: 0,
    chain: [],
    ceiling: null,
  })
  const inner = runs.step(face)
  await nothingStarts(h)
  expect(h.task(face)).toMatchObject({ state: 'running', attempts: 0, kind: 'run' })
  expect(h.task(inner)).toMatchObject({ state: 'queued', attempts: 0 })
  // It counts as no task that waits or runs for an agent.
  expect(h.hub.work.tasks.countByState()).toEqual({})
  runs.end(face, DONE)
  expect(h.task(face)).toMatchObject({ state: 'succeeded', outcome: { value: 1 } })
  expect(() => runs.step(face, 'echo')).toThrow('is succeeded; no step of it begins')
  await h.quiet()
  await h.stop()
  expect(judgeInvariants(h.home, { acknowledged: [face], calm: true })).toEqual([])
})

test('a step is asked about anew: what its starter may not start, its run does not start either', async () => {
  await using h = await createHarness({ agents: { ...agents, shut: { script: puppet, policy: { submit: false } } } })
  const runs = facesOf(h)
  const face = runs.made()
  expect(() => runs.step(face, 'shut')).toThrow('agent shut takes no submitted tasks')
  expect(h.audit().at(-1)).toMatchObject({ action: 'run.step_started', outcome: 'refused', principal: 'hub:runner' })
  expect(h.hub.work.tasks.children(face)).toEqual([])
})

describe('a held run', () => {
  test('starts nothing, also what is queued; what works goes on; released, all that waits below it goes on', async () => {
    await using h = await createHarness({ agents, config: { limits: { sessions: 4, sessionsPerAgent: 1 } } })
    const runs = facesOf(h)
    const face = runs.made()
    const inner = runs.step(face)
    runs.begin(inner)
    const both = [runs.step(face, 'slow'), runs.step(inner, 'slow')]
    await h.working(1)
    const works = both.find((id) => h.task(id).state === 'running') ?? ''
    const waits = both.find((id) => h.task(id).state === 'queued') ?? ''
    // Both faces in one word: the run within the run is no way around it.
    expect(runs.hold(face)).toBe(2)
    expect(h.task(inner).held).toBe(true)
    expect(() => runs.step(face, 'echo')).toThrow('is held')
    expect(() => runs.step(inner, 'echo')).toThrow('is held')
    expect(h.task(works)).toMatchObject({ state: 'running', held: false })
    await h.operator('POST', `/v1/tasks/${works}/cancel`)
    await h.clock.advance(5000)
    expect(h.task(waits)).toMatchObject({ state: 'queued', held: false })
    expect(runs.release(face).held).toBe(false)
    await h.ended(runs.step(inner, 'echo'))
    await h.until(() => h.task(waits).attempts === 1, 'what waited goes on')
  })

  test('between two steps, a rest of 12 h holds it as it holds what is queued: once, as one, and its word lets it go [away-14]', async () => {
    await using h = await createHarness({ agents })
    const runs = facesOf(h)
    const face = runs.made()
    await h.ended(runs.step(face, 'echo'))
    await h.operator('POST', '/v1/mode/safe', {})
    h.clock.jump(12 * HOUR_MS + 60_000)
    await h.clock.advance(3000)
    expect((await h.operator('GET', '/v1/health')).body.held).toBe(1)
    await h.operator('POST', '/v1/mode/resume', {})
    await h.lease()
    await h.until(() => h.hub.guard.modes.current() === 'normal')
    expect(h.task(face)).toMatchObject({ state: 'running', held: true })
    expect((await h.operator('GET', '/v1/tasks?held=true')).body.tasks).toMatchObject([{ id: face, held: true }])
    expect(() => runs.step(face, 'echo')).toThrow('is held')
    runs.release(face)
    expect((await h.operator('GET', '/v1/tasks?held=true')).body.tasks).toEqual([])
    await h.ended(runs.step(face, 'echo'))
  })

  test('the queued steps below it count once, with it, and none of them is released by itself', async () => {
    await using h = await createHarness({ agents, config: { limits: { sessions: 4, sessionsPerAgent: 1 } } })
    const runs = facesOf(h)
    const face = runs.made()
    const steps = [1, 2, 3].map(() => runs.step(face, 'slow'))
    await h.working(1)
    // As at a shutdown, or when the lease says so: all that is unfinished.
    h.hub.work.holdTasks()
    const queued = steps.filter((id) => h.task(id).state === 'queued')
    expect(queued).toHaveLength(2)
    expect(h.hub.work.tasks.countHeld()).toBe(1)
    const { status, body } = await h.operator('POST', `/v1/tasks/${queued[0]}/release`)
    expect([status, body.detail]).toEqual([409, `it is a step of run ${face}: \`hub run release ${face}\``])
    const again = await h.operator('POST', `/v1/tasks/${face}/release`)
    expect([again.status, again.body.detail]).toEqual([409, `it is a run: \`hub run release ${face}\``])
    runs.release(face)
    expect(steps.map((id) => h.task(id).held)).toEqual([false, false, false])
  })

  test('restored from a backup, it is held with all that is below it', async () => {
    await using h = await createHarness({ agents })
    const runs = facesOf(h)
    const face = runs.made()
    const inner = runs.step(face)
    await h.stop()
    settleDatabase(join(h.home, 'hub.db'), h.clock, {
      reason: 'restored',
      record: { action: 'hub.restored', reason: 'test', effect: '' },
    })
    await h.start()
    expect([face, inner].map((id) => h.task(id).held)).toEqual([true, true])
  })
})

describe('an end of a run', () => {
  test('takes all below it along: steps, their sessions, a run within it and its steps (T44, S3-26)', async () => {
    await using h = await createHarness({ agents })
    const runs = facesOf(h)
    const face = runs.made()
    const inner = runs.step(face)
    runs.begin(inner)
    const below = [runs.step(face, 'slow'), runs.step(inner, 'slow'), inner]
    await h.working(2)
    expect((await h.operator('POST', `/v1/tasks/${face}/cancel`)).status).toBe(200)
    expect([face, ...below].map((id) => h.task(id).state)).toEqual(Array(4).fill('cancelled'))
    await h.quiet()
    expect((await h.operator('POST', `/v1/tasks/${face}/retry`)).body).toMatchObject({
      code: 'conflict',
      detail: `it is a run: \`hub run rerun ${face}\``,
    })
    expect((await h.operator('POST', `/v1/tasks/${below[0]}/retry`)).body).toMatchObject({
      code: 'conflict',
      detail: `it is a step of run ${face}: \`hub run retry ${face}\``,
    })
    await h.stop()
    expect(judgeInvariants(h.home, { calm: true })).toEqual([])
  })
})

describe("a step's task is tried once", () => {
  test('a crash ends it, and blames nobody; one whose agent never had it begins again', async () => {
    await using h = await createHarness({ agents })
    const runs = facesOf(h)
    const face = runs.made()
    const [crashed, never] = [runs.step(face, 'crash'), runs.step(face, 'late')]
    await h.ended(crashed, never)
    expect(h.task(crashed)).toMatchObject({ state: 'failed', attempts: 1, error: { code: 'ended_early' } })
    expect(h.hub.work.catalogue.registry.find('crash')?.state).toBe('registered')
    // Its program ended before it joined, so nothing can have been done; its card allows one more start.
    expect(h.task(never)).toMatchObject({ state: 'failed', attempts: 2 })
    expect(h.hub.work.catalogue.registry.find('late')?.state).toBe('registered')
    await h.quiet()
    runs.end(face, DONE)
    await h.stop()
    expect(judgeInvariants(h.home, { calm: true })).toEqual([])
  })

  test.each(['kill', 'shutdown', 'session stop'] as const)('an interruption ends it too: %s', async (how) => {
    await using h = await createHarness({ agents })
    const runs = facesOf(h)
    const face = runs.made()
    const step = runs.step(face, 'slow')
    const other = await h.submit('slow')
    await h.working(2)
    const [session] = h.sessionsOf(step)
    if (how === 'session stop') {
      expect((await h.operator('POST', `/v1/sessions/${session?.id}/stop`)).status).toBe(200)
      expect(h.task(step)).toMatchObject({ state: 'cancelled', error: { code: 'cancelled' } })
      return
    }
    if (how === 'shutdown') await h.operator('POST', '/v1/shutdown', {})
    else {
      await h.kill()
      for (const container of h.engine.containers.values()) h.engine.containers.delete(container.id)
      await h.start()
    }
    await h.until(() => h.task(step).state === 'failed', 'the step is lost')
    expect(h.task(step)).toMatchObject({ attempts: 1, error: { code: 'ended_early' } })
    // An ordinary task of the same agent goes back to the queue, as ever.
    await h.until(() => h.task(other).attempts > 1 || h.task(other).held)
    expect(h.task(face)).toMatchObject({ state: 'running', held: how === 'shutdown' })
  })
})

test('each step of a person is the root of its tree: a plan of many steps takes no place from what a step delegates (T43)', async () => {
  await using h = await createHarness({
    agents: { ...agents, lead: { script: puppet, card: { may: { delegate: ['echo'] } } } },
    config: { limits: { tasksPerTree: 3 }, budget: { delegations: 2 } },
  })
  const runs = facesOf(h)
  const face = runs.made()
  const steps = Array.from({ length: 5 }, () => runs.step(face, 'echo'))
  const lead = runs.step(face, 'lead')
  await h.ended(...steps)
  await h.until(() => h.started.find(({ agent }) => agent === 'lead')?.token)
  const agent = h.started.find((each) => each.agent === 'lead')
  const delegated = async () =>
    agent && (await h.pumped(agent.send({ kind: 'delegate', body: { agent: 'echo' } }))).status
  expect([await delegated(), await delegated()]).toEqual([200, 200])
  expect(h.hub.work.tasks.tree(h.hub.work.tasks.children(lead)[0]?.id ?? '')).toEqual({ root: lead, size: 3 })
  expect(await delegated()).toBe(400)
  expect(h.hub.work.tasks.rootOf(lead)?.root).toBe(face)
})
