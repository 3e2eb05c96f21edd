/** Persistent agents: the hub keeps one session of each running by itself (S0-1, S1-50). */
import { describe, expect, test } from 'vitest'
import { waitAfterEndMs } from '../../hub/work/dispatch/services.ts'
import {
  createHarness,
  forever,
  type Harness,
  type HarnessOptions,
  type TestAgent,
  worker,
} from '../support/hub-harness.ts'

/** Polls and so lives, until it is ended. */
const steady = async (agent: TestAgent) => {
  await agent.join()
  for (;;) {
    await agent.receive()
    if (agent.ended.aborted) return forever(agent)
  }
}
const service = { card: { mode: 'service' }, policy: { service: true, submit: false } }
const keeper = { script: steady, ...service }
const open = (h: Harness, agent = 'keeper') =>
  h.hub.work.tasks.sessionsOpen().filter((row) => row.agent === agent && row.state === 'working')
const runs = (h: Harness, agent = 'keeper') => h.until(() => open(h, agent).length === 1, `${agent} runs`, 200)
const create = (more: Partial<HarnessOptions> = {}) => createHarness({ agents: { keeper }, ...more })

describe('S0-1: a service', () => {
  test("runs without being asked for, once, through the rules and on record, and is nobody's queue", async () => {
    await using h = await create()
    await runs(h)
    await h.clock.advance(60_000)
    expect(h.started).toHaveLength(1)
    const listed = (await h.operator('GET', '/v1/sessions')).body.sessions as { agent: string; state: string }[]
    expect(listed.map(({ agent, state }) => [agent, state])).toEqual([['keeper', 'working']])
    const [record] = h.audit().filter(({ action }) => action === 'service.started')
    expect(record).toMatchObject({ principal: 'hub:services', resource: 'agent:keeper', outcome: 'ok' })
    expect(record?.decision_id).not.toBeNull()
    const task = h.sessionsOf(open(h)[0]?.task ?? '')[0]?.task ?? ''
    expect(h.task(task)).toMatchObject({ requestedBy: 'hub:services', depth: 0 })
    const { body } = await h.operator('GET', '/v1/health')
    expect([body.queued, body.running, body.sessions]).toEqual([0, 0, 1])
  })

  test('is stopped by `hub session stop`, container and all, and comes back', async () => {
    await using h = await create()
    await runs(h)
    const first = open(h)[0]
    expect((await h.operator('POST', `/v1/sessions/${first?.id}/stop`)).status).toBe(200)
    await h.until(() => h.engine.byName(first?.containerName ?? '') === undefined, 'its container is gone')
    await runs(h)
    expect(open(h)[0]?.id).not.toBe(first?.id)
  })

  test('takes no tasks from people, by name or by capability, from no agent, and no retry', async () => {
    const lead = worker(async (agent) => (await agent.send({ kind: 'delegate', body: { agent: 'keeper' } })).body.code)
    await using h = await createHarness({
      agents: {
        keeper: {
          ...keeper,
          card: { mode: 'service', capabilities: ['keep'] },
          policy: { service: true, submit: true, capabilities: ['keep'] },
        },
        lead: { script: lead, card: { may: { delegate: ['keeper'] } } },
      },
    })
    await runs(h)
    await expect(h.submit('keeper')).rejects.toThrow('unsupported_mode')
    const byNeed = await h.operator('POST', '/v1/tasks', { needs: ['keep'] })
    expect(byNeed.body.code).toBe('no_capable_agent')
    const id = await h.submit('lead')
    await h.ended(id)
    expect(h.task(id).outcome?.value).toBe('unsupported_mode')
    const { task = '' } = open(h)[0] ?? {}
    await h.operator('POST', `/v1/tasks/${task}/cancel`)
    expect((await h.operator('POST', `/v1/tasks/${task}/retry`)).body.code).toBe('unsupported_mode')
  })

  test('without the right in the rules is refused by name, now and then and not every second, and warned of until it is suspended', async () => {
    await using h = await createHarness({ agents: { keeper: { ...keeper, policy: { submit: true } } } })
    await h.clock.advance(600_000)
    expect(h.started).toEqual([])
    const refused = h.audit().filter(({ action, outcome }) => action === 'service.started' && outcome === 'refused')
    expect(refused[0]?.reason).toContain('set agents.keeper.service to true in policy/data.json')
    expect(refused.length).toBeLessThan(10)
    expect(h.hub.guard.alerts.isOpen('service_refused:keeper')).toBe(true)
    // Nobody starts it any more: there is nothing left to warn of.
    await h.operator('POST', '/v1/agents/keeper/suspend')
    await h.clock.advance(61_000)
    expect(h.hub.guard.alerts.isOpen('service_refused:keeper')).toBe(false)
  })
})

describe('S1-50: a service is provisioned again', () => {
  test('when its container is killed; a task whose container is killed fails instead', async () => {
    await using h = await createHarness({
      agents: { keeper, once: { script: steady, card: { restarts: 0 } } },
    })
    await runs(h)
    const id = await h.submit('once')
    await h.until(() => open(h, 'once').length === 1)
    for (const { container } of h.started) container.exit(137)
    await h.ended(id)
    expect(h.task(id).state).toBe('failed')
    await h.until(() => h.started.length === 3, 'it is back', 200)
    await runs(h)
    expect(h.sessionsOf(open(h)[0]?.task ?? '').map(({ exitReason }) => exitReason)).toEqual(['crashed', null])
  })

  test('when its time to live is over, as a new task', async () => {
    await using h = await createHarness({
      agents: { keeper: { ...keeper, card: { mode: 'service', limits: { ttl: '2m' } } } },
    })
    await runs(h)
    const first = open(h)[0]?.task ?? ''
    await h.until(() => h.task(first).state === 'timed_out', 'its end', 1000)
    await runs(h)
    expect(open(h)[0]?.task).not.toBe(first)
  })

  test('after a restart of the hub: the same session where it still runs, another where it does not, also after a shutdown', async () => {
    await using h = await create()
    await runs(h)
    const first = open(h)[0]?.id
    await h.kill()
    await h.start()
    await h.clock.advance(5_000)
    expect(open(h).map(({ id }) => id)).toEqual([first])
    await h.operator('POST', '/v1/shutdown', {})
    await h.until(() => h.exits.length === 1)
    await h.stop()
    expect(h.engine.containers.size).toBe(0)
    await h.start()
    await runs(h)
    expect(open(h)).toHaveLength(1)
    expect(h.hub.work.tasks.serviceTasks('keeper', 10)[1]?.error?.detail).toContain('is started with a new task')
  })

  test('not while the hub is safe; as soon as it is normal [mode-3]', async () => {
    await using h = await create()
    await runs(h)
    await h.operator('POST', '/v1/mode/safe', {})
    h.started[0]?.container.exit(1)
    await h.clock.advance(120_000)
    expect(h.started).toHaveLength(1)
    await h.operator('POST', '/v1/mode/resume', {})
    await runs(h)
  })

  test('not while it is suspended: what runs goes on to its end, nothing follows until `hub agent reset`', async () => {
    await using h = await createHarness({
      agents: { keeper: { ...keeper, card: { mode: 'service', limits: { ttl: '2m' } } } },
    })
    await runs(h)
    const { body } = await h.operator('POST', '/v1/agents/keeper/suspend')
    expect(body.agent).toMatchObject({ state: 'suspended', sessions: 1 })
    await h.clock.advance(30_000)
    expect(open(h)).toHaveLength(1)
    await h.until(() => open(h).length === 0, 'its end', 1000)
    await h.clock.advance(120_000)
    expect(h.started).toHaveLength(1)
    await h.operator('POST', '/v1/agents/keeper/reset')
    await runs(h)
  })

  test('with back-off and under the breaker: one that always falls is halted at its fourth, not called unhealthy', async () => {
    const crash = async (agent: TestAgent) => {
      await agent.join()
      throw new Error('as always')
    }
    await using h = await createHarness({ agents: { keeper: { script: crash, ...service } } })
    await h.until(() => h.hub.work.catalogue.registry.find('keeper')?.state === 'halted', 'it is halted')
    await h.clock.advance(120_000)
    expect(h.started).toHaveLength(4)
    expect(h.events('hub.agent.crashed.v1')).toEqual([])
  })

  test('ever more rarely when it ends by itself at once', async () => {
    await using h = await createHarness({ agents: { keeper: { script: worker(() => 'done already'), ...service } } })
    await h.clock.advance(500_000)
    expect(h.started.length).toBeGreaterThan(4)
    expect(h.started.length).toBeLessThan(11)
  })

  test('within the caps: services wait for a place like any other', async () => {
    await using h = await createHarness({
      agents: { one: keeper, two: keeper, three: keeper },
      config: { limits: { sessions: 5, delegationDepth: 3 } },
    })
    await h.until(() => open(h, 'one').length + open(h, 'two').length + open(h, 'three').length === 2)
    await h.clock.advance(20_000)
    expect(h.hub.work.tasks.sessionsOpen()).toHaveLength(2)
  })
})

test.each([
  [[], 1000],
  [[[0, 10_000]], 2000],
  [
    [
      [0, 10_000],
      [0, 59_999],
    ],
    4000,
  ],
  [
    [
      [0, 10_000],
      [0, 60_000],
      [0, 1],
    ],
    2000,
  ],
  [Array(10).fill([0, 1]), 300_000],
  [[[null, 5]], 2000],
] as [[number | null, number][], number][])('after ends %j a service waits %i ms', (ends, waitMs) => {
  expect(waitAfterEndMs(ends.map(([startedAtMs, endedAtMs]) => ({ startedAtMs, endedAtMs })))).toBe(waitMs)
})
