/** What a round sees where the world moves on while it looks (T94). */
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { parseConfig } from '../../watchdog/config/config.ts'
import { planLease } from '../../watchdog/judge/judge.ts'
import { firstState } from '../../watchdog/judge/state.ts'
import type { HubLine } from '../../watchdog/observe/hub-line.ts'
import { createObserve } from '../../watchdog/observe/observe.ts'
import {
  createFakeEngine,
  createSteerableClock,
  INSTANCE,
  KEY,
  makeAnswer,
  makeContainer,
  makeHome,
  sessionOf,
} from '../support/watchdog-home.ts'

const home = makeHome()
afterEach(() => home.remove())

test('T94: a container that went with its session between the list and the answer of the hub is no orphan; one that is there without a session is; an engine that is silent by then proves nothing', async () => {
  const clock = createSteerableClock()
  const engine = createFakeEngine()
  const [live, going, orphan] = [0, 0, 0].map(() => makeContainer(clock.read())) as [
    ReturnType<typeof makeContainer>,
    ReturnType<typeof makeContainer>,
    ReturnType<typeof makeContainer>,
  ]
  let meanwhile = () => {}
  const hub: HubLine = {
    async lease() {
      meanwhile()
      return { kind: 'answer', answer: makeAnswer({ sessions: [sessionOf(live)] }) }
    },
    shutdown: async () => null,
  }
  const options = {
    ledger: join(home.home, 'ledger.json'),
    checkpointKey: join(home.home, 'none'),
    key: KEY,
    instance: INSTANCE,
  }
  const observe = createObserve(options, { clock, engine, hub })
  const lease = planLease(firstState(clock.read(), INSTANCE), parseConfig({}))
  const seen = async () => {
    engine.down = false
    for (const one of [live, going, orphan]) engine.present.set(one.id, one)
    const { containers } = await observe(lease, [])
    return containers.kind === 'listed' ? containers.list.map(({ id }) => id) : [containers.reason]
  }

  meanwhile = () => engine.present.delete(going.id)
  expect((await seen()).toSorted()).toEqual([live.id, orphan.id].toSorted())
  meanwhile = () => {
    engine.down = true
  }
  expect((await seen()).toSorted()).toEqual([live.id, going.id, orphan.id].toSorted())
})
