import { describe, expect, test } from 'vitest'
import { createHarness, forever, type Harness, worker } from '../support/hub-harness.ts'

const slow = worker(forever)
const isWorking = (h: Harness, task: string) => h.sessionsOf(task).at(-1)?.state === 'working'

describe('cancel', () => {
  test('a queued task is cancelled without ever starting', async () => {
    await using h = await createHarness({ agents: { slow: { script: slow } } })
    const id = await h.submit('slow', {}, { hold: true })
    const { status, body } = await h.operator('POST', `/v1/tasks/${id}/cancel`)
    expect([status, (body.task as { state: string }).state]).toEqual([200, 'cancelled'])
    const again = await h.operator('POST', `/v1/tasks/${id}/cancel`)
    expect(again.body.code).toBe('already_resolved')
    await h.clock.advance(5000)
    expect(h.started).toEqual([])
  })

  test('a running task is cancelled, its container goes, and its late result changes nothing of its end', async () => {
    await using h = await createHarness({ agents: { slow: { script: slow, stubborn: true } } })
    const id = await h.submit('slow')
    await h.until(() => isWorking(h, id))
    await h.operator('POST', `/v1/tasks/${id}/cancel`)
    expect(h.task(id)).toMatchObject({ state: 'cancelled', error: { code: 'cancelled' } })
    const late = await h.started[0]?.send({ kind: 'result', body: { outcome: 'succeeded' } })
    expect(late?.body.code).toBeUndefined()
    await h.quiet()
    expect(h.task(id).state).toBe('cancelled')
    expect(h.sessionsOf(id)[0]?.exitReason).toBe('cancelled')
  })

  test('a cancelled parent takes running and queued children and grandchildren with it (T44)', async () => {
    const lead = (child: string, fan: number) =>
      worker(async (agent) => {
        for (let nth = 0; nth < fan; nth += 1) await agent.delegate({ agent: child })
        return forever(agent)
      })
    await using h = await createHarness({
      agents: {
        top: { script: lead('middle', 2), card: { may: { delegate: ['middle', 'slow'] } } },
        middle: { script: lead('slow', 2), card: { may: { delegate: ['slow'] } } },
        slow: { script: slow, card: { limits: { sessions: 1 } } },
      },
    })
    const id = await h.submit('top')
    const all = () => h.hub.work.tasks.tasks({ limit: 100 })
    await h.until(() => all().length === 7 && h.hub.work.tasks.sessionsOpen().length === 6)
    const startedAtMs = h.clock.monotonicMs()
    await h.operator('POST', `/v1/tasks/${id}/cancel`)
    expect(new Set(all().map(({ state }) => state))).toEqual(new Set(['cancelled']))
    await h.quiet()
    expect(h.clock.monotonicMs() - startedAtMs).toBeLessThan(5000)
    expect(all().every(({ state }) => state === 'cancelled')).toBe(true)
  })

  test('a stopped session cancels its task and answers once; an ended one is already resolved', async () => {
    await using h = await createHarness({ agents: { slow: { script: slow } } })
    const id = await h.submit('slow')
    await h.until(() => isWorking(h, id))
    const session = h.sessionsOf(id)[0]?.id
    expect((await h.operator('POST', `/v1/sessions/${session}/stop`)).status).toBe(200)
    await h.quiet()
    expect(h.task(id).state).toBe('cancelled')
    expect((await h.operator('POST', `/v1/sessions/${session}/stop`)).body.code).toBe('already_resolved')
  })
})

describe('time to live', () => {
  const card = { limits: { ttl: '2m' } }

  test('a session past its time to live ends timed_out within two seconds, not before', async () => {
    await using h = await createHarness({ agents: { slow: { script: slow, card } } })
    const id = await h.submit('slow')
    await h.until(() => isWorking(h, id))
    const bootNow = () => h.clock.bootMs()
    const dueAt = Number(h.sessionsOf(id)[0]?.expiresBoot.split(':')[1])
    await h.clock.advance(dueAt - bootNow() - 10)
    expect(h.task(id).state).toBe('running')
    await h.clock.advance(2000)
    expect(h.task(id)).toMatchObject({ state: 'timed_out', error: { code: 'ttl_expired' } })
    await h.quiet()
    expect(h.sessionsOf(id)[0]?.exitReason).toBe('ttl')
  })

  test.each([
    ['forward a year', 365 * 86_400_000],
    ['back an hour', -3_600_000],
  ])('a wall clock set %s neither ends nor extends a session (T71) [clock-3]', async (_name, stepMs) => {
    await using h = await createHarness({ agents: { slow: { script: slow, card } } })
    const id = await h.submit('slow')
    await h.until(() => isWorking(h, id))
    h.clock.stepWall(stepMs)
    await h.clock.advance(110_000)
    expect(h.task(id).state).toBe('running')
    await h.clock.advance(12_000)
    expect(h.task(id).state).toBe('timed_out')
  })

  test.each([
    ['forward a year', 365 * 86_400_000],
    ['back an hour', -3_600_000],
  ])(
    'a wall clock set %s takes nothing from a child that waits for its start, and holds up no restart (T71)',
    async (_name, stepMs) => {
      let tries = 0
      await using h = await createHarness({
        agents: {
          lead: {
            script: worker(async (agent) => {
              const { value } = await agent.outcome(await agent.delegate({ agent: 'kid' }))
              // Its first token may have ended with the step.
              await agent.renew()
              return value
            }),
            card: { may: { delegate: ['kid'] } },
          },
          kid: {
            script: async (agent) => {
              await agent.join()
              tries += 1
              if (tries === 1) throw new Error('at first')
              await h.clock.sleep(5000)
              await agent.result('done')
            },
            card: { repeatable: true },
          },
        },
      })
      const id = await h.submit('lead')
      await h.until(() => h.hub.work.tasks.children(id)[0]?.crashes === 1)
      h.clock.stepWall(stepMs)
      await h.until(() => h.hub.guard.modes.has('clock_fault'), 'the step is seen')
      expect([h.task(id).state, h.hub.work.tasks.children(id)[0]?.state]).toEqual(['running', 'queued'])
      // Nothing starts by a clock that cannot be right, until the operator takes it as it is; one that is behind has to be set.
      expect((await h.operator('POST', '/v1/mode/resume', {})).status).toBe(stepMs > 0 ? 200 : 409)
      if (stepMs < 0) h.clock.stepWall(-stepMs)
      // Its signed requests are of the new time; its old token may have ended.
      await h.until(() => tries === 2, 'the second try')
      const kid = h.hub.work.tasks.children(id)[0]
      await h.ended(kid?.id ?? '')
      expect(h.task(kid?.id ?? '')).toMatchObject({ state: 'succeeded', attempts: 2 })
      // Its parent outlives the step too: what is left of a session counts by boot time, for its tokens as well.
      await h.ended(id)
      expect(h.task(id)).toMatchObject({ state: 'succeeded', attempts: 1 })
    },
  )

  test('a suspended machine finds the time used up when it wakes [clock-3]', async () => {
    await using h = await createHarness({ agents: { slow: { script: slow, card } } })
    const id = await h.submit('slow')
    await h.until(() => isWorking(h, id))
    h.clock.suspend(130_000)
    await h.clock.advance(1100)
    expect(h.task(id).state).toBe('timed_out')
  })

  test('a parent that times out takes its children with it (T44)', async () => {
    await using h = await createHarness({
      agents: {
        lead: {
          script: worker(async (agent) => {
            await agent.delegate({ agent: 'slow' })
            return forever(agent)
          }),
          card: { ...card, may: { delegate: ['slow'] } },
        },
        slow: { script: slow, card: { limits: { sessions: 1 } } },
      },
    })
    const id = await h.submit('lead')
    await h.until(() => h.hub.work.tasks.sessionsOpen().filter(({ state }) => state === 'working').length === 2)
    const [child] = h.hub.work.tasks.children(id)
    const [own] = h.sessionsOf(child?.id ?? '')
    // The child holds no more time than its parent had left. Given more, as by a fault of that rule, its parent's end alone ends it.
    const bootOf = (expires = '') => Number(expires.split(':')[1])
    expect(bootOf(own?.expiresBoot)).toBeLessThanOrEqual(bootOf(h.sessionsOf(id)[0]?.expiresBoot))
    const later = `${h.clock.bootId}:${bootOf(own?.expiresBoot) + 3_600_000}`
    h.hub.guard.store.transaction(() =>
      h.hub.guard.store
        .prepare('update session set expires_boot = ?, check_sum = null where id = ?')
        .run(later, own?.id),
    )
    await h.clock.advance(122_000)
    expect(h.task(id).state).toBe('timed_out')
    expect(h.task(child?.id ?? '')).toMatchObject({ state: 'cancelled', endedAtMs: h.task(id).endedAtMs })
    await h.quiet()
    expect(h.sessionsOf(child?.id ?? '')[0]).toMatchObject({ state: 'recycled', exitReason: 'cancelled' })
  })
})

describe('crashes', () => {
  test('a repeatable agent that crashes is started three times more, then its task fails, it is unhealthy, and one event says so (S0-4)', async () => {
    await using h = await createHarness({
      agents: {
        crash: {
          script: async (agent) => {
            await agent.join()
            throw new Error('as always')
          },
          card: { repeatable: true, restarts: 3 },
        },
      },
    })
    const id = await h.submit('crash')
    await h.ended(id)
    expect(h.started.length).toBe(4)
    expect(h.task(id)).toMatchObject({ state: 'failed', attempts: 4, error: { code: 'agent_unhealthy' } })
    const attempts = h.hub.work.tasks.attempts(id)
    expect(attempts.map(({ state, exitCode }) => [state, exitCode])).toEqual(Array(4).fill(['lost', 1]))
    expect(new Set(h.started.map(({ session }) => session)).size).toBe(4)
    expect(h.events('hub.agent.crashed.v1')).toHaveLength(1)

    expect(h.hub.work.catalogue.registry.find('crash')).toMatchObject({ state: 'unhealthy', crashes: 4 })
    await expect(h.submit('crash')).rejects.toThrow('agent_unhealthy')
    expect((await h.operator('POST', '/v1/agents/crash/reset')).status).toBe(200)
    const again = await h.submit('crash')
    await h.ended(again)
    expect(h.task(again)).toMatchObject({ state: 'failed', attempts: 4 })
    expect(h.events('hub.agent.crashed.v1')).toHaveLength(2)
    await h.quiet()
  })

  test('what is not repeatable runs once: it fails at its first crash, says how it is run again, and its agent goes on (fault C34)', async () => {
    let runs = 0
    await using h = await createHarness({
      agents: {
        once: {
          script: async (agent) => {
            await agent.join()
            runs += 1
            if (runs === 1) throw new Error('after half of its work')
            await agent.result('done')
          },
          card: { restarts: 3 },
        },
      },
    })
    const id = await h.submit('once')
    await h.ended(id)
    await h.clock.advance(60_000)
    expect([runs, h.started.length]).toEqual([1, 1])
    expect(h.task(id)).toMatchObject({ state: 'failed', attempts: 1, error: { code: 'not_repeatable' } })
    const detail = h.task(id).error?.detail ?? ''
    expect(detail).toMatch(/^agent once ended without a result: exit code 1\. /)
    expect(detail).toContain(`\`hub task retry ${id}\` runs it again`)
    expect(detail).toContain('`repeatable: true`')
    expect(h.hub.work.catalogue.registry.find('once')).toMatchObject({ state: 'registered', crashes: 1 })
    expect(h.events('hub.agent.crashed.v1')).toEqual([])

    const { status, body } = await h.operator('POST', `/v1/tasks/${id}/retry`)
    expect(status).toBe(200)
    const again = (body.task as { id: string }).id
    await h.ended(again)
    expect(h.task(again)).toMatchObject({ state: 'succeeded' })
    await h.quiet()
  })

  test('what is not repeatable may be restarted while its program never had the task (fault C34)', async () => {
    let starts = 0
    await using h = await createHarness({
      agents: {
        late: {
          script: async (agent) => {
            starts += 1
            if (starts < 3) throw new Error('before it joined')
            await agent.join()
            await agent.result('done')
          },
        },
      },
    })
    const id = await h.submit('late')
    await h.ended(id)
    expect(h.task(id)).toMatchObject({ state: 'succeeded', attempts: 3, crashes: 2 })
    await h.quiet()
  })

  test('an agent that recovers at its last restart finishes, and waits longer before each restart', async () => {
    const at: number[] = []
    await using h = await createHarness({
      agents: {
        shaky: {
          script: async (agent) => {
            at.push(h.clock.monotonicMs())
            await agent.join()
            if (at.length < 3) throw new Error('not yet')
            await agent.result('done')
          },
          card: { repeatable: true, restarts: 2 },
        },
      },
    })
    const id = await h.submit('shaky')
    await h.ended(id)
    expect(h.task(id)).toMatchObject({ state: 'succeeded', attempts: 3, crashes: 2 })
    const [first = 0, second = 0, third = 0] = at
    expect(second - first).toBeGreaterThanOrEqual(1000)
    expect(third - second).toBeGreaterThanOrEqual(2000)
    expect(h.events('hub.agent.crashed.v1')).toEqual([])
    await h.quiet()
  })

  test('a program that ends well but gives no result has crashed; a memory kill is named', async () => {
    await using h = await createHarness({
      agents: {
        mute: { script: (agent) => agent.join(), card: { restarts: 0 } },
        hungry: {
          script: async (agent) => {
            await agent.join()
            agent.container.exit(137, true)
          },
          card: { restarts: 0 },
        },
      },
    })
    const mute = await h.submit('mute')
    const hungry = await h.submit('hungry')
    await h.ended(mute, hungry)
    expect(h.task(mute).error?.detail).toContain('exit code 0')
    expect(h.task(hungry).error?.detail).toContain('out of memory')
    await h.quiet()
  })

  test('the children of a crashed attempt end with it: the next attempt begins with none (T44)', async () => {
    let tries = 0
    await using h = await createHarness({
      agents: {
        lead: {
          script: async (agent) => {
            await agent.join()
            tries += 1
            const id = await agent.delegate({ agent: tries === 1 ? 'slow' : 'quick' })
            if (tries === 1) {
              await h.started.find((one) => one.agent === 'slow')?.join
              throw new Error('and gone')
            }
            await agent.outcome(id)
            await agent.result()
          },
          card: { repeatable: true, may: { delegate: ['slow', 'quick'] } },
        },
        slow: { script: slow },
        quick: { script: worker(() => 1) },
      },
    })
    const id = await h.submit('lead')
    await h.ended(id)
    const children = h.hub.work.tasks.children(id).map(({ agent, state }) => [agent, state])
    expect(children).toEqual([
      ['slow', 'cancelled'],
      ['quick', 'succeeded'],
    ])
    // The first attempt's child was ended when that attempt was, not when the task was.
    const [first] = h.hub.work.tasks.attempts(id)
    const [child] = h.hub.work.tasks.children(id)
    expect(child?.endedAtMs).toBe(first?.endedAtMs)
    await h.quiet()
  })
})
