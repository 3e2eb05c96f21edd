/** Which way of stopping pauses the presence clock, and which does not (S1-30, T95): a whole table, in whole rounds of the watch. */
import { afterEach, expect, test } from 'vitest'
import { watchScene } from '../support/watch-scene.ts'
import { HOUR, makeContainer, sessionOf } from '../support/watchdog-home.ts'

const homes: { remove(): void }[] = []
afterEach(() => {
  for (const home of homes.splice(0)) home.remove()
})
type Scene = ReturnType<typeof watchScene>
type Watch = ReturnType<Scene['start']>['watch']
const presence = (watch: Watch) => watch.status().heartbeat as { paused: boolean; strongAgeMs: number }
const silent = (at: Scene) => {
  at.hub.answer = () => ({ kind: 'silent', reason: 'gone' })
}

/** The way; how it looks from here; whether the clock stands after it. */
const WAYS: readonly (readonly [string, (at: Scene, watch: Watch) => unknown, boolean])[] = [
  [
    'hub restart',
    (at, watch) => {
      watch.announce('restart', 300_000)
      silent(at)
    },
    false,
  ],
  [
    'hub down',
    (at, watch) => {
      watch.announce('down', 300_000)
      silent(at)
    },
    true,
  ],
  [
    'hub shutdown',
    (at, watch) => {
      watch.announce('shutdown', 300_000)
      silent(at)
    },
    true,
  ],
  ["the contact's stop, the hub answering reads", (_, watch) => watch.shutdown('smoke', 'contact'), true],
  ['--emergency, the hub answering reads', (_, watch) => watch.shutdown('smoke', 'emergency'), true],
  ['a crash', (at) => silent(at), false],
]

test.each(WAYS)(
  'S1-30: after %s the clock of presence is as the table says [stop-4, stop-24]',
  async (_way, stop, stands) => {
    const at = watchScene({ startGraceMs: 0 })
    homes.push(at)
    const { watch, file } = at.start()
    await watch.round()
    await stop(at, watch)
    await watch.round()
    const age = () => presence(watch).strongAgeMs
    const before = age()
    at.clock.move(10 * HOUR)
    await watch.round()
    expect([presence(watch).paused, age() - before]).toEqual([stands, stands ? 0 : 10 * HOUR])
    file.close()
  },
)

test('S1-30: after the unattended stop no deadline runs, and orphans and times to live are still judged [stop-28]', async () => {
  const at = watchScene({ startGraceMs: 0 })
  homes.push(at)
  const { watch, file } = at.start()
  for (const hours of [26, 24]) {
    at.clock.move(hours * HOUR)
    while (await watch.round());
  }
  const told = at.told().length
  silent(at)
  for (let day = 0; day < 30; day += 1) {
    at.clock.move(24 * HOUR)
    const stray = makeContainer(at.clock.read())
    at.engine.present.set(stray.id, stray)
    at.hub.sessions = [sessionOf(stray)]
    await watch.round()
    expect(at.engine.present.size, 'nothing of ours stays, session or not').toBe(0)
  }
  expect(at.told().slice(told), 'and there is silence').toEqual([])
  file.close()
})

test('a paused clock runs again where the engine still shows a container of ours [stop-36]', async () => {
  const at = watchScene({ startGraceMs: 0 })
  homes.push(at)
  const { watch, file } = at.start()
  await watch.round()
  watch.announce('shutdown', 300_000)
  silent(at)
  const one = makeContainer(at.clock.read(), { createdAtMs: at.clock.read().wallMs + 100 * HOUR })
  at.engine.present.set(one.id, one)
  at.engine.stubborn.add(one.id)
  await watch.round()
  expect(presence(watch).paused, 'a wedged container is not stopped').toBe(false)
  at.engine.present.clear()
  await watch.round()
  expect(presence(watch).paused).toBe(true)
  file.close()
})
