/** X5: for every finding that has an action, the action is disabled in turn; after three rounds an alarm says that nothing acted. */
import { afterEach, expect, test } from 'vitest'
import type { Heard } from '../../watchdog/judge/lease.ts'
import { ACTIONS } from '../../watchdog/judge/undone.ts'
import { type WatchScene, watchScene } from '../support/watch-scene.ts'
import { HOUR, makeAnswer, makeContainer } from '../support/watchdog-home.ts'

const homes: { remove(): void }[] = []
afterEach(() => {
  for (const home of homes.splice(0)) home.remove()
})
const SAID = { note: '', source: 'cli' }
type Watch = ReturnType<WatchScene['start']>['watch']

function stubborn(at: WatchScene, labels: Record<string, string> = {}, over: object = {}): void {
  const one = makeContainer(at.clock.read(), over, labels)
  at.engine.present.set(one.id, one)
  at.engine.stubborn.add(one.id)
}
const answers = (over: object): Heard => ({ kind: 'answer', answer: makeAnswer(over) })
const missed = (at: WatchScene) => at.clock.move(26 * HOUR)
const untilStop = async (at: WatchScene, watch: Watch) => {
  at.clock.move(26 * HOUR)
  await watch.round()
  at.clock.move(24 * HOUR)
  await watch.round()
}
const disobeys = (at: WatchScene) => {
  at.hub.answer = () => answers({ mode: 'normal' })
}

/** What wants an action, how the action is disabled, and the alarm that must come. */
const CASES: readonly (readonly [string, (at: WatchScene, watch: Watch) => void | Promise<void>, string])[] = [
  ['orphan', (at) => stubborn(at, {}, { createdAtMs: 0 }), 'orphan 2'],
  ['ttl_passed', (at) => stubborn(at, { 'hub.expires-boot': 'boot-a:1' }), 'ttl_passed 2'],
  ['boot_mismatch', (at) => stubborn(at, { 'hub.expires-boot': 'boot-z:9999999999' }), 'boot_mismatch 2'],
  ['deadline_unreadable', (at) => stubborn(at, { 'hub.expires-boot': 'soon' }), 'deadline_unreadable 2'],
  [
    'unattended_stop, a container stays',
    async (at, watch) => {
      await untilStop(at, watch)
      stubborn(at)
    },
    'unattended_remains 2',
  ],
  [
    'emergency_stop, a container stays',
    async (at, watch) => {
      await watch.shutdown('', 'contact')
      stubborn(at)
    },
    'emergency_remains 2',
  ],
  [
    'unattended_stop, the engine does not answer',
    async (at, watch) => {
      await untilStop(at, watch)
      at.engine.down = true
    },
    'stop_unconfirmed 1',
  ],
  [
    'emergency_stop, the engine does not answer',
    async (at, watch) => {
      await watch.shutdown('', 'emergency')
      at.engine.down = true
    },
    'stop_unconfirmed 1',
  ],
  [
    'heartbeat_missed demands safe',
    (at) => {
      missed(at)
      disobeys(at)
    },
    'safe_not_obeyed 1',
  ],
  [
    'away demands safe',
    (at, watch) => {
      watch.away({ untilMs: at.clock.read().wallMs + 30 * HOUR, keepWorking: false }, SAID)
      disobeys(at)
    },
    'safe_not_obeyed 1',
  ],
  [
    'emergency_stop demands safe',
    async (at, watch) => {
      await watch.shutdown('', 'contact')
      disobeys(at)
    },
    'safe_not_obeyed 1',
  ],
  [
    'the lease is refused',
    (at) => {
      at.hub.answer = () => ({ kind: 'refused', reason: 'HTTP 409' })
    },
    'lease_refused 1',
  ],
]

test.each(CASES)(
  'X5: %s: two rounds say nothing of it, the third is an alarm, told once [watch-2, watch-54, watch-55]',
  async (_name, disable, alarm) => {
    const at = watchScene({ startGraceMs: 0 })
    homes.push(at)
    const { watch, file } = at.start()
    await watch.round()
    await disable(at, watch)
    const alarms = () => at.told().filter((line) => line.endsWith(` ${alarm}`))
    // A container is first acted on, and counted from then: one round more.
    const quiet = alarm.endsWith(' 2') ? 3 : 2
    for (let round = 0; round < quiet; round += 1) {
      at.clock.move(1_000)
      await watch.round()
    }
    expect(alarms(), at.told().join('\n')).toEqual([])
    for (let round = 0; round < 5; round += 1) {
      at.clock.move(1_000)
      await watch.round()
    }
    expect(alarms(), at.told().join('\n')).toHaveLength(1)
    file.close()
  },
)

test('X5: the table is walked whole [watch-54]', () => {
  for (const name of Object.keys(ACTIONS)) expect(CASES.map(([, , alarm]) => alarm.replace(/ \d$/, ''))).toContain(name)
})

test('X5: once the action happens the alarm is resolved; a hub that does not answer neither raises nor resolves it; a restart keeps it [watch-55]', async () => {
  const at = watchScene({ startGraceMs: 0 })
  homes.push(at)
  let { watch, file } = at.start()
  missed(at)
  disobeys(at)
  const rounds = async (count: number) => {
    for (let round = 0; round < count; round += 1) {
      at.clock.move(1_000)
      await watch.round()
    }
  }
  await rounds(4)
  at.hub.answer = () => ({ kind: 'silent', reason: 'gone' })
  await rounds(2)
  disobeys(at)
  file.close()
  ;({ watch, file } = at.start())
  await rounds(2)
  expect(at.told().filter((line) => line.includes('safe_not_obeyed'))).toEqual(['raised safe_not_obeyed 1'])
  at.hub.answer = () => answers({ mode: 'safe' })
  await rounds(1)
  expect(
    at
      .told()
      .filter((line) => line.includes('safe_not_obeyed'))
      .at(-1),
  ).toBe('resolved safe_not_obeyed 1')
  file.close()
})

test('X5: a hub that obeys, also while it drains, raises nothing [watch-55]', async () => {
  const at = watchScene({ startGraceMs: 0 })
  homes.push(at)
  const { watch, file } = at.start()
  missed(at)
  for (let round = 0; round < 6; round += 1) {
    at.hub.answer = () => answers({ mode: round % 2 === 0 ? 'safe' : 'draining' })
    at.clock.move(1_000)
    await watch.round()
  }
  expect(at.told().some((line) => line.includes('safe_not_obeyed'))).toBe(false)
  file.close()
})

test('docs/safety.md 7: an orphan is a warning, five at once too; one that comes back twice within the hour is critical, and after a quiet hour it is over [watch-5, alert-16]', async () => {
  const at = watchScene({ startGraceMs: 0 })
  homes.push(at)
  const { watch, file } = at.start()
  const appear = async (count: number) => {
    for (let one = 0; one < count; one += 1) {
      const stray = makeContainer(at.clock.read(), { createdAtMs: 0 })
      at.engine.present.set(stray.id, stray)
    }
    await watch.round()
    at.clock.move(30_000)
    await watch.round()
    expect(at.engine.present.size, 'removed').toBe(0)
  }
  const critical = () => at.told().filter((line) => line.includes('orphan_returns'))
  await appear(5)
  at.clock.move(600_000)
  await appear(1)
  at.clock.move(3_000_000)
  await appear(1)
  expect(critical(), 'the first of them is more than an hour ago').toEqual([])
  at.clock.move(300_000)
  await appear(1)
  at.clock.move(300_000)
  await appear(1)
  expect(critical()).toEqual(['raised orphan_returns 1'])
  at.clock.move(2 * HOUR)
  await watch.round()
  expect(critical()).toEqual(['raised orphan_returns 1', 'resolved orphan_returns 1'])
  file.close()
})
