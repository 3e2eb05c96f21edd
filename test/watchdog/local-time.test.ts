import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { instantOf, localDay, nextLocalTime } from '../../watchdog/base/local-time.ts'

const at = (text: string) => Date.parse(text)
const day = (text: string) => Math.floor(at(`${text}T00:00:00Z`) / 86_400_000)
const minute = (text: string) => Number(text.slice(0, 2)) * 60 + Number(text.slice(3))
const HOUR = 3_600_000

describe('local times over the changes of the clock', () => {
  test.each([
    ['Europe/Berlin', '2026-01-05', '09:00', '2026-01-05T08:00:00Z', 'winter'],
    ['Europe/Berlin', '2026-07-05', '09:00', '2026-07-05T07:00:00Z', 'summer'],
    ['Europe/Berlin', '2026-03-29', '01:59', '2026-03-29T00:59:00Z', 'the minute before it is put forward'],
    ['Europe/Berlin', '2026-03-29', '02:30', '2026-03-29T01:30:00Z', 'does not exist: as without the change'],
    ['Europe/Berlin', '2026-03-29', '03:00', '2026-03-29T01:00:00Z', 'the first after it is put forward'],
    ['Europe/Berlin', '2026-10-25', '01:59', '2026-10-24T23:59:00Z', 'before the doubled hour'],
    ['Europe/Berlin', '2026-10-25', '02:30', '2026-10-25T00:30:00Z', 'exists twice: the first'],
    ['Europe/Berlin', '2026-10-25', '03:00', '2026-10-25T02:00:00Z', 'after the doubled hour'],
    ['America/New_York', '2026-03-08', '02:30', '2026-03-08T07:30:00Z', 'does not exist'],
    ['America/New_York', '2026-11-01', '01:30', '2026-11-01T05:30:00Z', 'exists twice: the first'],
    ['America/New_York', '2026-11-01', '02:00', '2026-11-01T07:00:00Z', 'after the doubled hour'],
    ['Australia/Lord_Howe', '2026-10-04', '02:15', '2026-10-03T15:45:00Z', 'a change of half an hour'],
    ['Africa/Cairo', '2026-04-24', '00:30', '2026-04-23T22:30:00Z', 'midnight itself does not exist'],
    ['Asia/Kathmandu', '2026-01-05', '00:00', '2026-01-04T18:15:00Z', 'an offset of quarters'],
    ['Pacific/Kiritimati', '2026-01-05', '09:00', '2026-01-04T19:00:00Z', 'fourteen hours ahead'],
    ['UTC', '2026-01-05', '09:00', '2026-01-05T09:00:00Z', 'UTC'],
  ])('%s %s %s is %s: %s', (zone, date, time, instant) => {
    expect(new Date(instantOf(day(date), minute(time), zone)).toISOString()).toBe(instant.replace('Z', '.000Z'))
  })

  test('the next of several times is the first at or after the instant, today, tomorrow or over a change [time-5]', () => {
    const next = (from: string, times: string[], zone = 'Europe/Berlin') =>
      new Date(nextLocalTime(at(from), times.map(minute), zone)).toISOString()
    expect(next('2026-01-05T07:59:59Z', ['09:00', '18:00'])).toBe('2026-01-05T08:00:00.000Z')
    expect(next('2026-01-05T08:00:00Z', ['09:00', '18:00'])).toBe('2026-01-05T08:00:00.000Z')
    expect(next('2026-01-05T08:00:01Z', ['09:00', '18:00'])).toBe('2026-01-05T17:00:00.000Z')
    expect(next('2026-01-05T17:00:01Z', ['09:00', '18:00'])).toBe('2026-01-06T08:00:00.000Z')
    expect(next('2026-03-28T08:00:01Z', ['09:00']), '23 hours later').toBe('2026-03-29T07:00:00.000Z')
    expect(next('2026-10-24T07:00:01Z', ['09:00']), '25 hours later').toBe('2026-10-25T08:00:00.000Z')
    // The second 02:30 of that night is past the one that counts.
    expect(next('2026-10-25T00:30:01Z', ['02:30'])).toBe('2026-10-26T01:30:00.000Z')
  })

  test('whatever instant, zone and times: the next one is at most 25 h away and reads as chosen, or falls into a gap', () => {
    const zones = ['Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Pacific/Auckland', 'America/Sao_Paulo', 'UTC']
    const years = fc.integer({ min: at('2020-01-01'), max: at('2036-01-01') })
    fc.assert(
      fc.property(years, fc.integer({ min: 0, max: 1439 }), fc.constantFrom(...zones), (fromMs, chosen, zone) => {
        const foundMs = nextLocalTime(fromMs, [chosen], zone)
        expect(foundMs).toBeGreaterThanOrEqual(fromMs)
        expect(foundMs - fromMs).toBeLessThanOrEqual(25 * HOUR)
        const sinceMidnight = (foundMs - instantOf(localDay(foundMs, zone), 0, zone)) / 60_000
        expect([-60, 0, 60], `${sinceMidnight} for ${chosen}`).toContain(sinceMidnight - chosen)
      }),
      { numRuns: 300 },
    )
  })
})
