/** What the operator is answered, and what stands in the log: the next deadlines in the operator's own zone, and who said it. */
import { expect, test } from 'vitest'
import { parseConfig } from '../../watchdog/config/config.ts'
import { firstState, type State } from '../../watchdog/judge/state.ts'
import { createOperatorWords } from '../../watchdog/watch/operator-words.ts'
import { createSteerableClock, HOUR, INSTANCE } from '../support/watchdog-home.ts'

/** Monday 5 January 2026, 09:00 UTC. */
function scene(settings: object = {}) {
  let state: State = firstState(createSteerableClock().read(), INSTANCE)
  const logged: unknown[] = []
  const words = createOperatorWords(parseConfig(settings), {
    advanced: () => state,
    commit: (next) => {
      state = next
    },
    hubMode: () => 'normal',
    log: { info: (fields, text) => void logged.push({ text, ...fields }) },
  })
  return { words, logged, now: () => state }
}

test('S1-25: each word names the next due, safe mode and the stop, in the zone of the operator and as instants fifty hours long [presence-18, time-12]', () => {
  const { words, now } = scene({ operator: { zone: 'Asia/Tokyo' }, zone: 'Europe/Berlin' })
  const answer = words.heartbeat(true, { source: 'cli', note: '' })
  const at = now().mark.wallMs
  expect(answer).toMatchObject({
    dueAtMs: at + 24 * HOUR,
    safeAtMs: at + 26 * HOUR,
    stopAtMs: at + 50 * HOUR,
    zone: 'Asia/Tokyo',
    conditions: [],
  })
  expect(answer.text).toMatch(
    /^next due Tue, 6 Jan 2026, 18:00 (GMT\+9|JST) \(in 24 h\); without it nothing starts after Tue, 6 Jan 2026, 20:00 .*, and everything stops Wed, 7 Jan 2026, 20:00 /,
  )
})

test('each heartbeat, weak or strong, and each word about an absence stands in the log with its source [presence-17]', () => {
  const { words, logged } = scene()
  words.heartbeat(true, { source: 'console', note: 'a' })
  words.heartbeat(false, { source: 'webhook', note: '' })
  words.away({ untilMs: Date.UTC(2026, 0, 9), keepWorking: false }, { source: 'cli', note: 'sea' })
  words.back({ source: 'device', note: '' })
  expect(logged).toEqual([
    { text: 'heartbeat', source: 'console', note: 'a' },
    { text: 'weak heartbeat', source: 'webhook', note: '' },
    { text: 'away', source: 'cli', note: 'sea' },
    { text: 'back', source: 'device', note: '' },
  ])
})
