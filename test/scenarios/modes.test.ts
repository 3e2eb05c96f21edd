import { describe, expect, test } from 'vitest'
import { type AgentSpec, createHarness, type Harness, puppet, worker } from '../support/hub-harness.ts'

const agents: Record<string, AgentSpec> = {
  echo: { script: worker(() => 'done') },
  slow: { script: puppet, card: { limits: { sessions: 1 }, may: { delegate: ['echo'] } } },
}
const modeOf = async (h: Harness) => (await h.operator('GET', '/v1/mode')).body.mode
const shortLease = { intervalMs: 10_000 }

describe('the lease', () => {
  test('without one nothing is taken and nothing is started; with the first the hub goes on by itself (X13) [watch-34]', async () => {
    await using h = await createHarness({ agents, lease: false })
    expect(await modeOf(h)).toBe('degraded')
    const refused = await h.operator('POST', '/v1/tasks', { agent: 'echo' })
    expect([refused.status, refused.body.code, refused.body.conditions]).toEqual([
      503,
      'mode_degraded',
      ['lease_pending'],
    ])
    expect(h.audit().at(-1)).toMatchObject({ action: 'task.submitted', outcome: 'refused' })
    expect(await h.lease()).toBe(200)
    expect(await modeOf(h)).toBe('normal')
    await h.ended(await h.submit('echo'))
  })

  test('when it lapses: submitting is refused, queued stays queued, running completes, and the next one lets it go on (X13) [mode-3, presence-6]', async () => {
    await using h = await createHarness({ agents })
    await h.lease(shortLease)
    const [slow] = await h.bring('slow')
    const queued = await h.submit('slow')
    const running = slow.joined?.task.task ?? ''
    await h.clock.advance(29_000)
    expect(await modeOf(h)).toBe('normal')
    await h.clock.advance(3000)
    expect(await modeOf(h)).toBe('safe')
    const refused = await h.operator('POST', '/v1/tasks', { agent: 'echo' })
    expect([refused.body.code, refused.body.conditions]).toEqual(['mode_safe', ['lease_lapsed']])
    const child = await h.pumped(slow.delegate({ agent: 'echo' }))
    await h.clock.advance(20_000)
    expect(h.hub.work.tasks.children(running)).toMatchObject([{ state: 'queued', attempts: 0 }])
    expect(child).toBeDefined()

    await h.pumped(slow.result('all the same'))
    expect(h.task(running)).toMatchObject({ state: 'succeeded', outcome: { value: 'all the same' } })
    await h.quiet()
    await h.clock.advance(60_000)
    expect(h.task(queued)).toMatchObject({ state: 'queued', held: false })
    expect(h.started).toHaveLength(1)

    expect(await h.lease(shortLease)).toBe(200)
    await h.working(1)
    expect(h.task(queued).state).toBe('running')
    expect(
      h
        .events('hub.mode.changed.v1')
        .map(({ data }) => data.mode)
        .slice(-2),
    ).toEqual(['safe', 'normal'])
  })

  test('while it is lapsed a crashed agent is not restarted, but a task can be cancelled and the hub shut down [mode-3]', async () => {
    let tries = 0
    await using h = await createHarness({
      agents: {
        ...agents,
        shaky: {
          script: async (agent) => {
            await agent.join()
            tries += 1
            await agent.next()
          },
          card: { repeatable: true },
        },
      },
    })
    await h.lease(shortLease)
    const [shaky, slow] = await h.bring('shaky', 'slow')
    await h.clock.advance(32_000)
    expect(await modeOf(h)).toBe('safe')
    shaky.container.exit(1)
    const crashed = shaky.joined?.task.task ?? ''
    await h.until(() => h.task(crashed).state === 'queued')
    await h.clock.advance(60_000)
    expect([tries, h.task(crashed).state]).toEqual([1, 'queued'])
    const cancelled = await h.operator('POST', `/v1/tasks/${crashed}/cancel`)
    expect(cancelled.status).toBe(200)
    const stopped = await h.operator('POST', '/v1/shutdown', {})
    expect(stopped.body).toMatchObject({ requested: 1, containers: [{ session: slow.session, outcome: 'gone' }] })
  })

  test('a lease that is old, of another hub, or signed by nobody is refused and changes nothing (T92) [presence-3]', async () => {
    await using h = await createHarness({ agents, lease: false })
    for (const word of [{ instance: 'another' }, { epoch: 0 }, { surprise: 1 }])
      expect(await h.lease(word), JSON.stringify(word)).toBeGreaterThanOrEqual(400)
    expect(await modeOf(h)).toBe('degraded')
    expect(await h.lease({ counter: 50 })).toBe(200)
    for (const counter of [50, 49]) expect(await h.lease({ counter })).toBe(401)
    await h.stop()
    await h.start(false)
    expect(await h.lease({ counter: 50 })).toBe(401)
    expect(await modeOf(h)).toBe('degraded')
    expect(await h.lease({ epoch: 2, counter: 1 })).toBe(200)
    expect(await modeOf(h)).toBe('normal')
  })

  test('what the watchdog demands is obeyed over a restart until it demands otherwise [cond-27, cond-28]', async () => {
    await using h = await createHarness({ agents })
    expect(await h.lease({ demand: 'safe', conditions: ['heartbeat_missed'] })).toBe(200)
    expect(await modeOf(h)).toBe('safe')
    await h.kill()
    await h.start(false)
    expect(
      h.hub.guard.modes
        .active()
        .map(({ name }) => name)
        .sort(),
    ).toEqual(['heartbeat_missed', 'lease_pending'])
    expect(await h.lease()).toBe(200)
    expect(await modeOf(h)).toBe('normal')
  })
})

describe('the operator', () => {
  test('safe mode asked for survives a restart and leases, and ends by resume alone [cond-20]', async () => {
    await using h = await createHarness({ agents })
    expect((await h.operator('POST', '/v1/mode/safe', { reason: 'holiday' })).body.mode).toBe('safe')
    await expect(h.submit('echo')).rejects.toThrow('mode_safe')
    await h.kill()
    await h.start()
    expect(await modeOf(h)).toBe('safe')
    expect((await h.operator('POST', '/v1/mode/resume', {})).body.mode).toBe('normal')
    await h.ended(await h.submit('echo'))
    expect((await h.operator('POST', '/v1/mode/resume', {})).body.code).toBe('conflict')
  })
})
