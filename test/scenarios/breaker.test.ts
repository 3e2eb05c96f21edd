/** The breaker of automatic recycling (S1-65): three of one agent in ten minutes, the fourth halts it. */
import { describe, expect, test } from 'vitest'
import { createHarness, type Harness, puppet, type TestAgent, worker } from '../support/hub-harness.ts'

const crash = async (agent: TestAgent) => {
  await agent.join()
  throw new Error('as always')
}
const stateOf = async (h: Harness, name: string) =>
  ((await h.operator('GET', `/v1/agents/${name}`)).body.agent as { state: string; reason: string }) ?? {}
const crashing = { script: crash, card: { repeatable: true, restarts: 10 } }
const fallen = (h: Harness, task: string) =>
  h.sessionsOf(task).filter(({ exitReason }) => exitReason === 'crashed').length

describe('S1-65: provoke 4', () => {
  test('the fourth is halted: no start, no restart, an alert, its tasks stay queued until `hub agent reset`', async () => {
    await using h = await createHarness({
      agents: { crash: crashing, other: { script: worker(() => 1) } },
    })
    const id = await h.submit('crash')
    const waiting = await h.submit('crash')
    await h.until(() => h.hub.work.catalogue.registry.find('crash')?.state === 'halted', 'it is halted')
    await h.quiet()
    const starts = h.started.length
    await h.clock.advance(3_600_000)
    await h.lease()
    await h.clock.advance(5_000)
    expect(h.started.length).toBe(starts)
    expect([h.task(id).state, h.task(waiting).state]).toEqual(['queued', 'queued'])

    expect(await stateOf(h, 'crash')).toMatchObject({
      state: 'halted',
      reason: expect.stringContaining('within 10 min'),
    })
    expect(h.hub.guard.alerts.isOpen('agent_breaker:crash')).toBe(true)
    expect(h.events('hub.agent.halted.v1')).toHaveLength(1)
    expect(h.audit().filter(({ effect }) => effect.endsWith('agent crash is halted')).length).toBeGreaterThan(0)
    await expect(h.submit('crash')).rejects.toThrow('agent_unhealthy')
    const done = await h.submit('other')
    await h.ended(done)
    expect(h.task(done).state).toBe('succeeded')

    expect((await h.operator('POST', '/v1/agents/crash/reset')).status).toBe(200)
    expect(h.hub.guard.alerts.isOpen('agent_breaker:crash')).toBe(false)
    await h.until(() => h.started.length > starts + 1, 'it starts again')
    await h.until(() => h.hub.work.catalogue.registry.find('crash')?.state === 'halted', 'it is halted again')
    expect(h.events('hub.agent.halted.v1')).toHaveLength(2)
  })

  test('count and halt survive restarts of the hub and changes of the clock', async () => {
    await using h = await createHarness({ agents: { crash: crashing } })
    const id = await h.submit('crash')
    await h.until(() => fallen(h, id) === 2, 'two fell')
    await h.kill()
    await h.start()
    await h.until(() => h.hub.work.catalogue.registry.find('crash')?.state === 'halted', 'it is halted')
    expect(fallen(h, id)).toBe(4)
    await h.stop()
    await h.clock.advance(86_400_000)
    await h.start()
    await h.clock.advance(10_000)
    expect(h.hub.work.catalogue.registry.find('crash')?.state).toBe('halted')
    expect(h.task(id).state).toBe('queued')
    expect(fallen(h, id)).toBe(4)
  })

  test('what was lost more than ten minutes ago does not count, whichever way the wall clock was set', async () => {
    await using h = await createHarness({
      agents: { crash: { script: puppet, card: { repeatable: true, restarts: 10 } } },
    })
    for (let fell = 0; fell < 6; fell += 1) {
      const [agent] = await h.bring('crash')
      agent.container.exit(1)
      await h.until(() => agent.ended.aborted)
      const task = agent.joined?.task.task ?? ''
      await h.until(() => fallen(h, task) === 1)
      await h.operator('POST', `/v1/tasks/${task}/cancel`)
      await h.quiet()
      h.clock.stepWall(fell % 2 === 0 ? -3_600_000 : 7_200_000)
      await h.clock.advance(240_000)
      if (h.hub.guard.modes.has('clock_fault')) await h.operator('POST', '/v1/mode/resume', {})
      await h.lease()
    }
    expect(h.hub.work.catalogue.registry.find('crash')?.state).toBe('registered')
  })

  test('twelve that are lost together count once; each quarantine or revocation counts', async () => {
    await using h = await createHarness({
      agents: { many: { script: puppet, card: { repeatable: true, restarts: 10 } } },
      config: { limits: { sessions: 15 } },
    })
    const brought = await h.bring('many', 'many', 'many', 'many', 'many')
    for (const { container } of brought) container.exit(1)
    await h.until(() => brought.every((agent) => fallen(h, agent.joined?.task.task ?? '') === 1))
    expect(h.hub.work.catalogue.registry.find('many')?.state).toBe('registered')
    await h.until(() => h.hub.work.tasks.sessionsOpen().filter(({ state }) => state === 'working').length === 5)
    for (const { id } of h.hub.work.tasks.sessionsOpen().slice(0, 3))
      expect((await h.operator('POST', `/v1/sessions/${id}/revoke`, {})).status).toBe(200)
    expect(h.hub.work.catalogue.registry.find('many')?.state).toBe('halted')
    // What runs goes on; nothing new of it starts.
    expect(h.hub.work.tasks.sessionsOpen().filter(({ state }) => state === 'working')).toHaveLength(2)
  })

  test('work that was done, cancelled, stopped by hand or out of time never counts', async () => {
    await using h = await createHarness({ agents: { busy: { script: puppet, card: { limits: { ttl: '1m' } } } } })
    for (let turn = 0; turn < 3; turn += 1) {
      const [done, stopped, cancelled, late] = await h.bring('busy', 'busy', 'busy', 'busy')
      await h.pumped(done.result())
      await h.operator('POST', `/v1/sessions/${stopped.session}/stop`)
      await h.operator('POST', `/v1/tasks/${cancelled.joined?.task.task}/cancel`)
      await h.until(() => late.ended.aborted, 'its time is over', 1000)
      await h.quiet()
    }
    expect(h.hub.work.catalogue.registry.find('busy')).toMatchObject({ state: 'registered' })
    expect(h.hub.guard.store.prepare('select count(*) from recycle').pluck().get()).toBe(0)
  })
})
