/** The order of a stop, each step seen when it happens (S0-15, T97). */
import { expect, test, vi } from 'vitest'
import { http } from '../../hub/base/node-http.ts'
import { openFakeWatchdog } from '../support/fake-watchdog.ts'
import { createHarness, type Harness, puppet, worker } from '../support/hub-harness.ts'

const kept = (h: Harness) => h.hub.guard.store.prepare('select name from condition').pluck().all()

test('S0-15: told to the watchdog, told to finish, waited for, SIGTERM with five seconds, gone, the head to the watchdog, the end [stop-38]', async () => {
  const steps: string[] = []
  let startedAtMs = 0
  await using h = await createHarness({
    agents: {
      deaf: {
        script: worker(async (agent) => {
          await agent.next(({ kind }) => kind === 'finish')
          steps.push('told to finish')
          startedAtMs = h.clock.monotonicMs()
          return new Promise<never>(() => undefined)
        }),
      },
      other: { script: puppet },
    },
    config: { shutdownTimeout: '12s' },
  })
  const dog = await openFakeWatchdog(h.home)
  try {
    await h.bring('deaf')
    const stop = vi.spyOn(h.engine, 'stop')
    // When it leaves, not when it arrives: nobody waits for that.
    const request = http.request
    vi.spyOn(http, 'request').mockImplementation(((...words: Parameters<typeof request>) => {
      if ((words[0] as { path?: string }).path === '/v1/announce') steps.push('told to the watchdog')
      return request(...words)
    }) as typeof request)
    let isHeard = false
    dog.onAsk = ({ path }) => {
      if (path === '/v1/announce') isHeard = true
      if (path === '/v1/witness') {
        const open = h.hub.work.tasks.sessionsOpen().length
        steps.push(`head to the watchdog, ${open} sessions and ${h.engine.containers.size} containers left`)
      }
      return undefined
    }
    const stopping = h.operator('POST', '/v1/shutdown', {})
    await h.until(() => steps.includes('told to finish'))
    expect(stop).not.toHaveBeenCalled()
    await h.until(() => stop.mock.calls.length > 0)
    expect(h.clock.monotonicMs() - startedAtMs).toBeGreaterThanOrEqual(11_000)
    expect(stop.mock.calls[0]?.[1], 'seconds between SIGTERM and SIGKILL').toBe(5)
    steps.push('SIGTERM')
    await stopping
    expect(h.engine.containers.size).toBe(0)
    expect(h.hub.work.tasks.sessionsOpen()).toEqual([])
    await h.until(() => h.exits.length > 0)
    await h.stop()
    const head = 'head to the watchdog, 0 sessions and 0 containers left'
    const seen = steps.filter((step, at) => steps.indexOf(step) === at)
    expect(seen).toEqual(['told to the watchdog', 'told to finish', 'SIGTERM', head])
    expect(isHeard).toBe(true)
    await h.start()
  } finally {
    vi.restoreAllMocks()
    await dog.close()
  }
})

test('T97: the condition of an emergency is in the store before the watchdog is told and before any container is touched [stop-37]', async () => {
  await using h = await createHarness({ agents: { deaf: { script: puppet, stubborn: true } } })
  const dog = await openFakeWatchdog(h.home)
  try {
    await h.bring('deaf')
    const seen: [string, unknown[]][] = []
    dog.onAsk = ({ path }) => {
      if (path === '/v1/announce') seen.push(['announced', kept(h)])
      return undefined
    }
    const stop = h.engine.stop
    h.engine.stop = (id, graceSeconds) => {
      seen.push(['SIGTERM', kept(h)])
      return stop(id, graceSeconds)
    }
    await h.operator('POST', '/v1/shutdown', { emergency: true })
    expect(seen.map(([step]) => step)).toEqual(expect.arrayContaining(['announced', 'SIGTERM']))
    for (const [step, conditions] of seen) expect(conditions, step).toEqual(['emergency_stop'])
  } finally {
    await dog.close()
  }
})
