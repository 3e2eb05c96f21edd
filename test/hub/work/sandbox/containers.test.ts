/** Create, inspect, compare, wait, start, and the end: against an engine that lies, warns, fails and stalls (T49, S1-47). */
import { describe, expect, test } from 'vitest'
import { silentLog } from '../../../../hub/base/telemetry.ts'
import { type Grant, mintGrant, mintStopGrant, type StopGrant } from '../../../../hub/guard/grant.ts'
import { hubPrincipal } from '../../../../hub/guard/principal.ts'
import { DEFAULT_LIMITS } from '../../../../hub/protocol/agent.ts'
import { createContainers } from '../../../../hub/work/sandbox/containers.ts'
import { createFakeClock } from '../../../support/fake-clock.ts'
import { createFakeEngine, type Verb } from '../../../support/fake-engine.ts'
import { FACTS, HOST } from '../../../support/sandbox-facts.ts'

const principal = hubPrincipal('test')
const grant = mintGrant({
  operation: 'session.provision',
  principal,
  resource: 's',
  decisionId: 'd',
  narrow: {},
  auditSeq: 1,
})
const stop = mintStopGrant({ operation: 'session.reap', principal, resource: 's' })

function open(hasSwap?: () => boolean) {
  const clock = createFakeClock()
  const engine = createFakeEngine({ clock })
  const containers = createContainers(
    { instance: FACTS.instance, host: HOST, ...(hasSwap === undefined ? {} : { hasSwap }) },
    { engine, log: silentLog(), clock },
  )
  return { clock, engine, containers }
}

/** Lets the fake clock run until the promise has settled. */
async function settle<T>(
  clock: { advance(ms: number): Promise<void> },
  promise: Promise<T>,
): Promise<PromiseSettledResult<T>> {
  let done = false
  const result = Promise.allSettled([promise.finally(() => (done = true))])
  for (let step = 0; step < 100 && !done; step += 1) await clock.advance(1000)
  return (await result)[0] as PromiseSettledResult<T>
}

const error = (result: PromiseSettledResult<unknown>) =>
  (result as PromiseRejectedResult).reason as { code: string; facts: Record<string, unknown> }

test('a container goes create, inspect, wait opened, start, in this order', async () => {
  const { clock, engine, containers } = open()
  const placed = await containers.provision(grant, FACTS, DEFAULT_LIMITS)
  expect(placed.inspectedAt).toBe(clock.wallMs())
  expect(engine.byName('hub-hub-test-sabcdefghijklmno')?.state).toBe('created')
  await placed.start()
  expect(engine.calls.map((call) => call.split(' ')[0])).toEqual(['create', 'inspect', 'waitNextExit', 'start'])
})

test('T54: a memory kill that the engine shows a moment after the exit is still seen', async () => {
  const { clock, engine, containers } = open()
  engine.onStart = (container) => {
    container.exit(137)
    clock.after(50, () => Object.assign(container, { oomKilled: true }))
  }
  const placed = await containers.provision(grant, FACTS, DEFAULT_LIMITS)
  await placed.start()
  const seen = await settle(clock, placed.exited)
  expect(seen).toEqual({ status: 'fulfilled', value: { exitCode: 137, oomKilled: true } })
})

test.each([
  [0, false],
  [3, false],
  [137, true],
])('exit code %i and the memory flag %s come through', async (exitCode, oomKilled) => {
  const { engine, containers } = open()
  engine.onStart = (container) => void container.exit(exitCode, oomKilled)
  const placed = await containers.provision(grant, FACTS, DEFAULT_LIMITS)
  await placed.start()
  expect(await placed.exited).toEqual({ exitCode, oomKilled })
})

test.each<[string, (answer: Record<string, Record<string, unknown>>) => unknown]>([
  ['one field altered', (answer) => Object.assign(answer.HostConfig ?? {}, { Privileged: true })],
  ['an unknown field added', (answer) => Object.assign(answer.HostConfig ?? {}, { NewIdea: 1 })],
  ['the mask list emptied', (answer) => Object.assign(answer.HostConfig ?? {}, { MaskedPaths: [] })],
])('T49: with %s it is never started, always removed, and the difference is named', async (_what, alter) => {
  const { clock, engine, containers } = open()
  engine.alterInspect = (answer) => void alter(answer)
  const result = await settle(clock, containers.provision(grant, FACTS, DEFAULT_LIMITS))
  expect(error(result)).toMatchObject({ code: 'profile_mismatch', facts: { leftBehind: false } })
  expect(error(result).facts.differences).toHaveLength(1)
  expect(engine.containers.size).toBe(0)
  expect(engine.calls.some((call) => call.startsWith('start'))).toBe(false)
})

test('T49: a warning in the answer to create is a difference', async () => {
  const { clock, engine, containers } = open()
  engine.warnings.push('Your kernel does not support swap limit capabilities')
  const result = await settle(clock, containers.provision(grant, FACTS, DEFAULT_LIMITS))
  expect(error(result)).toMatchObject({ code: 'profile_mismatch' })
  expect(engine.containers.size).toBe(0)
})

describe('fault A9: a kernel that does not count swap', () => {
  /** As 20.10 and 29 answer there. */
  function uncounted(swap: boolean) {
    const opened = open(() => swap)
    opened.engine.warnings.push(
      'Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.',
    )
    opened.engine.alterInspect = (answer) => void Object.assign(answer.HostConfig ?? {}, { MemorySwap: -1 })
    return opened
  }
  test('is no difference on a machine without swap', async () => {
    const { engine, containers } = uncounted(false)
    await (await containers.provision(grant, FACTS, DEFAULT_LIMITS)).start()
    expect([...engine.containers.values()].map(({ state }) => state)).toEqual(['running'])
  })

  test('is one where there is swap, by warning and by value', async () => {
    const { clock, engine, containers } = uncounted(true)
    const result = await settle(clock, containers.provision(grant, FACTS, DEFAULT_LIMITS))
    expect(error(result).facts.differences).toMatchObject([{ field: 'HostConfig.MemorySwap' }, { field: 'Warnings' }])
    expect(engine.containers.size).toBe(0)
  })

  test('hides no other warning and no other value', async () => {
    const { clock, engine, containers } = uncounted(false)
    engine.warnings.push('Your kernel does not support memory limit capabilities. Limitation discarded.')
    engine.alterInspect = (answer) => void Object.assign(answer.HostConfig ?? {}, { MemorySwap: 0 })
    const result = await settle(clock, containers.provision(grant, FACTS, DEFAULT_LIMITS))
    expect(error(result).facts.differences).toMatchObject([{ field: 'HostConfig.MemorySwap' }, { field: 'Warnings' }])
  })
})

describe('a fault in any phase leaves nothing behind', () => {
  for (const how of ['fail', 'stall'] as const) {
    test.each<Verb>(['create', 'inspect', 'waitNextExit', 'start'])(`${how} of %s`, async (verb) => {
      const { clock, engine, containers } = open()
      engine.fault(verb, how)
      const result = await settle(
        clock,
        containers.provision(grant, FACTS, DEFAULT_LIMITS).then((placed) => placed.start()),
      )
      expect(error(result)).toMatchObject({ code: 'engine_unavailable', facts: { leftBehind: false } })
      expect(engine.containers.size).toBe(0)
    })
  }

  test('and says so when the removal cannot be confirmed', async () => {
    const { clock, engine, containers } = open()
    engine.fault('start', 'fail')
    engine.fault('remove', 'fail')
    const result = await settle(
      clock,
      containers.provision(grant, FACTS, DEFAULT_LIMITS).then((placed) => placed.start()),
    )
    expect(error(result).facts).toMatchObject({ leftBehind: true })
    expect(engine.containers.size).toBe(1)
  })
})

test('a name that is taken is refused and what stands there is not touched', async () => {
  const { engine, containers } = open()
  engine.addForeign('hub-hub-test-sabcdefghijklmno', {})
  await expect(containers.provision(grant, FACTS, DEFAULT_LIMITS)).rejects.toMatchObject({ code: 'conflict' })
  expect(engine.containers.size).toBe(1)
})

test('an image that is not there is refused by name', async () => {
  const { engine, containers } = open()
  engine.images.clear()
  await expect(containers.provision(grant, FACTS, DEFAULT_LIMITS)).rejects.toMatchObject({ code: 'image_missing' })
})

test('a grant that the gate did not mint starts and stops nothing', async () => {
  const { engine, containers } = open()
  await expect(containers.provision({ ...grant } as Grant, FACTS, DEFAULT_LIMITS)).rejects.toMatchObject({
    code: 'internal',
  })
  await expect(containers.recycle({ ...stop } as StopGrant, 'x', { graceMs: 0 })).rejects.toMatchObject({
    code: 'internal',
  })
  expect(engine.calls).toEqual([])
})

describe('recycle', () => {
  async function running(trap = false) {
    const parts = open()
    let terms = 0
    if (trap) parts.engine.onStart = () => ({ onTerm: () => (terms += 1) })
    const placed = await parts.containers.provision(grant, FACTS, DEFAULT_LIMITS)
    await placed.start()
    return { ...parts, id: placed.containerId, exited: placed.exited, terms: () => terms }
  }

  test('ends a willing container, by id or by name, and confirms it gone', async () => {
    for (const by of ['id', 'name']) {
      const { engine, containers, id, exited } = await running()
      const subject = by === 'id' ? id : 'hub-hub-test-sabcdefghijklmno'
      expect(await containers.recycle(stop, subject, { graceMs: 5000 })).toEqual({ outcome: 'gone' })
      expect(engine.containers.size).toBe(0)
      expect(await exited).toMatchObject({ exitCode: 143 })
    }
  })

  test('T60: gives a stubborn one its grace, then kills it [stop-40]', async () => {
    const { clock, containers, engine, id, terms } = await running(true)
    const recycled = containers.recycle(stop, id, { graceMs: 5000 })
    await clock.advance(4999)
    expect([terms(), engine.containers.get(id)?.state]).toEqual([1, 'running'])
    await clock.advance(1)
    expect(await recycled).toEqual({ outcome: 'gone' })
  })

  test.each(['created', 'paused', 'restarting', 'exited', 'dead'] as const)(
    'T94: removes one that is %s',
    async (state) => {
      const { clock, engine, containers, id } = await running()
      engine.setState(id, state)
      const result = await settle(clock, containers.recycle(stop, id, { graceMs: 0 }))
      expect(result).toMatchObject({ value: { outcome: 'gone' } })
      expect(engine.containers.size).toBe(0)
    },
  )

  test('one that is gone already is done, not failed [stop-43]', async () => {
    const { containers } = open()
    expect(await containers.recycle(stop, 'a'.repeat(64), { graceMs: 0 })).toEqual({ outcome: 'already_gone' })
  })

  test.each(['fail', 'stall'] as const)('removes it although stop does %s', async (how) => {
    const { clock, engine, containers, id } = await running()
    engine.fault('stop', how)
    const result = await settle(clock, containers.recycle(stop, id, { graceMs: 0 }))
    expect(result).toMatchObject({ value: { outcome: 'gone' } })
    expect(engine.calls).toContain(`kill ${id}`)
  })

  test('never says gone while the engine still shows it [stop-49]', async () => {
    const { clock, engine, containers, id } = await running()
    engine.remove = async () => ({ outcome: 'gone' })
    const result = await settle(clock, containers.recycle(stop, id, { graceMs: 0 }))
    expect(result).toMatchObject({ value: { outcome: 'failed', reason: 'the engine still shows it' } })
  })

  test('an engine that does not answer is failed, with the reason', async () => {
    const { clock, engine, containers, id } = await running()
    engine.fault('remove', 'fail')
    engine.fault('inspect', 'fail', 9)
    const result = await settle(clock, containers.recycle(stop, id, { graceMs: 0 }))
    expect(result).toMatchObject({ value: { outcome: 'failed', reason: expect.stringContaining('did not inspect') } })
  })
})

describe('fault A6: what runs of a container that the engine does not remove', () => {
  const look = async (
    state: 'running' | 'dead' | 'exited' | 'removing',
    found: number[] | undefined,
    sees: boolean,
  ) => {
    const clock = createFakeClock()
    const engine = createFakeEngine({ clock })
    const processes = { of: () => found, seesAll: () => sees }
    const containers = createContainers(
      { instance: FACTS.instance, host: HOST },
      { engine, log: silentLog(), clock, processes },
    )
    const placed = await containers.provision(grant, FACTS, DEFAULT_LIMITS)
    await placed.start()
    engine.setState(placed.containerId, state)
    for (const verb of ['stop', 'kill', 'remove'] as const) engine.fault(verb, 'refuse', 100)
    const result = await settle(clock, containers.recycle(stop, placed.containerId, { graceMs: 0 }))
    return (result as PromiseFulfilledResult<unknown>).value
  }

  test.each([
    ['dead', undefined, false, { kind: 'nothing' }],
    ['dead', [], true, { kind: 'nothing' }],
    ['exited', undefined, false, { kind: 'nothing' }],
    ['removing', undefined, false, { kind: 'unknown' }],
    ['removing', [], true, { kind: 'nothing' }],
    ['dead', [41], true, { kind: 'processes', pids: [41] }],
    ['running', [], true, { kind: 'nothing' }],
    ['running', [41, 42], false, { kind: 'processes', pids: [41, 42] }],
    ['running', [], false, { kind: 'unknown' }],
    ['running', undefined, true, { kind: 'unknown' }],
  ] as const)('shown as %s, processes %j, all seen: %s', async (state, found, sees, remains) =>
    expect(await look(state, found === undefined ? undefined : [...found], sees)).toMatchObject({
      outcome: 'failed',
      remains,
    }),
  )
})

describe('adopt', () => {
  test('hears the exit of a container that an earlier run started', async () => {
    const { engine, containers } = open()
    const placed = await containers.provision(grant, FACTS, DEFAULT_LIMITS)
    await placed.start()
    const adopted = containers.adopt(placed.containerId)
    await new Promise((resolve) => setImmediate(resolve))
    engine.containers.get(placed.containerId)?.exit(7)
    expect(await adopted).toEqual({ exitCode: 7, oomKilled: false })
  })

  test('reads the exit of one that ended unseen, and rejects for one that is gone', async () => {
    const { engine, containers } = open()
    const placed = await containers.provision(grant, FACTS, DEFAULT_LIMITS)
    await placed.start()
    engine.containers.get(placed.containerId)?.exit(137, true)
    expect(await containers.adopt(placed.containerId)).toEqual({ exitCode: 137, oomKilled: true })
    await expect(containers.adopt('b'.repeat(64))).rejects.toMatchObject({ code: 'unknown_session' })
  })

  test('goes on listening when the wait is cut', async () => {
    const { clock, engine, containers } = open()
    const placed = await containers.provision(grant, FACTS, DEFAULT_LIMITS)
    await placed.start()
    const listen = engine.waitNextExit
    let cut = () => {}
    engine.waitNextExit = (id) => {
      const wait = listen(id)
      cut = wait.cancel
      return wait
    }
    const adopted = containers.adopt(placed.containerId)
    await new Promise((resolve) => setImmediate(resolve))
    engine.waitNextExit = listen
    cut()
    await clock.advance(1000)
    engine.containers.get(placed.containerId)?.exit(9)
    expect(await settle(clock, adopted)).toMatchObject({ value: { exitCode: 9 } })
  })
  test('fault A7: an engine that is away for an hour is waited for, and the exit meanwhile is heard with its code', async () => {
    const { clock, engine, containers } = open()
    const placed = await containers.provision(grant, FACTS, DEFAULT_LIMITS)
    await placed.start()
    for (const verb of ['waitNextExit', 'inspect'] as const) engine.fault(verb, 'fail', 10_000)
    engine.cutWaits()
    const adopted = containers.adopt(placed.containerId)
    let isOver = false
    adopted.then(
      () => (isOver = true),
      () => (isOver = true),
    )
    await clock.advance(600_000)
    engine.containers.get(placed.containerId)?.exit(9)
    await clock.advance(3_000_000)
    expect(isOver).toBe(false)
    const asked = engine.calls.length
    await clock.advance(60_000)
    expect(engine.calls.length - asked, 'with back-off').toBeLessThan(40)
    for (const verb of ['waitNextExit', 'inspect'] as const) engine.fault(verb, 'fail', 0)
    await clock.advance(5000)
    expect(await adopted).toEqual({ exitCode: 9, oomKilled: false })
  })

  test('fault A7: a hub that ends waits for no engine any more', async () => {
    const { clock, engine, containers } = open()
    const placed = await containers.provision(grant, FACTS, DEFAULT_LIMITS)
    await placed.start()
    for (const verb of ['waitNextExit', 'inspect'] as const) engine.fault(verb, 'fail', 10_000)
    const adopted = containers.adopt(placed.containerId)
    adopted.catch(() => undefined)
    await clock.advance(60_000)
    containers.close()
    await expect(adopted).rejects.toThrow('nobody waits for it')
  })
})
