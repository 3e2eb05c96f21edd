import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { HubError } from '../../hub/base/errors.ts'
import { lastEnd } from '../../hub/home/last-end.ts'
import { openFakeWatchdog } from '../support/fake-watchdog.ts'
import { type AgentSpec, createHarness, forever, puppet, worker } from '../support/hub-harness.ts'

/** Hands in what it has when the hub says finish. */
const cooperative: AgentSpec = {
  script: worker(async (agent) => {
    const { body } = await agent.next(({ kind }) => kind === 'finish')
    return { partial: true, graceMs: body.graceMs }
  }),
}

describe('shutdown', () => {
  test('who finishes in time succeeds, who does not is stopped, who will not is killed; every container is confirmed [cond-23, mode-5]', async () => {
    await using h = await createHarness({
      agents: { cooperative, deaf: { script: puppet }, stubborn: { script: puppet, stubborn: true } },
      config: { shutdownTimeout: '10s' },
    })
    const [friendly, deaf, stubborn] = await h.bring('cooperative', 'deaf', 'stubborn')
    const waiting = await h.submit('deaf', {}, { hold: true })
    const taskOf = (agent: typeof friendly) => h.task(agent.joined?.task.task ?? '')
    const startedAtMs = h.clock.monotonicMs()
    const { status, body } = await h.operator('POST', '/v1/shutdown', { reason: 'test' })
    // Who is told afterwards how it ended hears who asked, and of a signal nobody (fault C16).
    const { audit } = h.hub.guard
    expect(lastEnd('shutdown', audit, 7)).toEqual({ how: 'shutdown', by: 'operator', atMs: 7 })
    expect(lastEnd('SIGTERM', audit, 7)).toEqual({ how: 'SIGTERM', by: null, atMs: 7 })
    expect(status).toBe(200)
    expect(body).toMatchObject({ path: 'hub', requested: 3 })
    const containers = body.containers as { session: string; outcome: string }[]
    expect(containers.map(({ session, outcome }) => [session, outcome])).toEqual(
      [friendly, deaf, stubborn].map(({ session }) => [session, 'gone']),
    )
    expect(h.engine.containers.size).toBe(0)
    expect(h.clock.monotonicMs() - startedAtMs).toBeLessThan(30_000)

    expect(taskOf(friendly)).toMatchObject({
      state: 'succeeded',
      outcome: { value: { partial: true, graceMs: 10_000 } },
    })
    for (const agent of [deaf, stubborn]) {
      expect(taskOf(agent)).toMatchObject({ state: 'queued', held: true, attempts: 1, crashes: 0 })
      expect(h.sessionsOf(taskOf(agent).id)[0]?.exitReason).toBe('shutdown')
    }
    expect(h.task(waiting)).toMatchObject({ state: 'queued', held: true })
    expect((await h.operator('GET', '/v1/mode')).body.mode).toBe('draining')
    await expect(h.submit('deaf')).rejects.toThrow('mode_draining')

    const again = await h.operator('POST', '/v1/shutdown', {})
    expect(again.body).toEqual(body)
    await h.until(() => h.exits.length > 0)
    expect(h.exits).toEqual(['shutdown'])
    expect(h.started).toHaveLength(3)

    // Started again, what was interrupted waits for a word.
    await h.stop()
    await h.start()
    await h.clock.advance(10_000)
    expect(h.started).toHaveLength(3)
    await h.operator('POST', `/v1/tasks/${taskOf(deaf).id}/release`)
    await h.working(1)
    expect(taskOf(deaf)).toMatchObject({ state: 'running', attempts: 2 })
  })

  test('a stop of which the disk takes only a part leaves no running task without a session: the next start holds it (T80)', async () => {
    await using h = await createHarness({ agents: { deaf: { script: puppet } }, config: { shutdownTimeout: '1s' } })
    const [deaf] = await h.bring('deaf')
    const id = deaf.joined?.task.task ?? ''
    // As of a disk that was filled by the rows before: only this one fails, and what was written stays.
    const { store } = h.hub.guard
    store
      .prepare(
        "create trigger full before update of state on task when new.state = 'queued' begin select raise(fail, 'full'); end",
      )
      .run()
    expect((await h.operator('POST', '/v1/shutdown', {})).body).toMatchObject({ requested: 1 })
    expect(h.engine.containers.size).toBe(0)
    store.prepare('drop trigger full').run()
    await h.until(() => h.exits.length > 0)
    await h.stop()
    await h.start()
    await h.until(() => h.task(id).state !== 'running')
    expect(h.task(id)).toMatchObject({ state: 'queued', held: true })
  })

  test('who leaves without a result when told to finish comes back held: no crash, and no next boot starts it by itself', async () => {
    const leaver: AgentSpec = {
      script: async (agent) => {
        await agent.join()
        await agent.next(({ kind }) => kind === 'finish')
        throw new Error('leaves without a result')
      },
      card: { repeatable: true },
    }
    await using h = await createHarness({ agents: { leaver }, config: { shutdownTimeout: '10s' } })
    const [agent] = await h.bring('leaver')
    await h.operator('POST', '/v1/shutdown', { reason: 'test' })
    expect(h.task(agent.joined?.task.task ?? '')).toMatchObject({ state: 'queued', held: true, crashes: 0 })
    expect(h.hub.work.catalogue.registry.find('leaver')?.crashes).toBe(0)
  })

  test('with nothing running it is over at once', async () => {
    await using h = await createHarness({ agents: { cooperative } })
    const { body } = await h.operator('POST', '/v1/shutdown', {})
    expect(body).toEqual({ path: 'hub', requested: 0, containers: [] })
  })

  test('a tree is interrupted from above: the parent comes back held, its children are ended with it (T44)', async () => {
    await using h = await createHarness({
      agents: {
        lead: {
          script: worker(async (agent) => {
            await agent.delegate({ agent: 'kid' })
            return forever(agent)
          }),
          card: { may: { delegate: ['kid'] } },
        },
        kid: { script: puppet },
      },
      config: { shutdownTimeout: '1s' },
    })
    const id = await h.submit('lead')
    await h.working(2)
    const { body } = await h.operator('POST', '/v1/shutdown', {})
    expect((body.containers as { outcome: string }[]).map(({ outcome }) => outcome)).toEqual(['gone', 'gone'])
    expect(h.task(id)).toMatchObject({ state: 'queued', held: true })
    expect(h.hub.work.tasks.children(id)).toMatchObject([{ state: 'cancelled' }])
  })

  test('X2: a container that the engine does not remove is reported as failed, with why [stop-43]', async () => {
    await using h = await createHarness({ agents: { deaf: { script: puppet } }, config: { shutdownTimeout: '1s' } })
    const [deaf] = await h.bring('deaf')
    for (const verb of ['stop', 'kill', 'remove'] as const) h.engine.fault(verb, 'fail', 1000)
    const { body } = await h.operator('POST', '/v1/shutdown', {})
    expect(body).toMatchObject({ requested: 1, containers: [{ session: deaf.session, outcome: 'failed' }] })
    expect((body.containers as { reason: string }[])[0]?.reason).toMatch(/remove|still shows/)
    expect(h.hub.work.containment.ledger.list()).toMatchObject([{ session: deaf.session }])
  })

  test('what somebody else has removed while a start ended is counted with the rest [stop-43]', async () => {
    await using h = await createHarness({ agents: { deaf: { script: puppet } }, config: { shutdownTimeout: '10m' } })
    const [deaf] = await h.bring('deaf')
    let began = false
    const held = Promise.withResolvers<never>()
    h.engine.create = () => {
      began = true
      return held.promise
    }
    await h.submit('deaf')
    await h.until(() => began, 'a second one is being started')
    const stop = h.operator('POST', '/v1/shutdown', { emergency: true, reason: 'test' })
    await h.until(() => h.hub.guard.modes.has('draining'))
    // As the watchdog does, which has been told by now.
    const container = h.hub.work.tasks.session(deaf.session)?.containerId ?? ''
    await h.engine.stop(container, 0)
    await h.until(() => h.hub.work.tasks.session(deaf.session)?.state === 'recycled')
    held.reject(new HubError('engine_refused', 'it was not made'))
    const { body } = await stop
    expect(body).toMatchObject({ requested: 2, containers: [{ session: deaf.session }, {}] })
    expect((body.containers as { outcome: string }[]).map(({ outcome }) => outcome)).toEqual([
      expect.stringMatching(/gone$/),
      'already_gone',
    ])
  })

  test('restart leaves the containers: they are asked for nothing and are taken over by the next hub [stop-1, stop-2]', async () => {
    await using h = await createHarness({ agents: { cooperative } })
    const [agent] = await h.bring('cooperative')
    const { body } = await h.operator('POST', '/v1/shutdown', { exit: 'restart' })
    expect(body).toMatchObject({ requested: 0, containers: [] })
    await h.until(() => h.exits.length > 0)
    expect(h.exits).toEqual(['restart'])
    expect(agent.ended.aborted).toBe(false)
    await h.stop()
    await h.start()
    const stopped = await h.operator('POST', '/v1/shutdown', {})
    expect(stopped.body).toMatchObject({ requested: 1, containers: [{ session: agent.session, outcome: 'gone' }] })
    expect(h.task(agent.joined?.task.task ?? '').state).toBe('succeeded')
    expect(h.started).toHaveLength(1)
  })

  test('S0-15: a signal is as `hub restart`: the watchdog is told, containers are kept, nothing is held, and the next hub takes them over [stop-6, stop-7, stop-8]', async () => {
    await using h = await createHarness({
      agents: { cooperative: { ...cooperative, card: { limits: { sessions: 1 } } } },
    })
    await using watchdog = Object.assign(await openFakeWatchdog(h.home), {
      async [Symbol.asyncDispose]() {
        await watchdog.close()
      },
    })
    const [agent] = await h.bring('cooperative')
    const waiting = await h.submit('cooperative')
    expect(await h.pumped(h.hub.leave())).toBe('restart')
    expect(watchdog.heard.filter(({ path }) => path === '/v1/announce').map(({ body }) => body)).toEqual([
      { kind: 'restart', forMs: 300_000 },
    ])
    await h.stop()
    expect(agent.ended.aborted).toBe(false)
    await h.start()
    expect((await h.operator('GET', '/v1/mode')).body.mode, 'nothing of it outlives the restart').toBe('normal')
    expect(h.task(waiting)).toMatchObject({ state: 'queued', held: false })
    expect(h.task(agent.joined?.task.task ?? '')).toMatchObject({ state: 'running', held: false, attempts: 1 })
    const stopped = await h.operator('POST', '/v1/shutdown', {})
    expect(stopped.body).toMatchObject({ requested: 1, containers: [{ session: agent.session, outcome: 'gone' }] })
    expect(h.started).toHaveLength(1)
  })

  test('S0-15: a signal does not cut a stop that is under way, and after it the process ends as the stop said [stop-51]', async () => {
    await using h = await createHarness({ agents: { deaf: { script: puppet } }, config: { shutdownTimeout: '10s' } })
    await h.bring('deaf')
    const stopping = h.operator('POST', '/v1/shutdown', { exit: 'down' })
    await h.until(() => h.hub.guard.modes.has('draining'))
    expect(await h.pumped(h.hub.leave())).toBeUndefined()
    expect((await stopping).body).toMatchObject({ requested: 1, containers: [{ outcome: 'gone' }] })
    expect(await h.pumped(h.hub.leave())).toBe('down')
    await h.until(() => h.exits.length > 0)
    expect(h.exits).toEqual(['down'])
  })

  test('S0-15: a watchdog that hangs keeps no signal waiting', async () => {
    await using h = await createHarness({ agents: {} })
    mkdirSync(join(h.home, 'watchdog', 'run'), { recursive: true })
    const hanging = createServer().listen(join(h.home, 'watchdog', 'run', 'watchdog.sock'))
    await once(hanging, 'listening')
    const before = h.clock.monotonicMs()
    expect(await h.pumped(h.hub.leave())).toBe('restart')
    expect(h.clock.monotonicMs() - before).toBeLessThan(2000)
    hanging.close()
  })
})
