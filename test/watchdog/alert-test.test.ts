/** S1-34: the test of every channel, the ping to the outside, what the status says of alerting, and the metrics. */
import { afterEach, expect, test } from 'vitest'
import { createSystemClock } from '../../watchdog/base/clock.ts'
import { parseConfig } from '../../watchdog/config/config.ts'
import { metricsText } from '../../watchdog/door/door.ts'
import { createAlertTest, isDay } from '../../watchdog/tell/alert-test.ts'
import type { Letter } from '../../watchdog/tell/channels/letter.ts'
import { createOutward } from '../../watchdog/tell/channels/outward.ts'
import type { Route } from '../../watchdog/tell/delivery.ts'
import { alertStatus, createOutside, lacksOf } from '../../watchdog/tell/tell.ts'
import { createTimerClock, httpSink } from '../support/alert-sinks.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

const PUSH = { kind: 'push', url: 'https://ntfy.example.org/c' }
const config = parseConfig({
  operator: { name: 'Olga' },
  contact: { name: 'Carl', channels: [PUSH], zone: 'Europe/Berlin', quiet: '19:00-07:00' },
})

function scene(answers: {
  operator?: ((letter: Letter) => Promise<void>)[]
  contact?: ((letter: Letter) => Promise<void>)[]
}) {
  // Monday 5 January 2026, 10:00 in Berlin.
  const clock = createTimerClock(Date.UTC(2026, 0, 5, 9))
  const letters: Letter[] = []
  const routesOf = (who: string, list: ((letter: Letter) => Promise<void>)[] = []): Route[] =>
    list.map((answer, index) => ({
      key: `${who}/${index}/push`,
      post: {
        label: `${who} ${index}`,
        kind: 'push',
        loud: true,
        deadlineMs: 5_000,
        deliver(letter) {
          letters.push(letter)
          return answer(letter)
        },
      },
    }))
  const run = createAlertTest(
    { instance: 'i', config },
    { clock, operator: routesOf('operator', answers.operator), contact: routesOf('contact', answers.contact) },
  )
  return { clock, letters, run }
}
const take = async () => {}
const refuse = async () => {
  throw new Error('401 who are you')
}
const hang = () => new Promise<void>(() => {})

test('S1-34, T98: every channel is tried beside the others, and each answers by itself: taken, refused with the reason, or too slow', async () => {
  const { clock, run, letters } = scene({ operator: [take, refuse, hang] })
  const answer = run({ who: 'operator', kind: 'test', code: '' })
  await clock.move(0)
  expect(await run({ who: 'operator', kind: 'test', code: '' })).toMatch(/under way/)
  await clock.move(6_000)
  expect(await answer).toEqual({
    channels: [
      { who: 'operator', channel: 'operator 0', kind: 'push', ok: true, why: '', ms: 0 },
      { who: 'operator', channel: 'operator 1', kind: 'push', ok: false, why: '401 who are you', ms: 0 },
      { who: 'operator', channel: 'operator 2', kind: 'push', ok: false, why: 'it took longer than 5000 ms', ms: 5000 },
    ],
  })
  expect(letters[0]).toMatchObject({ severity: 'info', subject: 'hub watchdog, test: nothing is wrong' })
})

test('the contact gets a test with a code to read out, or a rehearsal that says so first, and that by day only [stop-58]', async () => {
  const { clock, run, letters } = scene({ operator: [take], contact: [take] })
  const both = run({ who: 'both', kind: 'test', code: '4711' })
  expect((await both) as object).toMatchObject({ channels: [{ who: 'operator' }, { who: 'contact' }] })
  expect(letters[1]?.subject).toBe('Test, nothing is wrong: please tell Olga the code 4711')
  await run({ who: 'contact', kind: 'rehearsal', code: '' })
  expect(letters[2]?.text).toMatch(/^REHEARSAL, nothing is wrong\./)
  await clock.move(9.5 * 3_600_000)
  expect(await run({ who: 'contact', kind: 'rehearsal', code: '' })).toMatch(/not day for Carl/)
  expect(letters).toHaveLength(3)
})

test.each([
  [8, false],
  [9, true],
  [18, true],
  [19, false],
  [3, false],
])('at %i o’clock it is day for Carl: %s [stop-58]', (hour, day) => {
  expect(isDay(Date.UTC(2026, 0, 5, hour - 1), config.contact)).toBe(day)
})

test('without a contact there is nobody to test', async () => {
  const { run } = scene({ operator: [take] })
  expect(await run({ who: 'contact', kind: 'test', code: '' })).toMatch(/no contact is set up/)
})

test('what is not set up is said: no channel is broken, no contact and no outside are worth a look', () => {
  const bare = lacksOf(parseConfig({}))
  expect(bare.map(({ name, ok }) => `${name} ${ok}`)).toEqual([
    'no_channel false',
    'no_contact null',
    'no_outside null',
  ])
  const full = parseConfig({
    channels: [{ kind: 'file' }, PUSH],
    contact: { name: 'C', channels: [PUSH] },
    outside: { url: 'https://hc.example.org/ping/1' },
  })
  expect(lacksOf(full)).toEqual([])
})

test('the outside is pinged after rounds, not for each of a burst; three failures are a finding, one success ends it [watch-56, watch-57]', async () => {
  const sink = await httpSink()
  closers.push(() => sink.close())
  const real = createSystemClock()
  const time = createTimerClock()
  const plain = createOutward({ clock: real, resolve: async () => [] })
  let over = 0
  const outward: typeof plain = (call) =>
    plain(call).finally(() => {
      over += 1
    })
  const outside = createOutside({ url: `${sink.url}/ping/1`, local: true }, { clock: time, outward })
  const pings = async (count: number) => {
    for (let one = 0; one < count; one += 1) {
      await time.move(30_000)
      const before = over
      outside.ping()
      outside.ping()
      await expect.poll(() => over).toBe(before + 1)
      // What the answer means is taken in after it.
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  await pings(2)
  expect(sink.received.map(({ url }) => url)).toEqual(['/ping/1', '/ping/1'])
  expect(outside.status()).toMatchObject({ configured: true, lastOkAtMs: time.read().wallMs, reason: null })
  sink.status = 503
  await pings(2)
  expect(outside.own()).toEqual([])
  await pings(1)
  expect(outside.own()).toEqual([['outside_failing', expect.stringMatching(/answered 503/)]])
  sink.status = 200
  await pings(1)
  expect(outside.own()).toEqual([])
  const none = createOutside(null, { clock: time, outward })
  none.ping()
  expect(none.status().configured).toBe(false)
})

test('the metrics are the status in numbers, one HELP and TYPE each, labels escaped, and nothing for what is not known', () => {
  const states = [
    {
      key: 'operator/1/email',
      label: 'email through "m"\\x',
      kind: 'email',
      waiting: 2,
      failures: 3,
      reason: 'no',
      lastOkAtMs: null,
      givenUp: 1,
      lost: 1,
    },
  ]
  const outside = { configured: false, lastOkAtMs: null, reason: null }
  const text = metricsText({
    rounds: 7,
    roundAgeMs: null,
    hub: { answering: true },
    demand: 'safe',
    heartbeat: { strongAgeMs: 1500, safeInMs: -2000 },
    alerts: [{ finding: 'hub_health', level: 2 }],
    alerting: alertStatus(config, states, outside, 0),
  })
  expect(text).toContain('watchdog_rounds_total 7\n')
  expect(text).toContain('watchdog_hub_answering 1\n')
  expect(text).toContain('watchdog_demands_safe 1\n')
  expect(text).toContain('watchdog_findings 1\n')
  // No deadline and no reason: nobody who reads this has shown a credential (fault F17).
  expect(text).not.toMatch(/heartbeat|safe_mode_in|hub_health|1\.5|-2/)
  expect(text).toContain('watchdog_channel_failures{who="operator",channel="email through \\"m\\"\\\\x"} 3\n')
  expect(text).not.toMatch(/^watchdog_round_age_seconds/m)
  for (const line of text.trim().split('\n'))
    expect(line).toMatch(/^(# (HELP|TYPE) watchdog_\w+ .+|watchdog_\w+(\{.*\})? -?[\d.]+)$/)
})
