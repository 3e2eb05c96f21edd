import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { decideRecovery } from '../../hub/work/dispatch/recovery.ts'
import { createHarness, type Harness, type TestAgent, worker } from '../support/hub-harness.ts'

/** An agent that works until the test lets it go on. */
function gate() {
  let open: () => void = () => undefined
  const passed = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open: () => open(), passed }
}
const runsOf = (h: Harness, task: string) =>
  h.sessionsOf(task).filter(({ id }) => h.started.some((one) => one.session === id))

describe.each(['stop', 'kill'] as const)('the hub is built again after a %s', (how) => {
  test('what runs is taken over on its socket and finishes, what ended meanwhile is settled, nothing runs twice (S1-12) [stop-2]', async () => {
    const late = gate()
    await using h = await createHarness({
      agents: {
        patient: {
          script: worker(async (agent) => {
            await late.passed
            return agent.session
          }),
        },
        crash: {
          script: async (agent) => {
            await agent.join()
            await late.passed
            throw new Error('while nobody watched')
          },
          card: { restarts: 0 },
        },
        waiting: { script: worker(() => 'at last'), card: { limits: { sessions: 1 } } },
      },
    })
    const patient = await h.submit('patient')
    const crash = await h.submit('crash')
    await h.working(2)
    const held = await h.submit('waiting', {}, { hold: true })
    const [session] = h.sessionsOf(patient)
    await h[how]()
    late.open()
    await h.until(
      () => h.started.find(({ agent }) => agent === 'crash')?.ended.aborted,
      'the crash while the hub is away',
    )
    await h.start()
    await h.ended(patient, crash)
    expect(h.task(patient)).toMatchObject({ state: 'succeeded', attempts: 1, outcome: { value: session?.id } })
    expect(h.task(crash)).toMatchObject({ state: 'failed', attempts: 1, error: { code: 'agent_unhealthy' } })
    expect(h.hub.work.tasks.attempts(crash)[0]).toMatchObject({ state: 'lost', exitCode: 1 })
    expect(h.task(held)).toMatchObject({ state: 'queued', held: true })
    await h.operator('POST', `/v1/tasks/${held}/release`)
    await h.ended(held)
    expect(h.started.map(({ agent }) => agent)).toEqual(['patient', 'crash', 'waiting'])
    await h.quiet()
    expect(h.hub.work.containment.ledger.list()).toEqual([])
    expect(h.hub.guard.audit.verify().fault).toBeUndefined()
  })

  test.each(['runs on', 'has ended by itself', 'was removed by the watchdog'])(
    'a session past its time to live when the hub comes back is timed out, also if it %s',
    async (fate) => {
      await using h = await createHarness({
        agents: {
          slow: { script: worker((agent) => agent.next()), card: { repeatable: true, limits: { ttl: '1m' } } },
        },
      })
      const id = await h.submit('slow')
      await h.working(1)
      await h[how]()
      await h.clock.advance(61_000)
      const [left] = h.engine.containers.values()
      if (fate === 'has ended by itself') left?.exit(1)
      if (fate === 'was removed by the watchdog') await h.engine.remove(left?.id ?? '')
      await h.start()
      await h.ended(id)
      expect(h.task(id)).toMatchObject({ state: 'timed_out', attempts: 1 })
      await h.quiet()
      expect(h.started.length).toBe(1)
    },
  )

  test('mail numbers rise over the restart, and the result of a child that ended meanwhile comes to its parent', async () => {
    const first = gate()
    const childMayEnd = gate()
    const numbers: number[] = []
    await using h = await createHarness({
      agents: {
        lead: {
          script: worker(async (agent) => {
            const quick = await agent.delegate({ agent: 'child', params: { quick: true } })
            numbers.push((await agent.next(({ correlationId }) => correlationId === quick)).number)
            const id = await agent.delegate({ agent: 'child', params: {} })
            first.open()
            const answer = await agent.next(({ correlationId }) => correlationId === id)
            numbers.push(answer.number)
            return answer.body.value
          }),
          card: { may: { delegate: ['child'] } },
        },
        child: {
          script: worker(async (agent) => {
            if (agent.joined?.task.params.quick !== true) await childMayEnd.passed
            return 'from the child'
          }),
        },
      },
    })
    const id = await h.submit('lead')
    await h.pumped(first.passed)
    await h.working(2)
    await h[how]()
    childMayEnd.open()
    await h.start()
    await h.ended(id)
    expect(h.task(id)).toMatchObject({ state: 'succeeded', outcome: { value: 'from the child' }, attempts: 1 })
    expect(numbers[1]).toBeGreaterThan(numbers[0] ?? Number.NaN)
    expect(numbers[1]).toBeGreaterThan(2 ** 32)
    await h.quiet()
  })
})

test('a child that ended just before the hub was killed is told to its parent afterwards', async () => {
  const asked = gate()
  const mayRead = gate()
  await using h = await createHarness({
    agents: {
      lead: {
        script: worker(async (agent) => {
          const id = await agent.delegate({ agent: 'child' })
          asked.open()
          await mayRead.passed
          return (await agent.outcome(id)).value
        }),
        card: { may: { delegate: ['child'] } },
      },
      child: { script: worker(() => 7) },
    },
  })
  const id = await h.submit('lead')
  await h.pumped(asked.passed)
  await h.until(() => h.hub.work.tasks.children(id)[0]?.state === 'succeeded')
  await h.kill()
  await h.start()
  mayRead.open()
  await h.ended(id)
  expect(h.task(id).outcome?.value).toBe(7)
  await h.quiet()
})

describe('the hub is killed in the middle of a launch', () => {
  const phases = (['create', 'inspect', 'start'] as const).flatMap((verb) =>
    (['before', 'after'] as const).map((when) => [when, verb] as const),
  )

  test.each(phases)(
    '%s %s: the task is done once by a fresh or adopted session, and nothing is left',
    async (when, verb) => {
      const worked: TestAgent[] = []
      await using h = await createHarness({
        agents: {
          echo: {
            script: worker((agent) => {
              worked.push(agent)
              return 'once'
            }),
          },
        },
      })
      h.killAt(verb, when)
      const submitted = h.submit('echo').catch(() => undefined)
      await h.until(() => h.killed, `killed ${when} ${verb}`)
      await submitted
      await h.kill()
      const left = [...h.engine.containers.values()].map(({ state }) => state)
      await h.start()
      await h.until(() => h.hub.work.tasks.tasks({ limit: 10 }).length === 1)
      const [task] = h.hub.work.tasks.tasks({ limit: 10 })
      await h.ended(task?.id ?? '')
      expect(h.task(task?.id ?? '').state).toBe('succeeded')
      expect(worked.length).toBe(1)
      // A container that had started goes on under its own session, or had handed in its result; any other makes room for a second attempt.
      const hadStarted = left.some((state) => state !== 'created')
      expect(h.task(task?.id ?? '').attempts).toBe(hadStarted ? 1 : 2)
      await h.quiet()
      expect(h.hub.work.containment.ledger.list()).toEqual([])
      for (const { id } of h.sessionsOf(task?.id ?? '')) expect(existsSync(join(h.home, 'run', 's', id))).toBe(false)
      expect(runsOf(h, task?.id ?? '')).toHaveLength(1)
    },
  )
})

describe('the hub is killed at any other call of the engine (T77)', () => {
  const calls = (['inspectImage', 'wait', 'stop', 'remove', 'logs'] as const).flatMap((verb) =>
    (['before', 'after'] as const).map((when) => [when, verb] as const),
  )
  test.each(calls)('%s %s: the task is done once, and nothing is left', async (when, verb) => {
    let worked = 0
    await using h = await createHarness({
      agents: {
        slow: {
          card: { repeatable: true },
          stubborn: true,
          script: worker(async (agent) => {
            await agent.next(({ kind }) => kind === 'finish').catch(() => undefined)
            worked += 1
            return 'once'
          }),
        },
        echo: { script: worker(() => 'other') },
      },
    })
    const [slow] = await h.bring('slow')
    const id = slow.joined?.task.task ?? ''
    h.killAt(verb, when)
    // Each is called by one of these: a stop with its removal, a new start, a reload, the reading of a log.
    const asked = [
      h.operator('POST', `/v1/sessions/${slow.session}/stop`),
      h.operator('POST', '/v1/tasks', { agent: 'echo', params: {} }),
      h.operator('POST', '/v1/agents/reload', {}),
      h.operator('GET', `/v1/sessions/${slow.session}/logs`),
    ].map((each) => each.catch(() => undefined))
    await h.until(() => h.killed, `killed ${when} ${verb}`)
    await h.kill()
    await Promise.all(asked)
    await h.start()
    const all = () => h.hub.work.tasks.tasks({ limit: 10 })
    await h.until(() => all().every(({ state }) => !['queued', 'running'].includes(state)), 'all done')
    await h.quiet()
    expect(all().find((task) => task.id === id)?.state).toBe('cancelled')
    expect(worked).toBeLessThanOrEqual(1)
    expect(all().filter(({ agent, state }) => agent === 'echo' && state !== 'succeeded')).toEqual([])
    expect(h.hub.work.containment.ledger.list()).toEqual([])
    expect(h.hub.guard.audit.verify().fault).toBeUndefined()
  })
})

describe('the engine is away when the hub starts', () => {
  test('running sessions are served all the same and finish; the mode says what is wrong until it is back', async () => {
    const late = gate()
    await using h = await createHarness({
      agents: {
        patient: {
          script: worker(async () => {
            await late.passed
            return 'done'
          }),
        },
      },
    })
    const id = await h.submit('patient')
    await h.working(1)
    await h.kill()
    h.engine.fault('list', 'fail', 3)
    await h.start()
    expect(h.hub.guard.modes.has('engine_unavailable')).toBe(true)
    late.open()
    await h.ended(id)
    expect(h.task(id)).toMatchObject({ state: 'succeeded', attempts: 1 })
    await h.until(() => h.hub.guard.modes.current() === 'normal')
    await h.quiet()
  })

  test.each([
    ['after', 'create'],
    ['after', 'inspect'],
    ['after', 'start'],
  ] as const)('a launch that was cut %s %s is judged by the reconcile once the engine answers', async (when, verb) => {
    await using h = await createHarness({ agents: { echo: { script: worker(() => 1) } } })
    h.killAt(verb, when)
    const submitted = h.submit('echo').catch(() => undefined)
    await h.until(() => h.killed)
    await submitted
    await h.kill()
    h.engine.fault('list', 'fail', 2)
    await h.start()
    const [task] = h.hub.work.tasks.tasks({ limit: 10 })
    const startedAtMs = h.clock.monotonicMs()
    await h.ended(task?.id ?? '')
    expect(h.task(task?.id ?? '').state).toBe('succeeded')
    expect(h.clock.monotonicMs() - startedAtMs).toBeLessThan(60_000)
    await h.quiet()
  })
})

test('after a reboot what ran is interrupted, not crashed: repeated at once if its card lets it, else held for a word [away-18, stop-32]', async () => {
  let tries = 0
  const script = worker(async (agent) => {
    tries += 1
    return tries > 2 ? 'again' : agent.next()
  })
  await using h = await createHarness({
    agents: { repeatable: { script, card: { repeatable: true } }, careful: { script } },
  })
  const [first, second] = await h.bring('repeatable', 'careful')
  await h.kill()
  for (const { container } of [first, second]) container.exit(137)
  Object.assign(h.clock, { bootId: 'boot-b' })
  await h.start()
  const [again, held] = [first.joined?.task.task ?? '', second.joined?.task.task ?? '']
  await h.ended(again)
  expect(h.task(again)).toMatchObject({ state: 'succeeded', attempts: 2, crashes: 0 })
  expect(h.task(held)).toMatchObject({ state: 'queued', held: true, crashes: 0 })
  await h.quiet()
})

test.each([
  ['recycling', 'running', 'leave'],
  ['recycling', undefined, 'leave'],
  ['provisioning', undefined, 'interrupted'],
  ['provisioning', 'created', 'interrupted'],
  ['provisioning', 'running', 'interrupted'],
  ['provisioning', 'exited', 'ended'],
  ['starting', undefined, 'interrupted'],
  ['starting', 'created', 'interrupted'],
  ['starting', 'running', 'adopt'],
  ['starting', 'exited', 'ended'],
  ['working', undefined, 'interrupted'],
  ['working', 'removing', 'interrupted'],
  ['working', 'running', 'adopt'],
  ['working', 'paused', 'adopt'],
  ['working', 'exited', 'ended'],
  ['working', 'dead', 'ended'],
] as const)('a %s session whose container is %s is to be: %s (X6)', (state, found, step) => {
  const session = { state, expiresBoot: 'boot-a:1000', waitLeftMs: 500, waitingSince: null }
  const container = found === undefined ? undefined : { state: found }
  expect(decideRecovery(session, container, { bootId: 'boot-a', bootMs: 999 })).toBe(step)
  // What is past its time is the reaper's, however it looks: it times out, and is neither repeated nor a crash.
  expect(decideRecovery(session, container, { bootId: 'boot-a', bootMs: 1000 })).toBe('leave')
  // After a reboot nothing of before can be running or have crashed.
  expect(decideRecovery(session, container, { bootId: 'boot-b', bootMs: 1 })).toBe(
    state === 'recycling' ? 'leave' : 'interrupted',
  )
})
