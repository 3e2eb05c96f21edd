/** Sessions that hang, never join, or do nothing, while their containers run on (S1-49). */
import { describe, expect, test } from 'vitest'
import { createHarness, forever, type Harness, puppet, type TestAgent, worker } from '../support/hub-harness.ts'
import { openRawSession } from '../support/raw-session.ts'

const sessions = async (h: Harness) =>
  (await h.operator('GET', '/v1/sessions')).body.sessions as { state: string; stalledSinceMs: number | null }[]
const exits = (h: Harness, task: string) => h.sessionsOf(task).map(({ exitReason }) => exitReason)

/** Asks for mail once and then hangs: its connection stays, its loop does not run. */
const wedge = async (agent: TestAgent) => {
  await agent.join()
  void agent.receive().catch(() => undefined)
  return forever(agent)
}

describe('S1-49: a session that shows no life', () => {
  test('`wedge`: recycled as unhealthy after the third failure, its task by the ladder, its agent unhealthy at the end', async () => {
    await using h = await createHarness({
      agents: { wedge: { script: wedge, card: { repeatable: true, restarts: 1 } } },
    })
    const id = await h.submit('wedge')
    await h.until(() => h.sessionsOf(id)[0]?.state === 'working')
    const said = async () =>
      ((await h.operator('GET', `/v1/tasks/${id}/logs`)).body.lines as { text: string }[]).map(({ text }) => text)
    await h.clock.advance(30_000)
    expect(await said()).toEqual([])
    // Fault C25: one that computes looks the same, so its author hears of it while there is time.
    await h.clock.advance(10_000)
    expect(await said()).toEqual([
      expect.stringMatching(
        /^no sign of life for (?:3[5-9]|40) s: its event loop does not run\. After 95 s the hub ends it as hung/,
      ),
    ])
    expect(h.events('hub.task.log.v1')).toMatchObject([
      { subject: `task:${id}`, data: { agent: 'wedge', level: 'warn' } },
    ])
    await h.clock.advance(50_000)
    expect(h.task(id).state).toBe('running')
    expect(await said()).toHaveLength(1)
    await h.until(() => exits(h, id)[0] !== null, 'the end of the first', 1000)
    await h.until(() => h.task(id).state === 'failed', 'the end of the second', 1000)
    expect(exits(h, id)).toEqual(['unhealthy', 'unhealthy'])
    expect(h.task(id)).toMatchObject({ attempts: 2, error: { code: 'agent_unhealthy' } })
    expect(h.sessionsOf(id)[0]?.detail).toMatch(
      /^no sign of life for .*its event loop did not run; let the event loop run/,
    )
    expect(h.hub.work.catalogue.registry.find('wedge')?.state).toBe('unhealthy')
    expect(h.events('hub.agent.crashed.v1')).toHaveLength(1)
    const observed = h.audit().filter(({ action, effect }) => action === 'session.observed' && effect !== '')
    expect(observed.filter(({ effect }) => effect.startsWith('unhealthy: no sign of life'))).toHaveLength(2)
    await h.quiet()
  })

  test('what is not repeatable and hangs is recycled and not begun again: its task fails with the reason (fault C34)', async () => {
    await using h = await createHarness({ agents: { wedge: { script: wedge } } })
    const id = await h.submit('wedge')
    await h.until(() => h.task(id).state === 'failed', 'its end', 1000)
    expect(exits(h, id)).toEqual(['unhealthy'])
    expect(h.task(id)).toMatchObject({ attempts: 1, error: { code: 'not_repeatable' } })
    expect(h.task(id).error?.detail).toContain('no sign of life')
    expect(h.hub.work.catalogue.registry.find('wedge')?.state).toBe('registered')
    await h.quiet()
  })

  test('one that asks for its mail may live on', async () => {
    const patient = worker(async (agent) => {
      for (let polls = 0; polls < 12; polls += 1) await agent.receive()
      return 'done'
    })
    await using h = await createHarness({ agents: { patient: { script: patient } } })
    const id = await h.submit('patient')
    await h.until(() => h.task(id).state === 'succeeded', 'its result', 500)
    expect(h.sessionsOf(id)).toHaveLength(1)
  })

  test('a quiet fast line lives by its pongs alone; one whose loop stands still does not', async () => {
    await using h = await createHarness({
      agents: { fast: { script: puppet, card: { restarts: 0 } } },
    })
    const [agent] = await h.bring('fast')
    const line = await h.pumped(openRawSession(agent))
    for (let minutes = 0; minutes < 3; minutes += 0.25) {
      await h.clock.advance(15_000)
      // Its pong is of real time: by then sockets were looked at this often.
      for (let looks = 0; looks < 15; looks += 1) await new Promise((resolve) => setTimeout(resolve, 1))
    }
    const task = agent.joined?.task.task ?? ''
    expect(h.task(task).state).toBe('running')
    line.ws.pause()
    await h.until(() => h.task(task).state === 'failed', 'it is found', 1000)
    expect(exits(h, task)).toEqual(['unhealthy'])
    line.ws.terminate()
    await h.quiet()
  })

  test('who never joins is recycled when the join window is over, not at its time to live', async () => {
    let starts = 0
    await using h = await createHarness({
      agents: {
        mute: {
          script: async (agent) => {
            starts += 1
            if (starts === 1) return forever(agent)
            await agent.join()
            return agent.result('at last')
          },
        },
      },
    })
    const id = await h.submit('mute')
    await h.until(() => starts === 1)
    await h.clock.advance(28_000)
    expect(h.sessionsOf(id)[0]?.state).toBe('starting')
    await h.ended(id)
    expect(h.task(id)).toMatchObject({ state: 'succeeded', attempts: 2, crashes: 1 })
    expect(h.sessionsOf(id)[0]).toMatchObject({ exitReason: 'unhealthy' })
    expect(h.sessionsOf(id)[0]?.detail).toContain('did not join within 30 s')
  })

  test('a hub that was held up blames nobody for what it did not hear', async () => {
    await using h = await createHarness({ agents: { wedge: { script: wedge } } })
    const id = await h.submit('wedge')
    await h.until(() => h.sessionsOf(id)[0]?.state === 'working')
    // As a stopped process finds the clocks when it goes on: monotonic time has passed, no loop has turned.
    h.clock.jump(3_000_000)
    await h.clock.advance(60_000)
    expect(exits(h, id)).toEqual([null])
  })

  test('nor one with short spans: what it slept through is not counted, however few seconds of silence it allows', async () => {
    const config = { health: { interval: '2s', timeout: '1s', failures: 3 } }
    await using h = await createHarness({ config, agents: { wedge: { script: wedge } } })
    const id = await h.submit('wedge')
    await h.until(() => h.sessionsOf(id)[0]?.state === 'working')
    // It has asked for its mail, and owes a sign.
    await h.clock.advance(1_500)
    h.clock.jump(3_000_000)
    await h.clock.advance(2_000)
    expect((await sessions(h)).map(({ state }) => state)).toEqual(['working'])
    expect(h.audit().filter(({ effect }) => effect.startsWith('unhealthy'))).toEqual([])
    // It hears again from here on, and nothing comes.
    await h.until(() => exits(h, id)[0] !== null, 'its end', 100)
    expect(exits(h, id)[0]).toBe('unhealthy')
  })
})

describe('S1-49: a session that does nothing', () => {
  const idle = async (agent: TestAgent) => {
    await agent.join()
    for (let polls = 0; !agent.ended.aborted; polls += 1) {
      await agent.receive()
      if (polls === 30) await agent.say({ kind: 'progress', body: { text: 'again' } })
    }
  }

  test('is shown as stalled, with a warning, until it makes progress', async () => {
    await using h = await createHarness({ agents: { idle: { script: idle, card: { stallAfter: '5m' } } } })
    const id = await h.submit('idle')
    await h.until(() => h.sessionsOf(id)[0]?.state === 'working')
    const session = h.sessionsOf(id)[0]?.id
    expect((await sessions(h))[0]?.stalledSinceMs).toBeNull()
    await h.until(() => h.hub.work.supervision.vitals.stalledSinceMs(session ?? '') !== null, 'it stalls', 1000)
    expect((await sessions(h))[0]?.stalledSinceMs).toBeGreaterThan(0)
    expect(h.hub.guard.alerts.isOpen(`session_stalled:${session}`)).toBe(true)
    expect(h.task(id).state).toBe('running')
    await h.until(() => h.hub.work.supervision.vitals.stalledSinceMs(session ?? '') === null, 'it goes on', 1000)
    expect(h.hub.guard.alerts.isOpen(`session_stalled:${session}`)).toBe(false)
    await h.operator('POST', `/v1/tasks/${id}/cancel`)
    await h.quiet()
  })

  test('what is refused is no progress: one that asks for the same refused thing again and again stalls', async () => {
    const loop = async (agent: TestAgent) => {
      await agent.join()
      while (!agent.ended.aborted) {
        await agent.receive()
        const { status } = await agent.send({ kind: 'delegate', body: { agent: 'nobody' } })
        if (status < 400) throw new Error('it was meant to be refused')
      }
    }
    const card = { stallAfter: '2m', onStall: 'recycle', restarts: 0 }
    await using h = await createHarness({ agents: { loop: { script: loop, card } } })
    const id = await h.submit('loop')
    await h.until(() => h.task(id).state === 'failed', 'it is recycled', 500)
    expect(exits(h, id)).toEqual(['unhealthy'])
    await h.quiet()
  })

  test('is recycled when its card says so; one that waits for its child is not', async () => {
    const card = { stallAfter: '2m', onStall: 'recycle', restarts: 0 }
    await using h = await createHarness({
      agents: {
        idle: { script: idle, card },
        lead: {
          script: worker(async (agent) => (await agent.outcome(await agent.delegate({ agent: 'long' }))).value),
          card: { ...card, may: { delegate: ['long'] } },
        },
        long: {
          script: worker(async (agent) => {
            for (let polls = 0; polls < 20; polls += 1) await agent.receive()
            return 1
          }),
        },
      },
    })
    const [stalled, waiting] = [await h.submit('idle'), await h.submit('lead')]
    await h.until(() => h.task(stalled).state === 'failed', 'it is recycled', 500)
    expect(exits(h, stalled)).toEqual(['unhealthy'])
    await h.until(() => h.task(waiting).state === 'succeeded', 'the lead has its answer', 500)
    await h.quiet()
  })
})
