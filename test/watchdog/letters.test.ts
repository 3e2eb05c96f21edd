/** Letters to the operator: every one says when, in the operator's zone, and how far away what it speaks of is. */
import { expect, test } from 'vitest'
import { parseConfig } from '../../watchdog/config/config.ts'
import { presenceFindings } from '../../watchdog/judge/findings.ts'
import { firstState } from '../../watchdog/judge/state.ts'
import { operatorLetter, packEvents } from '../../watchdog/tell/operator-letter.ts'
import type { AlertEvent } from '../../watchdog/tell/plan.ts'
import { createSteerableClock, HOUR, INSTANCE } from '../support/watchdog-home.ts'

const AT = Date.UTC(2026, 10, 24, 17, 30)
const event = (over: Partial<AlertEvent> = {}): AlertEvent => ({
  id: 'e1',
  event: 'raised',
  finding: 'hub_health',
  level: 1,
  severity: 'warning',
  text: 'The hub did not answer.',
  forMs: 0,
  ...over,
})

test('a letter to the operator names weekday, date, local time with zone, whatever zone that is [alert-29]', () => {
  const [parcel] = packEvents([event()], { to: 'o', id: 'p1', lineMs: 0, wallMs: AT } as never)
  if (parcel === undefined) throw new Error('no parcel')
  const text = (zone: string) => operatorLetter(parcel, { instance: INSTANCE, zone }).text
  expect(text('Europe/Berlin')).toMatch(/^Tue,? 24 Nov 2026, 18:30 (CET|GMT\+1)\n/)
  expect(text('Pacific/Kiritimati')).toMatch(/^Wed,? 25 Nov 2026, 07:30 GMT\+14\n/)
})

test('a reminder names the deadline with its distance', () => {
  const config = parseConfig({ operator: { zone: 'Europe/Berlin' } })
  const clock = createSteerableClock()
  const first = firstState(clock.read(), INSTANCE)
  const presence = { ...first.presence, nowMs: 18 * HOUR, reminded: { ...first.presence.reminded, due: 1 } }
  const texts = presenceFindings({ ...first, presence }, clock.read(), config).map(({ text }) => text)
  expect(texts.join()).toMatch(/\w{3},? \d{1,2} \w{3} \d{4}, \d\d:\d\d \S+ \(in 6 h\)/)
})
