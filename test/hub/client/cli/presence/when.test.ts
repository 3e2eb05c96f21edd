import { describe, expect, it } from 'vitest'
import { parseWhen } from '../../../../../hub/client/cli/presence/presence.ts'

const NOW = Date.UTC(2026, 10, 24, 8, 30)
const at = (text: string, zone = 'Europe/Berlin', nowMs = NOW) => new Date(parseWhen(text, nowMs, zone)).toISOString()

describe('the instant of --until', () => {
  it.each([
    ['3d', '2026-11-27T08:30:00.000Z', 'three days from now'],
    ['36h', '2026-11-25T20:30:00.000Z', 'hours'],
    ['2w', '2026-12-08T08:30:00.000Z', 'weeks'],
    ['2026-12-01', '2026-12-01T11:00:00.000Z', 'noon of the day'],
    ['2026-12-01 18:00', '2026-12-01T17:00:00.000Z', 'local time'],
    ['2026-12-01T18:00Z', '2026-12-01T18:00:00.000Z', 'UTC'],
    ['2026-12-01T18:00:30-05:30', '2026-12-01T23:30:30.000Z', 'an offset'],
    ['fri 18:00', '2026-11-27T17:00:00.000Z', 'the next Friday'],
    ['Fri', '2026-11-27T11:00:00.000Z', 'noon of the next Friday'],
    ['tue 10:00', '2026-11-24T09:00:00.000Z', 'today, still to come'],
    ['tue 09:00', '2026-12-01T08:00:00.000Z', 'today, already past: in a week'],
  ])('%s is %s: %s', (text, instant) => {
    expect(at(text)).toBe(instant)
  })

  it('weekdays and days are those of the zone, over midnight and the changes of the clock', () => {
    // Still Tuesday in New York, already Wednesday in Tokyo.
    const late = Date.UTC(2026, 10, 24, 23)
    expect(at('wed 08:00', 'America/New_York', late)).toBe('2026-11-25T13:00:00.000Z')
    expect(at('wed 09:00', 'Asia/Tokyo', late)).toBe('2026-11-25T00:00:00.000Z')
    expect(at('sun 12:00', 'Europe/Berlin', Date.UTC(2026, 2, 28, 12))).toBe('2026-03-29T10:00:00.000Z')
    expect(at('2026-10-25 02:30'), 'twice: the first').toBe('2026-10-25T00:30:00.000Z')
    expect(() => at('2026-03-29 02:30')).toThrow(/does not exist in Europe\/Berlin: clocks go forward/)
  })

  it.each([
    ...[
      '',
      'soon',
      '3',
      '3m',
      '3 d',
      '-3d',
      '99999d',
      '2026-02-30',
      '2026-13-01',
      '2026-12-1',
      '2026-12-01T18:00',
      '2026-12-01T25:00Z',
    ],
    ...[
      '2026-12-01 24:00',
      '2026-12-01T18:00+15:00',
      '2026-12-01T18:00+01:60',
      'fri 7:00',
      'fri 24:00',
      'xyz 10:00',
      'friday',
      '12:00',
    ],
  ])('%j is refused with what to write', (text) => {
    expect(() => at(text)).toThrow(/--until: .* is not a date or time; write 3d/)
  })
})
