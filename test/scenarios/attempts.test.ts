import { describe, expect, test } from 'vitest'
import { hubPrincipal } from '../../hub/guard/principal.ts'
import { isAlarming, retryWaitMs } from '../../hub/work/dispatch/reaper.ts'
import { createHarness, type Harness, puppet, type TestAgent, worker } from '../support/hub-harness.ts'

const alertsOf = (h: Harness) =>
  h.hub.guard.alerts.list().map(({ cause, severity, text }) => ({ cause, severity, text }))

describe('a start whose answer is lost (T93)', () => {
  /** The engine starts it, and the answer comes after the agent has joined: as a fault. */
  const loseStarts = (h: Harness) => {
    const start = h.engine.start.bind(h.engine)
    let lost = 0
    h.engine.start = async (id) => {
      await start(id)
      if (lost > 0) return
      lost += 1
      await h.clock.sleep(2000)
      throw new Error('the connection was cut')
    }
  }

  test('an agent that had begun is not started again without a word: its task comes back held', async () => {
    await using h = await createHarness({ agents: { careful: { script: puppet } } })
    loseStarts(h)
    const id = await h.submit('careful')
    await h.until(() => h.task(id).state === 'queued' && h.task(id).attempts === 1)
    expect(h.task(id)).toMatchObject({ held: true, crashes: 0 })
    await h.quiet()
  })

  test('one that may be repeated is, once the first container is gone', async () => {
    const worked: TestAgent[] = []
    await using h = await createHarness({
      agents: {
        again: {
          card: { repeatable: true },
          stubborn: true,
          script: worker(async (agent) => {
            worked.push(agent)
            return worked.length > 1 ? 'done' : agent.next()
          }),
        },
      },
    })
    loseStarts(h)
    for (const verb of ['remove', 'kill', 'stop'] as const) h.engine.fault(verb, 'fail', 2)
    const id = await h.submit('again')
    await h.until(() => worked.length === 2)
    expect(worked[0]?.ended.aborted).toBe(true)
    await h.ended(id)
    expect(h.task(id)).toMatchObject({ state: 'succeeded', attempts: 2, outcome: { value: 'done' } })
  })

  test('a result that came in the meantime counts, and nothing runs again', async () => {
    await using h = await createHarness({ agents: { quick: { script: worker(() => 'in time') } } })
    loseStarts(h)
    const id = await h.submit('quick')
    await h.ended(id)
    await h.quiet()
    expect(h.task(id)).toMatchObject({ state: 'succeeded', attempts: 1, outcome: { value: 'in time' } })
    expect(h.started).toHaveLength(1)
  })
})

test('I3: no attempt begins while the container of the earlier one may still work', async () => {
  const alive = new Set<string>()
  let tries = 0
  await using h = await createHarness({
    agents: {
      again: {
        card: { repeatable: true },
        stubborn: true,
        script: worker(async (agent) => {
          expect([...alive]).toEqual([])
          alive.add(agent.session)
          agent.ended.addEventListener('abort', () => alive.delete(agent.session))
          tries += 1
          return tries === 2 ? 'done' : agent.next()
        }),
      },
    },
  })
  const id = await h.submit('again')
  await h.working(1)
  const [first] = h.sessionsOf(id)
  for (const verb of ['remove', 'kill', 'stop'] as const) h.engine.fault(verb, 'fail', 3)
  // As if a session were found unfit while its container runs on.
  const call = {
    principal: hubPrincipal('test'),
    operation: 'session.observe',
    resource: `session:${first?.id}`,
  } as const
  const facts = { reason: 'unhealthy', exitCode: null, oomKilled: false, detail: 'found unfit' } as const
  h.hub.guard.gate.admit(call, (grant) =>
    h.hub.work.tasks.lost(grant, first?.id ?? '', facts, { again: { crashed: false, held: false, notBeforeMs: 0 } }),
  )
  expect(h.task(id)).toMatchObject({ state: 'queued', held: false })
  await h.ended(id)
  expect(h.task(id)).toMatchObject({ state: 'succeeded', attempts: 2 })
  const [before, after] = h.sessionsOf(id)
  expect(after?.createdAtMs).toBeGreaterThanOrEqual(before?.endedAtMs ?? Number.NaN)
})

describe('a container that does not go (T93)', () => {
  const KILLING = ['remove', 'kill', 'stop'] as const
  test.each([
    ['the engine answers', 'critical', KILLING],
    ['the engine is away', 'warning', [...KILLING, 'list'] as const],
  ] as const)(
    '%s: it is tried again with back-off, and after a minute it is a %s alert with the words for the host',
    async (_, severity, verbs) => {
      await using h = await createHarness({ agents: { slow: { script: puppet } } })
      const [slow] = await h.bring('slow')
      for (const verb of verbs) h.engine.fault(verb, 'fail', Number.POSITIVE_INFINITY)
      const before = h.engine.calls.length
      await h.operator('POST', `/v1/sessions/${slow.session}/stop`)
      const mine = () => alertsOf(h).find(({ cause }) => cause === `kill_unconfirmed:${slow.container.name}`)
      await h.clock.advance(50_000)
      expect(mine()).toBeUndefined()
      await h.until(mine, 'the alarm', 1000)
      expect(mine()).toMatchObject({ severity, text: expect.stringContaining(`docker rm -f ${slow.container.name}`) })
      const tries = h.engine.calls.slice(before).filter((call) => call.startsWith('stop ')).length
      expect(tries).toBeGreaterThan(3)
      expect(tries).toBeLessThan(12)
      for (const verb of verbs) h.engine.fault(verb, 'fail', 0)
      await h.quiet()
      // Only the operator ends an alert that keeps the hub safe.
      expect(mine() === undefined).toBe(severity === 'warning')
    },
  )

  test('the waits double from a second to a quarter of a minute, and the alarm needs three tries and a minute', () => {
    expect([1, 2, 3, 4, 5, 6, 40].map(retryWaitMs)).toEqual([1000, 2000, 4000, 8000, 15_000, 15_000, 15_000])
    expect([isAlarming(2, 90_000), isAlarming(9, 59_999), isAlarming(3, 60_000)]).toEqual([false, false, true])
  })
})

test('the program is told which attempt it is, counted from one', async () => {
  const told: unknown[] = []
  await using h = await createHarness({
    agents: {
      falls: {
        script: worker((agent) => {
          told.push(agent.joined?.task.attempt)
          if (told.length < 3) throw new Error('again')
          return 'done'
        }),
        card: { repeatable: true },
      },
    },
  })
  await h.ended(await h.submit('falls'))
  expect(told).toEqual([1, 2, 3])
})
