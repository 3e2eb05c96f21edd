/** What is queued comes back held after a long rest, and waits for the operator's word (docs/safety.md 3, S1-12). */
import { describe, expect, test } from 'vitest'
import { createHarness, forever, type Harness, worker } from '../support/hub-harness.ts'

const HOUR_MS = 3_600_000
const echo = { script: worker((agent) => agent.joined?.task.params.at ?? 0) }
const held = (h: Harness, ids: string[]) => ids.map((id) => h.task(id).held)

/** One that waits for its place behind another, so that it is queued when the rest begins. */
async function withQueued(config: Record<string, unknown> = {}, ttl = '10m') {
  const h = await createHarness({
    agents: {
      slow: {
        script: worker(forever),
        card: { limits: { ttl, sessions: 1 }, repeatable: true },
        policy: { ttlMs: 24 * HOUR_MS },
      },
      echo,
    },
    config,
  })
  const running = await h.submit('slow')
  await h.until(() => h.sessionsOf(running)[0]?.state === 'working')
  return { h, running, queued: await h.submit('slow') }
}
const rest = async (h: Harness, ms: number) => {
  h.clock.jump(ms)
  await h.clock.advance(3000)
}
const resume = async (h: Harness) => {
  await h.operator('POST', '/v1/mode/resume', {})
  await h.lease()
}

describe('after more than staleAfter (12 h) safe', () => {
  test('what was queued is held: nothing starts, health and status say how many, and one command releases it [away-14, away-17]', async () => {
    const { h, running, queued } = await withQueued()
    await using _ = h
    await h.operator('POST', '/v1/mode/safe', {})
    await rest(h, 12 * HOUR_MS + 60_000)
    // Before the rest is over, too: the heartbeat that ends it can say so.
    expect((await h.operator('GET', '/v1/health')).body.held).toBe(1)
    await resume(h)
    await h.clock.advance(60_000)
    expect(h.task(running).state).toBe('timed_out')
    expect(h.task(queued)).toMatchObject({ state: 'queued', held: true })
    expect(h.started).toHaveLength(1)
    expect(
      h
        .audit()
        .filter(({ action }) => action === 'backlog.held')
        .map(({ effect }) => effect),
    ).toEqual(['1 task held after 12 h at rest'])
    // What comes now is of today.
    const today = await h.submit('echo')
    await h.ended(today)
    expect((await h.operator('POST', `/v1/tasks/${queued}/release`)).status).toBe(200)
    await h.until(() => h.started.length === 3, 'it starts')
  })

  test('a rest of just under that holds nothing [away-14]', async () => {
    const { h, queued } = await withQueued()
    await using _ = h
    await h.operator('POST', '/v1/mode/safe', {})
    await rest(h, 12 * HOUR_MS - 120_000)
    await resume(h)
    await h.until(() => h.task(queued).state === 'running', 'it starts')
    expect(held(h, [queued])).toEqual([false])
  })

  test('the span is configuration [away-14]', async () => {
    const { h, queued } = await withQueued({ staleAfter: '1h' })
    await using _ = h
    await h.operator('POST', '/v1/mode/safe', {})
    await rest(h, HOUR_MS + 60_000)
    await resume(h)
    await h.clock.advance(5000)
    expect(held(h, [queued])).toEqual([true])
  })
})

describe('after more than staleAfter stopped', () => {
  test.each([
    ['killed, what was queued and what was interrupted comes back held, though its card lets it be repeated', 13, true],
    ['killed for less, both go on', 11, false],
  ])('%s (interrupted) [away-15]', async (_name, hours, isHeld) => {
    // Longer than the rest: what is past its time comes back timed out, and not at all.
    const { h, running, queued } = await withQueued({ limits: { ttl: '24h' } }, '24h')
    await using _ = h
    await h.kill()
    for (const { container } of h.started) container.exit(137)
    for (const id of [...h.engine.containers.keys()]) await h.engine.remove(id)
    await h.clock.advance(hours * HOUR_MS)
    await h.start(false)
    await h.clock.advance(5000)
    await h.lease()
    await h.clock.advance(5000)
    expect(held(h, [running, queued])).toEqual([isHeld, isHeld])
    expect(h.started.length).toBe(isHeld ? 1 : 2)
  })

  test.each([
    ['forward', 30 * 24 * HOUR_MS],
    ['back', -30 * 24 * HOUR_MS],
  ])(
    'a wall clock stepped %s within one boot neither makes nor ends a long rest (T71) [clock-7]',
    async (_name, stepMs) => {
      const { h, queued } = await withQueued()
      await using _ = h
      await h.stop()
      h.clock.stepWall(stepMs)
      await h.clock.advance(HOUR_MS)
      await h.start()
      await h.clock.advance(5000)
      expect(held(h, [queued])).toEqual([false])
      await h.stop()
      h.clock.stepWall(-stepMs)
      await h.clock.advance(13 * HOUR_MS)
      await h.start(false)
      await h.clock.advance(5000)
      expect(held(h, [queued])).toEqual([h.task(queued).state === 'queued'])
    },
  )

  test('a machine that slept so long has rested [away-14]', async () => {
    const { h, queued } = await withQueued()
    await using _ = h
    h.clock.suspend(13 * HOUR_MS)
    await h.clock.advance(2000)
    await h.lease()
    await h.clock.advance(5000)
    expect(held(h, [queued])).toEqual([true])
    expect(h.started).toHaveLength(1)
  })
})
