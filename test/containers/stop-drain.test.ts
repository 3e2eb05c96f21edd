/** `hub shutdown --drain` on the real engine (docs/safety.md 5): what runs may end by itself, to its TTL; what waits is held. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { openStopHome, type StopHome, until } from '../support/stop-home.ts'

let home: StopHome
afterEach(() => home?.close())
const taskOf = async (id: string) => (await home.json<{ task: Record<string, unknown> }>('task', 'show', id)).task

test('S0-15: --drain waits to the TTL of what runs, says until when and how far it is, starts nothing more, holds the rest, and a second shutdown cuts it short [stop-16, stop-17]', async () => {
  home = await openStopHome({
    card: { limits: { ttl: '15m', memory: '128MiB', sessions: 2 } },
    // What stands still gives no sign of life: it is to end by its time or by the stop, however long this takes.
    config: { health: { interval: '15m' } },
  })
  const long = await home.place('wedge')
  // Last, and with time enough for what has to be said before it has passed.
  const short = await home.place('wedge', '--ttl', '30s')
  const waiting = await home.json<{ id: string }>('submit', 'deaf')
  let isOver = false
  const draining = home.shutdown('--drain').finally(() => {
    isOver = true
  })
  await until('draining', home.health, ({ mode }) => mode === 'draining')
  expect((await home.hub('submit', 'deaf')).code, 'nothing new is taken').toBe(3)
  await until('the first has come to its TTL', home.left, (left) => left === 1)
  expect(Date.now(), 'and not before').toBeGreaterThanOrEqual(short.expiresAtMs)
  // Far longer than the second that a stop without --drain waits.
  await sleep(4000)
  expect([isOver, await home.left()], 'it still waits for the other').toEqual([false, 1])
  expect(await taskOf(short.task)).toMatchObject({ state: 'timed_out' })
  expect(await taskOf(waiting.id)).toMatchObject({ state: 'queued', held: true })

  const hastened = await home.shutdown()
  const drained = await draining
  for (const view of [hastened, drained]) {
    expect(view).toMatchObject({ path: 'hub', requested: 2, code: 0 })
    expect(view.containers.map(({ outcome }) => outcome)).toEqual(['gone', 'gone'])
  }
  expect(drained.stderr).toMatch(/running sessions may work until .+ `hub shutdown` stops it sooner/)
  expect(drained.stderr).toContain('stopping: 1 of 2 confirmed')
  expect(await home.left()).toBe(0)
  await home.startHub()
  for (const id of [long.task, waiting.id]) expect(await taskOf(id)).toMatchObject({ state: 'queued', held: true })
})
