/**
 * The stop with an engine that is slow, or hangs on one container (T93, X1): what was requested and what is confirmed is told as it is, the exit
 * code with it, within a bounded time; and what is left the next stop takes.
 */
import { afterEach, expect, test } from 'vitest'
import { type EngineProxy, openEngineProxy } from '../support/engine-proxy.ts'
import { openStopHome, type StopHome } from '../support/stop-home.ts'

let home: StopHome
let proxy: EngineProxy
afterEach(async () => {
  proxy.heal()
  await home?.close()
  await proxy.close()
})
/** `callMs`: what a call may take; for a busy machine, and what the test adds, it has to be enough. */
async function open(callMs: number) {
  proxy = await openEngineProxy()
  home = await openStopHome({
    config: { engine: { socket: proxy.socket, callTimeout: `${callMs / 1000}s` } },
    watchdog: { engineSocket: proxy.socket, engineTimeoutMs: callMs },
  })
}
const outcomes = ({ containers }: { containers: readonly { outcome: string }[] }) =>
  containers.map(({ outcome }) => outcome).sort()
const seconds = async <Answer>(work: Promise<Answer>): Promise<[Answer, number]> => {
  const before = performance.now()
  return [await work, (performance.now() - before) / 1000]
}

test('every call takes a second and a half longer: by the hub, and with the hub dead by the watchdog, all are confirmed', {
  timeout: 900_000,
}, async () => {
  await open(15_000)
  await home.place('idle')
  await home.place('idle')
  proxy.spoil('all', { kind: 'slow', ms: 1500 })
  const [view, tookS] = await seconds(home.shutdown())
  expect(view).toMatchObject({ path: 'hub', requested: 2, code: 0 })
  expect([outcomes(view), await home.left()]).toEqual([['gone', 'gone'], 0])
  expect(tookS).toBeLessThan(90)

  proxy.heal()
  await home.startHub()
  await home.place('idle')
  const words = await home.newCard()
  proxy.spoil('all', { kind: 'slow', ms: 1500 })
  home.signal('SIGKILL', home.hubNow())
  const [said, pressedS] = await seconds(home.hubStop(words))
  expect([said.code, said.said]).toEqual([0, expect.stringContaining('Everything has stopped')])
  expect(await home.left()).toBe(0)
  expect(pressedS).toBeLessThan(90)
})

const ways = ['hub', 'watchdog', 'command'] as const
test.for(process.env.HUB_TEST_LONG ? ways : ways.slice(0, 1))(
  'it hangs on one container, by the %s: one is confirmed, one is named with why, the exit says so, and healed the next stop takes it',
  { timeout: 900_000 },
  async (path) => {
    await open(6_000)
    const stuck = await home.place('idle')
    await home.place('idle')
    const { name } = (await home.engine.list(home.instance)).find(({ id }) => id === stuck.containerId) ?? { name: '' }
    proxy.judge = ({ verb, container }) =>
      (container === name || container === stuck.containerId) && ['stop', 'kill', 'remove', 'inspect'].includes(verb)
        ? { kind: 'stall', when: 'before' }
        : undefined
    if (path === 'watchdog') home.signal('SIGKILL', home.hubPid)
    if (path === 'command') home.signal('SIGKILL', home.hubPid, home.watchdogPid)
    const [view, tookS] = await seconds(home.shutdown(...(path === 'command' ? ['--emergency'] : [])))
    expect(view).toMatchObject({ path, requested: 2, code: 1 })
    expect(outcomes(view)).toEqual(['failed', 'gone'])
    expect(view.containers.find(({ outcome }) => outcome === 'failed')).toMatchObject({
      container: name,
      reason: expect.stringMatching(/\w/),
    })
    expect(view.stderr).toContain('hub shutdown --emergency')
    expect(await home.left()).toBe(1)
    expect(tookS).toBeLessThan(110)

    proxy.heal()
    const again = await home.shutdown('--emergency')
    // Who had been trying all along may have come first.
    expect([again.code, again.requested <= 1, outcomes(again).includes('failed')]).toEqual([0, true, false])
    expect(await home.left()).toBe(0)
  },
)
